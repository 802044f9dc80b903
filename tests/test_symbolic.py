import random

import pytest
from sympy import Float, Indexed, Integer, KroneckerDelta, exp, log

from imr.symbolic import (
    Formula,
    contract,
    d,
    derivative,
    indices,
    k,
    latex,
    log_sum_exp,
    n,
    same,
    softmax,
    tensors,
    total,
    unfold,
)
from imr.symbolic import _canonical as canonical

i, j, l, p, q, a, b = indices("i j l p q a b")
Z, theta, C, N, sigma, w, x, y = tensors("Z theta C N sigma w x y")


def logits(i, j):
    return total(Z[i, a] * theta[j, a], (a, d))


definition = {sigma: lambda i, j: softmax(lambda j: logits(i, j), j, (l, k))}


def test_lemma_1_and_its_negative_controls():
    slope = derivative(log_sum_exp(lambda j: N[i, j], (j, k)), N[p, q])
    probability = softmax(lambda j: N[p, j], q, (j, k))
    assert same(slope, KroneckerDelta(i, p) * probability)
    for wrong in (probability, KroneckerDelta(i, p) * probability * (1 - probability), -KroneckerDelta(i, p) * probability):
        assert not same(slope, wrong)


def test_theorem_1_and_its_negative_controls():
    slope = derivative(log_sum_exp(lambda j: logits(i, j), (j, k)), Z[p, q])
    right = KroneckerDelta(i, p) * total(sigma[i, j] * theta[j, q], (j, k))
    transposed = KroneckerDelta(i, p) * total(sigma[i, j] * theta[q, j], (j, k))
    assert same(slope, unfold(right, definition))
    for wrong in (2 * right, -right, transposed, right / KroneckerDelta(i, p)):
        assert not same(slope, unfold(wrong, definition))


def test_the_flow():
    L = total(log_sum_exp(lambda j: logits(i, j), (j, k)) - total(C[i, j] * logits(i, j), (j, k)), (i, n))
    right = total((C[p, j] - sigma[p, j]) * theta[j, q], (j, k))
    wrong = total((C[p, j] + sigma[p, j]) * theta[j, q], (j, k))
    assert same(-derivative(L, Z[p, q]), unfold(right, definition))
    assert not same(-derivative(L, Z[p, q]), unfold(wrong, definition))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (total(x[j] * y[l], (j, k), (l, k)), total(x[l] * y[j], (j, k), (l, k))),
        (total(x[j] * total(Z[j, a], (a, d)), (j, k)), total(total(x[j] * Z[j, a], (j, k)), (a, d))),
        (total(x[j] + 2 * y[j], (j, k)), total(x[j], (j, k)) + 2 * total(y[l], (l, k))),
        (total(KroneckerDelta(j, q) * x[j], (j, k)), x[q]),
        (KroneckerDelta(i, p) * x[i], KroneckerDelta(i, p) * x[p]),
        (exp(total(x[j], (j, k))) * total(y[j], (j, k)), total(exp(total(x[l], (l, k))) * y[j], (j, k))),
    ],
)
def test_same_proves(left, right):
    assert same(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (total(x[j] * y[j], (j, k)), total(x[j], (j, k)) * total(y[j], (j, k))),
        (total(x[j], (j, k)), total(x[j], (j, n))),
        (total(Z[j, l] * x[j], (j, k), (l, k)), total(Z[l, j] * x[j], (j, k), (l, k))),
        (KroneckerDelta(i, p) * x[i], KroneckerDelta(i, p) * x[q]),
        (log(total(x[j], (j, k))), total(log(x[j]), (j, k))),
        (x[p], x[q]),
    ],
)
def test_same_rejects(left, right):
    assert not same(left, right)


def test_same_knows_that_a_softmax_sums_to_one():
    assert same(total(softmax(lambda l: x[l], j, (l, k)), (j, k)), 1)


