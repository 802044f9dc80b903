"""Explicit Euler steps of the flows as ``nn.Module``."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from imr import potentials
from imr.attention import multi_head_cross_attention, perceptron, reads

Weights = Literal["down", "up", "learned"]
"""Down the potential of every head, up, or a weight of either sign for each."""


class EulerStep(nn.Module):
    """Z⁺ = Z + h f(Z) for the field f that a subclass gives as ``velocity`` :eq:`eq-euler`.

    The step size is learned through its logarithm, so that it stays positive and a step down never becomes a step up.
    """

    def __init__(self, h: float) -> None:
        """Start with step size ``h``; a ValueError says so if it is not positive."""
        super().__init__()
        if not h > 0:
            raise ValueError(f"h is {h}, expected a positive step size; to climb, weights='up'")
        self.log_h = nn.Parameter(torch.tensor(math.log(h)))

    @property
    def h(self) -> Tensor:
        """The step size."""
        return self.log_h.exp()

    def velocity(self, Z: Tensor) -> Tensor:
        """Give the field at the features (..., n, d), same shape."""
        raise NotImplementedError

    def potential(self, Z: Tensor) -> Tensor:
        """Give the scalar (...) whose descent this is, velocity = −∇potential; a ValueError says so if there is none."""
        raise NotImplementedError

    def forward(self, Z: Tensor, fraction: float = 1.0) -> Tensor:
        """Map features (..., n, d) to the next iterate, same shape; ``fraction`` scales the step (½ in a Strang step)."""
        return Z + fraction * self.h * self.velocity(Z)


class CrossAttentionBlock(EulerStep):
    """One explicit Euler step of Ż = ZW − Σ_h λ_h σ(s Zθ_hᵀ + b_h)θ_h :eq:`eq-many-heads`.

    The flow's label term is Cθ. Where labels are unknown a linear map of the features takes its place: residual, linear
    map and attention, a transformer block whose keys and values are learned prototypes. One head without intercepts is
    Ż = ZW − CA(Z, θ) :eq:`eq-label-free`. Several heads are several small regressions instead of one large: the classes
    of one compete, those of different heads do not.

    Args:
        d: features of each token.
        k: prototypes of each head.
        heads: how many.
        h: initial step size; learned with the rest.
        linear_map: learn W (d×d). Without it the step is attention alone, and the linear part is left to what reads Z.
        scale: s, multiplies Zθᵀ.
        bias: learn the intercepts b.
        norm: of the prototypes at the start, about. Small ones stay smooth in training and withstand noise; larger ones
            are far enough apart that each of many heads tells tokens from each other.
        tied: the values are the keys θ. Without, they are prototypes of their own, and the step is no gradient.
        weights: of the heads' potentials: "down" goes down each (λ = 1), "up" climbs each (λ = −1), "learned" learns
            a λ_h of either sign for each.

    Raises:
        ValueError: a size is less than one, ``h`` is not positive, or ``weights`` is another word.
    """

    def __init__(
        self,
        d: int,
        k: int,
        heads: int = 1,
        h: float = 1.0,
        linear_map: bool = True,
        scale: float = 1.0,
        bias: bool = False,
        norm: float = 1.0,
        tied: bool = True,
        weights: Weights = "down",
    ) -> None:
        """Draw the prototypes; b and W start at 0."""
        super().__init__(h)
        _require_sizes(d=d, k=k, heads=heads)
        self.theta = nn.Parameter(norm * d**-0.5 * torch.randn(heads, k, d))
        self.bias = nn.Parameter(torch.zeros(heads, k)) if bias else None
        self.values = None if tied else nn.Parameter(self.theta.detach().clone())
        self.weights = head_weights(heads, weights)
        self.W = nn.Parameter(torch.zeros(d, d)) if linear_map else None
        self.scale = scale

    def velocity(self, Z: Tensor) -> Tensor:
        """ZW − Σ_h λ_h CA_h."""
        attention = multi_head_cross_attention(Z, self.theta, self.bias, self.scale, self.values, self.weights)
        return _linear(Z, self.W) - attention

    def potential(self, Z: Tensor) -> Tensor:
        """Σ_h λ_h Σᵢ LSEᵢ(s Zθ_hᵀ + b_h)/s."""
        _require_gradient(self.W, self.values)
        return potentials.many_regressions(Z, self.theta, self.bias, self.scale, self.weights)


class SelfAttentionBlock(EulerStep):
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
        linear_map: learn W (d×d).
        labels: the number n of tokens, to learn the label matrices C_h (n×n) of the quadratic model too
            :eq:`eq-quadratic-flow`: which token each token should point at, whatever the image. 0 for none.
        tied: the values are Zφ_h. Without, they are ZV_h with a V_h of their own, and the step is no gradient.
        weights: as in :class:`CrossAttentionBlock`.

    Raises:
        ValueError: a size is less than one, ``h`` is not positive, or ``weights`` is another word.
    """

    def __init__(
        self,
        d: int,
        r: int,
        heads: int = 1,
        h: float = 1.0,
        both_reads: bool = True,
        scale: float = 1.0,
        linear_map: bool = True,
        labels: int = 0,
        tied: bool = True,
        weights: Weights = "down",
    ) -> None:
        """Draw factors of norm about 1; W and C start at 0."""
        super().__init__(h)
        _require_sizes(d=d, r=r, heads=heads)
        self.phi = nn.Parameter(d**-0.5 * torch.randn(heads, d, r))
        self.value = None if tied else nn.Parameter(self.phi.detach().clone())
        self.C = nn.Parameter(torch.zeros(heads, labels, labels)) if labels else None
        self.W = nn.Parameter(torch.zeros(d, d)) if linear_map else None
        self.weights = head_weights(heads, weights)
        self.both_reads, self.scale = both_reads, scale

    def velocity(self, Z: Tensor) -> Tensor:
        """ZW − Σ_h λ_h (SA_h + SA_h*) + Σ_h (C_h + C_hᵀ) Zφ_hφ_hᵀ; without the companion, C_h alone."""
        V = torch.einsum("...nd,hdr->...hnr", Z, self.phi if self.value is None else self.value)
        as_query, as_key = reads(Z, self.phi, V, self.scale)
        total = -self.weights[:, None, None] * (as_query + as_key if self.both_reads else as_query)
        if self.C is not None:
            total = total + (self.C + self.C.mT if self.both_reads else self.C) @ V
        return _linear(Z, self.W) + torch.einsum("...hnr,hdr->...nd", total, self.phi)

    def potential(self, Z: Tensor) -> Tensor:
        """Σ_h λ_h Σᵢ LSEᵢ(s Zφ_hφ_hᵀZᵀ)/s − Σ_h ⟨C_h, Zφ_hφ_hᵀZᵀ⟩."""
        _require_gradient(self.W, self.value, None if self.both_reads else self.phi)
        Q = torch.einsum("...nd,hdr->...hnr", Z, self.phi)
        N = Q @ Q.mT  # (..., heads, n, n)
        labels = 0.0 if self.C is None else (self.C * N).sum((-3, -2, -1))
        return (self.scale * N).logsumexp(-1).sum(-1) @ self.weights / self.scale - labels


