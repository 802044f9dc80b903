"""One iterate of the flow as an ``nn.Module``."""

import torch
from torch import Tensor, nn

from imr.attention import companion, cross_attention, self_attention


class CrossAttentionBlock(nn.Module):
    """One explicit Euler step of the label-free flow Ż = ZW − CA(Z, θ) :eq:`eq-label-free`.

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
            _require_size(name, value)
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


class SelfAttentionBlock(nn.Module):
    """One explicit Euler step of the label-free quadratic flow, Z⁺ = Z + h (ZW − SA − SA*) :eq:`eq-self-block`.

    Heads are a sum of potentials. With ``both_reads`` the attention part is the exact gradient of a potential; without,
    it is the usual self-attention, the same with keys and values held fixed.

    Args:
        d: features of each token.
        r: rank of each head.
        heads: how many.
        h: initial step size; learned with the rest.
        both_reads: keep the companion SA*, each token as a key.
        scale: the s of :func:`imr.attention.self_attention`.

    Raises:
        ValueError: a size is less than one.
    """

    def __init__(self, d: int, r: int, heads: int = 1, h: float = 1.0, both_reads: bool = True, scale: float = 1.0) -> None:
        """Draw factors of norm about 1; W starts at 0."""
        super().__init__()
        for name, value in {"d": d, "r": r, "heads": heads}.items():
            _require_size(name, value)
        self.phi = nn.Parameter(d**-0.5 * torch.randn(heads, d, r))
        self.W = nn.Parameter(torch.zeros(d, d))
        self.h = nn.Parameter(torch.tensor(float(h)))
        self.both_reads, self.scale = both_reads, scale

    def forward(self, Z: Tensor) -> Tensor:
        """Map features (..., n, d) to the next iterate, same shape."""
        velocity = Z @ self.W - self_attention(Z, self.phi, self.scale)
        if self.both_reads:
            velocity = velocity - companion(Z, self.phi, self.scale)
        return Z + self.h * velocity


def _require_size(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}, expected at least 1")
