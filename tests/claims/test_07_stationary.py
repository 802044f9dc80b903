"""Chapter 7, which steps keep the stationary points of the flow."""

import math

import torch
import torch.nn.functional as F
from sympy import (
    Eq,
    Rational,
    Sum,
    exp,
    factorial,
    log,
    oo,
    simplify,
    sinh,
    solve,
    symbols,
)

from claims import splits
from claims.fields import CA, along, covariance, h, mean, velocity
from claims.formulas import exact
from claims.splits import linear, misses, read
from claims.symbols import B, G, Z, p, q, theta, v
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import same, total


@proves("prop-stationary")
def test_prop_stationary_proof():
    """A step where CA(Z) = Cθ, written B; then one token of one feature."""
    euler = Z[p, q] + h * velocity(p, q)
    assert same((euler - Z[p, q]) / h, velocity(p, q))
    # There f_A is −B. [A, B]id, which is g = dCA[B] everywhere, is a covariance,
    pull, other = (lambda i, a: B[i, a]), (lambda i, a: G[i, a])
    g = along(CA(p, q), pull)
    assert same(g, covariance(pull))
    # [A, [A, B]]id = g'[f_A] − f_A'[g] is dCA[g] − dg[B]; [B, [A, B]]id is dg[B].
    curved, twice = along(g, pull), along(CA(p, q), other)  # the latter for any g
    x = lambda j: total(B[p, v] * theta[j, v], v)
    centre = mean(lambda j: theta[j, q])
    third = mean(lambda j: (theta[j, q] - centre) * (x(j) - mean(x)) ** 2)
    assert same(curved, third)
    assert same(twice, covariance(other))
    strang = (twice - curved) / 12 + curved / 24
    assert same(strang, covariance(other) / 12 - third / 24)
    assert not same(strang, covariance(other) / 12 + third / 24)
    _one_token()


def _one_token():
    """θ = (1, 0): ∇L = s(z) − c, and attention takes z − e^{−z} down by h."""
    c, x, E = symbols("c x E", positive=True)
    z = symbols("z", real=True)
    share, kept = 1 / (1 + exp(-z)), lambda z: z - exp(-z)
    assert simplify(kept(z).diff(z) * -share) == -1
    assert simplify(share.subs(z, log(c / (1 - c))) - c) == 0  # the minimiser
    assert simplify(share.diff(z) - exp(-z) * share**2) == 0  # so L'' > 0
    # From z to w = z − x its slope is below 1, so that distances shrink strictly:
    slope = (1 + exp(-z)) / (1 + exp(x - z))
    assert simplify(kept(z).diff(z) / kept(z).diff(z).subs(z, z - x) - slope) == 0
    assert simplify((1 - slope) * (1 + exp(x - z)) - exp(-z) * (exp(x) - 1)) == 0
    # A step keeps y if it goes from y + hcw to y + hc(w − 1): Lie w = 0, Strang ½.
    lie = log((exp(h * c) - 1) / (h * c))
    strang = log(sinh(h * c / 2) / (h * c / 2))
    for w, bias in ((0, lie), (Rational(1, 2), strang)):
        ends = kept(-log(E) + h * c * (w - 1)) - kept(-log(E) + h * c * w)
        (root,) = solve(Eq(simplify((ends + h).expand()), 0), E)  # E = e^{−y}
        claimed = exp(-bias) * (1 - c) / c
        assert simplify((root - claimed).rewrite(exp)) == 0
    # Both biases are positive: e^x − 1 − x and sinh x − x have positive terms only.
    m = symbols("m", integer=True, nonnegative=True)
    for term, value in (
        (x ** (m + 2) / factorial(m + 2), exp(x) - 1 - x),
        (x ** (2 * m + 3) / factorial(2 * m + 3), sinh(x) - x),
    ):
        assert term.is_positive
        difference = Sum(term, (m, 0, oo)).doit() - value
        assert simplify(difference.rewrite(exp)) == 0


LIE = lambda x: math.log(math.expm1(x) / x)
STRANG = lambda x: math.log(math.sinh(x / 2) / (x / 2))


@claim(
    "prop-stationary",
    right=lambda one, two, third, x: (
        *(one / 2, two / 12 - third / 24),
        *(LIE(x), STRANG(x)),
    ),
    wrong={
        "they keep it": lambda one, two, third, x: (
            *(0 * one, 0 * two),
            *(0.0, 0.0),
        ),
        "third moment with plus": lambda one, two, third, x: (
            *(one / 2, two / 12 + third / 24),
            *(LIE(x), STRANG(x)),
        ),
        "1/25 for 1/24": lambda one, two, third, x: (
            *(one / 2, two / 12 - third / 25),
            *(LIE(x), STRANG(x)),
        ),
        "Lie settles at half a shift, exactly": lambda one, two, third, x: (
            *(one / 2, two / 12 - third / 24),
            *(x / 2, STRANG(x)),
        ),
        "Strang settles at the minimiser": lambda one, two, third, x: (
            *(one / 2, two / 12 - third / 24),
            *(LIE(x), 0.0),
        ),
    },
    examples=20,
)
def test_prop_stationary_check(p, formula):
    """Labels are chosen so that the problem's features are stationary."""
    s = (p.Z @ p.theta.T).softmax(-1)
    B = s @ p.theta
    one, x = splits.covariance(p.Z, p.theta, B), B @ p.theta.T
    square = (x - (s * x).sum(-1, keepdim=True)) ** 2
    third = (s * square) @ p.theta - (s * square).sum(-1, keepdim=True) * B
    two = splits.covariance(p.Z, p.theta, one)
    lie, strang, *_ = formula(one, two, third, 1.0)
    attend, _, h = linear(p)
    parts, field = (attend, (lambda Z: B + 0 * Z), h), flow.linear_field(p.theta, s)
    steps = (
        lambda A, B, h: flow.lie(exact(A), exact(B), h),
        lambda A, B, h: flow.strang(exact(B), exact(A), h),
    )
    return (
        p.close(flow.euler(field, h)(p.Z), p.Z, 1e-13, floor=h * p.theta)
        and misses(p, parts, steps[0], 2, lie)
        and misses(p, parts, steps[1], 3, strang)
        and _settles(p, formula)
    )


def _settles(p, formula):
    """One token with θ = (1, 0): steps keep the claimed points, and approach them.

    A step from the minimiser leaves it, so that the loss rises.
    """
    c = 0.2 + 0.6 * p.draw(1, salt=72).sigmoid().item()
    theta, least = torch.tensor([[1.0], [0.0]]).double(), math.log(c / (1 - c))
    attend = lambda h: (
        lambda Z: flow.trajectory(
            flow.rk4(lambda Z: -read(theta)(Z), h / 32), Z, 32
        )[-1]
    )
    shift, offsets = flow.shift(c * theta[:1]), theta.new_tensor([[0.0], [1], [-1]])
    loss = lambda z: F.softplus(z) - c * z
    for size in (0.5, 3.0):
        steps = flow.lie(attend, shift, size), flow.strang(shift, attend, size)
        biases = formula(*3 * [theta], size * c)[2:]
        for step, bias in zip(steps, biases, strict=True):
            point = least + bias
            kept, *others = step(point + offsets) - point
            nearer = all(one.abs() < 1 for one in others)
            left = loss(step(least + offsets[:1])) > loss(theta.new_tensor(least))
            if not (p.close(kept, 0 * kept, 1e-6, floor=1.0) and nearer and left):
                return False
    return True
