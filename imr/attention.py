"""The gradients of the potentials in closed form: attention, on torch's fused kernel where there is one.

That kernel has first derivatives alone, and no forward mode; torch's plain one, ``sdpa_kernel(SDPBackend.MATH)``, has all.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from imr.inputs import require_form, require_heads, require_positive, require_same_features, wide
from imr.potentials import linear_logits

BLOCK = 1 << 20  # entries of the softmax held at a time where no fused kernel exists: 4 MiB in float32, fits a cache


def cross_attention(Z: Tensor, theta: Tensor, scale: float = 1.0) -> Tensor:
    """CA(Z, θ) = σ(s Zθᵀ)θ, the gradient of Σᵢ LSEᵢ(s Zθᵀ)/s in Z (Theorem 1) :eq:`eq-ca`.

    Each row is the average prototype under the softmax of that token: queries Z, keys and values both θ.
    Rows of Z do not see each other, so all go through the fused kernel as one sequence, and no n×k matrix is kept.

    Args:
        Z: features (..., n, d), the queries.
        theta: prototypes (k, d), keys and values; or (..., k, d), with batch dimensions that broadcast.
        scale: s, multiplies the logits. 1 is the gradient; 1/√d is the usual transformer.

    Returns:
        (..., n, d), in the dtype and on the device of ``Z``.

    Raises:
        ValueError: the last axes of ``Z`` and ``theta`` differ, or the scale is not positive.
    """
    require_same_features(Z, theta)
    require_positive(scale)
    if theta.ndim == 2:
        return _one_sequence(Z, theta[None], scale)
    batch = torch.broadcast_shapes(Z.shape[:-2], theta.shape[:-2])
    Z, theta = (X.expand(*batch, *X.shape[-2:]) for X in (Z, theta))
    return _fused(Z, theta, theta, scale)


def multi_head_cross_attention(
    Z: Tensor,
    theta: Tensor,
    bias: Tensor | None = None,
    scale: float = 1.0,
    values: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Σ_h λ_h σ(s Zθ_hᵀ + b_h)θ_h: one multinomial regression with intercepts for each head :eq:`eq-many-heads`.

    The gradient in Z of :func:`imr.potentials.many_regressions`. With two prototypes each head is a sigmoid unit
    (:prf:ref:`prop-mlp`); one head without intercepts is :func:`cross_attention`, on torch's fused kernel.

    Args:
        Z: features (..., n, d).
        theta: prototypes (heads, k, d), keys and values.
        bias: intercepts b (heads, k) of the logits; defaults to zeros.
        scale: s, multiplies Zθᵀ.
        values: what is averaged instead of θ, (heads, k, d); the result is then no gradient (:prf:ref:`prop-untied`).
        weights: λ (heads,); defaults to ones.

    Returns:
        (..., n, d). Of several heads the n×k matrices are kept: with a few prototypes they are smaller than n×d a head.

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """
    require_same_features(Z, theta)
    require_positive(scale)
    require_heads(theta, bias)
    if len(theta) == 1 and bias is None and values is None:
        attention = _one_sequence(Z, theta, scale)
        return attention if weights is None else weights * attention
    # tokens last: the softmax then runs along them, not along the few prototypes, which is several times as fast on a CPU
    N = (scale * wide(theta).flatten(0, 1)) @ wide(Z).reshape(-1, Z.shape[-1]).mT  # (heads k, d) x (d, tokens)
    if bias is not None:
        N = N + bias.reshape(-1, 1)
    sigma = N.unflatten(0, theta.shape[:2]).softmax(1).flatten(0, 1).to(Z.dtype)  # (heads k, tokens)
    values = theta if values is None else values
    if weights is not None:
        values = weights[:, None, None] * values
    return (sigma.mT @ values.flatten(0, 1)).reshape(Z.shape)  # (tokens, heads k) x (heads k, d)


