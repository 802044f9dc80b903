"""Closed forms against automatic differentiation of the same loss, timed side by side, with peak memory: ``make bench``.

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
from functools import partial

import pandas as pd
import psutil
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from imr import convolution, flow, potentials


@dataclass(frozen=True)
class Comparison:
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


def cases(n: int = 4096, d: int = 64, k: int = 256, device: str = "cpu") -> list[Comparison]:
    """The linear flow at (n, d, k), the quadratic one at (n, d), with soft labels and numbers, and the convolutional one."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(device)
    Z, theta, form = draw(n, d), draw(k, d) / d**0.5, draw(d, d) / d
    soft, hard = draw(n, k).softmax(-1), draw(n, k).argmax(-1)
    tokens, points_at = draw(n, n).softmax(-1), torch.randint(n, (n,), generator=generator).to(device)
    found = []
    for kind, C in (("soft", soft), ("hard", hard)):
        loss = lambda Z, C=C: potentials.linear(Z, theta, C)
        found.append(Comparison(f"linear, {kind} labels, n={n} d={d} k={k}", flow.linear_field(theta, C), loss, Z))
    for kind, C in (("soft", tokens), ("hard", points_at)):
        loss = lambda Z, C=C: potentials.quadratic(Z, form, C)
        found.append(Comparison(f"quadratic, {kind} labels, n={n} d={d}", flow.quadratic_field(form, C), loss, Z))
    images, kernels, b, weights = draw(128, 16, 14, 14), draw(8, 8, 16, 3, 3) / 12, draw(8, 8), draw(8)
    name = "convolutional, 128 images of 16 channels, 14×14, 8 heads of 8 kernels 3×3"
    step = lambda Z: -convolution.attention(Z, kernels, b, weights)
    return [*found, Comparison(name, step, lambda Z: convolution.potential(Z, kernels, b, weights).sum(), images)]


def compare(case: Comparison, rounds: int = 15) -> dict:
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


def main(device: str, n: int = 16_384, d: int = 64) -> None:
    """Print the times, and the memory of one large quadratic flow."""
    rows = [compare(case) for case in tqdm(cases(device=device), unit="case")]
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=("", ".1f", ".1f", ".2f", ".0e")))
    Z, form = torch.randn(n, d, device=device), torch.randn(d, d, device=device) / d
    peak = peak_memory(flow.quadratic_field(form, torch.arange(n, device=device)), Z)
    resident = resident_growth(partial(quadratic_flow, n, d))
    print(f"\nquadratic flow, n={n} d={d}, float32; one n×n matrix has {4 * n * n >> 20} MiB")
    print(f"  allocated at most {peak >> 20} MiB; resident memory of a CPU process grew by {resident >> 20} MiB")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}")


if __name__ == "__main__":
    main("cuda" if torch.cuda.is_available() else "cpu")
