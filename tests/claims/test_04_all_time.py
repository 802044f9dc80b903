"""Chapter 4: the flow exists for all time, and no token is faster than this."""

import torch
from sympy import KroneckerDelta, Symbol

from claims.symbols import (
    LINEAR,
    B,
    C,
    Z,
    a,
    attended,
    b,
    j,
    l,
    m,
    p,
    q,
    sigma,
    t,
    theta,
)
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import contract, derivative, k, same, tensors, total, unfold

(E,) = tensors("E", k, positive=True)
(x,) = tensors("x", k)


def variance(s, x):
    """Var of x_j where class j has the weight s_j; the weights sum to one."""
    return total(s(j) * x(j) ** 2, j) - total(s(j) * x(j), j) ** 2


@proves("prop-all-time")
def test_prop_all_time_proof():
    """The slope of the velocity is minus a variance, from 0 to half the squares."""
    h = Symbol("h", real=True)
    moved = unfold(attended(p, q), {Z: lambda i, a: Z[i, a] + h * B[i, a]})
    slope = total(B[p, q] * contract(moved.diff(h).subs(h, 0)), q)
    seen = lambda j: total(B[p, a] * theta[j, a], a)
    assert same(slope, unfold(variance(lambda j: sigma[p, j], seen), LINEAR))
    # The whole slope is symmetric, so that its quadratic form bounds its norm.
    entry = lambda p, q, t, b: derivative(attended(p, q), Z[t, b])
    assert same(entry(p, q, t, b), entry(t, b, p, q))
    # For any positive E, s = E/ΣE: the variance is a sum of squares, and so is what
    # it lacks to half the sum of x_j².
    s = lambda j: E[j] / total(E[m], m)
    mean, half = total(s(l) * x[l], l), total(x[j] ** 2, j) / 2
    spread = total(s(j) * (x[j] - mean) ** 2, j)
    pairs = (1 - KroneckerDelta(j, l)) ** 2 * s(j) * s(l) * (x[j] + x[l]) ** 2
    lack = total((1 - 2 * s(j)) ** 2 * x[j] ** 2, j) / 2 + total(pairs, j, l) / 2
    found = variance(s, lambda j: x[j])
    assert same(found, spread) and spread.is_nonnegative
    assert same(half - found, lack) and lack.is_nonnegative
    # The velocity is a mean of differences of prototypes, with these weights.
    weights = C[p, j] * sigma[p, l]
    mass = total(C[p, j], j)
    difference = total(weights * (theta[j, q] - theta[l, q]), j, l)
    pull = total(C[p, j] * theta[j, q], j)
    assert same(unfold(difference, LINEAR), pull - mass * attended(p, q))
    assert same(unfold(total(weights, j, l), LINEAR), mass)  # one, for labels
    assert unfold(sigma[p, l], LINEAR).is_positive


def norm(theta):
    """The spectral norm."""
    return torch.linalg.matrix_norm(theta, 2)


def diameter(theta):
    """The largest distance of two prototypes."""
    return torch.cdist(theta, theta).max()


@claim(
    "prop-all-time",
    right=lambda theta: (norm(theta) ** 2 / 2, diameter(theta)),
    wrong={
        "a quarter": lambda theta: (norm(theta) ** 2 / 4, diameter(theta)),
        "the norm, not squared": lambda theta: (norm(theta) / 2, diameter(theta)),
        "not halved": lambda theta: (norm(theta) ** 2, diameter(theta)),
        "the longest prototype": lambda theta: (
            norm(theta) ** 2 / 2,
            theta.norm(dim=1).max(),
        ),
        "twice the speed": lambda theta: (
            norm(theta) ** 2 / 2,
            2 * diameter(theta),
        ),
    },
)
def test_prop_all_time_check(p, formula):
    """Both bounds hold, and opposite prototypes meet them; time runs back, too."""
    lipschitz, speed = formula(p.theta)
    field = flow.linear_field(p.theta, p.C)
    V, allowed = field(p.Z), 1 + 1e-9
    for other in (p.Z + 1e-3 * p.B, p.Z + 10 * p.B, -p.Z):
        change = (V - field(other)).norm()
        if change > allowed * lipschitz * (p.Z - other).norm():
            return False
    h = 0.1 / lipschitz.item()
    ahead = flow.trajectory(flow.rk4(field, h), p.Z, 5)[-1]
    back = flow.trajectory(flow.rk4(field, -h), ahead, 5)[-1]
    fastest = (ahead - p.Z).norm(dim=1).max() / (5 * h)
    holds = fastest <= allowed * speed and p.close(back, p.Z, 1e-5)
    return bool(holds) and meets(p, formula)


def meets(p, formula):
    """Whether prototypes u and −u meet both bounds: near 0, and far from 0."""
    u = p.theta[:1]
    opposite, square = torch.cat([u, -u]), u.square().sum()
    lipschitz, speed = formula(opposite)
    field = flow.linear_field(opposite, torch.tensor([0]))
    near, far = 1e-3 * u / square, -40 * u / square
    slope = (field(near) - field(-near)).norm() / (2 * near.norm())
    return p.close(slope, lipschitz, 1e-5) and p.close(field(far).norm(), speed)