def self_attention(Z: Tensor, phi: Tensor, scale: float = 1.0, causal: bool = False) -> Tensor:
    """SA(Z, φ) = σ(s Zφφᵀ Zᵀ) Zφφᵀ, each token as a query :eq:`eq-sa`.

    Queries and keys are Zφ, values Zφφᵀ: tied, and the output map is φ transposed.

    Args:
        Z: features (..., n, d).
        phi: factor (d, r) of θ = φφᵀ, or (heads, d, r): then the sum over the heads.
        scale: s, multiplies the logits.
        causal: token i attends to tokens j ≤ i only.

    Returns:
        (..., n, d), in the dtype and on the device of ``Z``; no n×n matrix is kept.

    Raises:
        ValueError: ``phi`` does not fit ``Z``, or the scale is not positive.
    """
    _require_factor(Z, phi, scale)
    if phi.ndim == 3:
        Q = torch.einsum("...nd,hdr->...hnr", Z, phi)
        reads = _fused(Q, Q, Q, scale, causal)  # σ_h Zφ_h, (..., h, n, r): values before the output map, which is linear
        return torch.einsum("...hnr,hdr->...nd", reads, phi)
    Q = Z @ phi  # (..., n, d) x (d, r) -> (..., n, r)
    return _fused(Q, Q, Q, scale, causal) @ phi.mT


def companion(Z: Tensor, phi: Tensor, scale: float = 1.0, causal: bool = False) -> Tensor:
    """SA*(Z, φ) = σ(s Zφφᵀ Zᵀ)ᵀ Zφφᵀ, each token as a key of all others: the transposed read :eq:`eq-companion`.

    For the symmetric logits of θ = φφᵀ its weights σᵀ are a softmax over the *queries*. With ``causal`` it is
    anti-causal: token p receives from tokens i ≥ p.

    Args:
        Z: features (..., n, d).
        phi: factor (d, r), or (heads, d, r): then the sum over the heads.
        scale: s, multiplies the logits.
        causal: mask of the softmax that is transposed.

    Returns:
        (..., n, d); the softmax is held in blocks of rows, never whole.

    Raises:
        ValueError: ``phi`` does not fit ``Z``, or the scale is not positive.
    """
    _require_factor(Z, phi, scale)
    if phi.ndim == 3:
        Q = torch.einsum("...nd,hdr->...hnr", Z, phi)
        return torch.einsum("...hnr,hdr->...nd", _both_reads(Q, Q, None, Q, scale, causal)[1], phi)
    Q = Z @ phi
    return _both_reads(Q, Q, None, Q, scale, causal)[1] @ phi.mT


def quadratic_attention(Z: Tensor, theta: Tensor, scale: float = 1.0, causal: bool = False) -> Tensor:
    """σZθᵀ + σᵀZθ with σ = σ(s ZθZᵀ): the gradient of Σᵢ LSEᵢ(s ZθZᵀ)/s in Z (:prf:ref:`thm-quadratic`).

    The first term is each token as a query, the second each token as a key. For θ = φφᵀ they are
    :func:`self_attention` and :func:`companion`; here both come from one softmax.

    Args:
        Z: features (..., n, d).
        theta: bilinear form (d, d), not necessarily symmetric.
        scale: s, multiplies the logits.
        causal: N_ij = −∞ for j > i.

    Returns:
        (..., n, d); the softmax is held in blocks of rows, never whole.

    Raises:
        ValueError: ``theta`` is not (d, d), or the scale is not positive.
    """
    require_form(Z, theta)
    require_positive(scale)
    return torch.add(*_both_reads(Z @ theta, Z, Z @ theta.mT, Z @ theta, scale, causal))


