"""Chapter 6, a step size that knows where the tokens are."""

import math

import torch
import z3
from sympy import Symbol
from torch.func import hessian

from claims.certain import follows
from claims.lemmas import half_the_squares
from claims.tokens import G, K, Z, a, b, i, j, l, logits, q, s, theta
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import d, log_sum_exp, n, same, softmax, tensors, total, unfold

(H,) = tensors("H", n, d)
t = Symbol("t", real=True)


def curvature():
    """∇²L[H, H] = s Σᵢ Var(dNᵢ) + 2⟨σ − C, HθHᵀ⟩, by L along Z + tH."""
    across = lambda X, Y, i, j: total(X[i, a] * theta[a, b] * Y[j, b], a, b)
    slope = lambda i, j: across(H, Z, i, j) + across(Z, H, i, j)
    bend = lambda i, j: across(H, H, i, j)
    moved = unfold(logits(i, j), {Z: lambda i, a: Z[i, a] + t * H[i, a]})
    assert same(moved, logits(i, j) + t * slope(i, j) + t**2 * bend(i, j))
    # A row of it, whose logits N_j + t S_j + t² B_j may be any.
    N, S, B = tensors("N S B", n)
    row = lambda j: N[j] + t * S[j] + t**2 * B[j]
    loss = log_sum_exp(lambda j: s * row(j), j) / s - total(G[i, j] * row(j), j)
    mean = lambda f: total(softmax(lambda j: s * N[j], j, l) * f(j), j)
    variance = mean(lambda j: S[j] ** 2) - mean(lambda j: S[j]) ** 2
    bent = mean(lambda j: B[j]) - total(G[i, j] * B[j], j)
    assert same(loss.diff(t, 2).subs(t, 0), s * variance + 2 * bent)


def sizes():
    """|dN|² ≤ 4‖θ‖²|Z|²|H|², |⟨σ − C, HθHᵀ⟩| ≤ √(2n)‖θ‖|H|², and what follows."""
    # Cauchy–Schwarz, for an entry x·y of a product XYᵀ and for an inner product.
    (x, y) = tensors("x y", d)
    gap = total(x[a] ** 2, a) * total(y[q] ** 2, q) - total(x[a] * y[a], a) ** 2
    squares = total((x[a] * y[b] - x[b] * y[a]) ** 2 / 2, a, b)
    assert same(gap, squares) and squares.is_nonnegative
    entries = total(Z[i, a] ** 2 * K[j, b] ** 2, i, a, j, b)
    assert same(entries, total(Z[i, a] ** 2, i, a) * total(K[j, b] ** 2, j, b))
    # |σ − C|² ≤ 2n, as in a row both sum to one; so with m = ‖θ‖|H|², root = √(2n):
    x, y = z3.Reals("x y")
    assert follows((x - y) ** 2 <= x + y, x >= 0, x <= 1, y >= 0, y <= 1)
    inner, m, root = z3.Reals("inner m root")
    assert follows(inner <= root * m, inner**2 <= root**2 * m**2, root >= 0, m >= 0)
    # S = X + Y with |X|², |Y|² ≤ w = ‖θ‖²|Z|²|H|²:
    # s Σ Var(Sᵢ) + 2⟨σ − C, HθHᵀ⟩ is at most Λ|H|² = 2s w + 2 root m.
    assert follows((x + y) ** 2 <= 2 * x**2 + 2 * y**2)
    scale, variances, w = z3.Reals("scale variances w")
    given = scale > 0, variances <= (2 * x + 2 * y) / 2, x <= w, y <= w
    curved = scale * variances + 2 * inner
    assert follows(
        curved <= 2 * scale * w + 2 * root * m, inner <= root * m, *given
    )
    # On the way |Z| is at most (1 + hκ)|Z|, and so is what bounds the curvature.
    norm, here, there, far = z3.Reals("norm here there far")  # far = 1 + hκ
    most = lambda size: 2 * scale * norm**2 * size**2
    way = there >= 0, there <= far * here, scale > 0
    assert follows(most(there) <= most(far * here), *way)
    # Down a gradient g with the step r, from Taylor's formula with curvature ≤ c.
    fall, g, r, c = z3.Reals("fall g r c")
    taylor = (fall <= -r * g**2 + c * r**2 * g**2 / 2,)
    assert follows(fall <= -r * (1 - r * c / 2) * g**2, *taylor)
    assert follows(fall < 0, *taylor, r > 0, r * c < 2, g != 0)


@proves("prop-local-step")
def test_prop_local_step_proof():
    curvature()
    half_the_squares()
    sizes()


def _bound(theta, Z, s, h):
    """Λ of the claim."""
    norm, kappa = torch.linalg.matrix_norm(theta, 2), _kappa(theta, Z)
    return 2 * s * norm**2 * (1 + h * kappa) ** 2 * Z.norm() ** 2 + kappa


def _kappa(theta, Z):
    return 2 * math.sqrt(2 * len(Z)) * torch.linalg.matrix_norm(theta, 2)


@claim(
    "prop-local-step",
    right=_bound,
    wrong={
        "a quarter": lambda *a: _bound(*a) / 4,
        "one constant for all": lambda theta, Z, s, h: _kappa(theta, Z),
        "nothing at the origin": lambda theta, Z, s, h: (
            _bound(theta, Z, s, h) - _kappa(theta, Z)
        ),
        "without the scale": lambda theta, Z, s, h: _bound(theta, Z, 1.0, h),
        "|Z|, not its square": lambda theta, Z, s, h: (
            2 * s * torch.linalg.matrix_norm(theta, 2) ** 2 * Z.norm()
            + _kappa(theta, Z)
        ),
    },
    examples=20,
)
def test_prop_local_step_check(p, formula):
    """Curvatures, and steps of almost 2/Λ, also where the curvature is large."""
    one = torch.eye(1).double()
    pair = torch.full((2, 1), 10.0).double()
    cases = (
        (p.form, p.Z, p.D, 0.5 + p.seed % 3),
        (p.form, 0 * p.Z, p.D, 1.0),
        (one, pair, torch.eye(2).double().flip(0), 1.0),
        (one, pair, torch.eye(2).double(), 20.0),
    )
    return all(_descends(formula, *case) for case in cases)


def _descends(formula, theta, Z, C_, s):
    loss = lambda Z: potentials.quadratic(Z, theta, C_, s)
    curvature = hessian(loss)(Z).reshape(Z.numel(), -1)
    top, bound = torch.linalg.eigvalsh(curvature)[-1], formula(theta, Z, s, 0.0)
    if top > bound + 1e-9 * curvature.norm():
        return False
    h = 1.99 / bound.clamp_min(1e-9)
    while h * formula(theta, Z, s, h) > 1.99:
        h = h * 0.9
    V = flow.quadratic_field(theta, C_, s)(Z)
    fall = loss(Z + h * V) - loss(Z)
    promised = -h * (1 - h * formula(theta, Z, s, h) / 2) * V.norm() ** 2
    rounding = 1e-10 * (1 + loss(Z).abs() + (Z @ theta @ Z.T).abs().max())
    return bool(fall <= promised + rounding)
