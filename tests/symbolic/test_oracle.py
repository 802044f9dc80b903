"""What stands behind each result: values at places, and places that tell formulas apart."""

from fractions import Fraction

import pytest
from sympy import E, Integer, KroneckerDelta, Rational, exp, log, pi, sqrt, symbols, sympify

from imr.symbolic import UnsoundError, d, function, indices, k, n, tensors, total
from imr.symbolic.arithmetic import Interval
from imr.symbolic.oracle import DRAWS, NUMERATORS, TRIES, Place, _patterns, _places, _require, require_equal, require_slope

i, p, q, t = indices("i p q t", n)
a, b = indices("a b", d)
(Z,), (w, v), (D,) = tensors("Z", n, d), tensors("w v", n), tensors("D", n, n)
(s,) = tensors("s", k, positive=True)
(j,) = indices("j", k)
h, m = symbols("h", real=True), symbols("m", integer=True)
PLACE = Place({n: 2, d: 3, k: 2}, {i: 1, p: 2, q: 2, a: 3, j: 1}, seed=5)


def entry(tensor, *at):
    """An entry at PLACE, by free indices that have these values."""
    index = {(n,): (i,), (k,): (j,), (n, n): (i, p), (n, d): (i, a)}[tuple(tensor.shape)]
    return Place(PLACE.sizes, dict(zip(index, at, strict=True)), seed=5).value(tensor[index])


def test_sums_are_added_up_term_by_term():
    value = PLACE.value(total(Z[i, a] * w[i], a))
    by_hand = (entry(Z, 1, 1) + entry(Z, 1, 2) + entry(Z, 1, 3)) * entry(w, 1)
    assert value.equals(by_hand)
    assert PLACE.value(total(Integer(1), a, i)).equals(PLACE.value(n * d)) and PLACE.value(n * d).top == {0: 6}
    both = entry(D, 1, 1) + entry(D, 1, 2) + entry(D, 2, 1) + entry(D, 2, 2)
    assert PLACE.value(total(D[i, t], i, t)).equals(both)
    assert not entry(D, 1, 2).equals(entry(D, 2, 1)) and not entry(w, 1).equals(entry(v, 1))


def test_deltas_powers_and_functions():
    assert PLACE.value(KroneckerDelta(i, p)).top == {} and PLACE.value(KroneckerDelta(p, q)).top == {0: 1}
    one = entry(w, 1)
    assert PLACE.value(w[i] ** 2 - w[i] * w[i] + w[i]).equals(one)
    assert PLACE.value(1 / w[i]).equals(one.power(Fraction(-1)))
    assert PLACE.value(exp(w[i]) * E).equals((one + PLACE.value(Integer(1))).exp())
    assert PLACE.value(log(exp(w[i]))).equals(one)
    assert PLACE.value(s[j] ** h).equals(PLACE.value(exp(h * log(s[j]))))
    assert PLACE.value(sqrt(s[j]) ** 2).equals(entry(s, 1)) and PLACE.value(Rational(2, 3) * h).equals(
        PLACE.value(2 * h / 3)
    )
    g = function("g")
    fourth = lambda order: PLACE.value(g(h).diff(h, order)) if order else PLACE.value(g(h))
    assert fourth(5).top == {} and fourth(4).top and not fourth(0).equals(fourth(1))


def test_an_unknown_function_and_its_derivatives_belong_together():
    g = function("g")
    f = g(w[i] * v[i])
    require_slope(f, w[p], f.diff(w[p]))
    require_slope(f.diff(w[i]), w[p], f.diff(w[i]).diff(w[p]))
    for wrong in (KroneckerDelta(i, p) * g(w[p] * v[p]), f.diff(w[p]) * 2, f.diff(w[p]) / v[p]):
        with pytest.raises(UnsoundError, match="is not"):
            require_slope(f, w[p], wrong)


