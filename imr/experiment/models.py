"""The models of this book, all with one interface: images in, logits of every iterate out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from imr.blocks import (
    CrossAttentionBlock,
    EulerStep,
    MultiHeadCrossAttentionBlock,
    PerceptronBlock,
    SelfAttentionBlock,
    Splitting,
)
from imr.experiment import baselines

CENTRE = 0.286  # mean pixel of Fashion-MNIST's training images; pixels are centred for the computation, not in pictures


def to_tokens(X: Tensor, patch: int, shift: int = 0) -> Tensor:
    """Cut images (B, height, width) into patch×patch tokens: (B, n, d) with d = patch²; pixels stay pixels.

    With ``shift`` the grid starts that many pixels to the right and below, and wraps around the border.
    """
    return rearrange(X.roll((-shift, -shift), (-2, -1)), "B (r p) (c q) -> B (r c) (p q)", p=patch, q=patch)


def to_images(Z: Tensor, patch: int, height: int, shift: int = 0) -> Tensor:
    """Undo :func:`to_tokens`: features (..., n, d) back to pictures (..., height, width)."""
    X = rearrange(Z, "... (r c) (p q) -> ... (r p) (c q)", r=height // patch, p=patch)
    return X.roll((shift, shift), (-2, -1))


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
        intercepts: regressions with intercepts b_h and weights λ_h, whose prototypes start far apart. Without, the plain
            linear model: one head, and prototypes that start small.
        hidden: units of the tied perceptron, the MLP potential; 0 for none.
        activation: of the perceptron.
        linear_map: learn the W of the flow.
        tied: values equal keys, as the gradient says.
        sign: of attention: −1 for the descent that the theory derives, +1 for ascent, 0 to learn a weight for each head.
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
    intercepts: bool = True
    hidden: int = 0
    activation: str = "relu"
    linear_map: bool = False
    tied: bool = True
    sign: int = -1
    splitting: Literal["lie", "strang"] = "lie"
    normalise: bool = False

    def __post_init__(self) -> None:
        """Refuse, with a ValueError, options of which one would be silently without effect."""
        if not self.intercepts and (self.cross_heads, self.tied, self.sign) != (1, True, -1):
            raise ValueError("a regression without intercepts is plain, expected cross_heads=1, tied=True, sign=-1")

    def block(self, d: int) -> Splitting:
        """Make one iterate for tokens of d features; the linear map belongs to the first attention."""
        n, parts = self.grid**2, list[EulerStep]()
        if self.self_heads:
            labels = n if self.labels else 0
            own = {"both_reads": self.both_reads, "tied": self.tied, "sign": self.sign, "linear_map": self.linear_map}
            parts.append(SelfAttentionBlock(d, self.rank, self.self_heads, labels=labels, scale=self.rank**-0.5, **own))
        linear_map = self.linear_map and not self.self_heads
        if self.cross_heads and not self.intercepts:
            parts.append(CrossAttentionBlock(d, self.prototypes, linear_map=linear_map))
        elif self.cross_heads:
            own = {"linear_map": linear_map, "tied": self.tied, "sign": self.sign}
            parts.append(MultiHeadCrossAttentionBlock(d, self.prototypes, self.cross_heads, **own))
        if self.hidden:
            parts.append(PerceptronBlock(d, self.hidden, activation=self.activation))
        return Splitting(parts, self.splitting, self.normalise)


class Model(nn.Module):
    """What all models share: states Z⁽⁰⁾ … Z⁽ᴸ⁾ are computed from an image, and each can be read."""

    def iterates(self, X: Tensor) -> list[Tensor]:
        """Map images (B, height, width) to Z⁽⁰⁾ … Z⁽ᴸ⁾, of the same shape, centred."""
        return [X - CENTRE]

    def read(self, Z: Tensor) -> Tensor:
        """Map one state (B, height, width) to logits (B, classes)."""
        raise NotImplementedError

    def features(self, X: Tensor) -> list[Tensor]:
        """Map images X = Z⁽⁰⁾ to Z⁽⁰⁾ … Z⁽ᴸ⁾ as pictures, each (B, height, width)."""
        return [Z + CENTRE for Z in self.iterates(X)]

    def forward(self, X: Tensor) -> Tensor:
        """Map images (B, height, width) to the logits of every iterate, (L + 1, B, classes)."""
        return torch.stack([self.read(Z) for Z in self.iterates(X)])


class Baseline(Model):
    """A net (B, 1, height, width) → (B, classes) that has no iterates: its logits stand as those of iterate 0."""

    def __init__(self, net: nn.Module) -> None:
        """Wrap the net."""
        super().__init__()
        self.net = net

    def read(self, Z: Tensor) -> Tensor:
        """Apply the net."""
        return self.net(Z[:, None])


class MultinomialRegression(Model):
    """The linear model on the pixels, no iterate: logits N = Zθᵀ + b."""

    def __init__(self, height: int, width: int, classes: int) -> None:
        """Make a read-out for images (height, width)."""
        super().__init__()
        self.read_out = nn.Linear(height * width, classes)

    def read(self, Z: Tensor) -> Tensor:
        """Apply the regression."""
        return self.read_out(Z.flatten(1))


class IteratedBlock(MultinomialRegression):
    """Z⁽⁰⁾ is the image, Z⁽ˡ⁺¹⁾ = block(Z⁽ˡ⁾), and one read-out, multinomial regression, serves every iterate.

    The features stay in pixel space, so that each iterate is a picture.

    Args:
        height, width: of the images, equal, and a multiple of the grid.
        classes: columns of the read-out.
        options: the block.

    Raises:
        ValueError: the grid does not divide the image.
    """

    def __init__(self, height: int, width: int, classes: int, options: Flow) -> None:
        """Make the blocks and the read-out."""
        if height != width or height % options.grid:
            raise ValueError(f"grid is {options.grid}, expected a divisor of the side of a square image, {height}×{width}")
        super().__init__(height, width, classes)
        self.options, self.patch = options, height // options.grid
        number = 1 if options.shared else options.iterates
        self.blocks = nn.ModuleList(options.block(self.patch**2) for _ in range(number))

    def block(self, iterate: int) -> Splitting:
        """The step from an iterate, counted from 0, to the next."""
        return self.blocks[0 if self.options.shared else iterate]

    def tokens(self, Z: Tensor, iterate: int) -> Tensor:
        """Cut an iterate (B, height, width) into the tokens (B, n, d) that its block sees."""
        return to_tokens(Z, self.patch, self._shift(iterate))

    def picture(self, Z: Tensor, iterate: int) -> Tensor:
        """Undo :meth:`tokens`."""
        return to_images(Z, self.patch, self.patch * self.options.grid, self._shift(iterate))

    def iterates(self, X: Tensor) -> list[Tensor]:
        """Map images (B, height, width) to Z⁽⁰⁾ … Z⁽ᴸ⁾, of the same shape, centred."""
        states = [X - CENTRE]
        for iterate in range(self.options.iterates):
            states.append(self.picture(self.block(iterate)(self.tokens(states[-1], iterate)), iterate))
        return states

    def _shift(self, iterate: int) -> int:
        """By how many pixels the grid is moved."""
        return iterate * (self.patch // 2) % self.patch if self.options.shifted else 0


def build(name: str, height: int, width: int, classes: int) -> Model:
    """Make a model by its name in the records, for images (height, width); raise a ValueError for an unknown name."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}, expected one of: {', '.join(MODELS)}")
    return MODELS[name](height, width, classes)


