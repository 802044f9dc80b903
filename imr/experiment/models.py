"""The models compared, all with one interface: images in, logits of every iterate out."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor, nn

from imr.blocks import CrossAttentionBlock


def to_tokens(X: Tensor, patch: int) -> Tensor:
    """Cut images (B, height, width) into patch×patch tokens: (B, n, d) with d = patch²; pixels stay pixels."""
    return rearrange(X, "B (r p) (c q) -> B (r c) (p q)", p=patch, q=patch)


def to_images(Z: Tensor, patch: int, height: int) -> Tensor:
    """Undo :func:`to_tokens`: features (..., n, d) back to pictures (..., height, width)."""
    return rearrange(Z, "... (r c) (p q) -> ... (r p) (c q)", r=height // patch, p=patch)


class MultinomialRegression(nn.Module):
    """The linear model on the pixels, no iterate: logits N = Xθᵀ + b."""

    def __init__(self, height: int, width: int, classes: int) -> None:
        """Make a read-out for images (height, width)."""
        super().__init__()
        self.read_out = nn.Linear(height * width, classes)

    def features(self, X: Tensor) -> list[Tensor]:
        """Return the features of each iterate, here only Z⁽⁰⁾ = X."""
        return [X]

    def forward(self, X: Tensor) -> Tensor:
        """Map images (B, height, width) to the logits of every iterate, (L + 1, B, classes)."""
        return torch.stack([self.read_out(Z.flatten(1)) for Z in self.features(X)])


class IteratedBlock(MultinomialRegression):
    """One block, iterated: Z⁽⁰⁾ is the image, Z⁽ˡ⁺¹⁾ = block(Z⁽ˡ⁾), and one read-out serves every iterate.

    The features stay in pixel space, so that each iterate is a picture.

    Args:
        height, width: of the images, multiples of ``patch``.
        classes: columns of the read-out.
        patch: side of a token in pixels; ``height`` makes a square image one token.
        prototypes: rows of θ, for each token the same.
        iterates: L.
        linear_map: learn the W of the block.

    Raises:
        ValueError: the patch does not divide the image.
    """

    def __init__(
        self, height: int, width: int, classes: int, patch: int, prototypes: int, iterates: int, linear_map: bool
    ) -> None:
        """Make the block and the read-out."""
        if height % patch or width % patch:
            raise ValueError(f"patch is {patch}, expected a divisor of the image's height {height} and width {width}")
        super().__init__(height, width, classes)
        self.patch, self.iterates = patch, iterates
        self.block = CrossAttentionBlock(patch**2, prototypes, linear_map=linear_map)

    def features(self, X: Tensor) -> list[Tensor]:
        """Return Z⁽⁰⁾ … Z⁽ᴸ⁾ as pictures, each (B, height, width)."""
        states = [to_tokens(X, self.patch)]
        for _ in range(self.iterates):
            states.append(self.block(states[-1]))
        return [to_images(Z, self.patch, X.shape[-2]) for Z in states]


def build(name: str, height: int, width: int, classes: int) -> MultinomialRegression:
    """Make a model by its name in the records, for images (height, width); raise a ValueError for an unknown name."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}, expected one of: {', '.join(MODELS)}")
    return MODELS[name](height, width, classes)


MODELS: dict[str, Callable[[int, int, int], MultinomialRegression]] = {
    "multinomial regression": MultinomialRegression,
    "iterated cross-attention block": lambda height, width, classes: IteratedBlock(
        height, width, classes, patch=height, prototypes=64, iterates=4, linear_map=False
    ),
}
"""The models by their names in the records: functions of height, width and number of classes."""
