"""The iterated block: every switch that it has, and the variants that are compared, by name."""

from dataclasses import dataclass, replace
from typing import Literal

from imr.blocks import CrossAttentionBlock, EulerStep, PerceptronBlock, SelfAttentionBlock, Weights
from imr.splitting import Splitting


@dataclass(frozen=True)
class Flow:
    """Every switch of the iterated block, by the theory's names.

    Args:
        iterates: L.
        shared: one block iterated; otherwise each iterate has weights of its own.
        grid: tokens along each side of the image; 1 makes the whole image one token.
        shifted: each iterate cuts its tokens on a grid moved by half a token further than the one before, around the
            border: pixels on two sides of a token's edge meet, and the features stay pixels.
        self_heads: heads of self-attention, the quadratic potential; 0 for none.
        rank: r of each self-attention head φ (d×r).
        labels: learn the label matrix C (n×n) of each self-attention head.
        both_reads: keep the transpose term SA* of the quadratic potential.
        cross_heads: heads of cross-attention, the linear potential; 0 for none.
        prototypes: k of each cross-attention head.
        bias: learn the intercepts b_h of the cross-attention heads.
        norm: of their prototypes at the start.
        hidden: units of the tied perceptron, the MLP potential; 0 for none.
        activation: of the perceptron.
        linear_map: learn the W of the flow.
        tied: values equal keys, as the gradient says.
        weights: of the attention heads' potentials: "down" for the descent that the theory derives, "up" for ascent,
            "learned" for a weight of either sign for each head.
        splitting: "lie" or "strang".
        normalise: RMS-normalise each token after each iterate.
    """

    iterates: int = 4
    shared: bool = False
    grid: int = 4
    shifted: bool = True
    self_heads: int = 0
    rank: int = 8
    labels: bool = True
    both_reads: bool = True
    cross_heads: int = 0
    prototypes: int = 8
    bias: bool = True
    norm: float = 3.0
    hidden: int = 0
    activation: str = "relu"
    linear_map: bool = False
    tied: bool = True
    weights: Weights = "down"
    splitting: Literal["lie", "strang"] = "lie"
    normalise: bool = False

    def block(self, d: int) -> Splitting:
        """Make one iterate for tokens of d features; the linear map belongs to the first attention."""
        n, parts = self.grid**2, list[EulerStep]()
        shared = {"tied": self.tied, "weights": self.weights}
        if self.self_heads:
            own = {"both_reads": self.both_reads, "labels": n if self.labels else 0, "scale": self.rank**-0.5}
            linear_map = self.linear_map
            parts.append(SelfAttentionBlock(d, self.rank, self.self_heads, linear_map=linear_map, **own, **shared))
        if self.cross_heads:
            linear_map = self.linear_map and not self.self_heads
            own = {"bias": self.bias, "norm": self.norm}
            parts.append(CrossAttentionBlock(d, self.prototypes, self.cross_heads, linear_map=linear_map, **own, **shared))
        if self.hidden:
            parts.append(PerceptronBlock(d, self.hidden, activation=self.activation))
        return Splitting(parts, self.splitting, self.normalise)


BLOCK = Flow(cross_heads=8, prototypes=8, hidden=96, weights="learned")
ATTENTION = replace(BLOCK, cross_heads=16, hidden=0)
SELF = replace(ATTENTION, cross_heads=0, self_heads=4)
FLAT = Flow(shared=True, grid=1, cross_heads=1, bias=False, norm=1.0)

FLOWS: dict[str, Flow] = {
    "one block iterated": replace(FLAT, prototypes=64),
    "block": BLOCK,
    "attention alone": ATTENTION,
    "everything but attention": replace(BLOCK, cross_heads=0, hidden=128),
    **{f"block, {L} iterate{'s' * (L > 1)}": replace(BLOCK, iterates=L) for L in (1, 2, 3, 5, 6)},
    "block, shared weights": replace(BLOCK, shared=True),
    "block, one grid": replace(BLOCK, shifted=False),
    "block, Strang": replace(BLOCK, splitting="strang"),
    "block, normalised": replace(BLOCK, normalise=True),
    "block, linear map": replace(BLOCK, linear_map=True),
    "attention alone, linear map": replace(ATTENTION, linear_map=True),
    "attention alone, minus sign": replace(ATTENTION, weights="down"),
    "attention alone, plus sign": replace(ATTENTION, weights="up"),
    "attention alone, untied values": replace(ATTENTION, tied=False),
    "attention alone, one head": replace(ATTENTION, cross_heads=1, prototypes=128),
    "self-attention alone": SELF,
    "self-attention alone, minus sign": replace(SELF, weights="down"),
    "self-attention alone, plus sign": replace(SELF, weights="up"),
    "self-attention alone, without transpose": replace(SELF, both_reads=False),
    "self-attention alone, without labels": replace(SELF, labels=False),
    "self-attention alone, untied values": replace(SELF, tied=False),
    "self- and cross-attention": replace(ATTENTION, self_heads=4),
    **{f"one block iterated, {k} prototypes": replace(FLAT, prototypes=k) for k in (10, 256)},
}
"""The block and its variants, by their names in the records."""
