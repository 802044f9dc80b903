"""Chapter 5: the derivative of attention, the loss as a divergence, convexity."""

import torch
from sympy import S, exp, log, symbols
from torch.func import grad, jacrev
from z3 import Reals

from claims.formulas import soft
from claims.lemmas import a_variance_is_a_mean_of_squares, follows, gibbs
from claims.linear import (
    Y,
    gradient,
    kl,
    loss,
    lse,
    score,
    sigma,
    slope,
)
from claims.symbols import B, C, G, Z, b, i, j, l, p, theta, v
from claims.witnesses import claim, proves
from imr import attention, potentials
from imr.symbolic import derivative, k, log_sum_exp, n, same, tensors, total


@proves("prop-hessian")
def test_prop_hessian_proof():
    """dCA is a covariance; L has a sum of variances for second derivative."""
    mean = lambda i, g: total(sigma(Z, i, j) * g(j), j)
    rate = lambda i: lambda j: total(theta[j, v] * B[i, v], v)
    read = lambda j: theta[j, b]
    moved = slope(mean(i, read), Z, lambda p, v: B[p, v])
    second = mean(i, lambda j: read(j) * rate(i)(j))
    assert same(moved, second - mean(i, read) * mean(i, rate(i)))
    assert same(derivative(loss(Z), Z[p, b]), gradient(Z, p, b))
    along = lambda expression: slope(expression, Z, lambda p, b: B[p, b])
    squares = lambda i: mean(i, lambda j: rate(i)(j) ** 2) - mean(i, rate(i)) ** 2
    assert same(
        along(total(gradient(Z, i, b) * B[i, b], i, b)), total(squares(i), i)
    )


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
    Z, B, C, scores = p.Z, p.B, p.C, p.B @ p.theta.T
    size = scores.abs().max() * p.theta  # of what the covariance is a difference of
    slope = torch.einsum("iajb,jb->ia", jacrev(read)(Z), B)
    covariance = formula(soft(Z @ p.theta.T), p.theta, scores)
    line = lambda t: potentials.linear(Z + t * B, p.theta, C)
    twice = grad(grad(line))(torch.zeros(()).double())
    whole = (scores**2).sum()
    return p.close(covariance, slope, 1e-12, floor=size) and p.close(
        (B * covariance).sum(), twice, 1e-12, floor=whole
    )


@proves("prop-divergence")
def test_prop_divergence_proof():
    """L is −Σ C log σ, entropy and divergence; so is its error of first order.

    Labels that are 0 add 0 to entropy and divergence, so positive ones suffice.
    """
    (P,) = tensors("P", n, k, positive=True)
    told = -total(P[i, j] * log(sigma(Z, i, j)), j)
    label = total(P[i, j] * score(Z, i, j), j)
    assert same(told, total(P[i, l], l) * lse(Z, i) - label)  # L_i, for Σ P = 1
    entropy = -total(P[i, j] * log(P[i, j]), j)
    excess = total(P[i, j] * (log(P[i, j]) - log(sigma(Z, i, j))), j)
    assert same(entropy + excess, told)
    step = lambda p, b: Y[p, b] - Z[p, b]
    remainder = loss(Y) - loss(Z) - slope(loss(Z), Z, step)
    assert same(remainder, total(kl(Z, Y, i), i))
    assert not same(remainder, total(kl(Y, Z, i), i))
    gibbs()


def divergences(Z, Y, theta):
    """KL(σ_i(Z) ‖ σ_i(Y)), summed over the tokens."""
    here, there = (logits @ theta.T for logits in (Z, Y))
    gap = here.log_softmax(-1) - there.log_softmax(-1)
    return (here.softmax(-1) * gap).sum()


def _variances(Z, scores, theta):
    s = soft(Z @ theta.T)
    return ((s * scores**2).sum(-1) - (s * scores).sum(-1) ** 2).sum()


