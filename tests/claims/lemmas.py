"""The small lemmas that several proofs share, each proved when it is called.

Sums are SymPy's, for every size; the polynomial inequality at the end of a chain is
decided by z3, for all real numbers.
"""

from sympy import KroneckerDelta, integrate, limit, log, symbols
from z3 import Q, Real, Reals

from claims.certain import follows
from imr.symbolic import indices, k, same, tensors, total

j, l, q = indices("j l q", k)
s, r = tensors("s r", k, positive=True)  # weights
x, y = tensors("x y", k)  # real numbers


def mean(f):
    """The mean of f(j) under positive weights, which need not sum to one."""
    return total(s[j] * f(j), j) / total(s[j], j)


def variance(f=lambda j: x[j]):
    """The mean of the squares minus the square of the mean."""
    return mean(lambda j: f(j) ** 2) - mean(f) ** 2


def a_sum_bounds_its_terms():
    """Of terms that are not negative none exceeds the sum; if it is 0, all are."""
    others = (1 - KroneckerDelta(j, q)) ** 2 * s[j] * x[j] ** 2
    assert total(others, j).is_nonnegative
    assert same(total(s[j] * x[j] ** 2, j) - s[q] * x[q] ** 2, total(others, j))


def a_mean_is_not_below_the_least():
    """If each x is least + y², the mean is least + a mean that is not negative."""
    least = symbols("c", real=True)
    gap = mean(lambda j: least + y[j] ** 2) - least
    assert same(gap, mean(lambda j: y[j] ** 2))
    assert mean(lambda j: y[j] ** 2).is_nonnegative


def a_variance_is_a_mean_of_squares():
    """It is not negative, and by the lemma above 0 for a constant alone."""
    assert same(variance(), mean(lambda j: (x[j] - mean(lambda l: x[l])) ** 2))
    assert total(s[j] * x[j] ** 2, j).is_nonnegative
    a_sum_bounds_its_terms()


def cauchy_schwarz():
    """(Σ s x y)² ≤ Σ s x² · Σ s y², by Lagrange's identity, for any weights s."""
    product = lambda f, g: total(s[j] * f[j] * g[j], j)
    squares = s[j] * s[l] * (x[j] * y[l] - x[l] * y[j]) ** 2
    gap = product(x, x) * product(y, y) - product(x, y) ** 2
    assert same(gap, total(squares, j, l) / 2)
    assert total(squares, j, l).is_nonnegative


def a_covariance_is_bounded_by_variances():
    """Cov(x, y)² ≤ Var x · Var y, as it is a mean of products about the means."""
    about = lambda f: lambda j: f[j] - mean(lambda l: f[l])
    covariance = mean(lambda j: x[j] * y[j]) - mean(lambda j: x[j]) * mean(
        lambda j: y[j]
    )
    assert same(covariance, mean(lambda j: about(x)(j) * about(y)(j)))
    a_variance_is_a_mean_of_squares()
    cauchy_schwarz()


def variance_bound():
    """Popoviciu: numbers between m and M have a variance of at most (M − m)²/4."""
    low, high = symbols("m M", real=True)
    centre = mean(lambda j: x[j])
    gap = mean(lambda j: (high - x[j]) * (x[j] - low))
    assert same(variance() + gap, (high - centre) * (centre - low))
    # M − x and x − m are not negative, hence squares; and so is the mean, the gap.
    assert (total(s[j] * x[j] ** 2 * y[j] ** 2, j) / total(s[j], j)).is_nonnegative
    v, g, c, m, M = Reals("v g c m M")
    assert follows(4 * v <= (M - m) ** 2, v + g == (M - c) * (c - m), g >= 0)


def half_the_squares():
    """Var(x) ≤ |x|²/2 under probabilities: the gap is a sum of squares.

    And 2s(1 − s) ≤ ½ for each weight s.
    """
    variance = total(s[j] * x[j] ** 2, j) * total(s[j], j)
    variance -= total(s[j] * x[j], j) ** 2
    others = total(s[l], l) - s[j]  # 1 − s_j
    most = 2 * total(s[j] * others * x[j] ** 2, j)
    pair = s[j] * s[l] * (x[j] + x[l]) ** 2 / 2
    gap = total(pair * (1 - KroneckerDelta(j, l)) ** 2, j, l)
    assert same(most - variance, gap) and gap.is_nonnegative
    weight = Real("weight")
    assert follows(2 * weight * (1 - weight) <= Q(1, 2))


def gibbs():
    """Σ s log(s/r) ≥ 0 for probabilities s and r, and 0 for s = r alone.

    g(t) = t − 1 − log t falls before t = 1 and rises after it, so g(t) ≥ g(1) = 0.
    The divergence is the mean of g(r/s) under s.
    """
    t, more = symbols("t more", positive=True)
    g = t - 1 - log(t)
    assert g.subs(t, 1) == 0
    assert g.diff(t).subs(t, 1 + more).simplify().is_positive
    assert g.diff(t).subs(t, 1 / (1 + more)).simplify().is_negative
    divergence = total(s[j] * (log(s[j]) - log(r[j])), j)
    means = total(s[j] * (r[j] / s[j] - 1 - log(r[j] / s[j])), j)
    assert same(divergence, means + total(s[j], j) - total(r[j], j))
    # Each g is not negative, hence a square; so their mean is 0 only if each g is.
    assert total(s[j] * x[j] ** 2, j).is_nonnegative
    assert limit(more * g.subs(t, t / more), more, 0) == t  # a term with s = 0 is r
    a_sum_bounds_its_terms()


def a_short_step_descends():
    """φ(1) = φ(0) + φ'(0) + ∫(φ'(t) − φ'(0))dt, and the integrand is ≤ Λt|B|².

    Here φ(t) = f(Z + tB), Λ is a Lipschitz constant of ∇f, and B = −h∇f.
    """
    cauchy_schwarz()  # ⟨∇f(Z + tB) − ∇f(Z), B⟩ ≤ Λt|B|·|B|
    t, bound, length = symbols("t Lambda B", positive=True)
    assert integrate(bound * t * length**2, (t, 0, 1)) == bound * length**2 / 2
    before, after, h, L, g2 = Reals("before after h L g2")
    taylor = after <= before - h * g2 + L / 2 * h**2 * g2
    assert follows(after <= before - h * (1 - h * L / 2) * g2, taylor)
    assert follows(after < before, taylor, h > 0, L > 0, h * L < 2, g2 > 0)
