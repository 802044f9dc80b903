"""Chapter 1."""

import math

import torch
from sympy import KroneckerDelta, Symbol

from claims.symbols import j, l, m
from claims.witnesses import claim, proves
from imr.symbolic import k, same, tensors, total

(E,) = tensors("E", k, positive=True)
(y,) = tensors("y", k)


def but(one):
    """A factor for class j: zero for the class that is named, one for others."""
    return (1 - KroneckerDelta(j, one)) ** 2


@proves("prop-smooth-max")
def test_prop_smooth_max_proof():
    """E_j = exp(N_ij), and m is a class of the largest; E_j = top − y_j² besides.

    The logarithm is increasing, so max ≤ LSE ≤ max + log k is E_m ≤ ΣE ≤ k E_m.
    """
    others = total(but(m) * E[j], j)
    assert same(total(E[j], j) - E[m], others) and others.is_nonnegative
    # With a class l besides m the first is strict: what is left has E_l in it.
    left = total(but(m) * but(l) * E[j], j)
    assert same(others - (1 - KroneckerDelta(l, m)) * E[l], left)
    assert left.is_nonnegative and E[l].is_positive
    # k times the largest less the sum is a sum of squares, none above the sum.
    top, squares = Symbol("E_m", positive=True), total(y[j] ** 2, j)
    assert same(k * top - total(top - y[j] ** 2, j), squares)
    rest = total(but(l) * y[j] ** 2, j)
    assert same(squares - y[l] ** 2, rest)
    assert squares.is_nonnegative and rest.is_nonnegative


@claim(
    "prop-smooth-max",
    right=lambda N, k: (N.amax(-1), N.amax(-1) + math.log(k)),
    wrong={
        "log k forgotten": lambda N, k: (N.amax(-1), N.amax(-1)),
        "log 2": lambda N, k: (N.amax(-1), N.amax(-1) + math.log(2)),
        "k, not its logarithm": lambda N, k: (N.amax(-1), N.amax(-1) + k),
        "about the mean": lambda N, k: (N.mean(-1), N.mean(-1) + math.log(k)),
        "log k on both sides": lambda N, k: (
            N.amax(-1) - math.log(k),
            N.amax(-1) + math.log(k),
        ),
    },
)
def test_prop_smooth_max_check(p, formula):
    """Between the bounds; on them for equal logits, and for logits far apart."""
    N = p.Z @ p.theta.T
    (lower, upper), lse = formula(N, p.k), N.logsumexp(-1)
    slack = 1e-14 * N.abs().max()
    between = ((lower <= lse + slack) & (lse <= upper + slack)).all()
    equal = N[:, :1].expand_as(N)
    apart = equal - 1e3 * (torch.arange(p.k) > 0)
    above, below = formula(equal, p.k)[1], formula(apart, p.k)[0]
    touches = p.close(above, equal.logsumexp(-1)) and p.close(below, apart[:, 0])
    return bool(between) and touches
