"""The parts of a normal form, as nested tuples, and what can be read off them.

A polynomial is a tuple of terms (monomial, coefficient), a monomial one of pairs (factor, exponent), and a factor one of
``("letter", name, positive)``, ``("entry", tensor, indices, positive)``, ``("delta", index, index)``,
``("exp", monomial)``, ``("log", polynomial)``, ``("function", name, polynomial)``,
``("poly", polynomial)``, whose exponent is none of 1, 2, …, and ``("sum", indices, monomial)``.
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache

Name = tuple[str, str]
"""An index: what tells it from others, and its size. Numbered ones begin with #."""
Factor = tuple
Monomial = tuple[tuple[Factor, Fraction], ...]
Term = tuple[Monomial, Fraction]
Poly = tuple[Term, ...]
ONE: Poly = (((), Fraction(1)),)


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
    if kind == "poly":
        return all(c > 0 and all(positive(f) for f, _ in m) for m, c in parts[0])
    return kind == "exp"


@cache
def nonnegative(factor: Factor) -> bool:
    """Whether a factor is not negative by its form: a positive one, a sum of products of such and of even powers."""
    return positive(factor) or (factor[0] == "sum" and all(e % 2 == 0 or nonnegative(f) for f, e in factor[2]))


@cache
def printed(part: object) -> str:
    """The form that things are ordered by."""
    return repr(part)
