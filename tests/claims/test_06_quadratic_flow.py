"""Chapter 6, the flow of the quadratic model."""

import torch
from sympy import KroneckerDelta
from torch.func import grad, jacrev, vjp

from claims.formulas import soft
from claims.tokens import (
    C,
    G,
    X,
    Z,
    at_tokens,
    at_tokens_transposed,
    factored,
    i,
    j,
    logits,
    loss,
    lse,
    p,
    q,
    sigma,
    values,
    velocity,
    with_softmax,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import derivative, same, total


@proves("lem-quadratic")
def test_lem_quadratic_proof():
    """The gradient; then the derivative along H, whose adjoint it is."""
    adjoint = derivative(total(G[i, j] * logits(i, j), i, j), Z[p, q])
    claim = total(G[p, j] * at_tokens_transposed(j, q), j)
    claim += total(G[i, p] * at_tokens(i, q), i)
    assert same(adjoint, claim)
    along = total(derivative(logits(i, j), Z[p, q]) * X[p, q], p, q)
    slope = total(X[i, q] * at_tokens_transposed(j, q), q)  # (HθZᵀ)_ij
    slope += total(at_tokens(i, q) * X[j, q], q)  # (ZθHᵀ)_ij
    assert same(along, slope)
    assert same(total(G[i, j] * slope, i, j), total(claim * X[p, q], p, q))


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
    as_query = lambda p: total(sigma[p, j] * at_tokens_transposed(j, q), j)
    as_key = lambda i: sigma[i, p] * at_tokens(i, q)
    one_row = KroneckerDelta(i, p) * as_query(i) + as_key(i)
    assert same(derivative(lse(i), Z[p, q]), with_softmax(one_row))
    all_rows = as_query(p) + total(as_key(i), i)
    assert same(derivative(total(lse(i), i), Z[p, q]), with_softmax(all_rows))


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
    """For two scales s, of which one is 1."""
    held = True
    for scale in (1.0, 0.3):
        N = lambda Z, scale=scale: scale * potentials.quadratic_logits(Z, p.form)
        lse = lambda Z, N=N, scale=scale: N(Z).logsumexp(-1) / scale
        slope = jacrev(lse)(p.Z)  # (n, n, d)
        whole = attention.quadratic_attention(p.Z, p.form, scale)
        size = p.Z @ p.form  # the largest entries of the terms
        rows = p.close(formula(soft(N(p.Z)), p.Z, p.form), slope, floor=size)
        held &= rows and p.close(whole, slope.sum(0), floor=size)
    return held


@proves("cor-quadratic-flow")
def test_cor_quadratic_flow_proof():
    assert same(-derivative(loss(), Z[p, q]), velocity())


@claim(
    "cor-quadratic-flow",
    right=lambda p, C: flow.quadratic_field(p.form, C, 0.7)(p.Z),
    wrong={
        "transpose term forgotten": lambda p, C: (
            (C - soft(0.7 * p.Z @ p.form @ p.Z.T)) @ p.Z @ p.form.T
        ),
        "theta as if symmetric": lambda p, C: flow.quadratic_field(
            (p.form + p.form.T) / 2, C, 0.7
        )(p.Z),
        "factor 2": lambda p, C: 2 * flow.quadratic_field(p.form, C, 0.7)(p.Z),
        "ascent": lambda p, C: -flow.quadratic_field(p.form, C, 0.7)(p.Z),
        "scale twice": lambda p, C: 0.7 * flow.quadratic_field(p.form, C, 0.7)(p.Z),
    },
)
def test_cor_quadratic_flow_check(p, formula):
    loss = lambda Z: potentials.quadratic(Z, p.form, p.D, 0.7)
    size = p.Z @ p.form  # the flow is a difference of such rows
    return p.close(formula(p, p.D), -grad(loss)(p.Z), floor=size)


@proves("cor-self-attention")
def test_cor_self_attention_proof():
    weights = C[p, j] + C[j, p] - sigma[p, j] - sigma[j, p]
    claim = with_softmax(total(weights * values(j, q), j), factored)
    assert same(-derivative(loss(factored), Z[p, q]), claim)


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
    size = p.Z @ p.phi @ p.phi.T  # the flow is a difference of such rows
    return p.close(formula(p.Z, p.phi, p.D), -grad(loss)(p.Z), floor=size)
