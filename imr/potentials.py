"""The scalars: potentials of the features, whose gradients are the layers.

Conventions of the whole package: features ``Z`` have one token in each row, shape (..., n, d); prototypes ``theta`` have
one class in each row, shape (k, d). Labels ``C`` are either probabilities, a floating-point matrix (..., n, k) whose rows
sum to one, or class numbers, an integer tensor (..., n). Losses are *sums* over tokens, not means, so that their
gradients carry no factor 1/n. ``scale`` is the s of softmax(s·N), an inverse temperature; each potential is divided by
it, so that its gradient is that of attention with this scale and prefactor one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def linear_logits(Z: Tensor, theta: Tensor) -> Tensor:
    """The linear model N = Zθᵀ :eq:`eq-logits`.

    Args:
        Z: features (..., n, d).
        theta: class prototypes (k, d), or (..., k, d) with batch dimensions that broadcast against those of ``Z``.

    Returns:
        Logits (..., n, k).

    Raises:
        ValueError: the last axes of ``Z`` and ``theta`` differ.
    """
    require_same_features(Z, theta)
    return Z @ theta.mT  # (..., n, d) x (..., d, k) -> (..., n, k)


def quadratic_logits(Z: Tensor, theta: Tensor, causal: bool = False) -> Tensor:
    """The quadratic model N = ZθZᵀ, whose classes are the tokens :eq:`eq-quadratic-logits`.

    Args:
        Z: features (..., n, d).
        theta: bilinear form (d, d).
        causal: set N_ij = −∞ for j > i, so that token i may only point at itself and earlier tokens.

    Returns:
        Logits (..., n, n).

    Raises:
        ValueError: ``theta`` is not (d, d).
    """
    require_form(Z, theta)
    N = Z @ theta @ Z.mT  # (..., n, d) x (d, d) x (..., d, n) -> (..., n, n)
    return N.masked_fill(future(N.shape[-1], N.device), -torch.inf) if causal else N


def cross_entropy(N: Tensor, C: Tensor) -> Tensor:
    """CE(N, C) = Σᵢ LSEᵢ(N) − ⟨C, N⟩, summed over the tokens :eq:`eq-cross-entropy`.

    Args:
        N: logits (..., n, k). Where they are −∞ (masked), the label must be zero.
        C: probabilities (..., n, k), or class numbers (..., n).

    Returns:
        The loss in nats, shape (...): one scalar for each batch element.

    Raises:
        ValueError: ``C`` does not fit the logits.
    """
    require_labels(C, *N.shape[-2:])
    if C.is_floating_point():
        scores = (C * N.masked_fill(C == 0, 0)).sum(-1)  # 0·(−∞) counts as 0
    else:
        scores = N.gather(-1, C.expand(N.shape[:-1])[..., None])[..., 0]
    return (N.logsumexp(-1) - scores).sum(-1)  # (..., n, k) -> (..., n) -> (...)


def linear(Z: Tensor, theta: Tensor, C: Tensor, scale: float = 1.0) -> Tensor:
    """L(Z, θ) = CE(s Zθᵀ, C)/s, the potential of cross-attention :eq:`eq-linear-potential`.

    Args:
        Z: features (..., n, d).
        theta: class prototypes (k, d).
        C: labels, (..., n, k) or (..., n).
        scale: s > 0; 1 is plain multinomial regression.

    Returns:
        The loss in nats, shape (...).

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """
    require_positive(scale)
    return cross_entropy(scale * linear_logits(Z, theta), C) / scale


def quadratic(Z: Tensor, theta: Tensor, C: Tensor, scale: float = 1.0, causal: bool = False) -> Tensor:
    """L(Z, θ) = CE(s ZθZᵀ, C)/s, the potential of self-attention for θ = φφᵀ :eq:`eq-quadratic-potential`.

    Args:
        Z: features (..., n, d).
        theta: bilinear form (d, d).
        C: labels, (..., n, n) or (..., n): which token each token should point at.
        scale: s > 0.
        causal: as in :func:`quadratic_logits`.

    Returns:
        The loss in nats, shape (...).

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """
    require_positive(scale)
    return cross_entropy(scale * quadratic_logits(Z, theta, causal), C) / scale


def multi_head(Z: Tensor, phi: Tensor, C: Tensor, scale: float = 1.0) -> Tensor:
    """Σ_h L(Z, φ_h φ_hᵀ): one quadratic potential for each head, with the same labels :eq:`eq-heads`.

    ``phi`` is (heads, d, r), else a ValueError says so; the result has shape (...), in nats.
    """
    if phi.ndim != 3:
        raise ValueError(f"phi has shape {tuple(phi.shape)}, expected (heads, d, r); one head is phi[None]")
    return torch.stack([quadratic(Z, head @ head.mT, C, scale) for head in phi]).sum(0)


def many_regressions(
    Z: Tensor, theta: Tensor, bias: Tensor | None = None, scale: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """Σ_h λ_h Σᵢ LSEᵢ(s Zθ_hᵀ + b_h)/s, the label-free part of several regressions :eq:`eq-many-regressions`.

    Args:
        Z: features (..., n, d).
        theta: prototypes (heads, k, d).
        bias: intercepts b (heads, k); defaults to zeros.
        scale: s > 0, multiplies Zθᵀ.
        weights: λ (heads,); defaults to ones.

    Returns:
        The potential in nats, shape (...).

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """
    require_heads(theta, bias)
    require_positive(scale)
    N = scale * linear_logits(Z[..., None, :, :], theta)  # (..., heads, n, k)
    if bias is not None:
        N = N + bias[:, None]
    U = N.logsumexp(-1).sum(-1) / scale  # (..., heads)
    return (U if weights is None else weights * U).sum(-1)


def mlp(Z: Tensor, W: Tensor, activation: str = "gelu", bias: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """U(Z) = Σᵢᵣ λᵣ g((ZWᵀ)ᵢᵣ + bᵣ), the potential of a tied two-layer perceptron: ∇U = g'(ZWᵀ)W :eq:`eq-mlp-potential`.

    Args:
        Z: features (..., n, d).
        W: rows are the hidden units (r, d).
        activation: g' by name: "sigmoid" (g = softplus, Theorem 1 with two classes), "relu" (g = ½relu²) or "gelu".
        bias: b (r,); defaults to zeros.
        weights: λ (r,); defaults to ones.

    Returns:
        The potential, shape (...).

    Raises:
        ValueError: unknown activation, or shapes that do not fit.
    """
    if activation not in ANTIDERIVATIVES:
        raise ValueError(f"unknown activation {activation!r}, expected one of: {', '.join(ANTIDERIVATIVES)}")
    g = ANTIDERIVATIVES[activation](linear_logits(Z, W) + (0.0 if bias is None else bias))
    return (g if weights is None else weights * g).sum((-2, -1))


def _gelu_antiderivative(x: Tensor) -> Tensor:
    erf, density = torch.erf(x / 2**0.5), torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5
    return (x**2 * (1 + erf) - erf) / 4 + x * density / 2


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=40.0)  # above torch's own, 20, the slope is off by up to 2e-9


ANTIDERIVATIVES = {"sigmoid": _softplus, "relu": lambda x: F.relu(x) ** 2 / 2, "gelu": _gelu_antiderivative}
"""The g of :func:`mlp` for each activation g'."""


