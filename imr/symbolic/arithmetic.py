"""Numbers to compute a formula with: exact ones, intervals that enclose what is not rational, and both with a slope."""

from collections import Counter
from fractions import Fraction
from functools import reduce
from operator import mul

from mpmath import MPIntervalContext
from sympy import integer_nthroot

LARGE = 60
"""So many exponentials in one exact number, and it is given up for an interval."""

BITS = 20_000
"""Longer numerators and denominators, too, as an unknown function of an unknown function of … has."""

HUGE = 10**5
"""Exponentials beyond this are not computed."""

_intervals = MPIntervalContext()
_intervals.dps = 50


class UndefinedError(ArithmeticError):
    """A formula has no value where it was computed: it divides by 0, has a logarithm of what is not positive, or is huge."""


class InexactError(ArithmeticError):
    """A number has no exact form here: a logarithm, a root, an exponential of an exponential."""


class Exact:
    """A quotient of sums Σ c eᵗ with rational c and t.

    By the theorem of Lindemann and Weierstrass the eᵗ are linearly independent over the rationals: such a sum is 0 only if
    each c is, so that equality is decided.
    """

    def __init__(self, top: dict[Fraction, Fraction], bottom: Counter | None = None) -> None:
        """Take the numerator, c by t, and how often each sum stands in the denominator."""
        self.top = {t: c for t, c in top.items() if c}
        self.bottom = bottom or Counter()
        if len(self.top) > LARGE or any(max(map(int.bit_length, c.as_integer_ratio())) > BITS for c in self.top.values()):
            raise InexactError

    @classmethod
    def of(cls, value: Fraction | int) -> "Exact":
        """Return a rational number."""
        return cls({Fraction(0): Fraction(value)})

    def __add__(self, other: "Exact") -> "Exact":
        """Return the sum."""
        bottom = self.bottom | other.bottom
        top = self._over(bottom)
        for t, c in other._over(bottom).items():
            top[t] = top.get(t, Fraction(0)) + c
        return Exact(top, bottom)

    def __mul__(self, other: "Exact") -> "Exact":
        """Return the product."""
        return Exact(_product(self.top, other.top), self.bottom + other.bottom)

    def power(self, exponent: Fraction) -> "Exact":
        """Return self^exponent, if it is of the same kind."""
        if exponent.denominator > 1:
            return self._root(exponent)
        base, times = (self if exponent >= 0 else self._inverse()), abs(int(exponent))
        if len(base.top) == 1 and not base.bottom:
            ((t, c),) = base.top.items()
            return Exact({t * times: c**times})
        if times > LARGE:
            raise InexactError
        return reduce(mul, [base] * times, Exact.of(1))

    def exp(self) -> "Exact":
        """Return e to the power of a rational number."""
        if self.bottom or self.top.keys() - {0}:
            raise InexactError
        return Exact({self.top.get(Fraction(0), Fraction(0)): Fraction(1)})

    def log(self) -> "Exact":
        """Return the logarithm of a single c eᵗ with c = 1."""
        if self.bottom or list(self.top.values()) != [1]:
            raise InexactError
        return Exact.of(*self.top)

    def equals(self, other: "Exact | Interval") -> bool:
        """Whether two numbers are equal."""
        if isinstance(other, Interval):
            return self.enclosed().equals(other)
        return not (self + other * Exact.of(-1)).top

    def enclosed(self) -> "Interval":
        """Return an interval around the number."""
        value = _enclosed(self.top)
        for factor in self.bottom.elements():
            value *= _enclosed(dict(factor)).power(Fraction(-1))
        return value

    def _over(self, bottom: Counter) -> dict[Fraction, Fraction]:
        """Return the numerator over a larger denominator."""
        top = dict(self.top)
        for factor in (bottom - self.bottom).elements():
            top = _product(top, dict(factor))
        return top

    def _inverse(self) -> "Exact":
        """Return 1 / self; the denominator is scaled to begin with 1, so that equal ones are known as such."""
        if not self.top:
            raise UndefinedError
        low = min(self.top)
        scale = {-low: 1 / self.top[low]}
        factor = tuple(sorted(_product(self.top, scale).items()))
        return Exact(_product(self._over_none(), scale), Counter({factor: 1} if len(factor) > 1 else {}))

    def _over_none(self) -> dict[Fraction, Fraction]:
        return Exact({Fraction(0): Fraction(1)})._over(self.bottom)

    def _root(self, exponent: Fraction) -> "Exact":
        if self.bottom or len(self.top) != 1 or min(self.top.values()) < 0:
            raise InexactError
        ((t, c),) = self.top.items()
        (top, exact), (bottom, whole) = (integer_nthroot(part, exponent.denominator) for part in c.as_integer_ratio())
        if not (exact and whole):
            raise InexactError
        root = Fraction(top, bottom)
        return Exact({t * exponent: root**exponent.numerator})


