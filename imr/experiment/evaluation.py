"""Evaluation: accuracy and loss at every iterate and noise level."""

import torch
import torch.nn.functional as F
from torch import Tensor

from imr.data import CENTRE, Split
from imr.experiment.interface import Model
from imr.experiment.models import IteratedBlock


def noisy(X: Tensor, sigma: float, seed: int) -> Tensor:
    """X + σε with ε from a generator on the CPU: the same noise for every model, on every device."""
    return X + sigma * torch.randn(X.shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def evaluate(model: Model, split: Split, device: torch.device) -> list[tuple[float, float]]:
    """Accuracy in [0, 1] and mean loss in nats on a split, a pair for each iterate 0 … L."""
    outputs = [model(X.to(device)).cpu() for X in split.X.split(2_000)]
    logits = torch.cat(outputs, dim=1)  # (L + 1, n, classes)
    return [((N.argmax(-1) == split.y).double().mean().item(), F.cross_entropy(N.double(), split.y).item()) for N in logits]


@torch.no_grad()
def descent(model: IteratedBlock, X: Tensor) -> list[dict]:
    """Measure whether each Euler step of the model goes down its own potential, which knows no labels.

    The theory promises it for small steps only; here steps are learned.

    Args:
        model: whose parts have potentials: tied values, both reads, no linear map.
        X: images (B, height, width).

    Returns:
        For each iterate and part, in the order of the splitting: ``iterate`` (1 … L), ``part`` (name of its class),
        ``step`` (h), ``before`` and ``after`` (mean potential over the images, nats), ``falls`` (share of the images for
        which it falls), and ``taken_back``: of the fall h‖∇U‖² along the tangent, the share that the potential's curvature
        takes back, the largest over the images; it falls where that is less than 1. It is at most hΛ/2 (the proof of
        :prf:ref:`prop-descent`).

    Raises:
        ValueError: a part has no potential.
    """
    rows, picture = [], X - CENTRE
    for iterate in range(model.options.iterates):
        Z = model.tokens(picture, iterate)
        for part, fraction in model.block(iterate).steps():
            after, h = part(Z, fraction), fraction * part.h.item()
            U, V = part.potential(Z), part.potential(after)  # (B,)
            taken = 1 - (U - V) * h / (after - Z).square().sum((-2, -1))  # the step is −h∇U
            measured = {"before": U.mean(), "after": V.mean(), "falls": (V < U).double().mean(), "taken_back": taken.max()}
            row = {"iterate": iterate + 1, "part": type(part).__name__, "step": h}
            rows.append(row | {name: value.item() for name, value in measured.items()})
            Z = after
        picture = model.picture(model.block(iterate).end(Z), iterate)
    return rows


@torch.no_grad()
def class_changes(model: IteratedBlock, split: Split) -> Tensor:
    """Mean of Z⁽ᴸ⁾ − Z⁽⁰⁾ over the images of each class, (classes, height, width)."""
    change = torch.cat([model.features(X)[-1] - X for X in split.X.split(2_000)])
    return torch.stack([change[split.y == c].mean(0) for c in range(int(split.y.max()) + 1)])


@torch.no_grad()
def confusion(model: Model, split: Split) -> Tensor:
    """Count the images of each true class (rows) that each iterate reads as each class: (L + 1, classes, classes)."""
    logits = torch.cat([model(X) for X in split.X.split(2_000)], dim=1)  # (L + 1, n, classes)
    C = logits.shape[-1]
    return torch.stack([(C * split.y + N.argmax(-1)).bincount(minlength=C * C).view(C, C) for N in logits])
