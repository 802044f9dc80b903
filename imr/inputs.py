"""What goes into potentials and attention: its dtype, and the errors that say what does not fit."""

import torch
from torch import Tensor


def wide(X: Tensor) -> Tensor:
    """X in float32 where its dtype is narrower: logits may overflow float16 where what they lead to fits."""
    return X.to(torch.promote_types(X.dtype, torch.float32))


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


def require_floating(N: Tensor) -> None:
    """Raise ValueError unless logits are floating-point numbers."""
    if not N.is_floating_point():
        raise ValueError(f"the logits have the dtype {N.dtype}, expected floating-point numbers: N.float(), say")


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
