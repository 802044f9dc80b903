"""Chapter 5, how fast: with a minimiser or without, and with positive labels."""

import torch
from sympy import symbols
from torch.func import hessian
from z3 import Reals

from claims.certain import follows
from claims.drawn import simplex, tied
from claims.lemmas import a_sum_bounds_its_terms, gibbs
from claims.linear import W, gradient, inner, kl, loss, slope
from claims.symbols import G, Z, b, i, p
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import indices, k, same, tensors, total


@proves("prop-rate")
def test_prop_rate_proof():
    """t(L(Z) − L(W)) + ½|Z − W|² never rises along the flow, nor over layers."""
    gibbs()
    away = lambda p, b: Z[p, b] - W[p, b]
    down = lambda p, b: -gradient(Z, p, b)
    squared = inner(down, down)
    half = total(away(p, b) ** 2, p, b) / 2
    excess = loss(Z) - loss(W)
    divergence = total(kl(Z, W, i), i)
    assert same(slope(loss(Z), Z, down), -squared)
    assert same(excess + slope(half, Z, down), -divergence)
    t, L0, Lw, d0, d1 = Reals("t L0 Lw d0 d1")  # the sum at 0 is ½|Z_0 − W|²
    assert follows(
        L0 - Lw <= d0 / (2 * t), t * (L0 - Lw) + d1 / 2 <= d0 / 2, d1 >= 0, t > 0
    )
    h = symbols("h", positive=True)
    push = lambda p, b: G[p, b]  # for −∇L
    after = lambda p, b: away(p, b) + h * push(p, b)
    moved = inner(away, away) - inner(after, after)
    assert same(moved, -2 * h * inner(away, push) - h**2 * inner(push, push))
    assert same(slope(half, Z, push), inner(away, push))  # −(excess + divergence)
    # So a layer with hΛ ≤ 1 has 2h(L⁺ − L(W)) ≤ |Z − W|² − |Z⁺ − W|².
    L1, g2, kl_, h, Lam, many = Reals("L1 g2 kl h Lambda many")
    descent = (h * (1 - h * Lam / 2) * g2 <= L0 - L1, g2 >= 0, h > 0, h * Lam <= 1)
    identity = 2 * h * (L0 - Lw + kl_) - h**2 * g2 == d0 - d1
    step = 2 * h * (L1 - Lw) <= d0 - d1
    assert follows(step, *descent, identity, kl_ >= 0)
    sum_of = lambda many, at, apart: many * (at - Lw) + apart / (2 * h)
    falls = sum_of(many + 1, L1, d1) <= sum_of(many, L0, d0)
    assert follows(falls, step, L1 <= L0, many >= 0, h > 0)
    bound = 2 * h * many * (L1 - Lw) <= d0  # from Z_0, where the sum is d0/(2h)
    never = sum_of(many, L1, d1) <= sum_of(0, L0, d0)
    assert follows(bound, never, d1 >= 0, h > 0)


def reached(field, Z, time, steps=100):
    """The end of the flow after a time."""
    return flow.trajectory(flow.rk4(field, time / steps), Z, steps)[-1]


@claim(
    "prop-rate",
    right=lambda apart, t: apart**2 / (2 * t),
    wrong={
        "an eighth": lambda apart, t: apart**2 / (8 * t),
        "the time squared": lambda apart, t: apart**2 / (2 * t**2),
        "the distance, not squared": lambda apart, t: apart / (2 * t),
    },
    examples=20,
)
def test_prop_rate_check(p, formula):
    """For flow and layers; a quarter of r²/t is what a long way along |z| takes."""

    def holds(Z, W):
        h, field = (
            1 / flow.lipschitz_bound(p.theta),
            flow.linear_field(p.theta, p.C),
        )
        f = lambda Z: potentials.linear(Z, p.theta, p.C)
        layers = flow.trajectory(flow.euler(field, h), Z, 20)
        ends = (
            (layers[1], h),
            (layers[-1], 20 * h),
            (reached(field, Z, 9 * h, 40), 9 * h),
        )
        r, rounding = (
            (Z - W).norm(),
            1e-12 * (1 + f(W) + (W @ p.theta.T).abs().max()),
        )
        return all(f(end) - f(W) <= formula(r, t) + rounding for end, t in ends)

    theta, C, _ = tied(p)  # L is log(2 cosh z), almost |z|
    end = reached(flow.linear_field(theta, C), 200 * theta[:1], 100.0)
    loss = lambda Z: potentials.linear(Z, theta, C)
    sharp = loss(end) - loss(0 * end) <= formula(torch.tensor(200.0), 100.0)
    Y = p.scale * p.B
    places = ((p.Z, Y), (Y, 3 * Y), (p.Z, -p.Z))
    return bool(sharp) and (p.k == 1 or all(holds(*place) for place in places))


