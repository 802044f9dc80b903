"""One iterate of the flow as an ``nn.Module``."""

import torch
from torch import Tensor, nn

from imr.attention import cross_attention


class CrossAttentionBlock(nn.Module):
    """One explicit Euler step of the label-free flow Ż = ZW − CA(Z, θ) (Chapter 3, :eq:`eq-block`).

    The flow's label term is Cθ. Where labels are unknown a linear map of the features takes its place:
    Z⁺ = Z + h (ZW − CA(Z, θ)), that is residual + linear map − attention: a transformer block with one head whose keys
    and values are learned prototypes.

    Args:
        d: features of each token.
        k: prototypes.
        h: initial step size; learned with the rest.
        linear_map: learn W (d×d). Without it the step is attention alone, and the linear part is left to what reads Z.
        scale: the s of :func:`imr.attention.cross_attention`.

    Raises:
        ValueError: ``d`` or ``k`` is less than one.
    """

    def __init__(self, d: int, k: int, h: float = 1.0, linear_map: bool = True, scale: float = 1.0) -> None:
        """Draw prototypes of norm about 1 (small ones stay smooth in training and withstand noise); W starts at 0."""
        super().__init__()
        for name, value in {"d": d, "k": k}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
        self.theta = nn.Parameter(d**-0.5 * torch.randn(k, d))
        self.W = nn.Parameter(torch.zeros(d, d)) if linear_map else None
        self.h = nn.Parameter(torch.tensor(float(h)))
        self.scale = scale

    def forward(self, Z: Tensor) -> Tensor:
        """Map features (..., n, d) to the next iterate, same shape."""
        velocity = -cross_attention(Z, self.theta, self.scale)
        if self.W is not None:
            velocity = velocity + Z @ self.W  # (..., n, d) x (d, d) -> (..., n, d)
        return Z + self.h * velocity
