"""Random problems for property tests: shapes, labels, scales and seeds are drawn, entries come from a seeded generator."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """Everything that a claim may speak of, in float64, drawn when first asked for.

    Ask outside of what torch.func transforms: a tensor that is first drawn in there lives no longer than the transform.

    Attributes:
        n, d, k, r: sizes.
        seed: of all entries.
        scale: of the features Z.
        hard: whether the labels C and D are one-hot; else they are soft, with positive entries.
        logit: the largest |logit| that Z has with theta, form, phi and each of the heads, which are stretched to that end;
            0 leaves them as they come, of size one.
        tie: whether the second prototype is so near the first that their logits differ by no more than about one,
            however large these are: the softmax then stays undecided between the two.
    """

    n: int = 5
    d: int = 3
    k: int = 4
    r: int = 2
    seed: int = 0
    scale: float = 1.0
    hard: bool = False
    logit: float = 0.0
    tie: bool = False

    def draw(self, *shape: int, salt: int) -> Tensor:
        """Standard normal numbers; the salt tells one tensor from another."""
        generator = torch.Generator().manual_seed(1_000 * self.seed + salt)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    @cached_property
    def errors(self) -> dict[float, float]:
        """The largest deviation that ``self.close`` has seen, by tolerance."""
        return {}

    @cached_property
    def counts(self) -> Counter[str]:
        """What the check has counted, by name."""
        return Counter()

    def close(self, a: Tensor, b: Tensor, tolerance: float = 1e-11, floor: Tensor | float = 0.0) -> bool:
        """Whether a is close to b, as :func:`close` has it; how far it is off is kept in ``errors``."""
        self.errors[tolerance] = max(deviation(a, b, floor), self.errors.get(tolerance, 0.0))
        return close(a, b, tolerance, floor)

    def labels(self, scores: Tensor) -> Tensor:
        """Labels of the problem's kind: all on the largest score of a row, or the softmax of the row."""
        return F.one_hot(scores.argmax(-1), scores.shape[-1]).double() if self.hard else scores.softmax(-1)

    def stretched(self, X: Tensor, logits: Tensor, power: float = 1.0) -> Tensor:
        """X times the power of what takes the largest of these logits to ``logit``; X itself if that is 0."""
        return X * (self.logit / logits.abs().max()) ** power if self.logit else X

    @cached_property
    def Z(self) -> Tensor:
        """Features (n, d), of the problem's scale."""
        return self.scale * self.draw(self.n, self.d, salt=1)

    @cached_property
    def theta(self) -> Tensor:
        """Prototypes (k, d)."""
        theta = self.draw(self.k, self.d, salt=2)
        theta = self.stretched(theta, self.Z @ theta.mT)
        if self.tie:
            theta[1:2] = theta[0] + F.normalize(self.B[:1]) / self.Z.norm(dim=-1).max()
        return theta

    @cached_property
    def C(self) -> Tensor:
        """Labels (n, k)."""
        return self.labels(self.draw(self.n, self.k, salt=3))

    @cached_property
    def y(self) -> Tensor:
        """The class numbers (n,) of ``C`` where that is hard, else of its largest entries."""
        return self.draw(self.n, self.k, salt=3).argmax(-1)

    @cached_property
    def form(self) -> Tensor:
        """A bilinear form (d, d), not symmetric."""
        form = self.draw(self.d, self.d, salt=4) / self.d**0.5
        return self.stretched(form, self.Z @ form @ self.Z.mT)

    @cached_property
    def phi(self) -> Tensor:
        """A factor (d, r) of a bilinear form."""
        return self._factor(self.draw(self.d, self.r, salt=5) / self.d**0.5)

    @cached_property
    def heads(self) -> Tensor:
        """Factors of three heads (3, d, r)."""
        return torch.stack([self._factor(phi) for phi in self.draw(3, self.d, self.r, salt=6) / self.d**0.5])

    def _factor(self, phi: Tensor) -> Tensor:
        return self.stretched(phi, (self.Z @ phi).square().sum(-1), 0.5)  # the largest logit is on the diagonal

    @cached_property
    def D(self) -> Tensor:
        """Labels among the tokens (n, n)."""
        return self.labels(self.draw(self.n, self.n, salt=7))

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
    n=st.sampled_from([1, *5 * tuple(range(2, 9))]),  # one token or one class makes many a claim trivial: one in twenty
    d=st.sampled_from([*4 * tuple(range(1, 7)), 16, 40]),
    k=st.sampled_from([1, *5 * tuple(range(2, 10))]),
    r=st.integers(1, 4),
    seed=st.integers(0, 2**20),
    scale=st.sampled_from([1e-3, 0.1, 1.0, 3.0, 30.0]),
    hard=st.booleans(),
    logit=st.sampled_from([0.0, 0.0, 0.0, 30.0, 500.0]),
    tie=st.sampled_from([False, False, True]),
)


def deviation(a: Tensor, b: Tensor, floor: Tensor | float = 0.0) -> float:
    """The largest difference of a from b, relative to the largest entry of b, or of ``floor`` where that exceeds it.

    A floor is for what cannot be relative to b: for a claimed zero, and for a small difference of large numbers, whose
    rounding is relative to them. Infinite if a is no number, or not of the shape of b.
    """
    if a.shape != b.shape:
        return math.inf
    off, size = (a - b).abs().max().item(), max(b.abs().max().item(), torch.as_tensor(floor).abs().max().item())
    if off == 0:
        return 0.0
    return math.inf if math.isnan(off) or size == 0 else off / size


def close(a: Tensor, b: Tensor, tolerance: float = 1e-11, floor: Tensor | float = 0.0) -> bool:
    """Whether a deviates from b, as :func:`deviation` has it, by no more than the tolerance."""
    return deviation(a, b, floor) <= tolerance
