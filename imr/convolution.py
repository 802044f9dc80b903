"""Cross-attention whose tokens are the neighbourhoods of all places of an image: they overlap, and share their prototypes.

One scalar says it all: Σ_h λ_h Σ_p LSE_k((θ_hk ⋆ Z)_p + b_hk), a multinomial regression at each place p. Its gradient is a
convolution, a softmax over the prototypes of a head, and the transposed convolution with the same kernels. What is called
convolution here is what torch calls so, a correlation; outside of the image Z is zero.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imr.attention import ACTIVATIONS
from imr.blocks import EulerStep, Weights, head_weights
from imr.inputs import require_floating, require_positive, wide
from imr.potentials import ANTIDERIVATIVES

SLOPES = {"softmax": 0.5, "identity": 1.0, "relu": 1.0, "sigmoid": 0.25}
"""The largest slope of each activation, as an operator: of the softmax, ½, however many prototypes it has."""


def logits(Z: Tensor, theta: Tensor, bias: Tensor | None = None) -> Tensor:
    """(θ_hk ⋆ Z)_p + b_hk: how well the neighbourhood of each place fits each prototype :eq:`eq-convolution`.

    Args:
        Z: images (..., c, height, width).
        theta: prototypes (heads, k, c, rows, columns), kernels of odd size.
        bias: intercepts b (heads, k); defaults to zeros.

    Returns:
        (..., heads, k, height, width).

    Raises:
        ValueError: shapes that do not fit.
    """
    _require_kernels(Z, theta, bias)
    kernels, b = theta.flatten(0, 1), None if bias is None else bias.flatten()
    N = F.conv2d(Z.reshape(-1, *Z.shape[-3:]), kernels, b, padding=_half(theta))
    return N.reshape(*Z.shape[:-3], *theta.shape[:2], *Z.shape[-2:])


def potential(
    Z: Tensor, theta: Tensor, bias: Tensor | None = None, weights: Tensor | None = None, activation: str = "softmax"
) -> Tensor:
    """U(Z) = Σ_h λ_h Σ_p LSE_k((θ_hk ⋆ Z)_p + b_hk) :eq:`eq-convolution-potential`.

    Args:
        Z: images (..., c, height, width).
        theta: prototypes (heads, k, c, rows, columns).
        bias: intercepts b (heads, k); defaults to zeros.
        weights: λ (heads,); defaults to ones.
        activation: "softmax", the regression; or the name of a g' that each logit goes through by itself: then
            Σ_k g((θ_hk ⋆ Z)_p + b_hk) stands in the place of LSE_k. "identity" is g = ½N²: no regression at all.

    Returns:
        The potential in nats, shape (...).

    Raises:
        ValueError: shapes that do not fit, or an unknown activation.
    """
    _require_weights(theta, weights)
    N = wide(logits(Z, theta, bias))
    if activation == "softmax":
        U = N.logsumexp(-3)
    elif activation in _SCALARS:
        U = _SCALARS[activation](N).sum(-3)
    else:
        raise _unknown(activation)
    U = U.sum((-2, -1))  # (..., heads)
    return (U if weights is None else weights * U).sum(-1).to(Z.dtype)


def attention(
    Z: Tensor, theta: Tensor, bias: Tensor | None = None, weights: Tensor | None = None, activation: str = "softmax"
) -> Tensor:
    """Σ_h λ_h θ_h ⋆ᵀ softmax_k(θ_h ⋆ Z + b_h), the gradient of :func:`potential` :eq:`eq-convolution-attention`.

    Queries are the neighbourhoods, keys and values the kernels; what neighbourhoods that overlap read is added up. The
    arguments and errors are those of the potential.

    Returns:
        (..., c, height, width).
    """
    _require_weights(theta, weights)
    N = logits(Z, theta, bias)
    if activation == "softmax":
        sigma = N.softmax(-3)
    elif activation in _ACTIVATIONS:
        sigma = _ACTIVATIONS[activation](N)
    else:
        raise _unknown(activation)
    values = theta if weights is None else weights[:, None, None, None, None] * theta
    sigma = sigma.reshape(-1, theta.shape[0] * theta.shape[1], *Z.shape[-2:])
    return F.conv_transpose2d(sigma, values.flatten(0, 1), padding=_half(theta)).reshape(Z.shape)


def operator_norm(theta: Tensor, height: int, width: int) -> Tensor:
    """Bound ‖Z ↦ θ ⋆ Z‖ from above, for images (c, height, width): exact on a torus that is larger by the kernel.

    There the convolution is a matrix (kernels × c) for each frequency, and the largest singular value of them is its norm;
    an image with zeros around is one image of the torus.

    Args:
        theta: kernels (..., c, rows, columns); all axes before c are outputs.
        height, width: of the images.

    Returns:
        A scalar. It is close where the image is much larger than the kernels; power iteration finds the norm from below.
    """
    kernels = theta.reshape(-1, *theta.shape[-3:])
    size = (height + theta.shape[-2] - 1, width + theta.shape[-1] - 1)
    frequencies = torch.fft.fft2(kernels, s=size).permute(2, 3, 0, 1)  # (f, g, kernels, c)
    return torch.linalg.matrix_norm(frequencies, ord=2).max()


def lipschitz_bound(
    theta: Tensor, height: int, width: int, weights: Tensor | None = None, activation: str = "softmax"
) -> Tensor:
    """A Lipschitz constant of :func:`attention`, ½‖Z ↦ (√|λ_h| θ̄_h ⋆ Z)_h‖² (:prf:ref:`prop-convolution-step`).

    θ̄_hk is θ_hk less its mean over k, and the norm is bounded by :func:`operator_norm`. An Euler step with 0 < h < 2/Λ goes
    down the potential. For other activations than the softmax the kernels stay as they are, and the largest slope of the
    activation stands for ½. The arguments are those of :func:`potential`, and the size of the images.
    """
    if activation not in SLOPES:
        raise ValueError(f"no bound is known for the activation {activation!r}, only for: {', '.join(SLOPES)}")
    if activation == "softmax":
        theta = theta - theta.mean(1, keepdim=True)
    if weights is not None:
        theta = theta * weights.abs().sqrt()[:, None, None, None, None]
    return SLOPES[activation] * operator_norm(theta, height, width) ** 2


def log_sum_exp_pool(Z: Tensor, scale: Tensor | float, size: int = 2) -> Tensor:
    """(1/s) log of the mean of e^{sz} over windows size×size that do not overlap :eq:`eq-pool`.

    A potential of the window, read as a feature: between the mean (s → 0) and the maximum (s → ∞) of its entries. Its
    gradient is the softmax of the window: attention to the entries themselves.

    Args:
        Z: images (..., c, height, width).
        scale: s > 0, a number, or one for each channel (c,).
        size: a divisor of height and width.

    Returns:
        (..., c, height/size, width/size).

    Raises:
        ValueError: the windows do not fill the image, the scale is a number that is not positive, or of another shape.
    """
    if Z.ndim < 3 or size < 1 or Z.shape[-1] % size or Z.shape[-2] % size:
        raise ValueError(f"Z has shape {tuple(Z.shape)}, expected (..., c, height, width), multiples of the window, {size}")
    if isinstance(scale, Tensor):
        if scale.shape not in ((), Z.shape[-3:-2]):
            raise ValueError(f"scale has shape {tuple(scale.shape)}, expected a number, or one for each channel of Z")
        scale = scale[..., None, None]
    else:
        require_positive(scale)
    X = scale * Z
    corners = torch.stack([X[..., i::size, j::size] for i in range(size) for j in range(size)])
    return (corners.logsumexp(0) - math.log(size**2)) / scale


def on_sphere(Z: Tensor) -> Tensor:
    """Z √m/‖Z‖ for an image of m numbers (..., c, height, width): its root mean square is one. Zero stays zero."""
    mean = wide(Z).square().mean((-3, -2, -1), keepdim=True)
    return (Z * (mean + torch.finfo(mean.dtype).tiny).rsqrt()).to(Z.dtype)


class ConvolutionalBlock(EulerStep):
    """One explicit Euler step of Ż = −Σ_h λ_h θ_h ⋆ᵀ softmax_k(θ_h ⋆ Z + b_h) :eq:`eq-convolution-attention`.

    Args:
        channels: c of the images.
        k: prototypes of each head.
        heads: how many.
        size: of the kernels, odd.
        h: initial step size; learned with the rest.
        norm: of the prototypes at the start, about.
        activation: as in :func:`potential`.
        weights: as in :class:`imr.blocks.CrossAttentionBlock`.

    Raises:
        ValueError: a size is less than one or even, or ``weights`` or ``activation`` is another word.
    """

    def __init__(
        self,
        channels: int,
        k: int,
        heads: int = 1,
        size: int = 3,
        h: float = 0.5,
        norm: float = 1.5,
        activation: str = "softmax",
        weights: Weights = "learned",
    ) -> None:
        """Draw the prototypes; b starts at 0."""
        super().__init__(h)
        if min(channels, k, heads, size) < 1 or size % 2 == 0:
            raise ValueError(f"sizes are {channels}, {k}, {heads} and {size}, expected at least 1, and an odd kernel")
        if activation != "softmax" and activation not in _ACTIVATIONS:
            raise _unknown(activation)
        self.theta = nn.Parameter(norm * (channels * size**2) ** -0.5 * torch.randn(heads, k, channels, size, size))
        self.bias = nn.Parameter(torch.zeros(heads, k))
        self.weights = head_weights(heads, weights)
        self.activation = activation

    def velocity(self, Z: Tensor) -> Tensor:
        """−Σ_h λ_h θ_h ⋆ᵀ σ_h, of the shape of Z (..., c, height, width)."""
        return -attention(Z, self.theta, self.bias, self.weights, self.activation)

    def potential(self, Z: Tensor) -> Tensor:
        """Σ_h λ_h Σ_p LSE_k((θ_hk ⋆ Z)_p + b_hk)."""
        return potential(Z, self.theta, self.bias, self.weights, self.activation)


_SCALARS = {"identity": lambda N: N.square() / 2, **ANTIDERIVATIVES}
_ACTIVATIONS = {"identity": lambda N: N, **ACTIVATIONS}


def _half(theta: Tensor) -> tuple[int, int]:
    return theta.shape[-2] // 2, theta.shape[-1] // 2


def _unknown(activation: str) -> ValueError:
    return ValueError(f"unknown activation {activation!r}, expected one of: softmax, {', '.join(_ACTIVATIONS)}")


def _require_weights(theta: Tensor, weights: Tensor | None) -> None:
    if weights is not None and weights.shape != theta.shape[:1]:
        raise ValueError(f"weights have shape {tuple(weights.shape)}, expected one for each head, ({theta.shape[0]},)")


def _require_kernels(Z: Tensor, theta: Tensor, bias: Tensor | None) -> None:
    require_floating(Z)
    fits = theta.ndim == 5 and Z.ndim >= 3 and theta.shape[2] == Z.shape[-3]
    if not fits or theta.shape[-1] % 2 == 0 or theta.shape[-2] % 2 == 0:
        raise ValueError(
            f"Z has shape {tuple(Z.shape)} and theta {tuple(theta.shape)}, expected images (..., c, height, width) and "
            "prototypes (heads, k, c, rows, columns) with the same c and kernels of odd size"
        )
    if bias is not None and bias.shape != theta.shape[:2]:
        raise ValueError(f"bias has shape {tuple(bias.shape)}, expected (heads, k) = {tuple(theta.shape[:2])}")
