"""The gradients of the potentials in closed form: attention, on torch's fused kernel."""

import torch.nn.functional as F
from torch import Tensor

from imr.potentials import require_same_features


def cross_attention(Z: Tensor, theta: Tensor, scale: float = 1.0) -> Tensor:
    """CA(Z, θ) = σ(s Zθᵀ)θ, the gradient of Σᵢ LSEᵢ(s Zθᵀ)/s in Z (Theorem 1, Eq. 2.5).

    Each row is the average prototype under the softmax of that token: queries Z, keys and values both θ.
    Rows of Z do not see each other, so all of them go through the fused kernel as one sequence, and no n×k matrix is kept.

    Args:
        Z: features (..., n, d), the queries.
        theta: prototypes (k, d), keys and values; or (..., k, d), one set for each batch element.
        scale: s, multiplies the logits. 1 is the gradient; 1/√d is the usual transformer.

    Returns:
        (..., n, d), in the dtype and on the device of ``Z``.

    Raises:
        ValueError: the last axes of ``Z`` and ``theta`` differ.
    """
    require_same_features(Z, theta)
    if theta.ndim == 2:
        queries, keys = Z.reshape(1, 1, -1, Z.shape[-1]), theta[None, None]  # (1, 1, n', d), (1, 1, k, d)
    else:
        queries, keys = Z, theta
    return F.scaled_dot_product_attention(queries, keys, keys, scale=scale).reshape(Z.shape)
