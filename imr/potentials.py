"""The scalars: cross-entropy of multinomial regression as a function of the features.

Conventions of the whole package: features ``Z`` have one token in each row, shape (..., n, d); prototypes ``theta`` have
one class in each row, shape (k, d); labels ``C`` have shape (..., n, k) and rows that sum to one. The loss is the *sum*
over tokens, not the mean, so that its gradient carries no factor 1/n.
"""

from torch import Tensor


def linear_logits(Z: Tensor, theta: Tensor) -> Tensor:
    """The linear model N = Zθᵀ (Chapter 1).

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


def cross_entropy(N: Tensor, C: Tensor) -> Tensor:
    """CE(N, C) = Σᵢ LSEᵢ(N) − ⟨C, N⟩, summed over the tokens (Chapter 1).

    Args:
        N: logits (..., n, k).
        C: labels (..., n, k), one-hot or soft; rows sum to one.

    Returns:
        The loss in nats, shape (...): one scalar for each batch element.

    Raises:
        ValueError: ``C`` is not of the shape of ``N``.
    """
    if C.shape[-2:] != N.shape[-2:]:
        raise ValueError(
            f"C has shape {tuple(C.shape)}, expected (..., {N.shape[-2]}, {N.shape[-1]}) like the logits: one row for each "
            "token, one column for each class. From class numbers: torch.nn.functional.one_hot(y, k).to(Z.dtype)"
        )
    return (N.logsumexp(-1) - (C * N).sum(-1)).sum(-1)  # (..., n, k) -> (..., n) -> (...)


def linear(Z: Tensor, theta: Tensor, C: Tensor, scale: float = 1.0) -> Tensor:
    """L(Z, θ) = CE(s Zθᵀ, C) / s, the potential of cross-attention (Chapter 2).

    Dividing by the scale s (an inverse temperature) keeps the gradient's prefactor at one: −∇L = Cθ − σ(s Zθᵀ)θ.

    Args:
        Z: features (..., n, d).
        theta: class prototypes (k, d).
        C: labels (..., n, k), rows sum to one.
        scale: s > 0, as in torch's ``scaled_dot_product_attention``; 1 is plain multinomial regression.

    Returns:
        The loss in nats, shape (...).

    Raises:
        ValueError: shapes that do not fit, or a scale that is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale is {scale}, expected a positive number: it multiplies the logits (1.0 leaves them alone)")
    return cross_entropy(scale * linear_logits(Z, theta), C) / scale


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
