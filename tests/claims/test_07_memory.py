"""Chapter 7, layers that remember the layer before: two reads, and momentum."""

import torch
from sympy import (
    Eq,
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
from torch.func import jvp
from z3 import Reals

from claims.certain import follows
from claims.formulas import has_leading_term, has_order, lse, substeps
from claims.splits import along, linear, read
from claims.symbols import B, G, a, i
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import same, total
from strategies import Problem

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
    x, y = symbols("x y")
    residual = lambda x, y: expand(solution(h) - h * (x * speed(0) + y * speed(-h)))
    equations = [residual(x, y).coeff(D, 1) for D in (D1, D2)]
    assert solve([Eq(e, 0) for e in equations], [x, y]) == {
        x: Rational(3, 2),
        y: -Rational(1, 2),
    }
    left = residual(Rational(3, 2), -Rational(1, 2))
    assert simplify(left - Rational(5, 12) * h**3 * D3) == 0
    # Taylor's remainders weigh Z''' with one sign: |residual| ≤ 5/12 h³ max |Z'''|.
    t = symbols("t", nonnegative=True)
    weights = (t**2 / 2, h * t / 2)  # of Z''' at h − t and at t − h from now
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


def _two_reads(f, Z, h, layers, old, new):
    """Layers that add h(new f(Z) + old f(before)), and evaluate f once each."""
    kept = f(Z)
    Z = Z + h * kept
    for _ in range(layers - 1):
        read = f(Z)
        Z, kept = Z + h * (new * read + old * kept), read
    return Z


@claim(
    "prop-two-reads",
    right=lambda: (-1 / 2, 3 / 2),
    wrong={
        "no memory: Euler": lambda: (0.0, 1.0),
        "the mean of both reads": lambda: (1 / 2, 1 / 2),
        "exchanged": lambda: (3 / 2, -1 / 2),
        "-0.49 and 1.49": lambda: (-0.49, 1.49),
        "-1/2 and 1.52": lambda: (-1 / 2, 1.52),
    },
    examples=4,
)
def test_prop_two_reads_check(p, formula):
    """Order 2 over halved steps, and the error within its bound."""
    p, time = Problem(n=4, d=3, k=5, seed=p.seed, hard=p.hard), 1.0
    f = lambda Z: p.C @ p.theta - read(p.theta)(Z)
    path = flow.trajectory(flow.rk4(f, time / 256), p.Z, 256)
    end = lambda h: _two_reads(f, p.Z, h, round(time / h), *formula())
    second = along(f, f)
    M2, M3 = (
        max(g(Z).norm() for Z in path[::16]) for g in (second, along(second, f))
    )
    growth = torch.exp(2 * flow.lipschitz_bound(p.theta) * time)
    bound = lambda h: growth * (M2 / 2 + 5 / 12 * M3 * time) * h**2
    within = all((end(h) - path[-1]).norm() <= bound(h) for h in (1 / 8, 1 / 64))
    return within and has_order(end, lambda h: path[-1], 2, 1 / 8)


@proves("prop-momentum")
def test_prop_momentum_proof():
    """Taylor's formula along a solution; then the same step as one of order two."""
    step, b, c = symbols("tau beta gamma", real=True)
    after, now, before, f = symbols("after now before f")
    rule = lambda now, before: now + h * f + b * (now - before)
    assert solve(Eq(rule(now, now), now), f) == [0]  # what keeps the pair (Z, Z)
    # Z(t+τ) − Z(t) − β(Z(t) − Z(t−τ)) − (1−β)τŻ(t), where h = (1−β)τ:
    residual = expand(solution(step) + b * solution(-step) - (1 - b) * step * D1)
    assert [residual.coeff(step, m) for m in (0, 1)] == [0, 0]
    assert simplify(residual.coeff(step, 2) - (1 + b) / 2 * D2) == 0
    assert solve(Eq(residual.coeff(step, 2), 0), b) == [-1]
    size, part, time = Reals("h beta tau")  # with 0 < β < 1 the steps are longer
    known = size > 0, part > 0, part < 1, time * (1 - part) == size
    assert follows(time > size, *known)
    # With h = τ² and β = 1 − γτ the step is a difference quotient of Z̈ + γŻ = f.
    left = after - rule(now, before).subs({h: step**2, b: 1 - c * step})
    quotient = (after - 2 * now + before) / step**2 + c * (now - before) / step
    assert simplify(left / step**2 - (quotient - f)) == 0
    curve = {after: now + solution(step), before: now + solution(-step)}
    assert quotient.subs(curve).expand().subs(step, 0) == D2 + c * D1
    # Of L + ½|V|² along V' = −γV − ∇L, with G for the gradient:
    energy_rate = total(
        G[i, a] * B[i, a] + B[i, a] * (-c * B[i, a] - G[i, a]), i, a
    )
    assert same(energy_rate, -c * total(B[i, a] ** 2, i, a))


@claim(
    "prop-momentum",
    right=lambda beta, gamma, V: ((1 + beta) / 2, -gamma * (V * V).sum()),
    wrong={
        "no error": lambda beta, gamma, V: (0.0, -gamma * (V * V).sum()),
        "Euler's error": lambda beta, gamma, V: (0.5, -gamma * (V * V).sum()),
        "one minus beta": lambda beta, gamma, V: (
            (1 - beta) / 2,
            -gamma * (V * V).sum(),
        ),
        "half the friction": lambda beta, gamma, V: (
            (1 + beta) / 2,
            -gamma * (V * V).sum() / 2,
        ),
        "no friction": lambda beta, gamma, V: ((1 + beta) / 2, 0 * V.sum()),
    },
    examples=20,
)
def test_prop_momentum_check(p, formula):
    """The first term of a solution's residual; the slope of the energy."""
    beta, gamma = p.draw(2, salt=73).sigmoid().tolist()
    coefficient, energy_rate = formula(beta, gamma, p.B)
    f, h = lambda Z: p.C @ p.theta - read(p.theta)(Z), linear(p)[2]
    after = lambda s: substeps(f, s)(p.Z)
    layer = lambda s: p.Z + (1 - beta) * s * f(p.Z) + beta * (p.Z - after(-s))
    claimed = -coefficient * along(f, f)(p.Z)
    floor = 1e-6 * p.theta.abs().max().item() / h
    residual = has_leading_term(p, layer, after, 2, claimed, h, floor)
    energy = lambda Z, V: (
        (lse(Z, p.theta) - (p.C * (Z @ p.theta.T)).sum(-1)).sum()
        + (V * V).sum() / 2
    )
    motion = p.B, f(p.Z) - gamma * p.B
    fall = jvp(energy, (p.Z, p.B), motion)[1]
    return residual and p.close(fall, energy_rate, 1e-9, floor=p.theta.norm())