def _flow(options: Flow) -> Callable[[int, int, int], Model]:
    return lambda height, width, classes: IteratedBlock(height, width, classes, options)


def _tokens(make: Callable, **sizes: int) -> Callable[[int, int, int], Model]:
    return lambda height, width, classes: Baseline(make(height, width, classes, patch=height // 4, **sizes))


BLOCK = Flow(cross_heads=8, prototypes=8, hidden=96, sign=0)
ATTENTION = replace(BLOCK, cross_heads=16, hidden=0)
SELF = replace(ATTENTION, cross_heads=0, self_heads=4)
FLAT = Flow(shared=True, grid=1, cross_heads=1, intercepts=False)

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
    "attention alone, minus sign": replace(ATTENTION, sign=-1),
    "attention alone, plus sign": replace(ATTENTION, sign=1),
    "attention alone, untied values": replace(ATTENTION, tied=False),
    "attention alone, one head": replace(ATTENTION, cross_heads=1, prototypes=128),
    "self-attention alone": SELF,
    "self-attention alone, minus sign": replace(SELF, sign=-1),
    "self-attention alone, plus sign": replace(SELF, sign=1),
    "self-attention alone, without transpose": replace(SELF, both_reads=False),
    "self-attention alone, without labels": replace(SELF, labels=False),
    "self-attention alone, untied values": replace(SELF, tied=False),
    "self- and cross-attention": replace(ATTENTION, self_heads=4),
    **{f"one block iterated, {k} prototypes": replace(FLAT, prototypes=k) for k in (10, 256)},
}
"""The block and its variants, by their names in the records."""

MODELS: dict[str, Callable[[int, int, int], Model]] = {
    "multinomial regression": MultinomialRegression,
    **{name: _flow(options) for name, options in FLOWS.items()},
    "MLP-128": lambda height, width, classes: Baseline(baselines.perceptron(height, width, classes, hidden=128)),
    "two convolutions": lambda height, width, classes: Baseline(
        baselines.convolutional(height, width, classes, channels=12)
    ),
    "TransformerEncoder": _tokens(baselines.transformer_encoder, d=32, depth=4, heads=4, hidden=112),
    "SimpleViT": _tokens(baselines.simple_vit, d=32, depth=4, heads=4, hidden=112),
}
"""The models by their names in the records: functions of height, width and number of classes."""
