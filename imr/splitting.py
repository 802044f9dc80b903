"""One iterate as an ``nn.Module``: the parts of a flow, each stepped by itself, one after another."""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from imr.blocks import EulerStep


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
