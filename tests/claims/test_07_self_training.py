"""Chapter 7, the model's own guess in the place of the labels."""

import math
from types import SimpleNamespace

import torch
import z3
from sympy import exp, log, simplify, symbols
from torch.func import grad

from claims.fields import along, mean, proved
from claims.formulas import lse, soft
from claims.symbols import (
    LINEAR,
    LSE,
    B,
    G,
    Z,
    a,
    i,
    j,
    l,
    logits,
    p,
    q,
    sigma,
    theta,
    v,
)
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import derivative, k, same, softmax, total, unfold


@proves("prop-self-training")
def test_prop_self_training_proof():
    beta = symbols("beta", positive=True)
    sharp = lambda i, j: beta * logits(i, j)
    sharpened = {sigma: lambda i, j: softmax(lambda j: sharp(i, j), j, l)}
    read = total(sigma[p, j] * theta[j, q], j)
    field = unfold(read, sharpened) - unfold(read, LINEAR)
    potential = total(LSE(i) - LSE(i, sharp) / beta, i)
    assert same(-derivative(potential, Z[p, q]), field)
    assert same(field.subs(beta, 1), 0)
    _two_classes()
    _uniform()


def _two_classes():
    """Part 3: x and y are the products with two prototypes, m = x − y."""
    x, y, c = symbols("x y c", real=True)
    m, more = symbols("m more", positive=True)  # β = 1 + more
    s = lambda x: 1 / (1 + exp(-x))
    weight = exp(c * x) / (exp(c * x) + exp(c * y))
    assert simplify(weight - s(c * (x - y))) == 0
    # So ż = g (θ_1 − θ_2), ṁ = g |θ_1 − θ_2|²; g has the sign of m: it is odd, and
    g = lambda m: s((1 + more) * m) - s(m)
    factors = exp(-m) * (1 - exp(-more * m)) * s((1 + more) * m) * s(m)
    assert simplify(g(m) - factors) == 0  # each positive for m > 0
    assert simplify(g(-m) + g(m)) == 0 == g(0)


def _uniform():
    """Part 4: L less n log k is a divergence; what falls along the flow."""
    excess = LSE(p) - total(logits(p, j), j) / k - log(k)
    divergence = -total(log(k * softmax(lambda j: logits(p, j), j, l)), j) / k
    assert same(excess, divergence)
    assert same(unfold(excess, {Z: lambda i, a: 0 * B[i, a]}), 0)
    # L is convex: its second derivative along B is a variance in each row. So
    direction, x = lambda i, a: B[i, a], lambda j: total(B[p, v] * theta[j, v], v)
    curvature = along(along(excess, direction), direction)
    assert same(curvature, mean(lambda j: (x(j) - mean(x)) ** 2))
    # L − L(0) ≤ <∇L, Z>, and with ∇L = G this has no positive slope:
    time, over, squared, inner = z3.Reals("time over squared inner")
    slope = total(Z[i, a] * -G[i, a], i, a)  # of |Z|²/2, as Ż = −G
    assert same(slope, -total(G[i, a] * Z[i, a], i, a))
    known = z3.And(over <= inner, squared >= 0, time >= 0)
    assert proved(z3.Implies(known, over - time * squared - inner <= 0))


@claim(
    "prop-self-training",
    right=lambda p, beta: (
        (soft(beta * p.Z @ p.theta.T) - soft(p.Z @ p.theta.T)) @ p.theta
    ),
    wrong={
        "the other sign": lambda p, beta: (
            (soft(p.Z @ p.theta.T) - soft(beta * p.Z @ p.theta.T)) @ p.theta
        ),
        "a factor beta": lambda p, beta: (
            (beta * soft(beta * p.Z @ p.theta.T) - soft(p.Z @ p.theta.T)) @ p.theta
        ),
        "the guess alone": lambda p, beta: soft(beta * p.Z @ p.theta.T) @ p.theta,
    },
)
def test_prop_self_training_check(p, formula):
    """The field; two classes; uniform labels and their rate."""
    tokens = lambda Z, beta: lse(Z, p.theta) - lse(beta * Z, p.theta) / beta
    slope = grad(lambda Z, beta: tokens(Z, beta).sum())(p.Z, 3.0)
    # Differences of two averages of prototypes.
    still = p.close(formula(p, 1.0), torch.zeros_like(p.Z), floor=p.theta)
    gradient = p.close(formula(p, 3.0), -slope, floor=p.theta)
    return still and gradient and _surer(p, formula) and _levelled(p)


def _surer(p, formula):
    """Of two classes: each margin keeps its sign, and never falls."""
    pair = p.draw(2, p.d, salt=74)
    field = lambda Z: formula(SimpleNamespace(Z=Z, theta=pair), 2.0)
    path = flow.trajectory(flow.rk4(field, 0.1 / pair.square().sum()), p.Z, 40)
    margin = path @ (pair[0] - pair[1])
    kept = (margin.sign() == margin[0].sign()).all()
    return bool(kept and (margin.abs().diff(dim=0) >= -1e-12).all())


def _levelled(p):
    """With uniform labels: L within |Z(0)|²/2t of n log k."""
    even = torch.full_like(p.C, 1 / p.k)
    h = 0.5 / torch.linalg.matrix_norm(p.theta, 2).item() ** 2
    path = flow.trajectory(flow.rk4(flow.linear_field(p.theta, even), h), p.Z, 40)[
        1:
    ]
    excess = potentials.linear(path, p.theta, even) - p.n * math.log(p.k)
    bound = p.Z.square().sum() / (2 * h * torch.arange(1, 41))
    return bool((excess >= -1e-9).all() and (excess <= bound + 1e-9).all())
