"""Training: AdamW with a one-cycle rate on the cross-entropy of every iterate; it can be stopped and taken up again."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from imr.data import CENTRE, Split
from imr.experiment import distributed
from imr.experiment.interface import Model
from imr.experiment.models import build
from imr.experiment.protocol import Budget, Protocol
from imr.experiment.records import Case
from imr.files import replacing


@dataclass
class _State:
    """All that a training is between two epochs."""

    model: Model
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generators: dict[str, torch.Generator]
    epoch: int = 0
    seconds: float = 0.0

    def save(self, file: Path) -> None:
        """Write everything in one move."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimiser", "schedule")}
        generators = {name: generator.get_state() for name, generator in self.generators.items()}
        with replacing(file) as part:
            torch.save({**parts, "generators": generators, "epoch": self.epoch, "seconds": self.seconds}, part)

    def load(self, file: Path, device: torch.device) -> None:
        """Go back to what was written."""
        saved = torch.load(file, map_location=device, weights_only=True)
        for name in ("model", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(saved[name])
        for name, generator in self.generators.items():
            generator.set_state(saved["generators"][name].cpu())
        self.epoch, self.seconds = saved["epoch"], saved["seconds"]


def train(
    case: Case,
    protocol: Protocol,
    split: Split,
    classes: int,
    device: torch.device,
    state_file: Path | None = None,
    progress: bool = True,
    line: int | None = None,
) -> tuple[Model, float]:
    """Train one model.

    Args:
        case: what to train.
        protocol: how; the model's own budget is in it.
        split: the training images.
        classes: how many.
        device: where to train.
        state_file: written after each epoch. If it is there, training goes on from it, to the same model bit for bit.
        progress: show a progress bar.
        line: of the terminal, for the bar.

    Returns:
        The model, and the CPU seconds that training took (all threads, all sittings).
    """
    budget = protocol.budgets[case.model]
    state = _begin(case, budget, split, classes, device)
    if state_file and state_file.exists():
        state.load(state_file, device)
    elif budget.warm_start:
        first = Case(budget.warm_start, case.train_noise, case.seed)
        regression, state.seconds = train(first, protocol, split, classes, device, None, progress, line)
        state.model.read_out.load_state_dict(regression.read_out.state_dict())
    objective = _objective(state.model, budget, protocol, device)
    label, steps = f"{case.model}, σ {case.train_noise:g}, seed {case.seed}", -(-len(split) // budget.batch_size)
    total, done = steps * budget.epochs, steps * state.epoch
    hidden = not (progress and distributed.is_first())
    with tqdm(None, label, total, initial=done, unit="batch", leave=False, position=line, disable=hidden) as bar:
        while state.epoch < budget.epochs:
            _epoch(state, objective, budget, _batches(split, budget, case.train_noise, state.generators), device, bar)
            if state_file and distributed.is_first():
                state.save(state_file)
    return state.model.eval(), state.seconds


def _begin(case: Case, budget: Budget, split: Split, classes: int, device: torch.device) -> _State:
    """Make the model and what trains it, all from the seed; the caller's generator is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(case.seed)
        model = build(budget.model or case.model, *split.X.shape[1:], classes).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), budget.learning_rate, weight_decay=budget.weight_decay, fused=True)
    steps = -(-len(split) // budget.batch_size) * budget.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, budget.learning_rate, total_steps=steps)
    names = ("order", "noise", "flips")
    generators = {name: torch.Generator().manual_seed(i * 2**32 + case.seed) for i, name in enumerate(names)}
    return _State(model, optimiser, schedule, generators)


def _objective(model: Model, budget: Budget, protocol: Protocol, device: torch.device) -> Callable[..., Tensor]:
    """The loss of a batch, compiled, shared and in the precision that the budget names."""
    objective = _Objective(model, budget)
    if protocol.compiled:
        objective = torch.compile(objective)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=budget.precision == "bfloat16")
    return autocast(distributed.wrap(objective))


def _epoch(
    state: _State,
    objective: Callable[..., Tensor],
    budget: Budget,
    batches: Iterator[tuple[Tensor, Tensor, Tensor, int]],
    device: torch.device,
    bar: tqdm,
) -> None:
    """Go once through the images."""
    started = time.process_time()
    for X, clean, y, size in batches:
        loss = objective(X.to(device), clean.to(device), y.to(device)) * distributed.size() / size
        state.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.model.parameters(), budget.clip)
        state.optimiser.step()
        state.schedule.step()
        bar.update()
    state.epoch += 1
    state.seconds += time.process_time() - started


def _batches(
    split: Split, budget: Budget, train_noise: float, generators: dict[str, torch.Generator]
) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    """One epoch: this process's share of each batch with noise, without, its classes, and the size of the whole batch."""
    flips, noise = generators["flips"], generators["noise"]
    for rows in torch.randperm(len(split), generator=generators["order"]).split(budget.batch_size):
        X = clean = split.X[rows]
        if budget.flips and not train_noise:
            mirrored = torch.rand(len(rows), 1, 1, generator=flips) < 0.5
            X = clean = torch.where(mirrored, clean.flip(-1), clean)
        if train_noise:
            strength = train_noise * torch.rand(len(rows), 1, 1, generator=noise)
            X = clean + strength * torch.randn(clean.shape, generator=noise)
        mine = distributed.share(torch.arange(len(rows)))
        yield X[mine], clean[mine], split.y[rows][mine], len(rows)


class _Objective(nn.Module):
    """The loss as a module, so that the compiler and the averaging of gradients see all of it."""

    def __init__(self, model: Model, budget: Budget) -> None:
        super().__init__()
        self.model, self.budget = model, budget

    def forward(self, X: Tensor, clean: Tensor, y: Tensor) -> Tensor:
        states = self.model.iterates(X)
        logits = torch.stack([self.model.read(Z) for Z in (states if self.budget.earlier else states[-1:])])
        loss = weighted_loss(logits, y, self.budget.earlier)
        return loss + self.budget.smoothness * roughness(states, clean - CENTRE) if self.budget.smoothness else loss


def weighted_loss(logits: Tensor, y: Tensor, earlier: float) -> Tensor:
    """Cross-entropy of the last iterate plus ``earlier`` times that of each other, summed over the images; in nats.

    Args:
        logits: (L + 1, B, classes).
        y: classes (B,), int64.
        earlier: weight of each iterate but the last.
    """
    losses = torch.stack([F.cross_entropy(N.float(), y, reduction="sum") for N in logits])  # (L + 1,)
    return losses[-1] + earlier * losses[:-1].sum()


def roughness(states: Sequence[Tensor], clean: Tensor) -> Tensor | float:
    """Σₗ ‖D(Z⁽ˡ⁾ − X)‖², l ≥ 1, with D the differences of pixels that are neighbours in a row or column :eq:`eq-roughness`.

    To lighten or darken a whole region costs its border only; to change each pixel in another way costs much.

    Args:
        states: Z⁽⁰⁾ … Z⁽ᴸ⁾, each (B, height, width).
        clean: X, the images without noise (B, height, width).
    """
    changes = [Z - clean for Z in states[1:]]
    return sum(E.diff(dim=axis).square().sum() for E in changes for axis in (-2, -1))
