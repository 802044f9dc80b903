"""Evaluation: accuracy and loss at every iterate and noise level."""

import torch
import torch.nn.functional as F
from torch import Tensor

from imr.data import Split
from imr.experiment.models import MultinomialRegression


def noisy(X: Tensor, sigma: float, seed: int) -> Tensor:
    """X + σε with ε from a generator on the CPU: the same noise for every model, on every device."""
    return X + sigma * torch.randn(X.shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def evaluate(model: MultinomialRegression, split: Split, device: torch.device) -> list[tuple[float, float]]:
    """Accuracy in [0, 1] and mean loss in nats on a split, a pair for each iterate 0 … L."""
    outputs = [model(X.to(device)).cpu() for X in split.X.split(2_000)]
    logits = torch.cat(outputs, dim=1)  # (L + 1, n, classes)
    return [((N.argmax(-1) == split.y).double().mean().item(), F.cross_entropy(N.double(), split.y).item()) for N in logits]
