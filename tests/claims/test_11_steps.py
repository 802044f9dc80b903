"""Chapter 11: how far a step of convolutional cross-attention may go."""

import torch
from sympy import KroneckerDelta, cosh, exp, expand, log, symbols
from torch.func import grad
from z3 import And, Int, Ints, Reals

from claims.certain import follows
from claims.curved import climbs, elementary, encloses, largest_curvature, norm
from claims.lemmas import (
    a_covariance_is_bounded_by_variances,
    a_short_step_descends,
    a_sum_bounds_its_terms,
    a_variance_is_a_mean_of_squares,
    cauchy_schwarz,
    half_the_squares,
    variance_bound,
)
from claims.neighbourhoods import (
    B,
    E,
    H,
    O,
    P,
    Z,
    a,
    d,
    drawn,
    g,
    j,
    k,
    l,
    lam,
    logit,
    match,
    n,
    p,
    plain_logits,
    plain_potential,
    s,
    theta,
    u,
    v,
)
from claims.witnesses import claim, proves
from imr.symbolic import log_sum_exp, same, softmax, tensors, total, unfold


def curvature():
    """∇²U[A, B] = Σ_h λ_h Σ_p Cov((θ_hj ⋆ A)_p, (θ_hj ⋆ B)_p)."""
    x, y = symbols("x y", real=True)
    (A,) = tensors("A", n, d)
    moved = {Z: lambda s, a: Z[s, a] + x * A[s, a] + y * B[s, a]}
    after = logit(g, j, p) + x * match(A, g, j, p) + y * match(B, g, j, p)
    assert same(unfold(logit(g, j, p), moved), after)
    N, S, T = tensors("N S T", H, P, k)  # such logits, and how they move
    row = lambda j: N[g, p, j] + x * S[g, p, j] + y * T[g, p, j]
    U = total(lam[g] * log_sum_exp(row, j), g, p)
    mean = lambda f: total(softmax(lambda j: N[g, p, j], j, l) * f(j), j)
    product = mean(lambda j: S[g, p, j] * T[g, p, j])
    both = mean(lambda j: S[g, p, j]) * mean(lambda j: T[g, p, j])
    found = U.diff(x).diff(y).subs({x: 0, y: 0})
    assert same(found, total(lam[g] * (product - both), g, p))


def centred():
    """A variance is that of centred logits; |λ| goes into kernels as a root."""
    (r,), (shift,) = tensors("r", H, positive=True), tensors("c", H, O, d)
    less = {theta: lambda g, j, u, a: theta[g, j, u, a] - shift[g, u, a]}
    constant = total(shift[g, u, a] * E[p, u, s] * B[s, a], u, a, s)
    moved = match(B, g, j, p) - constant
    assert same(unfold(match(B, g, j, p), less), moved)
    (w,), (x,), c = (
        tensors("w", k, positive=True),
        tensors("x", k),
        symbols("c", real=True),
    )
    mean = lambda f: total(w[j] * f(j), j) / total(w[j], j)
    variance = lambda f: mean(lambda j: f(j) ** 2) - mean(f) ** 2
    assert same(variance(lambda j: x[j] - c), variance(lambda j: x[j]))
    rooted = {theta: lambda g, j, u, a: r[g] * theta[g, j, u, a]}
    square = lambda f: total(f**2, g, p, j)
    weighted = total(r[g] ** 2 * match(B, g, j, p) ** 2, g, p, j)
    assert same(square(unfold(match(B, g, j, p), rooted)), weighted)


def overlaps():
    """Σ_p |P_p B|² ≤ m|B|², if each place is in at most m neighbourhoods.

    A place p and an offset u have one s at most: E is 0 or 1, and E_s E_v = 0 else.
    """
    (x,), (rest,) = tensors("x", n), tensors("rest", n, positive=True)
    alone = E[p, u, s] ** 2 * x[s] ** 2
    crossed = E[p, u, s] * E[p, u, v] * x[s] * x[v]
    whole = total(E[p, u, s] * x[s], s) ** 2
    assert same(whole, total(crossed, s, v))
    assert same(total(KroneckerDelta(s, v) * crossed, s, v), total(alone, s))
    place, other, offset, found = Ints("place other offset found")
    given = place + offset == found, other + offset == found
    assert follows(place == other, *given)  # so each s is met once an offset
    (count,), m = tensors("count", n), symbols("m", real=True)
    counts = {count: lambda s: total(E[p, u, s] ** 2, p, u)}
    summed = unfold(total(count[s] * x[s] ** 2, s), counts)
    assert same(total(alone, s, p, u), summed)
    spare = total((m - count[s]) * x[s] ** 2, s)  # of numbers m − count ≥ 0
    assert same(m * total(x[s] ** 2, s) - total(count[s] * x[s] ** 2, s), spare)
    assert total(rest[s] * x[s] ** 2, s).is_nonnegative


def pairs():
    """At the tie of two the variance is half the squares; beyond 2/Λ U rises."""
    x, y, size = symbols("x y epsilon", real=True)
    mean = (x + y) / 2
    variance = (x**2 + y**2) / 2 - mean**2
    assert expand(variance - ((x - mean) ** 2 + (y - mean) ** 2) / 2) == 0
    # Opposite ones: U is a sum of log(2 cosh x), even, so ∇U is odd, 0 at the tie.
    assert (log(exp(x) + exp(-x)) - log(2 * cosh(x))).rewrite(exp).simplify() == 0
    assert cosh(-x) == cosh(x)
    # εv with the top curvature Λ goes to (1 − hΛ)εv, but for ε³.
    h, L = symbols("h Lambda", real=True)
    there, here = L * ((1 - h * L) * size) ** 2 / 2, L * size**2 / 2
    assert expand(there - here - here * ((1 - h * L) ** 2 - 1)) == 0
    step, top = Reals("h L")
    assert follows((1 - step * top) ** 2 > 1, step * top > 2)


