"""Chapter 5, where the flow goes: fixed points, smoothed labels, who has an end."""

from itertools import pairwise

import torch
from scipy.optimize import linprog
from sympy import exp, limit, log, oo, symbols
from torch.func import grad
from z3 import Reals

from claims.certain import follows
from claims.drawn import simplex
from claims.formulas import soft
from claims.lemmas import a_sum_bounds_its_terms, gibbs
from claims.linear import gradient, loss, lse, score, sigma
from claims.one_token import LOSS, margin, rival, rivals, u, velocity, z
from claims.symbols import C, Z, a, b, i, j, l, p, theta
from claims.witnesses import claim, proves
from imr import potentials
from imr.symbolic import derivative, k, same, softmax, tensors, total
from strategies import close


@proves("prop-fixed-points")
def test_prop_fixed_points_proof():
    """The velocity along u is a mean of margins; the loss is at most Σ e^{−m}.

    That a stationary point is a global minimum is the inequality of Gibbs.
    """
    assert same(derivative(loss(Z), Z[p, b]), gradient(Z, p, b))
    gibbs()  # L(Y) − L(Z) = ⟨∇L(Z), Y − Z⟩ + KL, by prop-divergence
    push = total(velocity(b) * u[b], b)
    assert same(push, total(rival(j) * margin(u, j), j) / (1 + rivals()))
    (weight, gap) = tensors("weight gap", k, positive=True)
    positive = total(weight[j] * gap[j], j) / (1 + total(weight[j], j))
    assert positive.is_positive
    assert same(LOSS, log(1 + rivals()))
    assert log(
        1 + total(weight[j], j)
    ).is_positive  # and ≤ Σ weight, as log t ≤ t − 1
    m, g = symbols("m", real=True), symbols("g", positive=True)
    t = symbols("t", positive=True)
    assert same(margin(z, j) + t * margin(u, j), moved_margin(t, j))
    assert limit(exp(-m - t * g), t, oo) == 0  # each weight, along z + tu


def moved_margin(t, j):
    """The margin over class j at z + tu."""
    return margin(z, j).xreplace({z[a]: z[a] + t * u[a]})


@claim(
    "prop-fixed-points",
    right=lambda s, C, theta: s @ theta - C @ theta,
    wrong={
        "matching probabilities": lambda s, C, theta: s - C,
        "moments of the labels alone": lambda s, C, theta: C @ theta,
        "plus": lambda s, C, theta: s @ theta + C @ theta,
    },
)
def test_prop_fixed_points_check(p, formula):
    theta = p.draw(p.d + 3, p.d, salt=20)  # too many to be affinely independent
    C = soft(p.B @ theta.T)  # so B is a fixed point
    affine = torch.cat([theta, torch.ones(len(theta), 1).double()], dim=1)
    null = torch.linalg.svd(affine.T)[2][-1]  # changes probabilities, not moments
    same_moments = C + 0.5 * C.amin() / null.abs().max() * null
    small = lambda values: bool(values.abs().max() < 1e-12 * theta.abs().sum())
    stationary = lambda Z, C: small(
        grad(lambda Z: potentials.linear(Z, theta, C))(Z)
    )
    zero = lambda Z, C: small(formula(soft(Z @ theta.T), C, theta))
    cases = ((p.B, C), (p.B, same_moments), (p.B + 1, C))
    return all(stationary(*case) == zero(*case) for case in cases) and _never(p)


def _never(p):
    """A hard label at a vertex: the velocity is not 0, and L falls towards 0.

    In terms of log(e^L − 1), which no rounding brings to −∞.
    """
    theta = simplex(p, salt=26)
    rows = theta[0] - theta[1:]
    u = torch.linalg.lstsq(rows, torch.ones(len(rows), 1).double()).solution[:, 0]
    z = p.draw(len(u), salt=25)
    loss = lambda z: potentials.linear(z[None], theta, torch.tensor([0]))
    far = (0.0, 1.0, 10.0, 100.0, 1e4)
    odds = [(-(rows @ (z + t * u))).logsumexp(0) for t in far]
    pushes = [-grad(loss)(z + t * u) @ u for t in far[:3]]
    falls = all(before > after for before, after in pairwise(odds))
    return falls and abs(odds[0] - odds[-1] - 1e4) < 1e-5 and min(pushes) > 0


@proves("prop-smoothing")
def test_prop_smoothing_proof():
    """Where L ≤ ℓ all probabilities are at least e^{−ℓ/c_min}; so L is coercive."""
    (P,), (x,) = tensors("P", k, positive=True), tensors("x", k)
    logarithm = lambda j: log(softmax(lambda j: x[j], j, l))
    told = -total(P[j] * logarithm(j), j)  # the loss, by prop-divergence
    assert same(
        told, total(P[l], l) * log(total(exp(x[l]), l)) - total(P[j] * x[j], j)
    )
    a_sum_bounds_its_terms()  # so c_j (−log σ_j) ≤ L, where no term is negative
    m = l.fresh()
    assert same(logarithm(j) - logarithm(m), x[j] - x[m])
    c, least, one, other, L = Reals("c least one other L")
    terms = (c * -one <= L, c >= least, least > 0, one <= 0, other <= 0)
    assert follows(least * (other - one) <= L, *terms)  # L ≥ c_min · any difference
    gibbs()  # minimisers have one softmax, so their logits differ by one number
    # (b) Σ a log σ = 0 for every softmax of the model, if Σ a = 0 and Σ a θ = 0;
    (A,) = tensors("A", k)
    of_model = total(A[j] * log(sigma(Z, i, j)), j)
    pulled = total(Z[i, b] * total(A[j] * theta[j, b], j), b)
    assert same(of_model, pulled - lse(Z, i) * total(A[j], j))
    # but not for the labels c = softmax(a), for which it is Σ a² > 0.
    of_label = total(A[j] * log(softmax(lambda j: A[j], j, l)), j)
    rest = log(total(exp(A[l]), l)) * total(A[j], j)
    assert same(of_label, total(A[j] ** 2, j) - rest)


