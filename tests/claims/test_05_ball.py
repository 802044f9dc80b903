"""Chapter 5: the best features on a ball, for prototypes that form a simplex."""

import torch
import torch.nn.functional as F
from sympy import exp, simplify, symbols
from z3 import Reals

from claims.certain import follows
from claims.lemmas import gibbs
from claims.witnesses import claim, proves
from imr import flow, potentials


@proves("prop-etf")
def test_prop_etf_proof():
    """At Rθ_c the velocity is μθ_c with μ = k/(k−1)(1 − σ_c) > 0; then Gibbs."""
    R, more = symbols("R more", positive=True)
    classes = 1 + more  # k ≥ 2
    other = -1 / (classes - 1)  # θ_c·θ_j
    # |Σ θ|² = 0 for unit vectors with these products, so Σ_{j≠c} θ_j = −θ_c.
    assert simplify(classes + classes * (classes - 1) * other) == 0
    weight, others = exp(R), exp(R * other)
    whole = weight + (classes - 1) * others
    # θ_c − σ_c θ_c − σ_other Σ_{j≠c} θ_j
    velocity = 1 - weight / whole + others / whole
    claim = classes / (classes - 1) * (1 - weight / whole)
    assert simplify(velocity - claim) == 0
    assert simplify(velocity - (1 - weight / whole)) != 0
    assert simplify(claim).is_positive
    # L(z) = L(Rθ_c) − μθ_c·(z − Rθ_c) + KL; |z − Rθ_c|² = |z|² − 2Rθ_c·z + R².
    gibbs()
    at, best, mu, R, along, z2, apart, kl = Reals("at best mu R along z2 apart kl")
    given = (at == best - mu * (along - R) + kl, kl >= 0, mu > 0, R > 0)
    ball = (z2 <= R**2, apart == z2 - 2 * R * along + R**2)
    assert follows(at >= best + mu / (2 * R) * apart, *given, *ball)


@claim(
    "prop-etf",
    right=lambda R, theta, y: R * theta[y],
    wrong={
        "away from the prototype": lambda R, theta, y: -R * theta[y],
        "another class": lambda R, theta, y: R * theta[(y + 1) % len(theta)],
        "inside the ball": lambda R, theta, y: 0.5 * R * theta[y],
        "a hundredth of the way to the next": lambda R, theta, y: (
            R * F.normalize(theta[y] + 0.01 * theta[(y + 1) % len(theta)], dim=-1)
        ),
    },
)
def test_prop_etf_check(p, formula):
    """Rivals in the ball, near and far, are worse by at least what is promised."""
    k, R = p.k + 1, 0.5 + p.scale
    theta = (torch.eye(k).double() - 1 / k) * (k / (k - 1)) ** 0.5  # unit simplex
    y = torch.arange(p.n) % k
    best = formula(R, theta, y)
    loss = lambda Z: potentials.linear(Z, theta, y)
    force = flow.linear_field(theta, y)(best)
    mu = k / (k - 1) * -torch.expm1(-loss_of_each(best, theta, y))
    if not p.close(force, mu[:, None] / R * best, 1e-12, floor=theta):
        return False
    for near in (1e-4, 1e-2, 1.0, 100.0):
        rivals = best / R + near * p.draw(20, p.n, k, salt=26)
        rivals = R * rivals / rivals.norm(dim=-1, keepdim=True).clamp_min(1)
        apart = (rivals - best).square().sum(-1)
        promised = (mu * apart).sum(-1) / (2 * R)
        rounding = 1e-14 * (1 + loss(best))
        if not (loss(rivals) - loss(best) >= promised - rounding).all():
            return False
    return p.close(best.norm(dim=-1), R * torch.ones(p.n).double())


def loss_of_each(Z, theta, y):
    """The loss of each token (n,)."""
    return potentials.linear(Z[:, None], theta, y[:, None])
