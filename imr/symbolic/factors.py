"""The parts of a normal form, as nested tuples, and what can be read off them.

A polynomial is a tuple of terms (monomial, coefficient), a monomial one of pairs (factor, exponent), and a factor one of
``("letter", name, positive)``, ``("entry", tensor, indices, positive)``, ``("delta", index, index)``,
``("exp", monomial)``, ``("log", polynomial)``, ``("function", name, order, polynomial)``, ``("poly", polynomial)`` with an
exponent of −1, −2, …, ``("root", polynomial)`` with one between 0 and 1, and ``("sum", indices, monomial)``.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache
from itertools import permutations, product
from math import factorial, prod

Name = tuple[str, str]
"""An index: what tells it from others, and its size. Numbered ones begin with #."""
Factor = tuple
Monomial = tuple[tuple[Factor, Fraction], ...]
Term = tuple[Monomial, Fraction]
Poly = tuple[Term, ...]
ONE: Poly = (((), Fraction(1)),)

LARGE = 400
"""A sum to a higher power than this is not expanded."""

ORDERS = 1000
"""More orders of the indices of one sum than this are not tried."""


def collect(terms: Iterable[Term]) -> Poly:
    """Add up the coefficients of equal monomials."""
    found: dict[Monomial, Fraction] = {}
    for monomial, coefficient in terms:
        found[monomial] = found.get(monomial, Fraction(0)) + coefficient
    return tuple(sorted(((m, c) for m, c in found.items() if c), key=printed))


def add(*polys: Poly) -> Poly:
    """p + q."""
    return collect(term for poly in polys for term in poly)


def number(value: Fraction | int) -> Poly:
    """A rational number."""
    return collect([((), Fraction(value))])


def single(factor: Factor, exponent: Fraction | int = 1) -> Poly:
    """A factor to a power."""
    return ((((factor, Fraction(exponent)),), Fraction(1)),)


def delta(one: Name, other: Name) -> Poly:
    """δ of two indices of one range."""
    return ONE if one == other else single(("delta", *sorted((one, other))))


def made_equal(monomial: Monomial) -> dict[Name, Name]:
    """For each index that a delta makes equal to others: the one of them that comes first in print."""
    first: dict[Name, Name] = {}
    for (kind, *pair), _ in monomial:
        if kind == "delta":
            known = [first.get(index, index) for index in pair]
            equal = {index for index in (*first, *pair) if first.get(index, index) in known}
            first |= dict.fromkeys(equal, min(equal))
    return first


def shared(poly: Poly) -> Monomial:
    """What all terms have as a factor, to the lowest of its exponents; 0 where it is absent.

    Where a term has a delta, it counts as 0 where the delta is 0, and its factors need no value there. So a factor is taken
    only if a term without deltas has it, too.
    """
    powers = [dict(monomial) for monomial, _ in poly]
    sure = [p for p in powers if not any(factor[0] == "delta" for factor in p)]
    lowest = {f: min(p.get(f, Fraction(0)) for p in powers) for f in dict.fromkeys(f for p in powers for f in p)}
    return tuple(sorted(((f, e) for f, e in lowest.items() if any(p.get(f, 0) * e > 0 for p in sure)), key=printed))


def orders(bound: list[Name], look: Callable[[Name], str]) -> Iterator[list[Name]]:
    """Every order of indices that keeps sizes sorted, and within a size what each looks like among the others.

    Raises:
        ValueError: there are more than ``ORDERS``.
    """
    alike: dict[tuple[str, str], list[Name]] = {}
    for index in bound:
        alike.setdefault((index[1], look(index)), []).append(index)
    groups = [alike[key] for key in sorted(alike)]
    if prod(factorial(len(group)) for group in groups) > ORDERS:
        raise ValueError(f"a sum has {max(map(len, groups))} indices that look alike, too many to order: split the formula")
    for choice in product(*[permutations(group) for group in groups]):
        yield [index for group in choice for index in group]


@cache
def mentioned(factor: object) -> frozenset[Name]:
    """The free indices of a factor, or of a part of one."""
    if not isinstance(factor, tuple):
        return frozenset()
    if factor[:1] == ("letter",):
        return frozenset()
    if len(factor) == 2 and all(isinstance(part, str) for part in factor):
        return frozenset({factor})
    inside = frozenset().union(*map(mentioned, factor))
    return inside - set(factor[1]) if factor[:1] == ("sum",) else inside


@cache
def height(factor: object) -> int:
    """One more than the largest number of a bound index inside."""
    if not isinstance(factor, tuple):
        return 0
    own = [int(name[1:]) + 1 for name, _ in factor[1]] if factor[:1] == ("sum",) else []
    return max([*own, *map(height, factor)], default=0)


@cache
def positive(factor: Factor) -> bool:
    """Whether a factor is positive by its form: an exponential, a positive letter or entry, a sum or polynomial of such."""
    kind, *parts = factor
    if kind in ("letter", "entry"):
        return parts[-1]
    if kind == "sum":
        return all(positive(f) for f, _ in parts[1])
    if kind in ("poly", "root"):
        return all(c > 0 and all(positive(f) for f, _ in m) for m, c in parts[0])
    return kind == "exp"


@cache
def nonnegative(factor: Factor) -> bool:
    """Whether a factor is not negative by its form: a positive one, a sum of products of such and of even powers."""
    squares = factor[0] == "sum" and all(e % 2 == 0 or nonnegative(f) for f, e in factor[2])
    return squares or factor[0] == "root" or positive(factor)


@cache
def printed(part: object) -> str:
    """The form that things are ordered by."""
    return repr(part)
