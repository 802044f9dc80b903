"""Chapter 7, a bound of Strang's error of second order, without a remainder."""

import torch
import z3
from sympy import integrate, simplify, sqrt, symbols

from claims.fields import CA, along, h, mean, proved
from claims.splits import read
from claims.symbols import B, G, p, q, theta, v
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import same, total


@proves("prop-strang-bound")
def test_prop_strang_bound_proof():
    """Numbered as in the appendix of proofs; D is the largest distance, D² = 4Λ."""
    # 1. The second derivative of CA is a third moment, so at most DΛ|b||b'|.
    toward = lambda V: lambda i, a: V[i, a]
    product = lambda V: lambda j: total(V[p, v] * theta[j, v], v)
    off = lambda f: lambda j: f(j) - mean(f)
    third = mean(
        lambda j: (
            (theta[j, q] - mean(lambda j: theta[j, q]))
            * (off(product(B))(j) * off(product(G))(j))
        )
    )
    assert same(along(along(CA(p, q), toward(B)), toward(G)), third)
    # 3. ∫ τ g dt with τ = t − h/2 is ∫ w g' dt, for w(0) = w(h) = 0 and w' = −τ.
    t, s = symbols("t s", positive=True)
    tau = t - h / 2
    w = (h**2 / 4 - tau**2) / 2
    assert simplify(w - t * (h - t) / 2) == 0  # so that it is positive within
    assert simplify(w.diff(t) + tau) == 0
    assert (w.subs(t, 0), simplify(w.subs(t, h))) == (0, 0)
    assert simplify(integrate(w, (t, 0, h)) - h**3 / 12) == 0
    assert simplify(integrate(tau**2 / 2, (t, 0, h)) - h**3 / 24) == 0
    # 4. ∫ ∫₀ᵗ |s − h/2| ds dt, over the two halves:
    early = integrate(h / 2 - s, (s, 0, t))
    late = h**2 / 8 + integrate(s - h / 2, (s, h / 2, t))
    assert simplify(early.subs(t, h / 2) - late.subs(t, h / 2)) == 0
    twice = integrate(early, (t, 0, h / 2)) + integrate(late, (t, h / 2, h))
    assert simplify(twice - h**3 / 8) == 0
    # 5. u = e − ∫δ: r = |u| has a slope of at most g, as √(r² + ε²) has.
    r, g, root, e, slope = z3.Reals("r g root e slope")
    known = [r >= 0, g >= 0, e > 0, root > 0, root * root == r * r + e * e]
    known.append(slope <= 2 * r * g)
    assert proved(z3.Implies(z3.And(*known), slope / (2 * root) <= g))
    # 6. All three together.
    Lip, c = symbols("Lambda c", positive=True)
    D = 2 * sqrt(Lip)
    parts = Lip * Lip * c / 8 + D * Lip * c * D / 12 + D * Lip * c**2 / 24
    assert simplify(parts - Lip * c * (11 * Lip + 2 * sqrt(Lip) * c) / 24) == 0


def _off(theta, C, Z, h, steps):
    """How far Strang's tokens are from the flow's, and the sizes of the bound."""
    fine = lambda field: lambda h: flow.rk4(field, h / 16)
    many = lambda field: (
        lambda h: lambda Z: flow.trajectory(fine(field)(h), Z, 16)[-1]
    )
    pull, attend = C @ theta, read(theta)
    split = flow.strang(flow.shift(pull), many(lambda Z: -attend(Z)), h)
    whole = many(flow.linear_field(theta, C))(h)
    ends = [flow.trajectory(step, Z, steps)[-1] for step in (split, whole)]
    off = (ends[0] - ends[1]).norm(dim=-1)
    return off, flow.lipschitz_bound(theta), pull.norm(dim=-1)


FAR = (
    torch.tensor([[100.0], [99.0]]).double(),
    torch.tensor([[0.0, 1.0]]).double(),
    torch.tensor([[1.25]]).double(),
)


@claim(
    "prop-strang-bound",
    right=lambda Lip, c, h, l: (
        l * h**3 * Lip * c * (11 * Lip + 2 * Lip**0.5 * c) / 24
    ),
    wrong={
        "an order more": lambda Lip, c, h, l: (
            l * h**4 * Lip * c * (11 * Lip + 2 * Lip**0.5 * c) / 24
        ),
        "a third of it": lambda Lip, c, h, l: (
            l * h**3 * Lip * c * (11 * Lip + 2 * Lip**0.5 * c) / 72
        ),
        "the errors do not add up": lambda Lip, c, h, l: (
            h**3 * Lip * c * (11 * Lip + 2 * Lip**0.5 * c) / 24
        ),
        "without the third moment": lambda Lip, c, h, l: (
            l * h**3 * Lip * c * 11 * Lip / 24
        ),
    },
    examples=4,
)
def test_prop_strang_bound_check(p, formula):
    """Each token within the bound; a case in which a third is not enough."""

    def within(theta, C, Z, h, steps):
        off, Lip, c = _off(theta, C, Z, h, steps)
        rounding = 1e-12 * (1 + Z.norm() + h * steps * c.max())
        return bool((off <= formula(Lip, c, h, steps) + rounding).all())

    unit = 1 / torch.linalg.matrix_norm(p.theta, 2).item() ** 2
    return within(*FAR, 3e-3, 8) and all(
        within(p.theta, p.C, p.Z, h * unit, steps)
        for h, steps in ((0.03, 8), (0.3, 8), (3.0, 2))
    )
