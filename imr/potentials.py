"""The scalars: potentials of the features, whose gradients are the layers.

Conventions of the whole package: features ``Z`` have one token in each row, shape (..., n, d); prototypes ``theta`` have
one class in each row, shape (k, d). Labels ``C`` are either probabilities, a floating-point matrix (..., n, k) whose rows
sum to one, or class numbers, an integer tensor (..., n). Losses are *sums* over tokens, not means, so that their
gradients carry no factor 1/n. ``scale`` is the s of softmax(s·N), an inverse temperature; each potential is divided by
it, so that its gradient is that of attention with this scale and prefactor one. In float16 and bfloat16 a potential is
computed in float32 and rounded once, at the end.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from imr.inputs import (
    require_floating,
    require_form,
    require_heads,
    require_labels,
    require_positive,
    require_same_features,
    wide,
)


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
    return _token_logits(Z @ theta, Z, causal)


def cross_entropy(N: Tensor, C: Tensor) -> Tensor:
    """CE(N, C) = Σᵢ LSEᵢ(N) − ⟨C, N⟩, summed over the tokens :eq:`eq-cross-entropy`.

    Right to rounding for logits of any size: with m the largest of a row it is log(1 + Σ' e^{N_j − m}) + Σ C_j (m − N_j),
    where Σ' leaves out m itself. No term is negative, so none cancels, and logits enter by their differences alone.

    Args:
        N: logits (..., n, k). Where they are −∞ (masked), the label must be zero.
        C: probabilities (..., n, k), or class numbers (..., n). Rows that do not sum to one give the second form above,
            not the first. ``torch.func.vmap`` over class numbers is not possible: their range is checked.

    Returns:
        The loss in nats, shape (...), in the dtype of ``N``: one scalar for each batch element.

    Raises:
        ValueError: ``C`` does not fit the logits, or these are no floating-point numbers.
    """
    require_floating(N)
    require_labels(C, *N.shape[-2:])
    largest, place = wide(N).max(-1, keepdim=True)
    gaps = (largest - N).scatter(-1, place, 0)  # the largest has none, in its derivatives too
    others = (-gaps).exp().scatter(-1, place, 0).sum(-1)
    if C.is_floating_point():
        missed = (C * gaps.masked_fill((C == 0) & gaps.isinf(), 0)).sum(-1)  # 0·∞ counts as 0
    else:
        missed = gaps.gather(-1, C.expand(N.shape[:-1])[..., None])[..., 0]
    return (others.log1p() + missed).sum(-1).to(N.dtype)  # (..., n, k) -> (..., n) -> (...)


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
    require_same_features(Z, theta)
    return (cross_entropy(scale * linear_logits(wide(Z), _centred(theta)), C) / scale).to(Z.dtype)


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
    require_form(Z, theta)
    N = _token_logits(wide(Z) @ wide(theta), _centred(Z), causal)
    return (cross_entropy(scale * N, C) / scale).to(Z.dtype)


def multi_head(Z: Tensor, phi: Tensor, C: Tensor, scale: float = 1.0) -> Tensor:
    """Σ_h L(Z, φ_h φ_hᵀ): one quadratic potential for each head, with the same labels :eq:`eq-heads`.

    ``phi`` is (heads, d, r), else a ValueError says so; the result has shape (...), in nats.
    """
    if phi.ndim != 3:
        raise ValueError(f"phi has shape {tuple(phi.shape)}, expected (heads, d, r); one head is phi[None]")
    return torch.stack([quadratic(wide(Z), head @ head.mT, C, scale) for head in wide(phi)]).sum(0).to(Z.dtype)


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
    N = scale * linear_logits(wide(Z[..., None, :, :]), wide(theta))  # (..., heads, n, k)
    if bias is not None:
        N = N + bias[:, None]
    U = N.logsumexp(-1).sum(-1) / scale  # (..., heads)
    return (U if weights is None else weights * U).sum(-1).to(Z.dtype)


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
    g = ANTIDERIVATIVES[activation](linear_logits(wide(Z), wide(W)) + (0.0 if bias is None else bias))
    return (g if weights is None else weights * g).sum((-2, -1)).to(Z.dtype)


def _gelu_antiderivative(x: Tensor) -> Tensor:
    erf, density = torch.erf(x / 2**0.5), torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5
    return (x**2 * (1 + erf) - erf) / 4 + x * density / 2


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=40.0)  # above torch's own, 20, the slope is off by up to 2e-9


ANTIDERIVATIVES = {"sigmoid": _softplus, "relu": lambda x: F.relu(x) ** 2 / 2, "gelu": _gelu_antiderivative}
"""The g of :func:`mlp` for each activation g'."""


def _centred(X: Tensor) -> Tensor:
    """Rows less their median, a shift that no difference of logits sees: what they have in common costs no digits then."""
    return wide(X) - wide(X).detach().median(-2, keepdim=True).values


def _token_logits(Q: Tensor, K: Tensor, causal: bool) -> Tensor:
    N = Q @ K.mT  # (..., n, d) x (..., d, n) -> (..., n, n)
    return N.masked_fill(future(N.shape[-1], N.device), -torch.inf) if causal else N


def future(n: int, device: torch.device | None = None) -> Tensor:
    """The mask (n, n) that is True where j > i: what a causal model must not see."""
    return torch.ones(n, n, dtype=torch.bool, device=device).triu(1)
