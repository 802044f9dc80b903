"""Chapter 8, heads, temperature and masks."""

import torch
from sympy import exp, log, symbols
from torch.func import grad, jacrev

from claims.symbols import (
    LSE,
    C,
    K,
    Z,
    a,
    b,
    c,
    factored_logits,
    g,
    i,
    j,
    l,
    logits,
    p,
    phi,
    q,
    sigma,
    theta,
    values,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import (
    d,
    derivative,
    k,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)


@proves("prop-heads")
def test_prop_heads_proof():
    heads = symbols("H", integer=True, positive=True)
    query = lambda i, g, c: total(Z[i, a] * phi[g, a, c], (a, d))
    N_head = lambda g: lambda i, j: total(query(i, g, c) * query(j, g, c), (c, r))
    head = LSE(i, N_head(g), (j, n)) - total(C[i, j] * N_head(g)(i, j), (j, n))
    loss = total(head, (i, n), (g, heads))
    value = lambda j, g: total(query(j, g, c) * phi[g, q, c], (c, r))
    read = {sigma: lambda g, i, j: softmax(lambda j: N_head(g)(i, j), j, (l, n))}
    both = C[p, j] + C[j, p] - sigma[g, p, j] - sigma[g, j, p]
    claim = total(both * value(j, g), (j, n), (g, heads))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))


@claim(
    "prop-heads",
    right=lambda p: (
        sum((p.D + p.D.T) @ p.Z @ phi @ phi.T for phi in p.heads)
        - attention.self_attention(p.Z, p.heads)
        - attention.companion(p.Z, p.heads)
    ),
    wrong={
        "one softmax for the sum": lambda p: flow.quadratic_field(
            sum(phi @ phi.T for phi in p.heads), p.D
        )(p.Z),
        "companions forgotten": lambda p: (
            sum((p.D + p.D.T) @ p.Z @ phi @ phi.T for phi in p.heads)
            - attention.self_attention(p.Z, p.heads)
        ),
        "mean over heads": lambda p: (
            sum(flow.quadratic_field(phi @ phi.T, p.D)(p.Z) for phi in p.heads) / 3
        ),
    },
)
def test_prop_heads_check(p, formula):
    loss = lambda Z: potentials.multi_head(Z, p.heads, p.D)
    size = attention.self_attention(p.Z, p.heads)  # the flow is a difference
    return p.close(formula(p), -grad(loss)(p.Z), floor=size)


@proves("prop-temperature")
def test_prop_temperature_proof():
    scale = symbols("scale", positive=True)
    scaled = lambda i, j: scale * logits(i, j)
    labelled = total(C[i, j] * scaled(i, j), (j, k))
    loss = total(LSE(i, scaled) - labelled, (i, n)) / scale
    read = {sigma: lambda i, j: softmax(lambda j: scaled(i, j), j, (l, k))}
    claim = total((C[p, j] - sigma[p, j]) * theta[j, q], (j, k))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))


@claim(
    "prop-temperature",
    right=lambda p, scale: flow.linear_field(p.theta, p.C, scale)(p.Z),
    wrong={
        "a factor s": lambda p, scale: (
            scale * flow.linear_field(p.theta, p.C, scale)(p.Z)
        ),
        "the scale forgotten": lambda p, scale: flow.linear_field(p.theta, p.C)(
            p.Z
        ),
        "divided by s": lambda p, scale: flow.linear_field(p.theta, p.C, 1 / scale)(
            p.Z
        ),
    },
)
def test_prop_temperature_check(p, formula):
    scale = p.d**-0.5 / 2
    linear = lambda Z: potentials.linear(Z, p.theta, p.C, scale)
    quadratic = lambda Z: potentials.quadratic(Z, p.form, p.D, scale)
    field = flow.quadratic_field(p.form, p.D, scale)(p.Z)
    claimed = p.close(formula(p, scale), -grad(linear)(p.Z))
    return claimed and p.close(field, -grad(quadratic)(p.Z))


@proves("prop-causal")
def test_prop_causal_proof():
    """For every mask M, then with keys held fixed.

    M_ij = 0 for j > i makes σ lower and σᵀ upper triangular.
    """
    (mask,) = tensors("M")

    def flows(logits, claim):
        everything = lambda i: total(mask[i, j] * exp(logits(i, j)), (j, n))
        labelled = lambda i: total(C[i, j] * logits(i, j), (j, n))
        loss = total(log(everything(i)) - labelled(i), (i, n))
        read = {sigma: lambda i, j: mask[i, j] * exp(logits(i, j)) / everything(i)}
        return same(-derivative(loss, Z[p, q]), unfold(claim, read))

    both = C[p, j] + C[j, p] - sigma[p, j] - sigma[j, p]
    assert flows(factored_logits, total(both * values(j, q), (j, n)))
    kept = lambda i, j: total(Z[i, a] * theta[a, b] * K[j, b], (a, d), (b, d))
    value = total(theta[q, b] * K[j, b], (b, d))
    assert flows(kept, total((C[p, j] - sigma[p, j]) * value, (j, n)))


def _causal_labels(p):
    scores = p.draw(p.n, p.n, salt=7)
    return p.labels(scores.masked_fill(potentials.future(p.n), -torch.inf))


@claim(
    "prop-causal",
    right=lambda phi, C: (
        flow.stop_gradient_field(phi, C, causal=True),
        lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi, causal=True),
    ),
    wrong={
        "mask forgotten": lambda phi, C: (
            flow.stop_gradient_field(phi, C),
            lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi),
        ),
        "anti-causal part dropped": lambda phi, C: (
            flow.stop_gradient_field(phi, C, causal=True),
            torch.zeros_like,
        ),
        "parts exchanged": lambda phi, C: (
            lambda Z: (
                C.T @ Z @ phi @ phi.T - attention.companion(Z, phi, causal=True)
            ),
            flow.stop_gradient_field(phi, C, causal=True),
        ),
    },
)
def test_prop_causal_check(p, formula):
    C, theta = _causal_labels(p), p.phi @ p.phi.T
    whole = -grad(lambda Z: potentials.quadratic(Z, theta, C, causal=True))(p.Z)
    causal, anti_causal = formula(p.phi, C)
    J = jacrev(causal)(p.Z)  # (n, d, n, d)
    sees_future = J.permute(0, 2, 1, 3)[potentials.future(p.n)].abs().sum()
    parts = causal(p.Z) + anti_causal(p.Z)
    size = C @ p.Z @ theta  # the flow is a difference of such terms
    return p.close(parts, whole, floor=size) and bool(sees_future == 0)
