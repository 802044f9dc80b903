"""A regression that no longer changes: the features move instead, and the same regression reads them."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imr.data import CENTRE
from imr.experiment.interface import MultinomialRegression

Label = Literal["none", "own", "guess", "smoothed", "linear map"]
"""What stands for the label, which no test image has."""


class PrototypeRegression(MultinomialRegression):
    """Multinomial regression with several prototypes for each class: the logit of a class is LSE over those of its own."""

    def __init__(self, height: int, width: int, classes: int, prototypes: int) -> None:
        """Make a read-out for images (height, width)."""
        super().__init__(height, width, classes * prototypes)
        self.classes, self.prototypes = classes, prototypes

    def read(self, Z: Tensor) -> Tensor:
        """Map one state (B, height, width) to logits (B, classes)."""
        return self.by_class(super().read(Z)).logsumexp(-1)

    def by_class(self, N: Tensor) -> Tensor:
        """Logits of all prototypes (B, classes · prototypes) as (B, classes, prototypes)."""
        return N.unflatten(-1, (self.classes, self.prototypes))


@dataclass(frozen=True)
class Fixed:
    """Every choice of the flow under a regression that stays.

    Args:
        label: "none", C = 0; "own", C = σ(Z⁽⁰⁾), its own probabilities; "guess", one-hot on the largest of them;
            "smoothed", nine tenths of them and one tenth uniform; "linear map", ZW in the place of the label term.
        prototypes: for each class.
        iterates: L.
    """

    label: Label
    prototypes: int = 1
    iterates: int = 4


class FixedRegression(PrototypeRegression):
    """Euler steps of Ż = (C − σ(Zθᵀ + b))θ from an image, with θ and b those of a trained regression; read by the same.

    Learned are the step size, and W if there is one. With several prototypes a class's share of C goes to its prototypes
    by their softmax, as the gradient says.
    """

    def __init__(self, height: int, width: int, classes: int, options: Fixed) -> None:
        """Make a read-out that training leaves alone; a warm start fills it."""
        super().__init__(height, width, classes, options.prototypes)
        self.read_out.requires_grad_(False)
        self.options, self.log_h = options, nn.Parameter(torch.tensor(0.1).log())
        d = height * width
        self.W = nn.Parameter(torch.zeros(d, d)) if options.label == "linear map" else None

    def iterates(self, X: Tensor) -> list[Tensor]:
        """Map images (B, height, width) to Z⁽⁰⁾ … Z⁽ᴸ⁾, of the same shape, centred."""
        states = [X - CENTRE]
        C = self.labels(self.read(states[0]))
        for _ in range(self.options.iterates):
            states.append(states[-1] + self.log_h.exp() * self.velocity(states[-1], C))
        return states

    def labels(self, N: Tensor) -> Tensor:
        """The C (B, classes) that stands for the label, from the logits of the image."""
        own = N.softmax(-1)
        if self.options.label == "guess":
            return F.one_hot(N.argmax(-1), self.classes).to(N.dtype)
        share = {"own": 1.0, "smoothed": 0.9}.get(self.options.label)
        return torch.zeros_like(own) if share is None else share * own + (1 - share) / self.classes

    def velocity(self, Z: Tensor, C: Tensor) -> Tensor:
        """(C − σ)θ + ZW, of the shape of Z (B, height, width)."""
        flat = Z.flatten(1)
        N = self.read_out(flat)
        pull = (C[..., None] * self.by_class(N).softmax(-1)).flatten(1) - N.softmax(-1)
        change = pull @ self.read_out.weight
        return (change if self.W is None else change + flat @ self.W).view_as(Z)


REGRESSION = "multinomial regression"
MANY = 8
FIXED: dict[str, Fixed] = {
    **{f"{REGRESSION}, fixed, {label}": Fixed(label) for label in ("none", "own", "guess", "smoothed", "linear map")},
    **{f"{MANY} prototypes a class, fixed, {label}": Fixed(label, MANY) for label in ("none", "guess", "linear map")},
}
"""The flows under a fixed regression, by their names in the records."""
