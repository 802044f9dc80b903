"""What can be written, and what is refused with what and why."""

import copy
import pickle

import pytest
from sympy import (
    Derivative,
    Dummy,
    Float,
    Function,
    I,
    Indexed,
    IndexedBase,
    Integer,
    KroneckerDelta,
    Max,
    Piecewise,
    Product,
    Subs,
    Sum,
    Symbol,
    exp,
    oo,
    sin,
    sqrt,
)

from imr.symbolic import (
    Formula,
    Index,
    Tensor,
    contract,
    d,
    derivative,
    function,
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
from imr.symbolic.language import identity

i, p = indices("i p", n)
a, q = indices("a q", d)
j, l = indices("j l", k)
Z, B = tensors("Z B", n, d)
N, C = tensors("N C", n, k)
x, y = tensors("x y", k)
D, w = *tensors("D", n, n), *tensors("w", n)
f, g = function("f"), function("g")


def test_an_index_is_its_name_and_its_range():
    assert indices("i", n) == (i,) and indices("i", n)[0] is not i
    assert indices("i", d)[0] != i and i.fresh() != i and i.fresh() != i.fresh()
    assert i.size == n and i.fresh().size == n and str(i.fresh()) == "i"
    assert pickle.loads(pickle.dumps(i)) == copy.deepcopy(i) == i
    other = i.fresh()
    assert pickle.loads(pickle.dumps(other)) == other
    later = Index("i", n, serial=other.serial + 1000)  # as another process may have sent it
    assert i.fresh() != later and i.fresh().serial > later.serial


@pytest.mark.parametrize("size", [3, i, Symbol("n"), n + 1, Symbol("m", integer=True)])
def test_an_index_needs_a_size(size):
    with pytest.raises(ValueError, match="expected a size"):
        indices("i", size)


def test_entries_are_real_or_positive():
    (s,), (Z,) = tensors("s", k, positive=True), tensors("Z", n, d)
    assert Z[i, a].is_real and not Z[i, a].is_positive and s[j].is_positive
    assert total(s[j] * x[j] ** 2, j).is_nonnegative


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Z[a, i], "a runs to d; expected one that runs to n"),
        (lambda: Z[i, i], "i runs to n; expected one that runs to d"),
        (lambda: Z[i], "expected 2 indices, not 1"),
        (lambda: x[j, l], "expected 1 indices, not 2"),
        (lambda: x[1], "at 1, which is no index"),
        (lambda: x[j + 1], r"at j \+ 1, which is no index"),
        (lambda: x[k], "at k, which is no index"),
        (lambda: total(x[j], (j, k)), "is no index"),
        (lambda: total(x[j], k), "k is no index"),
        (lambda: total(x[j], j, j), "over j, j: an index stands there twice"),
        (lambda: softmax(lambda j: N[i, j], j, a), "the sum over a to d; expected one range"),
        (lambda: softmax(lambda p: D[p, p], i, l), "the sum over l to k; expected one range"),
        (lambda: softmax(lambda t: D[i, t], p, i), "the logits have i in them already"),
        (lambda: log_sum_exp(lambda t: D[i, t], i), "the logits have i in them already"),
    ],
)
def test_what_cannot_be_written(make, why):
    with pytest.raises(ValueError, match=why):
        make()


def test_the_entry_of_a_softmax_may_stand_in_its_logits():
    row = softmax(lambda t: D[i, t], i, p)
    assert row == exp(D[i, i]) / total(exp(D[i, p]), p)


PLAIN = IndexedBase("P")
NARROW = [
    {"commutative": False},
    *({name: True} for name in ("imaginary", "complex", "zero", "negative", "nonnegative", "even", "prime", "irrational")),
]


@pytest.mark.parametrize("assumed", [*NARROW, {"integer": True}], ids=str)
def test_entries_are_every_real_or_every_positive_number(assumed):
    with pytest.raises(ValueError, match="t has entries that are not every real or positive number"):
        Tensor("t", (k,), **assumed)[j]


REFUSED = [
    (Sum(x[j], (j, 1, i)), "expected an index over its whole range"),
    (Sum(w[i], (i, p, n)), "expected an index over its whole range"),
    (Sum(w[i], (i, 1, k)), "expected an index over its whole range"),
    (Sum(w[i], (i, 1, 3)), "expected an index over its whole range"),
    (Sum(PLAIN[Symbol("c")], (Symbol("c"), 1, n)), "expected an index over its whole range"),
    (Sum(w[i], (i, 1, n), (i, 1, n)), "runs twice over one index"),
    (PLAIN[i], "P has no shape"),
    (Indexed(w, j), "j runs to k"),
    (Indexed(w, 1), "which is no index"),
    (Product(x[j], (j, 1, k)), "no part of the calculus"),
    (Piecewise((x[j], x[j] > 0), (0, True)), "no part of the calculus"),
    (Max(x[j], 0), "no part of the calculus"),
    (sin(x[j]), "no part of the calculus"),
    (sqrt(x[j] ** 2), "no part of the calculus"),
    (f(x[j], x[l]), "no part of the calculus"),
    (i * w[i], "the index i stands as a number"),
    (exp(j), "the index j stands as a number"),
    (KroneckerDelta(i, j), "which run to n and k; expected one range"),
    (KroneckerDelta(i, p, (1, k)), "expected one range"),
    (KroneckerDelta(i, p + 1), "compares something that is no index"),
    (KroneckerDelta(i, n), "compares something that is no index"),
    (Float("0.1") * x[j], r"Rational\(1, 10\)"),
    (I * x[j], "no exact real number|no part of the calculus"),
    (oo + x[j], "no exact real number"),
    *((Symbol("c", **assumed) * x[j], "c is no letter for every real") for assumed in NARROW),
    (Function("g")(x[j]), r"and function\('g'\)"),
    (f(x[j], x[l]).diff(x[j]), "no part of the calculus"),
    (Derivative(g(x[j]), x[j]), "no part of the calculus"),
    (Derivative(exp(x[j]), x[j]), "no part of the calculus"),
    (Subs(Derivative(g(Symbol("t")), Symbol("t")), Symbol("t"), x[j]), "no part of the calculus"),
]


