"""Chapter 11: log-sum-exp pooling."""

import torch
from sympy import exp, limit, log, oo, symbols
from torch.func import grad, jvp
from z3 import Reals

from claims.certain import follows
from claims.lemmas import a_sum_bounds_its_terms, gibbs
from claims.witnesses import claim, proves
from imr import convolution
from imr.symbolic import (
    derivative,
    indices,
    log_sum_exp,
    n,
    same,
    softmax,
    tensors,
    total,
)

j, l, q = indices("j l q", n)  # the n entries of a window
z, y = tensors("z y", n)
s = symbols("s", positive=True)
POOL = (log_sum_exp(lambda j: s * z[j], j) - log(n)) / s
SIGMA = softmax(lambda j: s * z[j], j, l)


@proves("prop-pool")
def test_prop_pool_proof():
    """Gradient, bounds, slope in s and limits; both gaps are divergences."""
    entry = lambda q: softmax(lambda j: s * z[j], q, l)
    assert same(derivative(POOL, z[q]), entry(q))
    assert not same(derivative(POOL, z[q]), 1 / n)
    mean = total(z[j], j) / n
    # Above the mean by KL(uniform ‖ σ)/s; its slope is KL(σ ‖ uniform)/s².
    gibbs()
    below = total((log(1 / n) - log(SIGMA)) / n, j)
    assert same(POOL - mean, below / s)
    rise = total(SIGMA * (log(SIGMA) - log(1 / n)), j)
    assert same(POOL.diff(s), rise / s**2)
    # With M the maximum and z = M − y²: e^{sz} ≤ e^{sM}, and one term is e^{sM}.
    M, other = symbols("M y", real=True)
    assert (exp(s * M) / exp(s * (M - other**2))).simplify() == exp(s * other**2)
    assert (s * other**2).is_nonnegative
    a_sum_bounds_its_terms()
    largest = symbols("n", positive=True)
    assert log(largest * exp(s * M)).expand(force=True) == log(largest) + s * M
    whole, log_n, m, size = Reals("whole log_n m s")  # whole is LSE(sz)
    given = size * m <= whole, whole <= log_n + size * m, size > 0
    pool = (whole - log_n) / size
    assert follows(pool <= m, *given) and follows(pool >= m - log_n / size, *given)
    assert limit(log(largest) / s, s, oo) == 0  # so the limit is the maximum
    # At s → 0 it is the derivative of LSE(sz) at 0, where LSE is log n.
    x = symbols("x", real=True)
    LSE = log_sum_exp(lambda j: x * z[j], j)
    assert same(LSE.subs(x, 0).doit(), log(n))
    assert same(LSE.diff(x).subs(x, 0).doit(), mean)


def _pooled(z, s):
    """Σ for the mean within: a sum, not a mean."""
    return (s * z).logsumexp(0) / s


@claim(
    "prop-pool",
    right=lambda z, s: (
        convolution.log_sum_exp_pool(z.reshape(1, 2, 2), s)[0, 0, 0],
        (s * z).softmax(0),
    ),
    wrong={
        "a sum for the mean": lambda z, s: (_pooled(z, s), (s * z).softmax(0)),
        "1/s forgotten": lambda z, s: (
            (s * z).logsumexp(0) - torch.tensor(4.0).log(),
            s * (s * z).softmax(0),
        ),
        "the scale forgotten": lambda z, s: (
            z.logsumexp(0) - torch.tensor(4.0).log(),
            z.softmax(0),
        ),
        "the gradient of the mean": lambda z, s: (
            _pooled(z, s) - torch.tensor(4.0).log() / s,
            torch.full_like(z, 0.25),
        ),
        "the gradient of the maximum": lambda z, s: (
            _pooled(z, s) - torch.tensor(4.0).log() / s,
            (z == z.max()).double(),
        ),
        "the mean": lambda z, s: (z.mean(), torch.full_like(z, 0.25)),
        "a mean weighted by the softmax": lambda z, s: (
            ((s * z).softmax(0) * z).sum(),
            (s * z).softmax(0),
        ),
    },
)
def test_prop_pool_check(p, formula):
    """Against the definition and autograd; bounds, order in s, and limits."""
    z = p.scale * p.draw(4, salt=81)
    unit, room = z.abs().max(), 1e-12 * z.abs().max()
    plain = lambda z, s: (s * (z - z.max())).exp().mean().log() / s + z.max()
    values = []
    for part in (1e-6, 0.1, 1.0, 10.0, 1e6):
        s = part / unit
        value, slope = formula(z, s)
        right = p.close(value, plain(z, s), 1e-9, floor=unit)
        if not right or not p.close(slope, grad(plain)(z, s), 1e-9, floor=1.0):
            return False
        between = z.mean() - 1e-9 * unit <= value <= z.max() + room
        rises = jvp(lambda s: plain(z, s), (s,), (torch.ones_like(s),))[1]
        if not between or value < z.max() - torch.tensor(4.0).log() / s - room:
            return False
        if part in (0.1, 1.0, 10.0) and rises <= 0:
            return False
        values.append(value)
    ends = torch.stack([values[0] - z.mean(), values[-1] - z.max()])
    return bool(
        torch.stack(values).diff().min() > 0 and ends.abs().max() < 1e-5 * unit
    )