class PerceptronBlock(EulerStep):
    """One explicit Euler step of the tied perceptron's flow, Z⁺ = Z − h (λ g'(ZWᵀ + b))W :eq:`eq-mlp`.

    Each unit is tied up to its weight λᵣ, which is learned: the potential Σᵢᵣ λᵣ g((ZWᵀ)ᵢᵣ + bᵣ) keeps the field a
    gradient (:prf:ref:`prop-untied-mlp`), and a unit may push either way.

    Args:
        d: features of each token.
        hidden: units r, the rows of W.
        h: initial step size; learned with the rest.
        activation: g' by name, as in :func:`imr.attention.perceptron`.

    Raises:
        ValueError: a size is less than one, or ``h`` is not positive.
    """

    def __init__(self, d: int, hidden: int, h: float = 1.0, activation: str = "relu") -> None:
        """Draw units of norm about 1; b starts at 0, λ at +1 and −1 in turn."""
        super().__init__(h)
        _require_sizes(d=d, hidden=hidden)
        self.W = nn.Parameter(d**-0.5 * torch.randn(hidden, d))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.weights = nn.Parameter(1.0 - 2.0 * (torch.arange(hidden) % 2))
        self.activation = activation

    def velocity(self, Z: Tensor) -> Tensor:
        """−(λ g'(ZWᵀ + b))W."""
        return -perceptron(Z, self.W, self.activation, self.bias, self.weights)

    def potential(self, Z: Tensor) -> Tensor:
        """Σᵢᵣ λᵣ g((ZWᵀ)ᵢᵣ + bᵣ)."""
        return potentials.mlp(Z, self.W, self.activation, self.bias, self.weights)


def _linear(Z: Tensor, W: Tensor | None) -> Tensor | float:
    return 0.0 if W is None else Z @ W  # (..., n, d) x (d, d) -> (..., n, d)


def _require_gradient(*spoilers: Tensor | None) -> None:
    if any(spoiler is not None for spoiler in spoilers):
        raise ValueError(
            "this step descends no potential, expected one without linear map, with tied values and both reads: "
            "with a free linear map, free values, or without the transpose term the field is not a gradient"
        )


def _require_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")


def head_weights(heads: int, which: Weights) -> Tensor:
    """The λ_h of the heads' potentials, (heads,); learned they start at +1 and −1 in turn."""
    if which not in get_args(Weights):
        raise ValueError(f"weights is {which!r}, expected one of: {', '.join(map(repr, get_args(Weights)))}")
    if which == "learned":
        return nn.Parameter(1.0 - 2.0 * (torch.arange(heads) % 2))
    return nn.Buffer(torch.full((heads,), 1.0 if which == "down" else -1.0), persistent=False)
