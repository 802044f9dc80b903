"""Chapter 5: how far a step may go, and what steps do to distances."""

import torch
from sympy import cosh, exp, limit, log, symbols, tanh
from z3 import Reals

from claims.certain import follows
from claims.drawn import tied
from claims.lemmas import a_short_step_descends, gibbs
from claims.linear import Y, gradient, inner, kl, loss, sigma, slope, token_loss
from claims.symbols import B, G, Z, b, i, p
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import derivative, same, total


@proves("prop-descent")
def test_prop_descent_proof():
    """What a Lipschitz constant gives, and an example in which it is sharp."""
    a_short_step_descends()
    h = symbols("h", positive=True)
    down = lambda p, b: -h * gradient(Z, p, b)
    squared = inner(lambda p, b: gradient(Z, p, b), lambda p, b: gradient(Z, p, b))
    assert same(slope(loss(Z), Z, down), -h * squared)
    assert same(inner(down, down), h**2 * squared)
    # Sharp: L(z) = log(2 cosh z) is even and rises with |z|; Λ = |θ_1 − θ_2|²/4 = 1
    z = symbols("z", positive=True)
    energy = log(exp(z) + exp(-z))
    assert (energy - log(2 * cosh(z))).rewrite(exp).simplify() == 0
    assert (log(2 * cosh(z)).diff(z) - tanh(z)).simplify() == 0
    assert tanh(z).is_positive and cosh(-z) == cosh(z)
    assert (
        limit(tanh(z) / z, z, 0) == 1
    )  # so for a small z it exceeds 2/h, if h > 2
    h, z, tanh_z = Reals("h z tanh_z")
    assert follows((z - h * tanh_z) ** 2 > z**2, h > 2, z > 0, h * tanh_z > 2 * z)


@claim(
    "prop-descent",
    right=lambda theta, scale: 2 / flow.lipschitz_bound(theta, scale),
    wrong={
        "twice as far": lambda theta, scale: 4 / flow.lipschitz_bound(theta, scale),
        "half as far is not sharp": lambda theta, scale: (
            1 / flow.lipschitz_bound(theta, scale)
        ),
        "the scale forgotten": lambda theta, scale: 2 / flow.lipschitz_bound(theta),
        "a thousandth farther": lambda theta, scale: (
            2.002 / flow.lipschitz_bound(theta, scale)
        ),
        "a thousandth less": lambda theta, scale: (
            1.998 / flow.lipschitz_bound(theta, scale)
        ),
    },
)
def test_prop_descent_check(p, formula):
    """Parts of the bound descend as promised; for two prototypes it is sharp."""

    def descends(scale):
        loss = lambda Z: potentials.linear(Z, p.theta, p.C, scale)
        velocity = flow.linear_field(p.theta, p.C, scale)(p.Z)
        h, squared, before = formula(p.theta, scale), (velocity**2).sum(), loss(p.Z)
        rounding = 1e-13 * p.n * (1 + (p.Z @ p.theta.T).abs().max())
        return all(
            loss(p.Z + part * h * velocity)
            <= before - part * h * (1 - part) * squared + rounding
            for part in (0.1, 0.5, 0.9, 1.0)
        )

    def sharp(scale):
        theta, C, z = tied(p, 2.0)
        loss = lambda Z: potentials.linear(Z, theta, C, scale)
        step = lambda part: flow.euler(
            flow.linear_field(theta, C, scale), part * formula(theta, scale)
        )
        return loss(step(0.9999)(z)) < loss(z) < loss(step(1.0001)(z))

    scales = (0.5, 1.0, 4.0)
    return all(sharp(s) and (p.k == 1 or descends(s)) for s in scales)


@proves("prop-contraction")
def test_prop_contraction_proof():
    """The squared distance falls at twice the divergences of both softmaxes."""
    gibbs()
    apart = lambda p, b: Z[p, b] - Y[p, b]
    pull = lambda p, b: gradient(Z, p, b) - gradient(Y, p, b)
    both = total(kl(Z, Y, i) + kl(Y, Z, i), i)
    assert same(inner(pull, apart), both)  # −½ d/dt |Z − Y|², not negative
    # With the labels σ(Z) the loss is least at Z; at Y it is larger by KL, and its
    # gradient is ∇L(Y) − ∇L(Z). One step of 1/Λ from Y descends by half its square.
    own = lambda i, j: sigma(Z, i, j)
    assert same(token_loss(Y, i, own) - token_loss(Z, i, own), kl(Z, Y, i))
    there = derivative(total(token_loss(Y, i, own), i), Y[p, b])
    assert same(there, gradient(Y, p, b) - gradient(Z, p, b))
    near, far, h, L, g2, excess = Reals("near far h L g2 excess")
    least, at_y, after = Reals("least at_y after")
    step = after <= at_y - (1 / L) * (1 - (1 / L) * L / 2) * g2  # prop-descent
    assert follows(
        2 * L * excess >= g2, step, after >= least, at_y == least + excess, L > 0
    )
    size = symbols("h", positive=True)
    gap, push = (lambda p, b, X=X: X[p, b] for X in (B, G))  # apart and pull
    after_both = lambda p, b: gap(p, b) - size * push(p, b)
    expanded = inner(gap, gap) - 2 * size * inner(push, gap)
    expanded += size**2 * inner(push, push)
    assert same(inner(after_both, after_both), expanded)
    one, other = Reals("one other")
    given = (near == far - 2 * h * (one + other) + h**2 * g2, h >= 0, L > 0)
    given += (2 * L * one >= g2, 2 * L * other >= g2)
    assert follows(near <= far - h * (2 / L - h) * g2, *given)
    assert follows(near <= far, *given, h * L <= 2, g2 >= 0)


@claim(
    "prop-contraction",
    right=lambda theta: 2 / flow.lipschitz_bound(theta),
    wrong={
        "twice as far": lambda theta: 4 / flow.lipschitz_bound(theta),
        "half as far is not sharp": lambda theta: 1 / flow.lipschitz_bound(theta),
        "by the spectral norm": lambda theta: (
            1 / torch.linalg.matrix_norm(theta, 2) ** 2
        ),
        "a thousandth farther": lambda theta: 2.002 / flow.lipschitz_bound(theta),
    },
)
def test_prop_contraction_check(p, formula):
    def nears(theta, C, Z, Y, h):
        field, gap = flow.linear_field(theta, C), (Z - Y).norm()
        fine = flow.rk4(field, 0.1 / flow.lipschitz_bound(theta))
        pull, rest = (field(Z) - field(Y)).norm(), 2 / flow.lipschitz_bound(theta)
        promised = lambda h: (gap**2 - h * (rest - h) * pull**2).clamp_min(0).sqrt()
        slack = 1e-12 * (gap + Z.norm())
        apart = lambda step: (step(Z) - step(Y)).norm()
        steps = all(
            apart(flow.euler(field, size)) <= min(promised(size), gap) + slack
            for size in (h, h / 3)
        )
        return steps and apart(fine) <= gap + slack

    theta, C, z = tied(p, 2.0)
    ends = [nears(theta, C, z, -z, part * formula(theta)) for part in (1, 1.0001)]
    Z, Y = p.Z, p.scale * p.B
    places = ((Z, Y), (Z, Z + 1e-3 * Y), (Z, -Z), (Z, 0 * Z))
    everywhere = p.k == 1 or all(
        nears(p.theta, p.C, *place, formula(p.theta)) for place in places
    )
    return everywhere and ends == [True, False]