@claim(
    "prop-divergence",
    right=divergences,
    wrong={
        "the other way round": lambda Z, Y, theta: divergences(Y, Z, theta),
        "the second derivative at Z, halved": lambda Z, Y, theta: (
            _variances(Z, (Y - Z) @ theta.T, theta) / 2
        ),
        "symmetrised": lambda Z, Y, theta: (
            (divergences(Y, Z, theta) + divergences(Z, Y, theta)) / 2
        ),
    },
)
def test_prop_divergence_check(p, formula):
    Z, C, theta = p.Z, p.C, p.theta

    def holds(Y):
        f = lambda Z: potentials.linear(Z, theta, C)
        tangent = (grad(f)(Z) * (Y - Z)).sum()
        size = (Y @ theta.T).abs().max() + (Z @ theta.T).abs().max()
        return p.close(
            formula(Z, Y, theta), f(Y) - f(Z) - tangent, 1e-11, p.n * size
        )

    told = torch.xlogy(C, C) - C * (Z @ theta.T).log_softmax(-1)
    excess, size = told.sum() + torch.special.entr(C).sum(), p.n * (Z @ theta.T)
    exact = p.close(excess, potentials.linear(Z, theta, C), 1e-11, size)
    return exact and all(holds(Y) for Y in (p.scale * p.B, Z + 0.1 * p.B, -Z))


@proves("prop-convexity")
def test_prop_convexity_proof():
    """Two divergences make the gap under a chord; flat is where all scores agree.

    The quadratic model is not convex: two tokens, one feature, C = I.
    """
    gibbs()
    # From Z to the ends Z − tB and Z + (1 − t)B of a chord; the slopes cancel.
    t = symbols("t", real=True)
    slopes = [total(G[p, b] * part * B[p, b], p, b) for part in (-t, 1 - t)]
    assert same((1 - t) * slopes[0] + t * slopes[1], 0)
    t, at, Lx, Ly, x, y, Kx, Ky = Reals("t L Lx Ly x y Kx Ky")
    tangents = (Lx == at + x + Kx, Ly == at + y + Ky, (1 - t) * x + t * y == 0)
    chord = (1 - t) * Lx + t * Ly
    given = (*tangents, Kx >= 0, Ky >= 0, t >= 0, t <= 1)
    assert follows(at <= chord, *given)
    (more,) = tensors("kappa", n)
    moved = lambda i, j: score(Z, i, j) + more[i]
    shifted = log_sum_exp(lambda j: moved(i, j), j) - total(
        C[i, j] * moved(i, j), j
    )
    unmoved = (1 - total(C[i, j], j)) * more[i]  # 0
    assert same(shifted - lse(Z, i) + total(C[i, j] * score(Z, i, j), j), unmoved)
    a_variance_is_a_mean_of_squares()
    token = lambda z, other: log(exp(z * z) + exp(z * other)) - z * z
    two = lambda z0, z1: token(z0, z1) + token(z1, z0)
    middle, ends = two(S(0), S(0)), (two(S(1), S(-1)) + two(S(-1), S(1))) / 2
    assert (middle - ends).is_positive


@claim(
    "prop-convexity",
    right=lambda p, C: lambda Z: potentials.linear(Z, p.theta, C),
    wrong={
        "the quadratic model": lambda p, C: (
            lambda Z: potentials.quadratic(Z, p.phi @ p.phi.T, torch.arange(p.n))
        ),
        "minus the loss": lambda p, C: lambda Z: -potentials.linear(Z, p.theta, C),
        "the loss of the features' tanh": lambda p, C: (
            lambda Z: potentials.linear(Z.tanh(), p.theta, C)
        ),
    },
)
def test_prop_convexity_check(p, formula):
    f, Z, Y = formula(p, p.C), p.Z, p.scale * p.B
    gaps = p.theta - p.theta[:1]
    onto = torch.linalg.pinv(gaps) @ gaps  # the span of the differences
    flat, steep = Y - Y @ onto, Y @ onto
    rounding = 1e-12 * p.n * (1 + (Z @ p.theta.T).abs().max())

    def below(Z, Y, t):
        chord = (1 - t) * f(Z) + t * f(Y)
        return f((1 - t) * Z + t * Y) <= chord + rounding

    places = ((Z, Y), (Z, -Z), (Z, 0 * Z), (Z, Z + Y))
    convex = all(below(*place, t) for place in places for t in (0.1, 0.5))
    level = (f(Z + 5 * flat) - f(Z)).abs() <= rounding
    bent = f(0 * Z + steep) + f(0 * Z - steep) > 2 * f(0 * Z)
    return convex and bool(level and (p.k == 1 or bent))
