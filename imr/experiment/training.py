"""Training: AdamW with a one-cycle rate on the cross-entropy of every iterate."""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from imr.data import Split
from imr.experiment.models import MultinomialRegression, build
from imr.experiment.protocol import Protocol


def train(
    name: str,
    split: Split,
    classes: int,
    protocol: Protocol,
    seed: int,
    train_noise: float,
    device: torch.device,
    progress: bool = True,
) -> tuple[MultinomialRegression, float]:
    """Train one model.

    The seed fixes the initial weights, the order of the batches and the training noise.

    Args:
        name: a name of :data:`imr.experiment.models.MODELS`.
        split: the training images.
        classes: how many.
        protocol: epochs, batch size, rates.
        seed: of this run.
        train_noise: σ of the noise added to each training image, drawn anew in each epoch.
        device: where to train.
        progress: show a progress bar.

    Returns:
        The model, and the CPU seconds that training took (all threads).
    """
    started = time.process_time()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(name, *split.X.shape[1:], classes).to(device)
    steps = -(-len(split) // protocol.batch_size) * protocol.epochs
    optimiser = torch.optim.AdamW(model.parameters(), protocol.learning_rate, weight_decay=protocol.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, protocol.learning_rate, total_steps=steps)
    batches = _batches(split, protocol, seed, train_noise)
    bar = tqdm(batches, f"{name}, seed {seed}", steps, unit="batch", leave=False, mininterval=0.5, disable=not progress)
    for X, y in bar:
        loss = weighted_loss(model(X.to(device)), y.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval(), time.process_time() - started


def _batches(split: Split, protocol: Protocol, seed: int, train_noise: float) -> Iterator[tuple[Tensor, Tensor]]:
    """All epochs: images with fresh noise and their classes, order and noise from generators of their own."""
    order, noise = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(2**32 + seed)
    for _ in range(protocol.epochs):
        for rows in torch.randperm(len(split), generator=order).split(protocol.batch_size):
            X = split.X[rows]
            if train_noise:
                X = X + train_noise * torch.randn(X.shape, generator=noise)
            yield X, split.y[rows]


def weighted_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Σₗ wₗ · mean cross-entropy of iterate l, with wₗ ∝ l + 1 and Σ w = 1; in nats.

    Args:
        logits: (L + 1, B, classes).
        y: classes (B,), int64.
    """
    weights = torch.arange(1.0, len(logits) + 1, device=logits.device)
    losses = torch.stack([F.cross_entropy(N, y) for N in logits])  # (L + 1,)
    return weights @ losses / weights.sum()
