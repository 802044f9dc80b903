"""What all models of this book share: images in, logits of every iterate out; and the plainest of them."""

import torch
from torch import Tensor, nn

from imr.data import CENTRE


class Model(nn.Module):
    """What all models share: states Z⁽⁰⁾ … Z⁽ᴸ⁾ are computed from an image, and each can be read."""

    def iterates(self, X: Tensor) -> list[Tensor]:
        """Map images (B, height, width) to Z⁽⁰⁾ … Z⁽ᴸ⁾; here to one, the image itself, centred."""
        return [X - CENTRE]

    def read(self, Z: Tensor) -> Tensor:
        """Map one state to logits (B, classes)."""
        raise NotImplementedError

    def forward(self, X: Tensor) -> Tensor:
        """Map images (B, height, width) to the logits of every iterate, (L + 1, B, classes)."""
        return torch.stack([self.read(Z) for Z in self.iterates(X)])


class MultinomialRegression(Model):
    """The linear model on the pixels, no iterate: logits N = Zθᵀ + b."""

    def __init__(self, height: int, width: int, classes: int) -> None:
        """Make a read-out for images (height, width)."""
        super().__init__()
        self.read_out = nn.Linear(height * width, classes)

    def read(self, Z: Tensor) -> Tensor:
        """Apply the regression."""
        return self.read_out(Z.flatten(1))
