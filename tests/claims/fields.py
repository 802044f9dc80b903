"""The linear model's fields as expressions, and their derivatives, for proofs."""

import z3
from sympy import symbols

from claims.symbols import LINEAR, C, Z, j, m, p, q, sigma, theta, u, v
from imr.symbolic import contract, derivative, total, unfold

h = symbols("h", positive=True)


def CA(p, q):
    """CA(Z, θ)_pq, all sums written out."""
    return unfold(total(sigma[p, j] * theta[j, q], j), LINEAR)


def pull(p, q):
    """(Cθ)_pq."""
    return total(C[p, m] * theta[m, q], m)


def velocity(p, q):
    """The flow's field, (Cθ − CA)_pq."""
    return pull(p, q) - CA(p, q)


def mean(f):
    """The mean of f(j) under token p's softmax."""
    return unfold(total(sigma[p, j] * f(j), j), LINEAR)


def covariance(V):
    """Entry q of Cov(θ_j, θ_j · V_p) under token p's softmax."""
    x = lambda j: total(V(p, v) * theta[j, v], v)
    product = mean(lambda j: theta[j, q] * x(j))
    return product - mean(lambda j: theta[j, q]) * mean(x)


def moved(f, field):
    """A function of Z at Z + h times a field."""
    return unfold(f, {Z: lambda i, a: Z[i, a] + h * field(i, a)})


def rate(f, times=1):
    """A derivative in h at h = 0."""
    for _ in range(times):
        f = contract(f.diff(h))
    return f.subs(h, 0)


def along(f, field):
    """The derivative of a function of Z in the direction of a field, df[V]."""
    row, column = u.fresh(), v.fresh()
    slope = derivative(f, Z[row, column])
    return contract(total(slope * field(row, column), row, column))


def proved(statement):
    """Whether z3 proves an inequality between real numbers."""
    solver = z3.Solver()
    solver.add(z3.Not(statement))
    return solver.check() == z3.unsat