@pytest.mark.parametrize(("formula", "why"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_is_no_formula_of_the_calculus_is_refused_everywhere(formula, why):
    for ask in (lambda: same(formula, 0), lambda: same(0, formula), lambda: contract(exp(formula) + 1)):
        with pytest.raises(ValueError, match=why):
            ask()
    if not isinstance(formula, KroneckerDelta):
        with pytest.raises(ValueError, match=why):
            derivative(formula, x[l])


def test_a_delta_with_its_own_range_is_a_delta():
    delta = KroneckerDelta(i, p, (1, n))
    assert same(delta * w[i], KroneckerDelta(i, p) * w[p])
    assert same(contract(total(delta * w[i], i)), w[p])


def test_scalars_of_every_kind_are_letters():
    h, tau = Symbol("h"), Symbol("tau", positive=True)
    assert same((h + tau) * x[j] - h * x[j], tau * x[j])
    assert not same(h * x[j], tau * x[j])


def test_a_function_is_its_name_and_its_order():
    slope = g(x[j]).diff(x[j])
    assert function("g") == g and hash(function("g")) == hash(g) and slope.func.order == 1
    assert len({g, f, slope.func, Function("g"), function("g_")}) == 5
    assert pickle.loads(pickle.dumps(slope)) == copy.deepcopy(slope) == slope
    for name in ("g'", "", "g 2", 3):
        with pytest.raises(ValueError, match="expected a name"):
            function(name)
    assert latex(slope) == r"g'{\left(x_{j} \right)}" and latex(g(x[j])) == r"g{\left(x_{j} \right)}"


def test_slopes_at_arguments_that_print_alike_are_two():
    h, other = Symbol("h", real=True), Symbol("h", positive=True)
    slope = lambda letter: g(2 * letter).diff(letter)
    assert slope(h) != slope(other) and not same(slope(h), slope(other))
    (wide,), twin = tensors("x", n), Index("j", n)  # another tensor and another index of these names
    first, second = g(2 * x[j]).diff(x[j]), g(2 * wide[twin]).diff(wide[twin])
    assert str(first) == str(second) and not same(first, second)
    assert same(first * second, second * first) and not same(first * second, first**2)


def test_what_has_one_name_is_told_apart():
    letters = [Symbol("i"), Symbol("i", real=True), Symbol("i", positive=True), Dummy("i"), Dummy("i")]
    marked = [*indices("i", n), *indices("i", d), i.fresh(), *tensors("i", n), *tensors("i", d), *tensors("i", n, d)]
    marked += [*tensors("i", n, positive=True)]
    twins = [Dummy("n", integer=True, positive=True) for _ in range(2)]
    assert len({identity(one) for size in twins for one in (*tensors("i", size), *indices("i", size))}) == 4
    assert len({identity(atom) for atom in letters + marked}) == len(letters + marked) == 12
    assert identity(Symbol("i", positive=True)) == identity(Symbol("i", positive=True, real=True))


def test_two_letters_that_look_alike_are_two():
    h, other = Symbol("h"), Symbol("h", real=True)
    assert not same(h, other) and not same(h * x[j], other * x[j])
    (plain,) = tensors("x", k, positive=True)
    assert not same(x[j], plain[j]) and not same(total(x[j], j), total(plain[j], j))
    size = Dummy("k", integer=True, positive=True)
    (even,) = indices("j", size)
    assert not same(total(Integer(1), j), total(Integer(1), even))
    assert not same(Symbol("Z") + Symbol("Z", real=True) * w[i], 2 * Symbol("Z") * w[i])


def test_no_name_is_that_of_a_numbered_index():
    for name in ("#0", "_1", "'j'0", "j~1"):
        (odd,) = indices(name, n)
        assert not same(total(D[i, odd], i), total(D[i, i], i))
        assert same(total(D[i, odd], i), total(D[p, odd], p))


def test_latex_is_in_the_books_notation():
    (theta,) = tensors("theta", k, d)
    assert latex(total(Z[i, a] * theta[j, a], a)) == r"\sum_{a=1}^{d} Z_{ia} \theta_{ja}"
    assert latex(KroneckerDelta(i, p) * x[j]) == r"\delta_{ip} x_{j}"
    weight = exp(total(Z[i, a] * theta[j, a], a))
    assert latex(weight * y[j]) == r"e^{\sum_{a=1}^{d} Z_{ia} \theta_{ja}} y_{j}"
    assert latex((x[l] + 1) * y[j]) == r"\left(x_{l} + 1\right) y_{j}"
    assert latex(KroneckerDelta(i, p) ** Symbol("q")) == r"\delta_{ip}^{q}"
    assert latex(w[i.fresh()]) == "w_{i}"
    assert latex(tensors("theta_1", d)[0][a]) == r"{\theta_{1}}_{a}"
    (A, V) = tensors("A v", n)
    inner = p.fresh()
    read = unfold(total(A[p] * V[p], p), {A: lambda i: total(D[i, inner] * w[inner], inner)})
    assert latex(read) == r"\sum_{p=1}^{n} v_{p} \sum_{p'=1}^{n} D_{pp'} w_{p'}"
    assert Formula("f", x[l])._repr_latex_() == r"$\displaystyle f = x_{l}$"
    assert repr(Formula("f", x[l])) == "f = x_{l}"