def _curvature(theta, z):
    """The covariance of the prototypes under a token's softmax (d, d)."""
    s = soft(theta @ z)
    about = theta - s @ theta
    return about.T @ (s[:, None] * about)


def _minimiser(theta, c):
    """The minimiser (d,) of a token's loss, by damped Newton steps."""
    loss = lambda z: potentials.linear(z[None], theta, c[None])
    z = torch.zeros(theta.shape[1]).double()
    for _ in range(60):
        slope = (soft(theta @ z) - c) @ theta
        step = torch.linalg.lstsq(_curvature(theta, z), slope[:, None]).solution
        better = min((z - t * step[:, 0] for t in (1.0, 0.5, 0.1)), key=loss)
        if loss(better) >= loss(z) or slope.abs().max() < 1e-9:
            break
        z = better
    return z


def _solved(theta, rows):
    """z for each row with (θ_j − θ_0)·z = row_j − row_0, by least squares."""
    gaps, heights = theta[1:] - theta[0], rows[:, 1:] - rows[:, :1]
    return torch.linalg.lstsq(gaps, heights.T).solution.T


@claim(
    "prop-smoothing",
    right=lambda theta, C: _solved(theta, C.log()),
    wrong={
        "the normaliser forgotten": lambda theta, C: (
            torch.linalg.lstsq(theta, C.log().T).solution.T
        ),
        "probabilities for logarithms": lambda theta, C: _solved(theta, C),
    },
)
def test_prop_smoothing_check(p, formula):
    d = min(p.d, 6)
    theta = p.draw(d + 1, d, salt=21)  # affinely independent
    C = p.draw(p.n, d + 1, salt=22).softmax(-1)
    if not p.close(soft(formula(theta, C) @ theta.T), C, 1e-6):
        return False
    scores = p.Z @ p.theta.T  # coercive, for any prototypes
    label = p.draw(p.n, p.k, salt=36).softmax(-1)
    least = (label.amin(-1) * (scores.amax(-1) - scores.amin(-1))).sum()
    if potentials.linear(p.Z, p.theta, label) < least * (1 - 1e-12):
        return False
    # With one prototype too many the minimiser matches moments, not labels.
    crowded = p.draw(d + 2, d, salt=23)
    target = p.draw(d + 2, salt=24).softmax(-1)
    s = soft(crowded @ _minimiser(crowded, target))
    moments = p.close(s @ crowded, target @ crowded, 1e-7, floor=crowded)
    return moments and not close(s, target, 1e-7)


@proves("prop-interior")
def test_prop_interior_proof():
    """L knows a label by its mean prototype alone, and a softmax has no zero.

    So a mean of positive weights has their minimiser (prop-smoothing); and at a
    minimiser σθ = Cθ is such a mean, by prop-fixed-points.
    """
    label = total(C[i, j] * score(Z, i, j), j)
    assert same(label, total(total(C[i, j] * theta[j, a], j) * Z[i, a], a))
    assert sigma(Z, i, j).is_positive
    assert same(total(sigma(Z, i, j), j), 1)
    assert same(derivative(loss(Z), Z[p, b]), gradient(Z, p, b))


def _largest_least(theta, mean):
    """The largest least weight with which the prototypes have this mean, or −1."""
    k, d = theta.shape
    rows = torch.cat([theta.T, torch.ones(1, k).double()])
    made = torch.cat([rows, torch.zeros(d + 1, 1).double()], dim=1)
    below = torch.cat([-torch.eye(k), torch.ones(k, 1)], dim=1)
    end = [*mean.tolist(), 1.0]
    worth, free = [0.0] * k + [-1.0], [(None, None)] * (k + 1)
    found = linprog(worth, below.numpy(), [0.0] * k, made.numpy(), end, bounds=free)
    return -found.fun if found.status == 0 else -1.0


@claim(
    "prop-interior",
    right=lambda theta, c: _largest_least(theta, c @ theta) > 1e-9,
    wrong={
        "in the hull": lambda theta, c: _largest_least(theta, c @ theta) > -1e-9,
        "positive labels": lambda theta, c: bool(c.min() > 0),
        "soft labels": lambda theta, c: bool(c.max() < 1),
    },
    examples=6,
)
def test_prop_interior_check(p, formula):
    """Newton's method ends at a finite place, or where all curvature is lost."""
    corners = simplex(p, salt=27)
    inside = torch.cat([corners, corners.mean(0, keepdim=True)])
    one = lambda j, k: torch.eye(k).double()[j]
    k = len(inside)
    face = torch.cat([torch.ones(k - 2), torch.zeros(2)]).double() / (k - 2)
    labels = [one(0, k), one(k - 1, k), face, soft(p.draw(k, salt=28))]

    def ends(c):
        bend = _curvature(inside, _minimiser(inside, c))
        gaps = corners[1:] - corners[0]
        basis = torch.linalg.svd(gaps, full_matrices=False)[2]
        return bool(torch.linalg.eigvalsh(basis @ bend @ basis.T)[0] > 1e-6)

    return all(formula(inside, c) == ends(c) for c in labels)
