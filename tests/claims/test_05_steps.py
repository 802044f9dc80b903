"""Chapter 5, how far a step may go."""

import torch
from sympy import Integer, S, Symbol, exp, expand, log, symbols
from torch.func import jacrev

from claims.formulas import soft
from claims.symbols import LINEAR, B, V, Z, j, p, q, s, sigma, theta, u, v
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import contract, d, derivative, k, n, same, total, unfold


@proves("prop-hessian")
def test_prop_hessian_proof():
    mean = lambda f: total(unfold(sigma[p, j], LINEAR) * f(j), (j, k))
    read = lambda j: theta[j, q]
    score = lambda j: total(B[p, v] * theta[j, v], (v, d))
    slope = total(derivative(mean(read), Z[u, v]) * B[u, v], (u, n), (v, d))
    covariance = mean(lambda j: read(j) * score(j)) - mean(read) * mean(score)
    assert same(slope, covariance)


@claim(
    "prop-hessian",
    right=lambda s, theta, scores: (
        (s * scores) @ theta - (s * scores).sum(-1, keepdim=True) * (s @ theta)
    ),
    wrong={
        "second moment, not covariance": lambda s, theta, scores: (
            (s * scores) @ theta
        ),
        "minus": lambda s, theta, scores: (
            (s * scores).sum(-1, keepdim=True) * (s @ theta) - (s * scores) @ theta
        ),
        "p(1 - p)": lambda s, theta, scores: (s * (1 - s) * scores) @ theta,
    },
)
def test_prop_hessian_check(p, formula):
    read = lambda Z: attention.cross_attention(Z, p.theta)
    slope = torch.einsum("iajb,jb->ia", jacrev(read)(p.Z), p.B)
    scores = p.B @ p.theta.T
    size = scores.abs().max() * p.theta  # of what the covariance is a difference of
    claimed = formula(soft(p.Z @ p.theta.T), p.theta, scores)
    return p.close(claimed, slope, floor=size)


def expectation(term):
    return total(s[j] * term, (j, k))


def with_moments(expr, mean):
    """Use Σ s = 1 and Σ s V = mean."""
    known = {expectation(Integer(1)): 1, expectation(V[j]): mean}
    return expand(contract(expr)).subs(known)


@proves("prop-convexity")
def test_prop_convexity_proof():
    """The second derivative is a variance, Σ s (V − m)² = Σ s V² − m² ≥ 0.

    The quadratic model is not convex: two tokens, one feature, C = I.
    """
    mean = Symbol("mean")
    variance = with_moments(expectation((V[j] - mean) ** 2), mean)
    assert same(variance, expectation(V[j] ** 2) - mean**2)
    token = lambda z, other: log(exp(z * z) + exp(z * other)) - z * z
    loss = lambda z0, z1: token(z0, z1) + token(z1, z0)
    middle, ends = loss(S(0), S(0)), (loss(S(1), S(-1)) + loss(S(-1), S(1))) / 2
    assert (middle - ends).is_positive


@claim(
    "prop-convexity",
    right=lambda p: lambda Z: potentials.linear(Z, p.theta, p.C),
    wrong={
        "the quadratic model": lambda p: (
            lambda Z: potentials.quadratic(Z, p.phi @ p.phi.T, torch.arange(p.n))
        ),
        "minus the loss": lambda p: lambda Z: -potentials.linear(Z, p.theta, p.C),
    },
)
def test_prop_convexity_check(p, formula):
    f, t = formula(p), 0.3
    chord = lambda Z, Y, t: t * f(Z) + (1 - t) * f(Y)
    below = lambda Z, Y, t: f(t * Z + (1 - t) * Y) <= chord(Z, Y, t) + 1e-10
    return bool(below(p.Z, p.B, t) and below(p.Z, -p.Z, 0.5))


@proves("prop-lipschitz")
def test_prop_lipschitz_proof():
    """Popoviciu: variance and Σ s (M − V)(V − m) ≥ 0 make (M − mean)(mean − m)."""
    mean, low, high = symbols("mean low high")
    gap = with_moments(expectation((high - V[j]) * (V[j] - low)), mean)
    variance = with_moments(expectation((V[j] - mean) ** 2), mean)
    assert same(gap + variance, expand((high - mean) * (mean - low)))
    square, product = (mean - (high + low) / 2) ** 2, (high - mean) * (mean - low)
    assert expand((high - low) ** 2 / 4 - product - square) == 0
    f, h = symbols("f h")  # (f − h)² ≤ 2(f² + h²), hence diameter²/4 ≤ ‖θ‖²/2
    assert expand(2 * (f**2 + h**2) - (f - h) ** 2 - (f + h) ** 2) == 0


def _pair(p):
    """Two opposite prototypes and soft labels: at z = 0 the bounds are attained."""
    v = p.B[:1] / p.B[:1].norm()
    return torch.cat([v, -v]), torch.full((1, 2), 0.5).double(), 1e-3 * v


@claim(
    "prop-lipschitz",
    right=flow.lipschitz_bound,
    wrong={
        "half": lambda theta: flow.lipschitz_bound(theta) / 2,
        "the diameter, not squared": lambda theta: (
            torch.cdist(theta, theta).max() / 4
        ),
        "twice": lambda theta: 2 * flow.lipschitz_bound(theta),
    },
)
def test_prop_lipschitz_check(p, formula):
    def holds(theta, C, Z, Y):
        speed, bound = flow.linear_field(theta, C), formula(theta) * (Z - Y).norm()
        return (speed(Z) - speed(Y)).norm() <= bound * (1 + 1e-5) + 1e-12

    theta, C, z = _pair(p)
    second = lambda theta: torch.linalg.matrix_norm(theta, 2) ** 2 / 2
    sharper = all(formula(t) <= second(t) + 1e-9 for t in (theta, p.theta))
    everywhere, sharp = holds(p.theta, p.C, p.Z, p.B), holds(theta, C, z, 0 * z)
    return bool(sharper and everywhere and sharp)


@claim(
    "prop-descent",
    right=lambda theta, scale: 2 / flow.lipschitz_bound(theta, scale),
    wrong={
        "twice as far": lambda theta, scale: 4 / flow.lipschitz_bound(theta, scale),
        "half as far is not sharp": lambda theta, scale: (
            1 / flow.lipschitz_bound(theta, scale)
        ),
        "the scale forgotten": lambda theta, scale: 2 / flow.lipschitz_bound(theta),
    },
)
def test_prop_descent_check(p, formula):
    """Nine tenths of the bound descend, and for two prototypes it is sharp."""

    def descends(scale):
        loss = lambda Z: potentials.linear(Z, p.theta, p.C, scale)
        velocity = flow.linear_field(p.theta, p.C, scale)(p.Z)
        h = 0.9 * formula(p.theta, scale)
        least = 0.1 * h * (velocity**2).sum() - 1e-10
        return loss(p.Z + h * velocity) <= loss(p.Z) - least

    def sharp(scale):
        theta, C, z = _pair(p)
        loss = lambda Z: potentials.linear(Z, theta, C, scale)
        field = flow.linear_field(theta, C, scale)
        moved = lambda part: loss(
            flow.euler(field, part * formula(theta, scale))(z)
        )
        return moved(0.99) < loss(z) < moved(1.01)

    scales = (0.5, 1.0, 4.0)
    return all((p.k == 1 or descends(scale)) and sharp(scale) for scale in scales)
