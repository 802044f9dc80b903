"""Numbers that the oracle computes with: exact, enclosed, and with a slope."""

from fractions import Fraction

import mpmath
import pytest

from imr.symbolic.arithmetic import HUGE, LARGE, Dual, Exact, InexactError, Interval, UndefinedError

HALF, THIRD, TWO = Fraction(1, 2), Fraction(1, 3), Fraction(2)


def exact(*terms):
    """Σ c eᵗ for pairs (t, c)."""
    return Exact({Fraction(t): Fraction(c) for t, c in terms})


def number(value):
    """The number as mpmath sees it, and how wide its interval is."""
    ends = (value.enclosed() if isinstance(value, Exact) else value).ends
    low, high = map(mpmath.mp.make_mpf, ends._mpi_)
    return low, float(high - low)


def share(*others):
    """1 / (1 + Σ eᵗ)."""
    return exact((0, 1), *((t, 1) for t in others)).power(Fraction(-1))


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (lambda: exact((0, 2)) + exact((0, 3)), 5),
        (lambda: exact((1, 2)) + exact((1, -2)), 0),
        (lambda: exact((1, 2)) * exact((HALF, 3)), 6 * mpmath.exp(1.5)),
        (lambda: exact((0, THIRD)).exp(), mpmath.exp(mpmath.mpf(1) / 3)),
        (lambda: exact((0, 0)).exp(), 1),
        (lambda: exact((THIRD, 1)).log(), mpmath.mpf(1) / 3),
        (lambda: exact((0, 1), (1, 1)).power(Fraction(3)), (1 + mpmath.e) ** 3),
        (lambda: exact((0, 1), (1, 1)).power(Fraction(0)), 1),
        (lambda: exact((0, 1), (1, 1)).power(Fraction(-2)), (1 + mpmath.e) ** -2),
        (lambda: exact((0, 2), (1, 2)).power(Fraction(-1)) * exact((0, 1), (1, 1)), 0.5),
        (lambda: exact((1, 3), (2, 3)).power(Fraction(-1)), 1 / (3 * mpmath.e + 3 * mpmath.e**2)),
        (lambda: exact((0, -2)).power(Fraction(-3)), -0.125),
        (lambda: Exact.of(0).power(Fraction(0)), 1),
        (lambda: share(1).power(Fraction(LARGE)), (1 + mpmath.e) ** -LARGE),
        (lambda: exact((0, 2)).power(Fraction(-1)).exp(), mpmath.exp(0.5)),
        (lambda: exact((0, Fraction(1, 4))).power(HALF), 0.5),
        (lambda: exact((2, 5)).power(Fraction(-1)), mpmath.exp(-2) / 5),
        (lambda: exact((0, 4)).power(Fraction(1, 2)), 2),
        (lambda: exact((0, Fraction(8, 27))).power(Fraction(2, 3)), mpmath.mpf(4) / 9),
        (lambda: exact((3, 9)).power(Fraction(-1, 2)), mpmath.exp(-1.5) / 3),
        (lambda: share(1) + share(2), 1 / (1 + mpmath.e) + 1 / (1 + mpmath.e**2)),
    ],
)
def test_exact_numbers(value, right):
    found, width = number(value())
    assert abs(found - right) < 1e-14 * (1 + abs(right)) and width < 1e-40


def test_equality_is_decided():
    one, e = exact((0, 1)), exact((1, 1))
    assert (share(1) + e * share(1)).equals(one) and not share(1).equals(e * share(1))
    assert not exact((0, Fraction(2718281828459045, 10**15))).equals(e)
    assert not one.equals(exact((0, 1), (-1000, 1)))  # one and 1 + e^-1000, which no 50 digits tell apart
    assert Exact.of(2).equals(Interval.of(2)) and not Exact.of(2).equals(Interval.of(3))
    assert e.equals(Interval.of(1).exp()) and Interval.of(1).exp().equals(e)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: exact((1, 1)).exp(),
        lambda: exact((0, 1), (1, 1)).power(Fraction(-1)).exp(),
        lambda: exact((0, 2)).log(),
        lambda: exact((0, 1), (1, 1)).log(),
        lambda: exact((0, 1), (1, 1)).power(Fraction(-1)).log(),
        lambda: Exact.of(0).log(),
        lambda: exact((0, 2)).power(HALF),
        lambda: exact((0, Fraction(4, 3))).power(HALF),
        lambda: exact((0, -8)).power(THIRD),
        lambda: exact((0, 1), (1, 1)).power(HALF),
        lambda: exact((0, 1), (1, 1)).power(Fraction(-1)).power(HALF),
        lambda: Exact({Fraction(t): Fraction(1) for t in range(LARGE + 1)}),
        lambda: exact((0, 1), (1, 1)).power(Fraction(LARGE + 1)),
    ],
)
def test_what_has_no_exact_form_is_left_to_intervals(attempt):
    with pytest.raises(InexactError):
        attempt()


