"""Explicit Euler steps of the flows as ``nn.Module``, and their splitting into one iterate."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imr import potentials
from imr.attention import cross_attention, multi_head_cross_attention, perceptron, reads


class EulerStep(nn.Module):
    """Z⁺ = Z + h f(Z) for the field f that a subclass gives as ``velocity`` :eq:`eq-euler`.

    The step size is learned through its logarithm, so that it stays positive and a step down never becomes a step up.
    """

    def __init__(self, h: float) -> None:
        """Start with step size ``h``; a ValueError says so if it is not positive."""
        super().__init__()
        if not h > 0:
            raise ValueError(f"h is {h}, expected a positive step size; sign=+1 is for climbing")
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
        ValueError: ``d`` or ``k`` is less than one, or ``h`` is not positive.
    """

    def __init__(self, d: int, k: int, h: float = 1.0, linear_map: bool = True, scale: float = 1.0) -> None:
        """Draw prototypes of norm about 1 (small ones stay smooth in training and withstand noise); W starts at 0."""
        super().__init__(h)
        _require_sizes(d=d, k=k)
        self.theta = nn.Parameter(d**-0.5 * torch.randn(k, d))
        self.W = nn.Parameter(torch.zeros(d, d)) if linear_map else None
        self.scale = scale

    def velocity(self, Z: Tensor) -> Tensor:
        """ZW − CA(Z, θ)."""
        return _linear(Z, self.W) - cross_attention(Z, self.theta, self.scale)

    def potential(self, Z: Tensor) -> Tensor:
        """Σᵢ LSEᵢ(s Zθᵀ)/s."""
        _require_gradient(self.W)
        return potentials.many_regressions(Z, self.theta[None], Z.new_zeros(1, len(self.theta)), self.scale)


class MultiHeadCrossAttentionBlock(EulerStep):
    """One explicit Euler step of Ż = ZW − Σ_h λ_h σ(s Zθ_hᵀ + b_h)θ_h :eq:`eq-many-heads`.

    Several small regressions instead of one large: the classes of one compete, those of different heads do not.

    Args:
        d: features of each token.
        k: prototypes of each head.
        heads: how many.
        h: initial step size; learned with the rest.
        linear_map: learn W (d×d).
        scale: s, multiplies Zθᵀ.
        tied: the values are the keys θ. Without, they are prototypes of their own, and the step is no gradient.
        sign: −1 goes down the potential of every head, +1 up; 0 learns a weight λ_h for each head, which may be either.

    Raises:
        ValueError: a size is less than one, ``h`` is not positive, or ``sign`` is none of −1, 0, +1.
    """

    def __init__(
        self,
        d: int,
        k: int,
        heads: int,
        h: float = 1.0,
        linear_map: bool = True,
        scale: float = 1.0,
        tied: bool = True,
        sign: int = -1,
    ) -> None:
        """Draw prototypes of norm about 3, far enough apart that each head tells tokens from each other; b, W start at 0."""
        super().__init__(h)
        _require_sizes(d=d, k=k, heads=heads)
        self.theta = nn.Parameter(3 * d**-0.5 * torch.randn(heads, k, d))
        self.bias = nn.Parameter(torch.zeros(heads, k))
        self.values = None if tied else nn.Parameter(self.theta.detach().clone())
        self.weights = _weights(heads, sign)
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
        sign: −1 goes down the potential of every head, +1 up; 0 learns a weight λ_h for each head, which may be either.

    Raises:
        ValueError: a size is less than one, ``h`` is not positive, or ``sign`` is none of −1, 0, +1.
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
        sign: int = -1,
    ) -> None:
        """Draw factors of norm about 1; W and C start at 0."""
        super().__init__(h)
        _require_sizes(d=d, r=r, heads=heads)
        self.phi = nn.Parameter(d**-0.5 * torch.randn(heads, d, r))
        self.value = None if tied else nn.Parameter(self.phi.detach().clone())
        self.C = nn.Parameter(torch.zeros(heads, labels, labels)) if labels else None
        self.W = nn.Parameter(torch.zeros(d, d)) if linear_map else None
        self.weights = _weights(heads, sign)
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


class Splitting(nn.Module):
    """One iterate: the parts of a flow, each stepped by itself, one after another.

    Args:
        parts: Euler steps, in the order of the Lie splitting A, B, …, Y, Z :eq:`eq-lie`.
        scheme: "lie", or "strang": A/2, B/2, …, Z, …, B/2, A/2, where /2 is half a step :eq:`eq-strang`.
        normalise: then divide each token by its root mean square (:prf:ref:`prop-norm`).

    Raises:
        ValueError: no parts, or an unknown scheme.
    """

    def __init__(
        self, parts: Sequence[EulerStep], scheme: Literal["lie", "strang"] = "lie", normalise: bool = False
    ) -> None:
        """Keep the parts."""
        super().__init__()
        if scheme not in ("lie", "strang"):
            raise ValueError(f"unknown splitting {scheme!r}, expected 'lie' or 'strang'")
        if not parts:
            raise ValueError("a splitting of no parts, expected at least one: attention, a perceptron, or both")
        self.parts = nn.ModuleList(parts)
        self.scheme, self.normalise = scheme, normalise

    def steps(self) -> list[tuple[EulerStep, float]]:
        """The parts in the order of the scheme, each with the fraction of its step that is taken."""
        if self.scheme == "lie":
            return [(part, 1.0) for part in self.parts]
        before = [(part, 0.5) for part in self.parts[:-1]]
        return [*before, (self.parts[-1], 1.0), *reversed(before)]

    def end(self, Z: Tensor) -> Tensor:
        """What follows the steps: the normalisation, if there is one."""
        return F.rms_norm(Z, Z.shape[-1:]) if self.normalise else Z

    def forward(self, Z: Tensor) -> Tensor:
        """Map features (..., n, d) to the next iterate, same shape."""
        for part, fraction in self.steps():
            Z = part(Z, fraction)
        return self.end(Z)


def _linear(Z: Tensor, W: Tensor | None) -> Tensor | float:
    return 0.0 if W is None else Z @ W  # (..., n, d) x (d, d) -> (..., n, d)


def _require_gradient(*spoilers: Tensor | None) -> None:
    if any(spoiler is not None for spoiler in spoilers):
        raise ValueError(
            "this step descends no potential, expected one without linear map, with tied values and both reads: "
            "a free linear map, free values, or a missing transpose term make the field none that is a gradient"
        )


def _require_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, expected at least 1")


def _weights(heads: int, sign: int) -> Tensor:
    """The λ_h of the heads' potentials: 1 for descent, −1 for ascent; learned they start at +1 and −1 in turn."""
    if sign not in (-1, 0, 1):
        raise ValueError(f"sign is {sign}, expected -1 (down the potential), +1 (up) or 0 (learned for each head)")
    if sign == 0:
        return nn.Parameter(1.0 - 2.0 * (torch.arange(heads) % 2))
    return nn.Buffer(torch.full((heads,), -float(sign)), persistent=False)
