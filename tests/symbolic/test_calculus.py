"""Derivatives, contraction and definitions: the right value, or a refusal."""

import pytest
from sympy import Indexed, Integer, KroneckerDelta, Product, Rational, Sum, SympifyError, exp, log, sqrt, symbols

from imr.symbolic import (
    Index,
    UnsoundError,
    calculus,
    contract,
    d,
    derivative,
    function,
    indices,
    k,
    log_sum_exp,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

i, p, t = indices("i p t", n)
a, b, q = indices("a b q", d)
j, l, m = indices("j l m", k)
Z, B = tensors("Z B", n, d)
(theta,) = tensors("theta", k, d)
C, N, sigma = tensors("C N sigma", n, k)
x, y = tensors("x y", k)
(w,) = tensors("w", n)


def logits(i, j):
    return total(Z[i, a] * theta[j, a], a)


DEFINITION = {sigma: lambda i, j: softmax(lambda j: logits(i, j), j, l)}


def test_lemma_1_and_its_neighbours():
    slope = derivative(log_sum_exp(lambda j: N[i, j], j), N[p, l])
    probability = softmax(lambda j: N[p, j], l, j)
    delta = KroneckerDelta(i, p)
    assert same(slope, delta * probability)
    for wrong in (probability, delta * probability * (1 - probability), -delta * probability):
        assert not same(slope, wrong)


def test_theorem_1_and_its_neighbours():
    (square,) = tensors("theta", d, d)
    slope = derivative(log_sum_exp(lambda j: logits(i, j), j), Z[p, q])
    right = KroneckerDelta(i, p) * total(sigma[i, j] * theta[j, q], j)
    assert same(slope, unfold(right, DEFINITION))
    for wrong in (2 * right, -right, total(sigma[i, j] * theta[j, q], j)):
        assert not same(slope, unfold(wrong, DEFINITION))
    form = lambda i, b: total(Z[i, a] * square[b, a], a)
    slope = derivative(log_sum_exp(lambda b: form(i, b), b), Z[p, q])
    read = lambda value: KroneckerDelta(i, p) * total(softmax(lambda b: form(i, b), b, a) * value(b), b)
    assert same(slope, read(lambda b: square[b, q])) and not same(slope, read(lambda b: square[q, b]))


def test_the_flow():
    L = total(log_sum_exp(lambda j: logits(i, j), j) - total(C[i, j] * logits(i, j), j), i)
    right = total((C[p, j] - sigma[p, j]) * theta[j, q], j)
    wrong = total((C[p, j] + sigma[p, j]) * theta[j, q], j)
    assert same(-derivative(L, Z[p, q]), unfold(right, DEFINITION))
    assert not same(-derivative(L, Z[p, q]), unfold(wrong, DEFINITION))


def test_every_rule_of_differentiation():
    g, h = function("g"), symbols("h", positive=True)
    cases = [
        (x[j] ** 3, 3 * x[j] ** 2 * KroneckerDelta(j, m)),
        (1 / x[j], -KroneckerDelta(j, m) / x[j] ** 2),
        (total(x[j] ** 2, j), 2 * x[m]),
        (exp(total(x[j] * y[j], j)), y[m] * exp(total(x[j] * y[j], j))),
        (log(total(exp(x[j]), j)), exp(x[m]) / total(exp(x[j]), j)),
        (sqrt(total(exp(x[j]), j)), exp(x[m]) / (2 * sqrt(total(exp(x[j]), j)))),
        (total(g(x[j]), j), g(x[m]).diff(x[m])),
        (total(g(h * x[j]), j).diff(h), (g(h * x[m]).diff(h)).diff(x[m])),
        (total(x[j], j) * h**2, h**2),
        (total(x[j] * y[l], j, l), total(y[l], l)),
        (h, Integer(0)),
        (x[j] * y[j], KroneckerDelta(j, m) * y[j]),
    ]
    for f, slope in cases:
        assert same(derivative(f, x[m]), slope)


def test_second_and_third_derivatives_of_log_sum_exp_are_symmetric():
    lse = log_sum_exp(lambda j: x[j], j)
    one, two, three = indices("one two three", k)
    third = lambda *order: derivative(derivative(derivative(lse, x[order[0]]), x[order[1]]), x[order[2]])
    assert same(third(one, two, three), third(three, one, two))
    assert not same(third(one, two, three), third(one, two, two))


@pytest.mark.parametrize(
    ("f", "entry", "names"),
    [
        (total(x[j] ** 2, j), x[j], "j"),
        (total(Z[i, a] ** 2, i, a), Z[i, a], "a, i"),
        (log_sum_exp(lambda j: x[j], j), x[j], "j"),
    ],
)
def test_an_entry_that_a_sum_would_capture_is_refused(f, entry, names):
    with pytest.raises(ValueError, match=f"uses {names}, which is summed over"):
        derivative(f, entry)


def test_a_definition_with_indices_that_a_sum_would_capture_is_refused():
    with pytest.raises(ValueError, match="has i, p, which is summed over around it"):
        unfold(total(w[i] * N[p, l], i, p), {w: lambda t: total(N[t, j], j) * C[i, l] * C[p, l]})


def test_text_is_no_formula():
    for ask in (lambda: derivative("x", x[m]), lambda: contract("1 + 1"), lambda: unfold(w[i], {w: lambda t: "1"})):
        with pytest.raises(SympifyError):
            ask()


def test_what_other_programs_get_wrong_is_refused():
    limits = Sum(w[t], (t, 1, i))  # the causal mask as the limit of a sum
    for ask in (
        lambda: derivative(Sum(log(limits), (i, 1, n)), w[p]),
        lambda: same(Sum(limits, (i, 1, n)), n * limits),
        lambda: same(Sum(w[t] * w[i], (i, 1, n), (t, i + 1, n)), Sum(w[t] * w[i], (t, i + 1, n), (i, 1, n))),
    ):
        with pytest.raises(ValueError, match="whole range"):
            ask()
    with pytest.raises(ValueError, match="no part of the calculus"):
        derivative(Product(x[j], (j, 1, k)), x[j])
    with pytest.raises(ValueError, match="expected one that runs to d"):
        total(derivative(total(Z[p, a], a), Z[p, j]), j)  # a feature that runs to k


def test_the_causal_sum_is_written_with_a_mask():
    (mask,) = tensors("M", n, n)
    rows = total(log(total(mask[i, t] * exp(w[t]), t)), i)
    right = exp(w[p]) * total(mask[i, p] / total(mask[i, t] * exp(w[t]), t), i)
    forgets_the_mask = exp(w[p]) * total(1 / total(mask[i, t] * exp(w[t]), t), i)
    assert same(derivative(rows, w[p]), right) and not same(derivative(rows, w[p]), forgets_the_mask)


def test_contract_resolves_deltas_and_pulls_constants_out():
    assert contract(total(KroneckerDelta(j, l) * x[j], j)) == x[l]
    assert contract(total(KroneckerDelta(j, l) * KroneckerDelta(l, m) * x[j], j, l)) == x[m]
    assert contract(total(y[m] * x[j], j)) == y[m] * total(x[j], j)
    assert contract(total(x[j] + y[j], j)) == total(x[j], j) + total(y[j], j)
    assert contract(total((x[j] + KroneckerDelta(j, l)) ** 2, j)) == total(x[j] ** 2, j) + 2 * x[l] + 1
    nonlinear = total(exp(KroneckerDelta(j, l) * x[j]), j)
    assert contract(nonlinear) == nonlinear
    assert contract(3) == 3


def test_a_delta_puts_no_index_under_a_sum_that_has_it():
    """Σₐ δ(a,q) yₐ Σ_q x_q: the inner sum over q gets another name."""
    (u, v) = tensors("u v", d)
    inner = total(u[q] * v[a], q)
    contracted = contract(Sum(KroneckerDelta(a, q) * exp(inner), (a, 1, d)))
    assert same(contracted, exp(total(u[b] * v[q], b))) and not same(contracted, exp(total(u[b] * v[b], b)))
    shadowed = Sum(KroneckerDelta(a, q) * exp(total(u[a], a)), (a, 1, d))
    assert same(contract(shadowed), exp(total(u[b], b)))


def test_unfold_does_not_capture():
    outer = total(sigma[i, j] * x[j], j)
    assert same(unfold(outer, DEFINITION), total(softmax(lambda j: logits(i, j), m, l) * x[m], m))
    a_too = unfold(total(sigma[i, j] * Z[i, a] * theta[j, a], j, a), DEFINITION)  # a is what the definition sums over
    assert same(a_too, unfold(total(sigma[i, j] * logits(i, j), j), DEFINITION))
    assert unfold(x[j], {y: lambda j: Integer(1)}) == x[j]
    assert unfold(total(y[j], j), {y: lambda j: Integer(1)}) == total(Integer(1), j)


def test_unfold_refuses_a_definition_whose_own_index_is_summed_over_around_it():
    assert same(unfold(total(y[j] * x[j], j), {y: lambda j: x[l]}), x[l] * total(x[j], j))
    with pytest.raises(ValueError, match="definition of y has j, which is summed over"):
        unfold(total(y[j] * x[j], j), {y: lambda l: x[j]})


def test_unfold_gives_a_definition_the_ranges_of_its_tensor():
    ranges = []
    unfold(C[i, j], {C: lambda *slots: ranges.extend(slot.size for slot in slots) or Integer(0)})
    assert ranges == [n, k]
    with pytest.raises(ValueError, match="expected one that runs to"):
        unfold(C[i, j], {C: lambda i, j: Z[i, j]})


def test_a_derivative_is_taken_in_an_entry():
    with pytest.raises(ValueError, match="expected an entry of a tensor"):
        derivative(x[j], symbols("h"))
    assert derivative(3, x[j]) == 0


def test_the_jacobian_of_normalisation():
    norm = sqrt(total(x[l] ** 2, l))
    slope = derivative(x[j] / norm, x[m])
    assert same(slope, (KroneckerDelta(j, m) - x[j] * x[m] / norm**2) / norm)
    assert not same(slope, (KroneckerDelta(j, m) - x[j] * x[m]) / norm)
    assert same(total(slope * x[m], m), 0)


def test_a_wrong_derivative_is_caught_by_arithmetic(monkeypatch):
    monkeypatch.setattr(calculus, "contract", lambda expr: contract(expr) * 2)
    with pytest.raises(UnsoundError, match="says exact arithmetic"):
        derivative(total(x[j] ** 2, j), x[m])


def test_sizes_of_ones_own():
    heads = symbols("H", integer=True, positive=True)
    h, c = *indices("h", heads), *indices("c", r)
    (U,) = tensors("U", heads, d, r)
    f = total(total(Z[p, a] * U[h, a, c], a) ** 2, h, c)
    assert same(derivative(f, Z[p, q]), 2 * total(Z[p, a] * U[h, a, c] * U[h, q, c], h, c, a))


def test_the_derivative_of_an_index_free_formula():
    assert derivative(Rational(1, 2) * symbols("h"), x[m]) == 0
    assert isinstance(derivative(x[j], x[m]), KroneckerDelta) and isinstance(derivative(x[j] ** 2 / 2, x[j]), Indexed)
    assert isinstance(indices("i", n)[0], Index)