def _product(one: dict[Fraction, Fraction], other: dict[Fraction, Fraction]) -> dict[Fraction, Fraction]:
    found: dict[Fraction, Fraction] = {}
    for t, c in one.items():
        for u, e in other.items():
            found[t + u] = found.get(t + u, Fraction(0)) + c * e
    return {t: c for t, c in found.items() if c}


def _enclosed(terms: dict[Fraction, Fraction]) -> "Interval":
    return sum((Interval.of(c) * Interval.of(t).exp() for t, c in terms.items()), Interval.of(0))


class Interval:
    """An interval that holds a real number, 50 digits long."""

    def __init__(self, ends: object) -> None:
        """Take an interval of mpmath."""
        self.ends = ends

    @classmethod
    def of(cls, value: Fraction | int) -> "Interval":
        """Return a rational number."""
        value = Fraction(value)
        return cls(_intervals.mpf(value.numerator) / value.denominator)

    def __add__(self, other: "Interval") -> "Interval":
        """Return the sum."""
        return Interval(self.ends + other.ends)

    def __mul__(self, other: "Interval") -> "Interval":
        """Return the product."""
        return Interval(self.ends * other.ends)

    def power(self, exponent: Fraction) -> "Interval":
        """Return self^exponent."""
        if exponent.denominator > 1:
            return (self.log() * Interval.of(exponent)).exp()
        if exponent < 0 and 0 in self.ends:
            raise UndefinedError
        return Interval(self.ends ** int(exponent))

    def exp(self) -> "Interval":
        """Return e^self."""
        if not abs(self.ends).b < HUGE:
            raise UndefinedError
        return Interval(_intervals.exp(self.ends))

    def log(self) -> "Interval":
        """Return the logarithm."""
        if not self.ends.a > 0:
            raise UndefinedError
        return Interval(_intervals.log(self.ends))

    def equals(self, other: "Exact | Interval") -> bool:
        """Whether two numbers may be equal, so far as 50 digits tell.

        Raises:
            UndefinedError: the digits do not tell; too many were lost on the way.
        """
        gap = self.ends - (other.enclosed() if isinstance(other, Exact) else other).ends
        if 0 in gap and gap.delta > 1e-25 * (1 + abs(self.ends).b):
            raise UndefinedError
        return 0 in gap


class Dual:
    """A number and its slope: forward differentiation."""

    def __init__(self, value: Exact | Interval, slope: Exact | Interval) -> None:
        """Take both, of one kind."""
        self.value, self.slope = value, slope

    def __add__(self, other: "Dual") -> "Dual":
        """Return the sum."""
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: "Dual") -> "Dual":
        """Return the product."""
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def power(self, exponent: Fraction) -> "Dual":
        """Return self^exponent."""
        if exponent == 0:
            return Dual(self.value.power(exponent), self.slope * self.value.of(0))
        outer = self.value.power(exponent - 1) * self.value.of(exponent)
        return Dual(self.value.power(exponent), outer * self.slope)

    def exp(self) -> "Dual":
        """Return e^self."""
        value = self.value.exp()
        return Dual(value, value * self.slope)

    def log(self) -> "Dual":
        """Return the logarithm."""
        return Dual(self.value.log(), self.value.power(Fraction(-1)) * self.slope)


Value = Exact | Interval | Dual
"""What a formula can be computed with."""
