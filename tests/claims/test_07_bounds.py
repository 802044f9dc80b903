"""Chapter 7, bounds of Lie's and Strang's errors without a remainder."""

import torch
import z3
from sympy import Rational, integrate, symbols

from claims.fields import CA, along, h, proved, velocity
from claims.splits import read
from claims.symbols import B, Z, j, l, logits, p, q, theta, v
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import k, same, softmax, tensors, total, unfold


@proves("prop-lie-bound")
def test_prop_lie_bound_proof():
    """By the monotony of attention; numbered as in the appendix of proofs."""
    # 1. d/ds <CA(Y + sB), B> is a sum of variances, so <CA(Z) − CA(Y), Z − Y> ≥ 0.
    x, weight = (
        lambda j: total(B[p, v] * theta[j, v], v),
        lambda j: softmax(lambda j: logits(p, j), j, l),
    )
    centre = total(weight(j) * x(j), j)
    slope = along(CA(p, q), lambda i, a: B[i, a])
    variance = total(weight(j) * (x(j) - centre) ** 2, j)
    assert same(total(slope * B[p, q], q), variance)
    (s,), (y,) = tensors("s", k, positive=True), tensors("y", k)
    assert total(s[j] * y[j] ** 2, j).is_nonnegative
    # 2. So ½|Z − Y|² has the slope −<CA(Z) − CA(Y), Z − Y>; B is the second point.
    other = lambda f: unfold(f, {Z: lambda i, a: B[i, a]})
    apart = Z[p, q] - B[p, q]
    slope = (velocity(p, q) - other(velocity(p, q))) * apart
    assert same(slope, -(CA(p, q) - other(CA(p, q))) * apart)
    # 4. r² = |w − y|² has a slope of at most 2rg, so u = √(r² + ε²) one of g.
    r, g, u, e, slope = z3.Reals("r g u e slope")
    known = [
        r >= 0,
        g >= 0,
        e > 0,
        u > 0,
        u * u == r * r + e * e,
        slope <= 2 * r * g,
    ]
    assert proved(z3.Implies(z3.And(*known), slope / (2 * u) <= g))
    # 5. |δ| ≤ Λ|Cθ| times |t| for Lie, |t − h/2| for Strang.
    t = symbols("t", real=True)
    assert integrate(t, (t, 0, h)) == h**2 / 2
    half = integrate(h / 2 - t, (t, 0, h / 2)) + integrate(t - h / 2, (t, h / 2, h))
    assert half == h**2 / 4
    # 6. A step adds at most its own error, as the flow pushes no two points apart.
    before, after, own, steps = z3.Reals("before after own steps")
    grown = z3.And(after <= before + own, before <= steps * own)
    assert proved(z3.Implies(grown, after <= (steps + 1) * own))
    # 7. At a tie of θ = (1, −1), C = (1, 0): Λ = Cθ = 1, and the variance is 1.
    tie = [(Rational(1, 2), 1), (Rational(1, 2), -1)]
    first = sum(s * x for s, x in tie)
    assert sum(s * (x - first) ** 2 for s, x in tie) == Rational(1, 4) * 2**2 == 1


def _fine(field, parts):
    """The exact sub-flow also for long steps: many of Runge–Kutta."""

    def subflow(h):
        step = flow.rk4(field, h / parts)
        return lambda Z: flow.trajectory(step, Z, parts)[-1]

    return subflow


def _steps(theta, C, h, parts=16):
    """One step of the flow, of attention, of Lie's and of Strang's splitting."""
    attend, pull = _fine(lambda Z: -read(theta)(Z), parts), flow.shift(C @ theta)
    return (
        _fine(flow.linear_field(theta, C), parts)(h),
        attend(h),
        flow.lie(attend, pull, h),
        flow.strang(pull, attend, h),
    )


TIE = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[1.0, 0.0]]).double()


@claim(
    "prop-lie-bound",
    right=lambda Lip, pull, h, l: Lip * pull * l * h * h / 2,
    wrong={
        "an order more": lambda Lip, pull, h, l: Lip * pull * l * h**3 / 2,
        "one per cent less": lambda Lip, pull, h, l: (
            0.99 * Lip * pull * l * h * h / 2
        ),
        "the sum does not grow": lambda Lip, pull, h, l: Lip * pull * h * h / 8,
        "without the Lipschitz constant": lambda Lip, pull, h, l: (
            pull * l * h * h / 4
        ),
    },
    examples=3,
)
def test_prop_lie_bound_check(p, formula):
    """No error above the bound, attained at a tie; no two points pushed apart."""
    rounding = 1e-9 * (1 + p.Z.norm())

    def within(theta, C, Z, h, steps=8):
        size = flow.lipschitz_bound(theta), (C @ theta).norm(), h
        true, _, lie, strang = _steps(theta, C, h)
        ends = [flow.trajectory(step, Z, steps) for step in (true, lie, strang)]
        errors = [(end - ends[0]).flatten(1).norm(dim=1) for end in ends[1:]]
        most = torch.stack([formula(*size, l) for l in range(steps + 1)]) + rounding
        return bool((errors[0] <= most).all() & (errors[1] <= most / 2).all())

    def together(theta, C, Z, Y, h):
        gap = (Z - Y).norm() + rounding
        return all((f(Z) - f(Y)).norm() <= gap for f in _steps(theta, C, h, 40))

    unit = 1 / torch.linalg.matrix_norm(p.theta, 2).item() ** 2
    return within(*TIE, torch.zeros(1, 1).double(), 1e-2, 1) and all(
        within(p.theta, p.C, p.Z, h * unit)
        and together(p.theta, p.C, p.Z, p.Z + p.B, h * unit)
        for h in (0.1, 1.0, 5.0)
    )
