"""Chapter 6, self-attention."""

import torch
from sympy import KroneckerDelta, Rational, exp, log, symbols
from torch.func import grad, jvp

from claims.formulas import asymmetry, mha, sdpa, soft
from claims.symbols import (
    FACTORED,
    C,
    K,
    Z,
    a,
    b,
    factored_logits,
    i,
    j,
    l,
    p,
    q,
    quadratic_loss,
    sigma,
    theta,
    values,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import d, derivative, n, same, softmax, total, unfold


@claim(
    "prop-sa-sdpa",
    right=lambda p, Phi, d: (
        sdpa(p.Z @ Phi, p.Z @ Phi, p.Z @ Phi @ Phi.T, scale=1.0),
        mha(d**0.5 * Phi.T, Phi.T, Phi.T, Phi)(p.Z, p.Z),
    ),
    wrong={
        "torch's default scale": lambda p, Phi, d: (
            sdpa(p.Z @ Phi, p.Z @ Phi, p.Z @ Phi @ Phi.T),
        ),
        "values without the output map": lambda p, Phi, d: (
            sdpa(p.Z @ Phi, p.Z @ Phi, p.Z @ Phi, scale=1.0),
        ),
        "output map not transposed": lambda p, Phi, d: (
            mha(d**0.5 * Phi.T, Phi.T, Phi.T, Phi.T)(p.Z, p.Z),
        ),
    },
)
def test_prop_sa_sdpa_check(p, formula):
    Phi = p.W / p.d**0.5
    s = soft(p.Z @ Phi @ Phi.T @ p.Z.T)
    ours = attention.self_attention(p.Z, Phi)
    stated = p.close(ours, s @ p.Z @ Phi @ Phi.T)
    return stated and all(p.close(theirs, ours) for theirs in formula(p, Phi, p.d))


@proves("prop-companion")
def test_prop_companion_proof():
    everything = total(exp(factored_logits(j, i)), (j, n))
    over_queries = exp(factored_logits(p, i)) / everything
    assert same(unfold(sigma[i, p], FACTORED), over_queries)


@claim(
    "prop-companion",
    right=lambda N: N.softmax(-2),
    wrong={
        "softmax over keys": lambda N: N.softmax(-1),
        "the transpose of that": lambda N: N.softmax(-2).T,
        "both normalised": lambda N: N.softmax(-1).softmax(-2),
    },
)
def test_prop_companion_check(p, formula):
    theta = p.phi @ p.phi.T
    N = p.Z @ theta @ p.Z.T
    read = formula(N) @ p.Z @ theta
    return p.close(formula(N), soft(N).T) and p.close(
        read, attention.companion(p.Z, p.phi)
    )


@proves("prop-identity")
def test_prop_identity_proof():
    labels = KroneckerDelta(p, j) + KroneckerDelta(j, p)
    assert same(total(labels * values(j, q), (j, n)), 2 * values(p, q))


@claim(
    "prop-identity",
    right=lambda Z, theta: 2 * Z @ theta,
    wrong={
        "once": lambda Z, theta: Z @ theta,
        "the features": lambda Z, theta: 2 * Z,
    },
)
def test_prop_identity_check(p, formula):
    theta = p.phi @ p.phi.T
    read = attention.quadratic_attention(p.Z, theta)
    labels = (torch.arange(p.n), torch.eye(p.n).double())  # as numbers, as a matrix
    terms = [flow.quadratic_field(theta, C)(p.Z) + read for C in labels]
    return all(p.close(formula(p.Z, theta), term) for term in terms)


@proves("prop-stop-gradient")
def test_prop_stop_gradient_proof():
    fixed = lambda i, j: total(Z[i, a] * theta[a, b] * K[j, b], (a, d), (b, d))
    field = -derivative(quadratic_loss(fixed), Z[p, q])
    read = {sigma: lambda i, j: softmax(lambda j: fixed(i, j), j, (l, n))}
    value = total(K[j, b] * theta[q, b], (b, d))
    claim = total((C[p, j] - sigma[p, j]) * value, (j, n))
    assert same(field, unfold(claim, read))


@claim(
    "prop-stop-gradient",
    right=lambda p: flow.stop_gradient_field(p.phi, p.D)(p.Z),
    wrong={
        "the whole gradient": lambda p: flow.quadratic_field(p.phi @ p.phi.T, p.D)(
            p.Z
        ),
        "the companion": lambda p: (
            p.D @ p.Z @ p.phi @ p.phi.T - attention.companion(p.Z, p.phi)
        ),
        "plus": lambda p: (
            p.D @ p.Z @ p.phi @ p.phi.T + attention.self_attention(p.Z, p.phi)
        ),
    },
)
def test_prop_stop_gradient_check(p, formula):
    memory = p.Z @ p.phi @ p.phi.T  # fixed
    loss = lambda Z: potentials.linear(Z, memory, p.D)
    return p.close(formula(p), -grad(loss)(p.Z))


@proves("prop-not-a-gradient")
def test_prop_not_a_gradient_proof():
    """Two tokens, one feature, θ = 1, C = I.

    The field's Jacobian is not symmetric, and the field can ascend.
    """
    z0, z1 = symbols("z0 z1", real=True)
    part = lambda f, h: exp(f * h) / (exp(f * z0) + exp(f * z1))
    field = [f - part(f, z0) * z0 - part(f, z1) * z1 for f in (z0, z1)]
    asymmetry = field[0].diff(z1) - field[1].diff(z0)
    assert abs(asymmetry.subs({z0: 1, z1: Rational(1, 2)}).evalf()) > 0.05
    loss = sum(log(exp(f * z0) + exp(f * z1)) - f * f for f in (z0, z1))
    rate = sum(loss.diff(f) * h for f, h in zip((z0, z1), field, strict=True))
    assert rate.subs({z0: 3, z1: Rational(9, 4)}).evalf() > 0.5


@claim(
    "prop-not-a-gradient",
    right=lambda phi, C: flow.stop_gradient_field(phi, C),
    wrong={
        "the whole gradient": lambda phi, C: flow.quadratic_field(phi @ phi.T, C),
        "the label term alone": lambda phi, C: lambda Z: Z @ phi @ phi.T,
    },
    examples=10,
)
def test_prop_not_a_gradient_check(p, formula):
    """The Jacobian is asymmetric; and the field can ascend, as in the proof."""
    Z, phi = p.draw(3, 2, salt=27), p.draw(2, 2, salt=28)
    skew = asymmetry(formula(phi, torch.arange(3)), Z) > 1e-6
    Z, phi = torch.tensor([[3.0], [2.25]]).double(), torch.ones(1, 1).double()
    C = torch.arange(2)
    loss = lambda Z: potentials.quadratic(Z, phi @ phi.T, C)
    _, rate = jvp(loss, (Z,), (formula(phi, C)(Z),))
    return skew and bool(rate > 0.1)


def _transport(N, rounds=400):
    """The dual variable u (n, 1): exp(N + u + uᵀ) is doubly stochastic."""
    u = torch.zeros(len(N), 1).double()
    for _ in range(rounds):
        u = (u - torch.logsumexp(N + u.T, 1, keepdim=True)) / 2
    return u


@claim(
    "prop-sinkhorn",
    right=lambda C, plan, Z, theta: (C + C.T - 2 * plan) @ Z @ theta,
    wrong={
        "the plan once": lambda C, plan, Z, theta: (C + C.T - plan) @ Z @ theta,
        "softmax for the plan": lambda C, plan, Z, theta: (
            (C + C.T - 2 * soft(Z @ theta @ Z.T)) @ Z @ theta
        ),
        "labels not symmetrised": lambda C, plan, Z, theta: (
            2 * (C - plan) @ Z @ theta
        ),
    },
    examples=10,
)
def test_prop_sinkhorn_check(p, formula):
    Z, theta = 0.5 * p.B, p.phi @ p.phi.T
    N = lambda Z: Z @ theta @ Z.T
    dual = lambda Z: -2 * _transport(N(Z)).sum() - (p.D * N(Z)).sum()
    u = _transport(N(Z))
    plan = (N(Z) + u + u.T).exp()
    stochastic = p.close(plan.sum(0), torch.ones(p.n).double(), 1e-9)
    field = formula(p.D, plan, Z, theta)
    return stochastic and p.close(field, -grad(dual)(Z), 1e-7)