def test_same_misses_what_it_says_it_misses():
    assert not same(exp(x[p] + y[p]), exp(x[p]) * exp(y[p]))


def _value(expr, sizes, free):
    """The expression at explicit sizes with a random number for each entry, to 25 digits."""
    explicit = expr.subs(sizes).subs(free).doit()
    entries = {e: Float(random.Random(str(e)).uniform(-1, 1), 30) for e in explicit.atoms(Indexed)}
    return explicit.subs(entries).doit().evalf(25)


@pytest.mark.parametrize("sizes", [{n: 2, d: 2, k: 3}, {n: 3, d: 3, k: 2}])
def test_contract_and_canonical_form_keep_the_value(sizes):
    L = total(w[i] * log_sum_exp(lambda j: logits(i, j), (j, k)), (i, n))
    CA = total(exp(logits(p, j)) * theta[j, q], (j, k)) / total(exp(logits(p, j)), (j, k))
    for expr in (L.diff(Z[p, q]), CA.diff(Z[i, b]), total(x[j] * total(y[l] * Z[j, l], (l, k)), (j, k)) ** 2):
        free = {p: 1, q: 2, i: 2, b: 1}
        expected = _value(expr, sizes, free)
        for form in (contract(expr), canonical(expr)):
            assert abs(_value(form, sizes, free) - expected) < 1e-20


@pytest.mark.parametrize("limits", [((j, k), (i, n)), ((i, n), (j, k))])
def test_a_delta_across_different_ranges_is_refused(limits):
    with pytest.raises(ValueError, match="which run to"):
        same(total(KroneckerDelta(i, j) * x[i], *limits), total(x[i], (i, n)))
    for shifted in (j + 1, Integer(0), n + 1, k):
        with pytest.raises(ValueError, match="no index"):
            contract(total(KroneckerDelta(i, shifted) * x[i], (i, n)))
    nested = total(total(KroneckerDelta(i, j) * x[i], limits[0]), limits[1])
    with pytest.raises(ValueError, match="which run to"):
        contract(nested)


def test_a_free_delta_keeps_its_value_in_canonical_form():
    expr = 3 * KroneckerDelta(i, p) * x[i] * y[p] ** 2
    for free in ({i: 2, p: 2}, {i: 1, p: 2}):
        assert abs(_value(canonical(expr), {}, free) - _value(expr, {}, free)) < 1e-20


def test_indices_are_integers_and_always_a_tuple():
    (only,) = indices("i")
    assert only.is_integer and indices("i j") == (only, indices("j")[0])


def test_an_entry_that_a_sum_would_capture_is_refused():
    with pytest.raises(ValueError, match="uses j, which is summed over"):
        derivative(total(x[j] ** 2, (j, k)), x[j])
    with pytest.raises(ValueError, match="uses a, j, which"):
        derivative(total(Z[j, a] ** 2, (j, k), (a, d)), Z[j, a])


def test_unfold_does_not_capture():
    outer = total(sigma[i, a] * x[a], (a, k))  # a is also what the definition sums over
    assert same(unfold(outer, definition), total(softmax(lambda b: logits(i, b), j, (b, k)) * x[j], (j, k)))


def test_latex_is_in_the_books_notation():
    assert latex(total(Z[i, a] * theta[j, a], (a, d))) == r"\sum_{a=1}^{d} Z_{ia} \theta_{ja}"
    assert latex(KroneckerDelta(i, p) * x[q]) == r"\delta_{ip} x_{q}"
    weight = exp(total(Z[i, a] * theta[j, a], (a, d)))
    assert latex(weight * y[j]) == r"e^{\sum_{a=1}^{d} Z_{ia} \theta_{ja}} y_{j}"
    assert latex((x[p] + 1) * y[q]) == r"\left(x_{p} + 1\right) y_{q}"
    assert latex(KroneckerDelta(i, p) ** q) == r"\delta_{ip}^{q}"
    assert Formula("f", x[q])._repr_latex_() == r"$\displaystyle f = x_{q}$"
