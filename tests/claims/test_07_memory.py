"""Chapter 7, layers that remember the layer before: two reads, and momentum."""

import numpy as np
import torch
from sympy import (
    Eq,
    Function,
    Rational,
    Sum,
    exp,
    expand,
    factorial,
    integrate,
    oo,
    simplify,
    solve,
    symbols,
)

from claims.orders import labels, slope
from claims.witnesses import claim, proves
from imr import flow, potentials

h = symbols("h", positive=True)
D1, D2, D3 = symbols("Z1 Z2 Z3", real=True)  # a solution's derivatives at t


def solution(s, order=3):
    """Z(t + s) − Z(t) by Taylor's formula."""
    slopes = (D1, D2, D3)[:order]
    return sum(D * s**m / factorial(m) for m, D in enumerate(slopes, 1))


def speed(s):
    """Ż(t + s), likewise."""
    return D1 + s * D2 + s**2 / 2 * D3


@proves("prop-two-reads")
def test_prop_two_reads_proof():
    """The residual of a solution, its weights, and a step of the induction."""
    a, b = symbols("a b")
    residual = lambda a, b: expand(solution(h) - h * (a * speed(0) + b * speed(-h)))
    equations = [residual(a, b).coeff(D, 1) for D in (D1, D2)]
    assert solve([Eq(e, 0) for e in equations], [a, b]) == {
        a: Rational(3, 2),
        b: -Rational(1, 2),
    }
    left = residual(Rational(3, 2), -Rational(1, 2))
    assert simplify(left - Rational(5, 12) * h**3 * D3) == 0
    # Taylor's remainders have weights of one sign, so |residual| ≤ 5/12 h³ max |Z'''|:
    s, t = symbols("s t", nonnegative=True)
    weights = (t**2 / 2, h * t / 2)  # at the time t + h − s, and at t − h + s
    assert all(weight.is_nonnegative for weight in weights)
    assert sum(integrate(w, (t, 0, h)) for w in weights) == Rational(5, 12) * h**3
    # e ≤ (1 + 2hK)e + R a step, so by induction e ≤ (1 + 2hK)^l (e_1 + lR).
    K, R, e, x, l = symbols("K R e x l", nonnegative=True)
    grow = 1 + 2 * h * K  # x stands for grow^l ≥ 1
    room = grow * (1 + x) * (e + (l + 1) * R) - (grow * (1 + x) * (e + l * R) + R)
    assert expand(room).is_nonnegative
    m = symbols("m", integer=True, nonnegative=True)
    y = symbols("y", positive=True)
    term = y ** (m + 2) / factorial(m + 2)  # e^y − 1 − y ≥ 0, so grow^l ≤ e^{2lhK}
    assert term.is_nonnegative
    assert simplify(Sum(term, (m, 0, oo)).doit() - (exp(y) - 1 - y)) == 0


def _memory(f, Z, h, layers, old, new, momentum=0.0):
    """Layers that add h(new f(Z) + old f(before)) + momentum (Z − before)."""
    before, now = Z, Z + h * f(Z)
    kept = f(Z)  # so that each layer evaluates f once
    for _ in range(layers - 1):
        read = f(now)
        after = now + h * (new * read + old * kept) + momentum * (now - before)
        before, now, kept = now, after, read
    return now