def test_letters_have_the_values_that_they_may_have():
    for seed in range(30):
        place = Place({n: 2}, {j: 1}, seed)
        signs = {place.rational("x", positive=False) > 0 for seed in range(3)}
        assert place.rational("x", positive=True) > 0 and place.rational("x", False) != 0 and len(signs) == 1
        assert place.rational("m", False, integer=True).denominator == 1
        assert Place({n: 2}, {}, seed, positive=True).rational("x", False) > 0
        assert abs(place.rational("m", False, integer=True)) in NUMERATORS and place.value(s[j]).top[0] > 0
    values = {Place({n: 2}, {}, seed).rational("x", False) for seed in range(60)}
    assert min(values) < 0 < max(values) and len(values) > 15 and any(value.denominator > 1 for value in values)
    assert PLACE.value(m).top.keys() <= {0} and PLACE.value(m).top[0].denominator == 1
    assert PLACE.value(pi).top[0] > 0 and PLACE.value(s[j]).top[0] > 0


def test_patterns_are_all_ways_to_be_equal():
    assert _patterns(0) == [] and _patterns(1) == [(1,)] and _patterns(2) == [(1, 2), (1, 1)]
    assert set(_patterns(3)) == {(1, 2, 3), (1, 2, 2), (1, 2, 1), (1, 1, 2), (1, 1, 1)}
    assert [len(_patterns(number)) for number in (3, 4)] == [5, 15] and _patterns(4)[0] == (1, 2, 3, 4)


def test_every_pattern_of_free_indices_has_its_place():
    formula = D[i, p] * w[q] * Z[i, a]
    found = [place for _, place in _places((formula,))]
    seen = {tuple(place.indices[index] for index in (i, p, q)) for place in found[:5]}
    assert seen == set(_patterns(3)) and all(place.sizes[n] >= 2 for place in found[:5])
    assert [left for left, _ in _places((formula,))][:6] == [4, 3, 2, 1, 0, 0]
    assert {place.sizes[n] for place in found} == {1, 2, 3} == {1} | {place.sizes[n] for place in found[:5]}
    assert [place.seed for place in found] == list(range(5 + TRIES))
    assert {place.seed for place in found if place.positive} == set(range(5, 5 + TRIES, 3))
    assert found == [place for _, place in _places((formula,))]
    assert all(1 <= value <= place.sizes[index.size] for place in found for index, value in place.indices.items())


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (KroneckerDelta(i, p) * (1 - KroneckerDelta(i, q)) * w[p], 0),
        (KroneckerDelta(i, p) * (1 - KroneckerDelta(i, q)) * (1 - KroneckerDelta(i, t)) * (1 - KroneckerDelta(q, t)), 0),
        (total(w[i], i), w[i] * n),
        (exp(w[i]), 1 + w[i]),
        (sqrt(s[j]), s[j]),
        (n, d),
        (function("f")(h), function("g")(h)),
        (function("g")(h), function("g")(2 * h)),
    ],
    ids=str,
)
def test_formulas_that_differ_are_told_apart(left, right):
    with pytest.raises(UnsoundError, match="says exact arithmetic"):
        require_equal(left, sympify(right))


def test_a_formula_without_any_value_is_refused_and_one_with_few_is_not():
    with pytest.raises(ValueError, match=r"^log\(-exp\(h\)\) was defined at none of 40 random places"):
        require_equal(log(-exp(h)), log(-exp(h)))
    (X,) = tensors("X", n, d)
    whole = total(log(X[i, a]), i, a)  # has a value where all entries are positive
    require_equal(whole, whole)


def test_of_many_free_indices_not_every_pattern_is_tried():
    names = indices("i1 i2 i3 i4 i5", n)
    assert [left for left, _ in _places((sum(w[one] for one in names),))] == [0] * TRIES
    assert len(list(_places((h,)))) == TRIES


def test_an_unknown_function_of_one_of_one_is_given_up_for_an_interval():
    g, deep = function("g"), h
    for _ in range(12):
        deep = g(deep)
    require_equal(deep, deep)
    assert isinstance(PLACE.value(deep), Interval) and not PLACE.value(deep).equals(PLACE.value(deep.args[0]))


def test_two_places_are_enough_where_no_index_is_free():
    seen = []
    _require(lambda place: seen.append(place) or True, (h,), "h is not h")
    assert len(seen) == DRAWS


def test_the_slope_of_an_unknown_function_has_a_value_at_zero():
    g = function("g")
    second = g(h).diff(h, 2).subs(h, KroneckerDelta(i, p))
    assert PLACE.value(second).top.keys() == {0}  # i = 1, p = 2
