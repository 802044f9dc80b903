"""Chapter 5: how fast the field can change."""

import torch
import torch.nn.functional as F
from sympy import KroneckerDelta, exp, limit, oo, simplify, symbols
from torch.func import hessian
from z3 import Reals

from claims.certain import follows
from claims.drawn import edge, simplex, tied
from claims.lemmas import (
    a_covariance_is_bounded_by_variances,
    cauchy_schwarz,
    variance_bound,
)
from claims.linear import score
from claims.symbols import C, Z, b, i, j, l, p, theta
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import (
    derivative,
    indices,
    k,
    log_sum_exp,
    same,
    softmax,
    tensors,
    total,
)


def two_terms_are_below_the_sum():
    """x_p² + x_m² ≤ Σ x_j² for two classes p and m: the other squares are left."""
    (x,), (one, other) = tensors("x", k), indices("p m", k)
    but = lambda one: (1 - KroneckerDelta(j, one)) ** 2
    rest = total(but(one) * but(other) * x[j] ** 2, j)
    apart = 1 - KroneckerDelta(one, other)
    pair = x[one] ** 2 + apart * x[other] ** 2
    assert same(total(x[j] ** 2, j) - pair, rest) and rest.is_nonnegative


@proves("prop-lipschitz")
def test_prop_lipschitz_proof():
    """A second derivative lies in [0, Λ|B|²]; the rest is Cauchy and Schwarz."""
    variance_bound()
    a_covariance_is_bounded_by_variances()  # and |x·b| ≤ |x||b|, in any direction b
    v, width, D2, B2, va, vb, cov, A2, L = Reals("v width D2 B2 va vb cov A2 L")
    range_of_scores = (4 * v <= width**2, width**2 <= D2 * B2)
    assert follows(v <= D2 / 4 * B2, *range_of_scores)
    # One token's second derivative in two directions is a covariance by
    # prop-hessian: |cov|² ≤ va·vb. Squared norms add up over tokens.
    given = (cov**2 <= va * vb, va <= L * A2, vb <= L * B2)
    signs = (va >= 0, vb >= 0, L >= 0)
    assert follows(cov**2 <= (L * A2) * (L * B2), *given, *signs)
    # Its integral along the way is |A|² ≤ Λ|A||Z − Y| for A = ∇L(Z) − ∇L(Y).
    A, far = Reals("A far")
    assert follows(L * far >= A, L * A * far >= A * A, A >= 0, far >= 0, L >= 0)
    # |θ_j − θ_l|² in its own direction e: (f − g)² ≤ 2(f² + g²) ≤ 2|θe|².
    f, g, scores = Reals("f g scores")  # of two classes, and the sum of all squares
    assert follows((f - g) ** 2 <= 2 * scores, f**2 + g**2 <= scores)
    two_terms_are_below_the_sum()
    # L at the scale c is L(cZ)/c, so its gradient is that of L at cZ.
    c = symbols("c", positive=True)
    scaled = lambda i, j: c * score(Z, i, j)
    label = total(C[i, j] * scaled(i, j), j)
    energy = (log_sum_exp(lambda j: scaled(i, j), j) - label) / c
    s = lambda i, j: softmax(lambda j: scaled(i, j), j, l)
    claim = total((s(p, j) - C[p, j]) * theta[j, b], j)
    assert same(derivative(total(energy, i), Z[p, b]), claim)


def uniform(theta, s=1.0):
    """The largest second derivative where all prototypes have the same weight."""
    return (
        s * torch.linalg.eigvalsh(torch.atleast_2d(theta.T.cov(correction=0)))[-1]
    )