def torus():
    """No neighbourhood wraps around a torus that is larger by the kernel."""
    size, reach, place, offset, other, around = Ints(
        "size reach place offset other around"
    )
    inside = And(place >= 0, place < size, other >= 0, other < size)
    near = And(-reach <= offset, offset <= reach)
    period = size + 2 * reach
    turns = Int("turns")
    given = (inside, near, reach >= 0, place + offset == other + around)
    # around is a multiple of the period: none, or at least one, to either side
    several = And(around == turns * period, turns >= 1, turns * period >= period)
    back = And(around == -turns * period, turns >= 1, turns * period >= period)
    assert follows(place + offset != other + around, inside, near, several)
    assert follows(place + offset != other + around, inside, near, back)
    assert follows(place + offset == other, *given, around == 0)
    a_sum_bounds_its_terms()  # what is cut out of the torus is no longer than all


@proves("prop-convolution-step")
def test_prop_convolution_step_proof():
    """Both bounds on the curvature, that ½ is best, and what a step descends."""
    curvature()
    centred()
    half_the_squares()
    variance_bound()
    a_variance_is_a_mean_of_squares()
    a_covariance_is_bounded_by_variances()
    cauchy_schwarz()  # of roots of variances; a score's range is ≤ D|P_p B|
    overlaps()
    torus()
    variance, longest, patch, score = Reals("variance longest patch score")
    quarter = (4 * variance <= score**2, score**2 <= longest * patch)
    assert follows(4 * variance <= longest * patch, *quarter)
    pairs()
    a_short_step_descends()


def _weighted(theta, weights):
    return weights[:, None, None, None, None] * theta


def _centred(theta):
    return theta - theta.mean(1, keepdim=True)


def _bound(theta, weights, norm, factor=0.5):
    return factor * norm(_weighted(_centred(theta), weights.abs().sqrt())) ** 2


@claim(
    "prop-convolution-step",
    right=_bound,
    wrong={
        "¼": lambda theta, weights, norm: _bound(theta, weights, norm, 0.25),
        "1": lambda theta, weights, norm: _bound(theta, weights, norm, 1.0),
        "λ forgotten": lambda theta, weights, norm: _bound(
            theta, torch.ones_like(weights), norm
        ),
        "λ for its root": lambda theta, weights, norm: _bound(
            theta, weights**2, norm
        ),
        "λ with its sign": lambda theta, weights, norm: _bound(
            theta, weights.clamp(min=0), norm
        ),
        "not centred": lambda theta, weights, norm: (
            0.5 * norm(_weighted(theta, weights.abs().sqrt())) ** 2
        ),
        "the norm, not its square": lambda theta, weights, norm: (
            0.5 * norm(_weighted(_centred(theta), weights.abs().sqrt()))
        ),
        "the largest kernel alone": lambda theta, weights, norm: max(
            _bound(head[:, [i]] - head.mean(1, keepdim=True), weights[[g]], norm)
            for g, head in enumerate(theta.split(1))
            for i in range(head.shape[1])
        ),
        "the kernels as rows, without overlap": lambda theta, weights, norm: _bound(
            theta,
            weights,
            lambda some: torch.linalg.matrix_norm(some.flatten(2).flatten(0, 1), 2),
        ),
    },
    examples=10,
)
def test_prop_convolution_step_check(p, formula):
    """Curvature, also at a tie of pairs; the torus; descent, rise beyond 2/Λ."""
    Z, theta, bias, weights = drawn(p, max(p.k, 2))
    Lambda = lambda theta, weights: formula(
        theta, weights, lambda kernels: norm(kernels, Z)
    )
    first, apart = theta[:, 0], p.draw(*theta[:, 0].shape, salt=75)
    pairs, up = torch.stack([first, first + apart], 1), weights.abs()
    met = largest_curvature(Z, theta, bias, weights)
    met = max(met, largest_curvature(0 * Z, theta, 0 * bias, weights))
    return (
        bool(met <= min(Lambda(theta, weights), elementary(theta, weights)) + 1e-9)
        and _attained(p, Lambda, pairs, up, Z)
        and _attained(p, Lambda, pairs, -up, Z)
        and climbs(Lambda, first, up, Z)
        and encloses(theta.flatten(0, 1), Z)
        and _descends(2 / Lambda(theta, weights), Z, theta, bias, weights)
    )


def _attained(p, Lambda, pairs, weights, Z):
    """For pairs at a tie, with weights of one sign, the bound is the curvature."""
    none = torch.zeros(pairs.shape[:2]).double()
    met = largest_curvature(0 * Z, pairs, none, weights)
    return p.close(Lambda(pairs, weights), met, 1e-9)


def _descends(h, Z, theta, bias, weights):
    U = lambda Z: plain_potential(Z, theta, bias, weights)
    slope, before = grad(U)(Z), U(Z)
    most = plain_logits(Z, theta, bias).abs().max() + 1
    rounding = 1e-13 * Z[0].numel() * most * weights.abs().sum()
    return all(
        U(Z - part * h * slope)
        <= before - part * h * (1 - part) * slope.square().sum() + rounding
        for part in (0.1, 0.5, 0.9, 1.0)
    )
