"""A random oracle: what the calculus finds, compared at random sizes and entries in exact arithmetic.

It shares nothing with the calculus but the expressions: sums are added up term by term, and a slope is computed with numbers
that carry one. So a wrong rule there is no wrong rule here.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from itertools import product
from operator import add, mul

from sympy import (
    Add,
    Expr,
    Indexed,
    KroneckerDelta,
    Mul,
    NumberSymbol,
    Pow,
    Rational,
    S,
    Sum,
    Symbol,
    exp,
    log,
)

from imr.symbolic.arithmetic import Dual, Exact, InexactError, Interval, UndefinedError, Value
from imr.symbolic.language import Index, identity

DRAWS = 2
"""At so many places, at least, a result is compared."""

TRIES = 40
"""So many places are tried to find some where a formula is defined."""

PATTERNS = 4
"""Of so many free indices of one size every pattern is tried: which of them are equal."""


NUMERATORS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 11)
DENOMINATORS = (3, 6)
"""Of the numbers that letters and entries stand for: few, so that some are equal and some terms cancel."""


class UnsoundError(AssertionError):
    """Exact arithmetic contradicts what the calculus found: an error in imr.symbolic, or in SymPy below it."""


def require_equal(x: Expr, y: Expr) -> None:
    """Raise UnsoundError if x and y differ at a random place, ValueError if none is found where both are defined."""

    def compare(place: "Place") -> bool:
        return place.value(x).equals(place.value(y))

    _require(compare, (x, y), f"{x} is not {y}")


def require_slope(f: Expr, entry: Indexed, slope: Expr) -> None:
    """Raise UnsoundError if slope is not ∂f/∂entry at a random place, ValueError if none is found where both are defined."""

    def compare(place: "Place") -> bool:
        varied = replace(place, entry=entry).value(f)
        return varied.slope.equals(place.value(slope))

    _require(compare, (f, entry, slope), f"the derivative of {f} in {entry} is not {slope}")


def _require(compare: Callable[["Place"], bool], expressions: tuple[Expr, ...], contradicted: str) -> None:
    agreed = 0
    for left, place in _places(expressions):
        try:
            if not compare(place):
                raise UnsoundError(f"{contradicted}, says exact arithmetic for {place.sizes}: an error in imr.symbolic")
        except UndefinedError:
            continue
        agreed += 1
        if agreed >= DRAWS and not left:
            return
    raise ValueError(f"{contradicted.partition(' is not ')[0]} was defined at none of {TRIES} random places, expected some")


def _places(expressions: tuple[Expr, ...]) -> Iterator[tuple[int, "Place"]]:
    """Places for these expressions, the same ones each time, and how many patterns of free indices are left after each."""
    letters = set().union(*(e.atoms(Symbol) for e in expressions))
    sizes = sorted({a.size for a in letters if isinstance(a, Index)}, key=str)
    free = sorted(set().union(*(_free(e) for e in expressions)), key=identity)
    groups = {size: [index for index in free if index.size == size] for size in sizes}
    patterns = {size: _patterns(len(group)) if len(group) <= PATTERNS else [] for size, group in groups.items()}
    longest = max(map(len, patterns.values()), default=0)
    for seed in range(longest + TRIES):
        draw = random.Random(seed)
        chosen, indices = {}, {}
        for size, group in groups.items():
            pattern = patterns[size][seed % len(patterns[size])] if seed < longest and patterns[size] else ()
            chosen[size] = max(2, *pattern) if pattern else draw.randint(1, 3)
            indices |= dict(zip(group, pattern or [draw.randint(1, chosen[size]) for _ in group], strict=True))
        yield max(longest - seed - 1, 0), Place(chosen, indices, seed, positive=seed >= longest and seed % 3 == 2)


def _patterns(number: int) -> list[tuple[int, ...]]:
    """Every way in which so many indices can be equal: (1, 2), (1, 1) for two of them; all different comes first."""
    found: list[tuple[int, ...]] = [()]
    for _ in range(number):
        found = [(*one, new) for one in found for new in range(max(one, default=0) + 1, 0, -1)]
    return found if number else []


@dataclass(frozen=True)
class Place:
    """Sizes, free indices, and a number for each letter and entry, drawn when first asked for.

    All numbers are positive, if so said; and with an entry, each value carries its slope in that entry.
    """

    sizes: dict[Symbol, int]
    indices: dict[Index, int]
    seed: int = 0
    positive: bool = False
    entry: Indexed | None = None

    def value(self, expr: Expr) -> Exact | Interval | Dual:
        """Return the value of an expression: exact where it has an exact form, else an interval."""
        try:
            return _Evaluation(self, Exact).of(expr, {})
        except InexactError:
            return _Evaluation(self, Interval).of(expr, {})

    def rational(self, name: str, positive: bool, integer: bool = False) -> Fraction:
        """Return what a letter or an entry stands for."""
        draw = random.Random(f"{self.seed} {name}")
        value = Fraction(draw.choice(NUMERATORS), 1 if integer else draw.choice(DENOMINATORS))
        return value if positive or self.positive or draw.random() < 0.5 else -value


class _Evaluation:
    """The value of an expression at a place, with numbers of one kind; equal parts are computed once."""

    def __init__(self, place: Place, kind: type[Exact] | type[Interval]) -> None:
        self.place, self.kind = place, kind
        self.known: dict[tuple, Value] = {}
        self.indices: dict[Expr, frozenset[Index]] = {}

    def of(self, expr: Expr, bound: dict[Index, int]) -> Value:
        if expr not in self.indices:
            self.indices[expr] = _free(expr)
        key = (expr, frozenset((index, bound[index]) for index in self.indices[expr] & bound.keys()))
        if key not in self.known:
            self.known[key] = self._sum(expr, bound) if isinstance(expr, Sum) else self._leaf(expr, bound)
        return self.known[key]

    def number(self, value: Fraction | int, slope: int = 0) -> Value:
        number = self.kind.of(value)
        return Dual(number, self.kind.of(slope)) if self.place.entry is not None else number

    def at(self, index: Index, bound: dict[Index, int]) -> int:
        return bound[index] if index in bound else self.place.indices[index]

    def _sum(self, expr: Sum, bound: dict[Index, int]) -> Value:
        ranges = [range(1, self.place.sizes[index.size] + 1) for index in expr.variables]
        terms = (self.of(expr.function, bound | dict(zip(expr.variables, at, strict=True))) for at in product(*ranges))
        return reduce(add, terms)

    def _leaf(self, expr: Expr, bound: dict[Index, int]) -> Value:
        if isinstance(expr, Rational):
            return self.number(Fraction(int(expr.p), int(expr.q)))
        if isinstance(expr, Indexed):
            return self._entry(expr, bound)
        if isinstance(expr, KroneckerDelta):
            return self.number(int(self.at(expr.args[0], bound) == self.at(expr.args[1], bound)))
        if isinstance(expr, Symbol | NumberSymbol) and expr != S.Exp1:
            if expr in self.place.sizes:
                return self.number(self.place.sizes[expr])
            return self.number(self.place.rational(identity(expr), bool(expr.is_positive), bool(expr.is_integer)))
        return self._function(expr, bound)

    def _entry(self, expr: Indexed, bound: dict[Index, int]) -> Value:
        places, base = [self.at(index, bound) for index in expr.indices], expr.base
        value = self.place.rational(f"{identity(base)}{places}", bool(expr.is_positive))
        entry = self.place.entry
        varied = entry is not None and entry.base == base and [self.at(index, {}) for index in entry.indices] == places
        return self.number(value, int(varied))

    def _function(self, expr: Expr, bound: dict[Index, int]) -> Value:
        if expr == S.Exp1:
            return self.number(1).exp()
        parts = [self.of(argument, bound) for argument in expr.args]
        if isinstance(expr, Add | Mul):
            return reduce(add if isinstance(expr, Add) else mul, parts)
        if isinstance(expr, Pow):
            if isinstance(expr.exp, Rational):
                return parts[0].power(Fraction(int(expr.exp.p), int(expr.exp.q)))
            return (parts[1] * parts[0].log()).exp()
        if isinstance(expr, exp | log):
            return parts[0].exp() if isinstance(expr, exp) else parts[0].log()
        return self._polynomial(expr.func.stem, expr.func.order, parts[0])

    def _polynomial(self, name: str, order: int, argument: Value) -> Value:
        """The derivative of a polynomial of degree 4, which stands for an unknown function."""
        terms = []
        for degree in range(order, 5):
            factor = reduce(mul, range(degree - order + 1, degree + 1), self.place.rational(f"{name} {degree}", False))
            terms.append(self.number(factor) * argument.power(Fraction(degree - order)))
        return reduce(add, terms, self.number(0))


def _free(expr: Expr) -> frozenset[Index]:
    return frozenset(index for index in expr.free_symbols if isinstance(index, Index))