def test_large_numbers_and_large_powers_of_single_terms_are_exact():
    assert len(Exact({Fraction(t): Fraction(1) for t in range(LARGE)}).top) == LARGE
    assert exact((1, 2)).power(Fraction(10**4)).top == {Fraction(10**4): Fraction(2) ** 10**4}


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (lambda: Interval.of(THIRD), mpmath.mpf(1) / 3),
        (lambda: Interval.of(2) + Interval.of(THIRD), mpmath.mpf(7) / 3),
        (lambda: Interval.of(2) * Interval.of(THIRD), mpmath.mpf(2) / 3),
        (lambda: Interval.of(2).exp(), mpmath.exp(2)),
        (lambda: Interval.of(-2).exp(), mpmath.exp(-2)),
        (lambda: Interval.of(2).log(), mpmath.log(2)),
        (lambda: Interval.of(-2).power(Fraction(3)), -8),
        (lambda: Interval.of(-2).power(Fraction(-2)), 0.25),
        (lambda: Interval.of(2).power(HALF), mpmath.sqrt(2)),
        (lambda: Interval.of(0).power(Fraction(2)), 0),
        (lambda: Interval.of(0).power(Fraction(0)), 1),
    ],
)
def test_intervals(value, right):
    found, width = number(value())
    assert abs(found - right) < 1e-14 * (1 + abs(right)) and width < 1e-45


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: Exact.of(0).power(Fraction(-1)),
        lambda: Interval.of(0).power(Fraction(-1)),
        lambda: Interval.of(0).log(),
        lambda: Interval.of(-1).log(),
        lambda: Interval.of(-1).power(HALF),
        lambda: Interval.of(HUGE).exp(),
        lambda: Interval.of(-HUGE).exp(),
        lambda: Interval(Interval.of(0).ends + Interval.of(1).ends * _wide()).equals(Interval.of(0)),
    ],
)
def test_what_has_no_value_says_so(attempt):
    with pytest.raises(UndefinedError):
        attempt()


def _wide():
    """An interval around 0 of the width 2e-20, which is more than rounding."""
    tiny = Interval.of(Fraction(1, 10**20)).ends
    return tiny.ctx.mpf([-tiny.b, tiny.b])


def test_equal_intervals():
    third = Interval.of(1) * Interval.of(3).power(Fraction(-1))
    assert third.equals(Interval.of(THIRD)) and not third.equals(Interval.of(Fraction(33, 100)))
    large = Interval.of(10**30) * Interval.of(THIRD)  # wide in itself, not relative to what it is
    assert large.equals(Interval.of(Fraction(10**30, 3)))


@pytest.mark.parametrize("kind", [Exact, Interval])
def test_slopes_follow_the_rules(kind):
    x = Dual(kind.of(TWO), kind.of(3))  # the value 2, the slope 3
    at = lambda dual: (number(dual.value)[0], number(dual.slope)[0])
    close = lambda dual, *right: all(abs(a - b) < 1e-12 for a, b in zip(at(dual), right, strict=True))
    assert close(x + Dual(kind.of(5), kind.of(7)), 7, 10)
    assert close(x * Dual(kind.of(5), kind.of(7)), 10, 29)
    assert close(x.power(Fraction(3)), 8, 36)
    assert close(x.power(Fraction(-1)), 0.5, -0.75)
    assert close(x.power(Fraction(0)), 1, 0)
    assert close(Dual(kind.of(4), kind.of(3)).power(HALF), 2, 0.75)
    assert close(x.exp(), mpmath.exp(2), 3 * mpmath.exp(2))
    assert close(Dual(kind.of(1), kind.of(3)).log(), 0, 3)
