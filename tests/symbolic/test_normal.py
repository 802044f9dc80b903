"""Rules of the normal form, in polynomials that SymPy has not simplified before."""

from fractions import Fraction

import pytest

from imr.symbolic.factors import ONE, add, delta, made_equal, number, single
from imr.symbolic.normal import exponential, logarithm, multiply, power

HALF, LESS = Fraction(1, 2), Fraction(-1)
x, y = (single(("letter", name, False)) for name in "xy")
s, u = (single(("letter", name, True)) for name in "su")
INDEX = ("i", "n")


def squares(name):
    """Σᵢ wᵢ² uᵢ: not negative, but not positive by its form."""
    entry = lambda tensor, sign: ("entry", tensor, (("#0", "n"),), sign)
    term = ((entry("u", True), Fraction(1)), (entry(name, False), Fraction(2)))
    return single(("sum", (("#0", "n"),), term))


def test_deltas_of_one_index_are_one():
    assert delta(INDEX, INDEX) == ONE != delta(INDEX, ("p", "n"))


def test_indices_that_deltas_make_equal_go_by_the_first_of_them():
    i, p, q, t = (f := lambda name: (name, "n"))("i"), f("p"), f("q"), f("t")
    joined = lambda *pairs: multiply(*(delta(*pair) for pair in pairs))[0][0]
    assert made_equal(joined((p, t), (q, i))) == {i: i, q: i, p: p, t: p}
    assert made_equal(joined((p, t), (q, i), (t, q))) == {i: i, p: i, q: i, t: i}
    assert power(delta(i, p), Fraction(3)) == delta(i, p) == multiply(delta(p, i), delta(i, p))


def test_powers_of_numbers_and_letters():
    assert power(number(0), HALF) == number(0) == power(number(0), Fraction(5, 2))
    for exponent in (LESS, -HALF):
        with pytest.raises(ZeroDivisionError):
            power(number(0), exponent)
    for poly in (x, s, add(x, y), number(0)):
        assert power(poly, Fraction(0)) == ONE
    assert power(s, LESS) == single(("letter", "s", True), -1) and power(number(2), Fraction(-2)) == number(Fraction(1, 4))
    minus = multiply(number(-1), add(x, y))
    assert power(minus, LESS) == multiply(number(-1), power(add(x, y), LESS))
    assert power(minus, Fraction(-2)) == power(add(x, y), Fraction(-2))


def test_exponentials_and_logarithms_undo_each_other():
    for poly in (number(2), number(Fraction(8, 9)), add(x, y), add(s, u), multiply(s, add(x, y)), power(add(s, u), LESS)):
        assert exponential(logarithm(poly)) == poly
    assert exponential(multiply(number(3), logarithm(add(x, y)))) == power(add(x, y), Fraction(3))
    assert exponential(number(0)) == ONE and exponential(multiply(number(2), x)) != exponential(x)


def test_logarithms_of_what_is_positive_by_its_form():
    both = add(s, u)
    assert logarithm(power(both, LESS)) == multiply(number(-1), logarithm(both))
    assert logarithm(power(both, HALF)) == multiply(number(HALF), logarithm(both))
    assert logarithm(multiply(squares("w"), add(x, y))) == add(logarithm(squares("w")), logarithm(add(x, y)))
    assert logarithm(multiply(x, add(x, y))) == single(("log", multiply(x, add(x, y))))


def test_roots_of_powers():
    both = add(s, multiply(number(2), u))
    for exponent in (LESS, Fraction(-2), Fraction(-3), HALF, Fraction(3, 2)):
        assert power(power(both, exponent), HALF) == power(both, exponent * HALF)
    assert power(power(both, HALF), Fraction(1, 3)) == power(both, Fraction(1, 6))


def test_roots_of_products_none_of_which_is_negative():
    one, other = squares("w"), squares("v")
    assert power(multiply(one, other), HALF) == multiply(power(one, HALF), power(other, HALF))
    mixed = multiply(one, add(x, y))  # where one is 0 and x + y is negative, the root is 0
    assert power(mixed, HALF) != multiply(power(one, HALF), power(add(x, y), HALF))
    assert power(multiply(s, one, add(x, y)), HALF) == multiply(power(s, HALF), power(mixed, HALF))


def test_denominators_have_whole_coefficients():
    thirds = add(multiply(number(HALF), x), multiply(number(Fraction(1, 3)), y))
    sixth = add(multiply(number(3), x), multiply(number(2), y))
    assert power(thirds, LESS) == multiply(number(6), power(sixth, LESS))
    assert power(multiply(number(4), thirds), HALF) == multiply(number(2), power(thirds, HALF))
