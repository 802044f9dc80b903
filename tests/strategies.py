"""Random problems for property tests: shapes, scales and seeds are drawn, entries come from a seeded generator."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """Everything that a claim may speak of, in float64, drawn when first asked for."""

    n: int = 5
    d: int = 3
    k: int = 4
    r: int = 2
    seed: int = 0
    scale: float = 1.0

    def draw(self, *shape: int, salt: int) -> Tensor:
        """Standard normal numbers; the salt tells one tensor from another."""
        generator = torch.Generator().manual_seed(1_000 * self.seed + salt)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    @cached_property
    def errors(self) -> dict[float, float]:
        """The largest deviation that ``self.close`` has seen, by tolerance."""
        return {}

    def close(self, a: Tensor, b: Tensor, tolerance: float = 1e-11) -> bool:
        """Whether a is close to b; how far it is off is kept in ``errors``."""
        self.errors[tolerance] = max(deviation(a, b), self.errors.get(tolerance, 0.0))
        return close(a, b, tolerance)

    @cached_property
    def Z(self) -> Tensor:
        """Features (n, d), of the problem's scale."""
        return self.scale * self.draw(self.n, self.d, salt=1)

    @cached_property
    def theta(self) -> Tensor:
        """Prototypes (k, d)."""
        return self.draw(self.k, self.d, salt=2)

    @cached_property
    def C(self) -> Tensor:
        """Soft labels (n, k)."""
        return self.draw(self.n, self.k, salt=3).softmax(-1)

    @cached_property
    def y(self) -> Tensor:
        """Class numbers (n,)."""
        return self.draw(self.n, self.k, salt=3).argmax(-1)

    @cached_property
    def form(self) -> Tensor:
        """A bilinear form (d, d), not symmetric."""
        return self.draw(self.d, self.d, salt=4) / self.d**0.5

    @cached_property
    def phi(self) -> Tensor:
        """A factor (d, r)."""
        return self.draw(self.d, self.r, salt=5) / self.d**0.5

    @cached_property
    def heads(self) -> Tensor:
        """Factors of three heads (3, d, r)."""
        return self.draw(3, self.d, self.r, salt=6) / self.d**0.5

    @cached_property
    def D(self) -> Tensor:
        """Soft labels among the tokens (n, n)."""
        return self.draw(self.n, self.n, salt=7).softmax(-1)

    @cached_property
    def B(self) -> Tensor:
        """A direction (n, d)."""
        return self.draw(self.n, self.d, salt=8)

    @cached_property
    def W(self) -> Tensor:
        """A matrix (d, d)."""
        return self.draw(self.d, self.d, salt=9)

    @cached_property
    def w(self) -> Tensor:
        """Weights of the tokens (n,)."""
        return self.draw(self.n, salt=10)


problems = st.builds(
    Problem,
    n=st.integers(1, 8),
    d=st.integers(1, 6),
    k=st.integers(1, 9),
    r=st.integers(1, 4),
    seed=st.integers(0, 2**20),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 3.0]),
)


def deviation(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest entry of b where that exceeds one; infinite if it is no number."""
    largest = ((a - b).abs().max() / b.abs().max().clamp_min(1.0)).item()
    return math.inf if math.isnan(largest) else largest


def close(a: Tensor, b: Tensor, tolerance: float = 1e-11) -> bool:
    """Whether a deviates from b by no more than the tolerance."""
    return deviation(a, b) <= tolerance