@proves("prop-exponential")
def test_prop_exponential_proof():
    """Where L ≤ ℓ, σ ≥ e^{−ℓ/c_min}; so a variance there is at least μ|b|²."""
    a_sum_bounds_its_terms()  # c_j(−log σ_j) ≤ L: as in prop-smoothing
    c, least, told, L = Reals("c least told L")
    assert follows(told <= L / least, c * told <= L, c >= least, least > 0, L >= 0)
    # σ_j = floor + y_j² has at least the floor times the variance about any m.
    j, l = indices("j l", k)
    x, y = tensors("x y", k)
    floor, m = symbols("floor m", real=True)
    about = lambda m: total((x[j] - m) ** 2, j)
    weighted = total((floor + y[j] ** 2) * (x[j] - m) ** 2, j)
    extra = total(y[j] ** 2 * (x[j] - m) ** 2, j)
    assert same(weighted, floor * about(m) + extra) and extra.is_nonnegative
    centre = total(x[l], l) / k  # about it the sum of squares is least
    assert same(about(m), about(centre) + k * (m - centre) ** 2)
    # So ⟨∇L, z − z*⟩ ≥ μ|z − z*|² = μr², and L* ≥ L − Gr + ½μr² for G = |∇L|.
    mu, r2, inside, gap, G, r = Reals("mu r2 inside gap G r")
    assert follows(-2 * inside <= -2 * mu * r2, inside >= mu * r2)
    below = gap <= G * r - mu * r**2 / 2
    assert follows(2 * mu * gap <= G**2, below, mu > 0)
    # A layer, with ⟨∇L, z − z*⟩ ≥ |∇L|²/Λ by prop-contraction:
    h, Lam, g2, after = Reals("h Lambda g2 after")
    layer = (after == r2 - 2 * h * inside + h**2 * g2, Lam * inside >= g2)
    signs = (inside >= mu * r2, h > 0, Lam > 0, h * Lam <= 1, mu > 0, r2 >= 0)
    assert follows(after <= (1 - h * mu) * r2, *layer, *signs)


def _spread(theta):
    """A basis of the span of the differences (rows), and s, their least spread."""
    _, values, basis = torch.linalg.svd(theta - theta.mean(0), full_matrices=False)
    kept = values > 1e-9 * values[0]
    return basis[kept], values[kept].min()


@claim(
    "prop-exponential",
    right=lambda covariance: torch.linalg.eigvalsh(covariance)[0],
    wrong={
        "the largest": lambda covariance: torch.linalg.eigvalsh(covariance)[-1],
        "twice": lambda covariance: 2 * torch.linalg.eigvalsh(covariance)[0],
        "half": lambda covariance: torch.linalg.eigvalsh(covariance)[0] / 2,
        "their mean": lambda covariance: covariance.trace() / len(covariance),
    },
    examples=20,
)
def test_prop_exponential_check(p, formula):
    """The rate near z* is the least eigenvalue there; anywhere it is at least μ."""
    theta = simplex(p, salt=31)
    basis, s = _spread(theta)
    label = (0.5 * p.draw(1, len(theta), salt=32)).softmax(-1)
    gaps, heights = theta[1:] - theta[0], (label[:, 1:] / label[:, :1]).log()
    end = torch.linalg.lstsq(gaps, heights.T).solution.T  # σ = C there
    bend = hessian(lambda z: (theta @ z).logsumexp(0))(end[0])
    covariance = basis @ bend @ basis.T
    _, directions = torch.linalg.eigh(covariance)
    slow = directions[:, :1].T @ basis
    rate = formula(covariance)
    field = flow.linear_field(theta, label)
    time = 2 / flow.lipschitz_bound(theta)
    after = reached(field, end + 1e-5 * slow, time, 20) - end
    measured = -(after.norm() / 1e-5).log() / (rate * time)
    if not p.close(measured, torch.ones(()).double(), 1e-3):
        return False
    start = end + p.draw(1, len(basis), salt=33) @ basis
    energy = lambda z: potentials.linear(z, theta, label)
    mu = s**2 * torch.exp(-energy(start) / label.min())
    time = 1 / flow.lipschitz_bound(theta)
    run = flow.trajectory(flow.rk4(field, time / 4), start, 80)
    times, apart = time / 4 * torch.arange(81), (run - end).norm(dim=(1, 2))
    near = apart <= (-mu * times).exp() * apart[0] * (1 + 1e-9) + 1e-12
    gaps = torch.stack([energy(z) for z in run]) - energy(end)
    low = gaps <= (-2 * mu * times).exp() * gaps[0] * (1 + 1e-9) + 1e-12
    layers = flow.trajectory(flow.euler(field, time), start, 80)
    apart = (layers - end).norm(dim=(1, 2)) ** 2
    steps = apart[1:] <= (1 - time * mu) * apart[:-1] * (1 + 1e-9) + 1e-20
    return bool(near.all() and low.all() and steps.all() and mu <= rate)