@claim(
    "prop-lipschitz",
    right=flow.lipschitz_bound,
    wrong={
        "half": lambda theta, s=1.0: flow.lipschitz_bound(theta, s) / 2,
        "the diameter, not squared": lambda theta, s=1.0: (
            s * torch.cdist(theta, theta).max() / 4
        ),
        "twice": lambda theta, s=1.0: 2 * flow.lipschitz_bound(theta, s),
        "the scale forgotten": lambda theta, s=1.0: flow.lipschitz_bound(theta),
        "the variance of a uniform softmax": uniform,
    },
)
def test_prop_lipschitz_check(p, formula):
    """For random pairs, and for one at the edge of a simplex."""

    def holds(theta, C, Z, Y, s):
        field, bound = flow.linear_field(theta, C, s), formula(theta, s)
        moved, rounding = (field(Z) - field(Y)).norm(), 1e-13 * theta.abs().sum()
        return moved <= (1 + 1e-9) * bound * (Z - Y).norm() + rounding

    corner = simplex(p, salt=30)
    u, along = edge(corner)
    close = 40 * u + 1e-5 * along, 40 * u - 1e-5 * along
    near = p.Z + 1e-3 * p.scale * p.B
    places = ((p.Z, p.scale * p.B), (p.Z, near), (p.Z, -p.Z), (p.Z, 0 * p.Z))
    second = lambda theta, s: s * torch.linalg.matrix_norm(theta, 2) ** 2 / 2
    return all(
        holds(p.theta, p.C, *place, s) for place in places for s in (0.3, 1.0, 5.0)
    ) and all(
        holds(corner, torch.eye(len(corner))[:1].double(), *close, s)
        and formula(theta, s) <= second(theta, s) * (1 + 1e-12)
        for theta in (p.theta, tied(p)[0])
        for s in (0.3, 1.0)
    )


@proves("prop-edge")
def test_prop_edge_proof():
    """Far out along u two prototypes share all the weight; their variance is D²/4.

    They have the weight 1 each and the scores x_a and x_b; k others the weights
    s = e^{−rg} with g > 0, and the scores x.
    """
    (s,), (x,) = tensors("s", k, positive=True), tensors("x", k)
    one, two = symbols("x_a x_b", real=True)
    whole = 2 + total(s[j], j)
    mean = lambda f: (f(one) + f(two) + total(s[j] * f(x[j]), j)) / whole
    variance = mean(lambda x: x**2) - mean(lambda x: x) ** 2
    from_pair = s[j] * ((one - x[j]) ** 2 + (two - x[j]) ** 2)
    among = s[j] * s[l] * (x[j] - x[l]) ** 2 / 2
    rest = total(from_pair, j) + total(among, j, l)
    assert same(variance, ((one - two) ** 2 + rest) / whole**2)
    assert (rest / whole**2).is_nonnegative
    pair = (one**2 + two**2) / 2 - ((one + two) / 2) ** 2  # with no others at all
    assert simplify(pair - (one - two) ** 2 / 4) == 0
    # At ru both have the logit rη, the others rη − rg.
    r, weight = symbols("r w", positive=True)
    (g,), eta = tensors("g", k, positive=True), symbols("eta", real=True)
    top, low = exp(r * eta), lambda j: exp(r * (eta - g[j]))
    far = lambda j: exp(-r * g[j])
    everything, rest_of_it = 2 * top + total(low(j), j), 2 + total(far(j), j)
    assert same(top / everything, 1 / rest_of_it)
    assert same(low(j) / everything, far(j) / rest_of_it)
    # Along δ = θ_a − θ_b the scores differ by |δ|²; the quotient with |δ|² is at
    # least Λ (2/whole)², Λ = |δ|²/4, and the weights s of the others vanish.
    D2 = symbols("D_2", positive=True)
    assert simplify(D2**2 / weight**2 / D2 - D2 / 4 * (2 / weight) ** 2) == 0
    gap = symbols("gap", positive=True)
    assert limit(exp(-r * gap), r, oo) == 0
    assert limit((2 / (2 + weight)) ** 2, weight, 0) == 1
    # A Lipschitz constant bounds ⟨∇L(z + εδ) − ∇L(z), δ⟩/ε, and so its limit.
    cauchy_schwarz()


@claim(
    "prop-edge",
    right=flow.lipschitz_bound,
    wrong={
        "half": lambda theta: flow.lipschitz_bound(theta) / 2,
        "the spectral bound": lambda theta: (
            torch.linalg.matrix_norm(theta, 2) ** 2 / 2
        ),
        "the variance of a uniform softmax": uniform,
        "the nearest pair": lambda theta: F.pdist(theta).min() ** 2 / 4,
    },
)
def test_prop_edge_check(p, formula):
    """For affinely independent prototypes every pair is an edge."""
    theta = simplex(p, salt=30)
    curvature = hessian(lambda z: (theta @ z).logsumexp(-1))
    u = edge(theta)[0][0]
    top = lambda r: torch.linalg.eigvalsh(curvature(r * u))[-1] / formula(theta)
    below = top(1.0) <= 1 + 1e-12
    return bool(below) and p.close(top(40.0), torch.ones(()).double(), 1e-12)
