"""Chapter 6, the flow of the quadratic model."""

import torch
from sympy import KroneckerDelta, diff
from torch.func import grad, jacrev, vjp

from claims.formulas import soft
from claims.symbols import (
    FACTORED,
    LSE,
    QUADRATIC,
    C,
    G,
    Z,
    at_tokens,
    at_tokens_transposed,
    factored_logits,
    i,
    j,
    p,
    q,
    quadratic_logits,
    quadratic_loss,
    sigma,
    values,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import contract, derivative, n, same, total, unfold


@proves("lem-quadratic")
def test_lem_quadratic_proof():
    slope = diff(quadratic_logits(i, j), Z[p, q])
    adjoint = contract(total(G[i, j] * slope, (i, n), (j, n)))
    claim = total(G[p, j] * at_tokens_transposed(j, q), (j, n))
    claim += total(G[i, p] * at_tokens(i, q), (i, n))
    assert same(adjoint, claim)


@claim(
    "lem-quadratic",
    right=lambda G, Z, theta: G @ Z @ theta.T + G.T @ Z @ theta,
    wrong={
        "transpose forgotten": lambda G, Z, theta: G @ Z @ theta + G.T @ Z @ theta,
        "one term": lambda G, Z, theta: G @ Z @ theta.T,
        "twice one term": lambda G, Z, theta: 2 * G @ Z @ theta.T,
    },
)
def test_lem_quadratic_check(p, formula):
    _, pull_back = vjp(lambda Z: potentials.quadratic_logits(Z, p.form), p.Z)
    return p.close(formula(p.D, p.Z, p.form), pull_back(p.D)[0])


@proves("thm-quadratic")
def test_thm_quadratic_proof():
    as_query = total(sigma[i, j] * at_tokens_transposed(j, q), (j, n))
    claim = KroneckerDelta(i, p) * as_query + sigma[i, p] * at_tokens(i, q)
    slope = derivative(LSE(i, quadratic_logits, (j, n)), Z[p, q])
    assert same(slope, unfold(claim, QUADRATIC))


def _reads(s, Z, theta):
    """The two terms of the quadratic theorem as tensors (n, n, d)."""
    place = lambda weights, values: torch.einsum("ip,iq->ipq", weights, values)
    delta = torch.eye(len(Z)).double()
    return place(delta, s @ Z @ theta.T), place(s, Z @ theta)


@claim(
    "thm-quadratic",
    right=lambda s, Z, theta: sum(_reads(s, Z, theta)),
    wrong={
        "token as query only": lambda s, Z, theta: _reads(s, Z, theta)[0],
        "token as key only": lambda s, Z, theta: _reads(s, Z, theta)[1],
        "theta as if symmetric": lambda s, Z, theta: sum(_reads(s, Z, theta.T)),
        "twice the first": lambda s, Z, theta: 2 * _reads(s, Z, theta)[0],
    },
)
def test_thm_quadratic_check(p, formula):
    N = lambda Z: potentials.quadratic_logits(Z, p.form)
    slope = jacrev(lambda Z: N(Z).logsumexp(-1))(p.Z)  # (n, n, d)
    whole = attention.quadratic_attention(p.Z, p.form)
    ours = formula(soft(N(p.Z)), p.Z, p.form)
    return p.close(ours, slope) and p.close(whole, slope.sum(0))


@proves("cor-quadratic-flow")
def test_cor_quadratic_flow_proof():
    claim = total((C[p, j] - sigma[p, j]) * at_tokens_transposed(j, q), (j, n))
    claim += total((C[i, p] - sigma[i, p]) * at_tokens(i, q), (i, n))
    assert same(-derivative(quadratic_loss(), Z[p, q]), unfold(claim, QUADRATIC))


@claim(
    "cor-quadratic-flow",
    right=lambda p, C: flow.quadratic_field(p.form, C)(p.Z),
    wrong={
        "transpose term forgotten": lambda p, C: (
            (C - soft(p.Z @ p.form @ p.Z.T)) @ p.Z @ p.form.T
        ),
        "theta as if symmetric": lambda p, C: flow.quadratic_field(
            (p.form + p.form.T) / 2, C
        )(p.Z),
        "factor 2": lambda p, C: 2 * flow.quadratic_field(p.form, C)(p.Z),
        "ascent": lambda p, C: -flow.quadratic_field(p.form, C)(p.Z),
    },
)
def test_cor_quadratic_flow_check(p, formula):
    loss = lambda Z: potentials.quadratic(Z, p.form, p.D)
    pull = p.D @ p.Z @ p.form.T  # the flow is a difference of such terms
    return p.close(formula(p, p.D), -grad(loss)(p.Z), floor=pull)


@proves("cor-self-attention")
def test_cor_self_attention_proof():
    labels = total((C[p, j] + C[j, p]) * values(j, q), (j, n))
    attention = total((sigma[p, j] + sigma[j, p]) * values(j, q), (j, n))
    field = -derivative(quadratic_loss(factored_logits), Z[p, q])
    assert same(field, unfold(labels - attention, FACTORED))


@claim(
    "cor-self-attention",
    right=lambda Z, phi, C: (
        (C + C.T) @ Z @ phi @ phi.T
        - attention.self_attention(Z, phi)
        - attention.companion(Z, phi)
    ),
    wrong={
        "companion forgotten": lambda Z, phi, C: (
            (C + C.T) @ Z @ phi @ phi.T - attention.self_attention(Z, phi)
        ),
        "twice self-attention": lambda Z, phi, C: (
            (C + C.T) @ Z @ phi @ phi.T - 2 * attention.self_attention(Z, phi)
        ),
        "labels not symmetrised": lambda Z, phi, C: (
            2 * C @ Z @ phi @ phi.T
            - attention.self_attention(Z, phi)
            - attention.companion(Z, phi)
        ),
    },
)
def test_cor_self_attention_check(p, formula):
    loss = lambda Z: potentials.quadratic(Z, p.phi @ p.phi.T, p.D)
    pull = p.D @ p.Z @ p.phi @ p.phi.T  # the flow is a difference of such terms
    return p.close(formula(p.Z, p.phi, p.D), -grad(loss)(p.Z), floor=pull)