def reads(Z: Tensor, phi: Tensor, values: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """σV and σᵀV with σ = σ(s Zφφᵀ Zᵀ), head by head: each token as a query, and each as a key.

    With V = Zφ, times φᵀ and summed over the heads, they are :func:`self_attention` and :func:`companion`, here from one
    softmax.

    Args:
        Z: features (..., n, d).
        phi: factors (heads, d, r).
        values: V (..., heads, n, v).
        scale: s, multiplies the logits.

    Returns:
        Two of (..., heads, n, v); the softmax is held in blocks of rows, never whole.

    Raises:
        ValueError: ``phi`` does not fit ``Z``, or the scale is not positive.
    """
    _require_factor(Z, phi, scale)
    Q = torch.einsum("...nd,hdr->...hnr", Z, phi)
    return _both_reads(Q, Q, values, values, scale, causal=False)


def perceptron(
    Z: Tensor, W: Tensor, activation: str = "gelu", bias: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """(λ g'(ZWᵀ + b))W, the gradient of :func:`imr.potentials.mlp`: a two-layer perceptron with tied weights :eq:`eq-mlp`.

    Args:
        Z: features (..., n, d).
        W: rows are the hidden units (r, d).
        activation: g' by name: "sigmoid", "relu" or "gelu".
        bias: b (r,), added to what the hidden units see; defaults to zeros.
        weights: λ (r,), one for each unit; defaults to ones.

    Returns:
        (..., n, d).

    Raises:
        ValueError: unknown activation, or shapes that do not fit.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}, expected one of: {', '.join(ACTIVATIONS)}")
    hidden = ACTIVATIONS[activation](linear_logits(Z, W) + (0.0 if bias is None else bias))
    return hidden @ (W if weights is None else weights[:, None] * W)  # (..., n, r) x (r, d) -> (..., n, d)


ACTIVATIONS = {"sigmoid": torch.sigmoid, "relu": F.relu, "gelu": F.gelu}


def _one_sequence(Z: Tensor, theta: Tensor, scale: float) -> Tensor:
    """CA of features (..., n, d) and prototypes (1, k, d): rows do not see each other, so all are one sequence."""
    return _fused(Z.reshape(1, -1, Z.shape[-1]), theta, theta, scale).reshape(Z.shape)


def _fused(Q: Tensor, K: Tensor, V: Tensor, scale: float, causal: bool = False) -> Tensor:
    """Torch's scaled_dot_product_attention, given four axes: with fewer it falls back to a slow path on the CPU."""
    missing = max(0, 4 - Q.ndim)
    Q, K, V = (X[(None,) * missing] for X in (Q, K, V))
    result = F.scaled_dot_product_attention(Q, K, V, scale=scale, is_causal=causal)
    return result[(0,) * missing]


def _both_reads(
    Q: Tensor, K: Tensor, V: Tensor | None, U: Tensor, scale: float, causal: bool
) -> tuple[Tensor | None, Tensor]:
    """σV and σᵀU for σ = softmax(s QKᵀ), a block of rows at a time, in float32 or wider; V may be None."""
    n, dtype = Q.shape[-2], U.dtype
    Q, K, V, U = (None if X is None else wide(X) for X in (Q, K, V, U))
    rows = max(1, BLOCK // max(1, Q[..., 0].numel()))
    token = torch.arange(n, device=Q.device)
    as_query, as_key = (None if V is None else torch.zeros_like(V)), torch.zeros_like(U)
    for part in token.split(rows):
        block = slice(int(part[0]), int(part[-1]) + 1)
        N = scale * (Q[..., block, :] @ K.mT)  # (..., rows, n)
        if causal:
            N = N.masked_fill(token > part[:, None], -torch.inf)
        sigma = N.softmax(-1)
        as_key += sigma.mT @ U[..., block, :]
        if as_query is not None:
            as_query[..., block, :] = sigma @ V  # one result, written in place: pieces would tear the heap to shreds
    return (None if V is None else as_query.to(dtype)), as_key.to(dtype)


def _require_factor(Z: Tensor, phi: Tensor, scale: float) -> None:
    require_positive(scale)
    if Z.ndim < 2 or phi.ndim not in (2, 3) or phi.shape[-2] != Z.shape[-1]:
        raise ValueError(
            f"Z has shape {tuple(Z.shape)} and phi {tuple(phi.shape)}, expected (..., n, d) and (d, r) or (heads, d, r)"
        )
