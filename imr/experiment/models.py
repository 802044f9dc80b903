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
        shifted: every second iterate cuts its tokens on a grid moved by half a token: pixels on two sides of a border
            meet, and the features stay pixels.
        self_heads: heads of self-attention, the quadratic potential; 0 for none.
        rank: r of each self-attention head φ (d×r).
        labels: learn the label matrix C (n×n) of each self-attention head.
        both_reads: keep the transpose term SA* of the quadratic potential.
        cross_heads: heads of cross-attention, the linear potential; 0 for none.
        prototypes: k of each cross-attention head.
        hidden: units of the tied perceptron, the MLP potential; 0 for none.
        activation: of the perceptron.
        linear_map: learn the W of the flow.
        tied: values equal keys, as the gradient says.
        sign: −1 for the descent that the theory derives, +1 for ascent, of attention.
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
    hidden: int = 0
    activation: str = "relu"
    linear_map: bool = False
    tied: bool = True
    sign: int = -1
    splitting: Literal["lie", "strang"] = "lie"
    normalise: bool = False

    def block(self, d: int) -> Splitting:
        """Make one iterate for tokens of d features; the linear map belongs to the first attention."""
        n, parts = self.grid**2, list[EulerStep]()
        if self.self_heads:
            labels = n if self.labels else 0
            own = {"both_reads": self.both_reads, "tied": self.tied, "sign": self.sign, "linear_map": self.linear_map}
            parts.append(SelfAttentionBlock(d, self.rank, self.self_heads, labels=labels, scale=self.rank**-0.5, **own))
        linear_map = self.linear_map and not self.self_heads
        if self.cross_heads == 1:
            parts.append(CrossAttentionBlock(d, self.prototypes, linear_map=linear_map))
        elif self.cross_heads:
            own = {"linear_map": linear_map, "tied": self.tied, "sign": self.sign}
            parts.append(MultiHeadCrossAttentionBlock(d, self.prototypes, self.cross_heads, **own))
        if self.hidden:
            parts.append(PerceptronBlock(d, self.hidden, activation=self.activation))
        return Splitting(parts, self.splitting, self.normalise)


class MultinomialRegression(nn.Module):
    """The linear model on the pixels, no iterate: logits N = Xθᵀ + b."""

    def __init__(self, height: int, width: int, classes: int) -> None:
        """Make a read-out for images (height, width)."""
        super().__init__()
        self.read_out = nn.Linear(height * width, classes)

    def features(self, X: Tensor) -> list[Tensor]:
        """Return the features of each iterate as pictures, here only Z⁽⁰⁾ = X."""
        return [X]

    def forward(self, X: Tensor) -> Tensor:
        """Map images (B, height, width) to the logits of every iterate, (L + 1, B, classes)."""
        return torch.stack([self.read_out(Z.flatten(1) - CENTRE) for Z in self.features(X)])


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

    def shift(self, iterate: int) -> int:
        """By how many pixels the grid is moved on the way from an iterate to the next."""
        return self.patch // 2 if self.options.shifted and iterate % 2 else 0

    def features(self, X: Tensor) -> list[Tensor]:
        """Return Z⁽⁰⁾ … Z⁽ᴸ⁾ as pictures, each (B, height, width)."""
        pictures = [X]
        for iterate in range(self.options.iterates):
            shift, block = self.shift(iterate), self.blocks[0 if self.options.shared else iterate]
            Z = block(to_tokens(pictures[-1] - CENTRE, self.patch, shift))
            pictures.append(to_images(Z, self.patch, X.shape[-2], shift) + CENTRE)
        return pictures


def build(name: str, height: int, width: int, classes: int) -> nn.Module:
    """Make a model by its name in the records, for images (height, width); raise a ValueError for an unknown name."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}, expected one of: {', '.join(MODELS)}")
    return MODELS[name](height, width, classes)


def _flow(options: Flow) -> Callable[[int, int, int], nn.Module]:
    return lambda height, width, classes: IteratedBlock(height, width, classes, options)


def _tokens(make: Callable, **sizes: int) -> Callable[[int, int, int], nn.Module]:
    return lambda height, width, classes: make(height, width, classes, patch=height // 4, **sizes)


MAIN = Flow(cross_heads=16, prototypes=8, hidden=64)
ATTENTION = replace(MAIN, hidden=0)
VARIANTS: dict[str, Flow] = {
    "block": MAIN,
    "attention alone": ATTENTION,
    "everything but attention": replace(MAIN, cross_heads=0, hidden=128),
    **{f"{L} iterate{'s' * (L > 1)}": replace(MAIN, iterates=L) for L in (1, 2, 3, 5, 6)},
    "shared weights": replace(MAIN, shared=True),
    "one grid": replace(MAIN, shifted=False),
    "Strang": replace(MAIN, splitting="strang"),
    "normalised": replace(MAIN, normalise=True),
    "with linear map": replace(MAIN, linear_map=True),
    "attention alone, with linear map": replace(ATTENTION, linear_map=True),
    "attention alone, plus sign": replace(ATTENTION, sign=1),
    "attention alone, untied values": replace(ATTENTION, tied=False),
    "self-attention alone": replace(ATTENTION, cross_heads=0, self_heads=4),
}
MODELS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "multinomial regression": MultinomialRegression,
    "one block iterated": _flow(Flow(shared=True, grid=1, cross_heads=1, prototypes=64)),
    **{name: _flow(options) for name, options in VARIANTS.items()},
    "MLP-128": lambda height, width, classes: baselines.perceptron(height, width, classes, hidden=128),
    "two convolutions": lambda height, width, classes: baselines.convolutional(height, width, classes, channels=16),
    "TransformerEncoder": _tokens(baselines.transformer_encoder, d=32, depth=4, heads=4, hidden=112),
    "SimpleViT": _tokens(baselines.simple_vit, d=32, depth=4, heads=4, hidden=112),
}
"""The models by their names in the records: functions of height, width and number of classes."""