def future(n: int, device: torch.device | None = None) -> Tensor:
    """The mask (n, n) that is True where j > i: what a causal model must not see."""
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)


def require_same_features(Z: Tensor, theta: Tensor) -> None:
    """Raise a ValueError unless Z (..., n, d) and theta (..., k, d) are matrices with the same d."""
    if Z.ndim < 2 or theta.ndim < 2:
        raise ValueError(
            f"Z has shape {tuple(Z.shape)} and theta {tuple(theta.shape)}, expected (..., n, d) and (k, d): "
            "one token or class in each row. A single vector z is the matrix z[None]"
        )
    if Z.shape[-1] != theta.shape[-1]:
        hint = "; it looks transposed: pass theta.T" if theta.shape[-2] == Z.shape[-1] else ""
        raise ValueError(
            f"theta has shape {tuple(theta.shape)}, expected (k, {Z.shape[-1]}): its last axis must be the d of "
            f"Z {tuple(Z.shape)}{hint}"
        )


def require_heads(theta: Tensor, bias: Tensor | None) -> None:
    """Raise a ValueError unless theta is (heads, k, d) and bias, if there is one, (heads, k)."""
    if theta.ndim != 3 or (bias is not None and bias.shape != theta.shape[:2]):
        given = "" if bias is None else f" and bias {tuple(bias.shape)}"
        raise ValueError(f"theta has shape {tuple(theta.shape)}{given}, expected (heads, k, d) and (heads, k)")


def require_form(Z: Tensor, theta: Tensor) -> None:
    """Raise a ValueError unless Z is (..., n, d) and theta (d, d)."""
    if Z.ndim < 2 or theta.shape != (Z.shape[-1], Z.shape[-1]):
        raise ValueError(
            f"Z has shape {tuple(Z.shape)} and theta {tuple(theta.shape)}, expected (..., n, d) and (d, d). "
            "From a factor phi (d, r): theta = phi @ phi.T"
        )


def require_labels(C: Tensor, n: int, k: int) -> None:
    """Raise a ValueError unless C is a floating-point (..., n, k) or an integer (..., n) with entries in 0 … k − 1."""
    if C.is_floating_point():
        fits, expected = C.shape[-2:] == (n, k), f"(..., {n}, {k})"
    else:
        fits, expected = C.ndim > 0 and C.shape[-1] == n and C.dtype == torch.int64, f"(..., {n}), int64"
    if not fits:
        raise ValueError(
            f"C has shape {tuple(C.shape)} and dtype {C.dtype}, expected {expected}: probabilities are a floating-point "
            "matrix with one row for each token and one column for each class, class numbers are an int64 vector"
        )
    if not C.is_floating_point() and C.numel() and not 0 <= C.min() <= C.max() < k:
        raise ValueError(f"C has class numbers from {C.min()} to {C.max()}, expected 0 to {k - 1}")


def require_positive(scale: float) -> None:
    """Raise a ValueError unless the scale is positive."""
    if not scale > 0:
        raise ValueError(f"scale is {scale}, expected a positive number: it multiplies the logits (1.0 leaves them alone)")
