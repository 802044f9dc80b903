"""Random problems for property tests: shapes, scales and seeds are drawn, entries come from a seeded generator."""

import torch
from hypothesis import strategies as st
from torch import Tensor


def problem(n: int, d: int, k: int, seed: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features (n, d), prototypes (k, d) and soft labels (n, k), in float64."""
    generator = torch.Generator().manual_seed(seed)
    Z = scale * torch.randn(n, d, generator=generator, dtype=torch.float64)
    theta = torch.randn(k, d, generator=generator, dtype=torch.float64)
    C = torch.randn(n, k, generator=generator, dtype=torch.float64).softmax(-1)
    return Z, theta, C


problems = st.builds(
    problem,
    n=st.integers(1, 9),
    d=st.integers(1, 7),
    k=st.integers(1, 11),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 3.0, 30.0]),
)


def close(a: Tensor, b: Tensor) -> bool:
    """Equal to 1e-12, relative to the largest entry where that exceeds one."""
    return bool((a - b).abs().max() <= 1e-12 * max(1.0, b.abs().max().item()))
