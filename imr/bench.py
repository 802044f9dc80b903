"""Closed forms against automatic differentiation of the same loss, timed side by side, with peak memory.

Each case runs both ways in turn in one process, so that a machine whose speed drifts slows both; the result is the median
of the ratios. Memory is measured twice: as torch's profiler counts allocations, and as the operating system counts the
resident memory of a fresh process, which also sees what the allocator cannot give back.
"""

import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from imr import flow, potentials
from imr.experiment.models import build
from imr.experiment.training import weighted_loss


@dataclass(frozen=True)
class Case:
    """A field in closed form beside the loss whose gradient it is, at features Z."""

    name: str
    field: flow.Field
    loss: Callable[[Tensor], Tensor]
    Z: Tensor

    def autograd(self, Z: Tensor) -> Tensor:
        """−∇L by automatic differentiation."""
        Z = Z.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(Z), Z)
        return -gradient


def cases(n: int = 4096, d: int = 64, k: int = 256, device: str = "cpu") -> list[Case]:
    """The linear flow at (n, d, k) and the quadratic flow at (n, d), with soft labels and with class numbers; float32."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(device)
    Z, theta, form = draw(n, d), draw(k, d) / d**0.5, draw(d, d) / d
    soft, hard = draw(n, k).softmax(-1), draw(n, k).argmax(-1)
    tokens, points_at = draw(n, n).softmax(-1), torch.randint(n, (n,), generator=generator).to(device)
    found = []
    for kind, C in (("soft", soft), ("hard", hard)):
        loss = lambda Z, C=C: potentials.linear(Z, theta, C)
        found.append(Case(f"linear, {kind} labels, n={n} d={d} k={k}", flow.linear_field(theta, C), loss, Z))
    for kind, C in (("soft", tokens), ("hard", points_at)):
        loss = lambda Z, C=C: potentials.quadratic(Z, form, C)
        found.append(Case(f"quadratic, {kind} labels, n={n} d={d}", flow.quadratic_field(form, C), loss, Z))
    return found


def compare(case: Case, rounds: int = 15) -> dict:
    """Time both ways in turn; return the median milliseconds of each, the median ratio, and the largest difference."""
    ratios, ours, theirs = [], [], []
    for attempt in range(rounds + 2):  # the first two warm up
        seconds = [_seconds(case.field, case.Z), _seconds(case.autograd, case.Z)]
        if attempt >= 2:
            ours.append(seconds[0])
            theirs.append(seconds[1])
            ratios.append(seconds[1] / seconds[0])
    return {
        "case": case.name,
        "closed form (ms)": 1e3 * statistics.median(ours),
        "autograd (ms)": 1e3 * statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "difference": (case.field(case.Z) - case.autograd(case.Z)).abs().max().item(),
    }


def training(name: str = "block", seeds: int = 5, device: str = "cpu", rounds: int = 7) -> list[dict]:
    """Time one training step (forward and backward, 256 images) of a model in four ways, in turn.

    The ways: plain float32; through ``torch.compile``; with bfloat16 matrix products; and ``seeds`` models at once through
    ``torch.func``, per model.

    Returns:
        For each way the median milliseconds, and the median of its ratio to plain float32: above 1 it pays.
    """
    models = [build(name, 28, 28, 10).to(device) for _ in range(seeds)]
    X, y = torch.rand(256, 28, 28, device=device), torch.randint(10, (256,), device=device)
    loss = lambda model: weighted_loss(model(X), y, earlier=0.1)
    compiled = torch.compile(models[0])
    half = torch.autocast(device, torch.bfloat16)(models[0])
    stacked, buffers = torch.func.stack_module_state(models)
    one = lambda p, b: weighted_loss(torch.func.functional_call(models[0], (p, b), (X,)), y, earlier=0.1)
    ways = {
        "float32": (lambda: loss(models[0]).backward(), 1),
        "torch.compile": (lambda: loss(compiled).backward(), 1),
        "bfloat16": (lambda: loss(half).backward(), 1),
        f"{seeds} seeds at once": (lambda: torch.func.vmap(torch.func.grad(one))(stacked, buffers), seeds),
    }
    seconds = {way: [] for way in ways}
    for _ in range(rounds + 2):  # the first two warm up
        for way, (step, models_in_it) in ways.items():
            seconds[way].append(_seconds(lambda _, step=step: step(), X) / models_in_it)
    plain = seconds["float32"][2:]
    return [
        {
            "way": way,
            "ms a step": 1e3 * statistics.median(times[2:]),
            "times as fast as float32": statistics.median(p / t for p, t in zip(plain, times[2:], strict=True)),
        }
        for way, times in seconds.items()
    ]


def peak_memory(function: Callable[[Tensor], Tensor], Z: Tensor) -> int:
    """Bytes allocated at the same time, at most, while ``function(Z)`` runs; the result counts, ``Z`` does not."""
    if Z.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function(Z)
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function(Z)
    now = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def resident_growth(work: Callable[[], object]) -> int:
    """Bytes by which the resident memory of a fresh process grows at most while ``work()`` runs; sampled each millisecond.

    ``work`` is sent to that process, so it is a function of a module, or a ``functools.partial`` of one.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_resident_growth, (work,))


def quadratic_flow(n: int, d: int = 64) -> Tensor:
    """One quadratic flow field of random features (n, d) with C = I, in float32, a little one first: torch loads on use."""
    for tokens in (128, n):
        Z, form = torch.randn(tokens, d), torch.randn(d, d) / d
        velocity = flow.quadratic_field(form, torch.arange(tokens))(Z)
    return velocity


def _resident_growth(work: Callable[[], object]) -> int:
    process, done = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.001):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return highest - before


def _seconds(function: Callable[[Tensor], Tensor], Z: Tensor) -> float:
    started = time.perf_counter()
    function(Z)
    if Z.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
