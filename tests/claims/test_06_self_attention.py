"""Chapter 6, self-attention."""

import torch
from sympy import KroneckerDelta, exp, sqrt, symbols
from torch.func import grad

from claims.formulas import mha, sdpa, soft
from claims.tokens import (
    SYMMETRIC,
    C,
    K,
    S,
    X,
    Z,
    a,
    at_tokens,
    at_tokens_transposed,
    c,
    factored,
    j,
    l,
    loss,
    p,
    phi,
    q,
    s,
    sigma,
    values,
    velocity,
    with_softmax,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import (
    d,
    derivative,
    indices,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

SA = with_softmax(total(sigma[p, j] * values(j, q), j), factored)
SA_STAR = with_softmax(total(sigma[j, p] * values(j, q), j), factored)


@proves("prop-sa-sdpa")
def test_prop_sa_sdpa_proof():
    """Attention, and H heads of it, by their definitions, with tied weights."""
    dot = lambda X, Y, over: lambda i, j: total(X(i, over) * Y(j, over), over)
    attend = lambda N, V: total(softmax(lambda j: N(p, j), j, l) * V, j)
    key = lambda i, c: total(Z[i, a] * phi[a, c], a)
    scaled = lambda i, j: s * dot(key, key, c)(i, j)
    assert same(attend(scaled, values(j, q)), SA)
    H = symbols("H", integer=True, positive=True)
    (g,), (Phi,) = indices("g", H), tensors("Phi", H, d, r)
    keys = lambda j, c: total(Z[j, a] * Phi[g, a, c], a)
    queries = lambda i, c: sqrt(r) * keys(i, c)
    built_in = lambda i, j: dot(queries, keys, c)(i, j) / sqrt(r)
    layer = total(attend(built_in, keys(j, c)) * Phi[g, q, c], g, c)
    head = attend(dot(keys, keys, c), total(keys(j, c) * Phi[g, q, c], c))
    assert same(layer, total(head, g))


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
        "root forgotten": lambda p, Phi, d: (
            mha(Phi.T, Phi.T, Phi.T, Phi)(p.Z, p.Z),
        ),
        "output map not transposed": lambda p, Phi, d: (
            mha(d**0.5 * Phi.T, Phi.T, Phi.T, Phi.T)(p.Z, p.Z),
        ),
    },
)
def test_prop_sa_sdpa_check(p, formula):
    """The formula, and torch's two layers; several heads where d is even."""
    Phi = p.W / p.d**0.5
    Phi = p.stretched(Phi, (p.Z @ Phi).square().sum(-1), 0.5)
    s = soft(p.Z @ Phi @ Phi.T @ p.Z.T)
    ours = attention.self_attention(p.Z, Phi)
    size = p.Z @ Phi @ Phi.T  # SA averages such rows
    stated = p.close(ours, s @ p.Z @ Phi @ Phi.T, floor=size)
    single = [p.close(theirs, ours, floor=size) for theirs in formula(p, Phi, p.d)]
    if p.d % 2:
        return stated and all(single)
    halves = Phi.reshape(p.d, 2, -1).transpose(0, 1)  # (H, d, d/H)
    two = mha((p.d / 2) ** 0.5 * Phi.T, Phi.T, Phi.T, Phi, heads=2)(p.Z, p.Z)
    both = p.close(two, attention.self_attention(p.Z, halves), floor=size)
    return stated and all(single) and both


@proves("prop-companion")
def test_prop_companion_proof():
    """For any symmetric logits, N = S + Sᵀ, and D the row sums of E."""
    both = lambda i, j: S[i, j] + S[j, i]
    E = lambda i, j: exp(s * both(i, j))
    row_sum = lambda i: total(E(i, l), l)
    rows = lambda i, j: with_softmax(sigma[i, j], both)
    assert same(rows(p, j), E(p, j) / row_sum(p))  # σ = D⁻¹E
    assert same(rows(j, p), E(p, j) / row_sum(j))  # σᵀ = ED⁻¹
    over_queries = softmax(lambda p: s * both(p, j), p, l)
    assert same(rows(j, p), over_queries)
    assert not same(
        with_softmax(sigma[j, p], lambda i, j: S[i, j]),
        softmax(lambda p: s * S[p, j], p, l),
    )


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
    """For a factor and for any symmetric logits; the columns sum to one."""
    theta = p.phi @ p.phi.T
    N = p.Z @ theta @ p.Z.T
    values, both = p.Z @ theta, p.Z @ (p.form + p.form.T) @ p.Z.T
    read = p.close(
        formula(N) @ values, attention.companion(p.Z, p.phi), floor=values
    )
    sums = p.close(formula(both).sum(-2), torch.ones(p.n).double())
    # Each of both ways rounds a logit of size |N| of its own.
    rounding = 1e-11 * (1 + both.abs().max().item())
    return read and sums and p.close(formula(both), soft(both).T, rounding)


@proves("prop-identity")
def test_prop_identity_proof():
    identity = {C: lambda i, j: KroneckerDelta(i, j)}
    labels = total(C[p, j] * at_tokens_transposed(j, q), j)
    labels += total(C[j, p] * at_tokens(j, q), j)
    labels = unfold(labels, identity)
    assert same(labels, at_tokens(p, q) + at_tokens_transposed(p, q))
    once = unfold(2 * at_tokens(p, q), SYMMETRIC)
    assert same(unfold(labels, SYMMETRIC), once)
    field = unfold(-derivative(loss(factored), Z[p, q]), identity)
    assert same(field, 2 * values(p, q) - SA - SA_STAR)


@claim(
    "prop-identity",
    right=lambda Z, theta: Z @ (theta + theta.T),
    wrong={
        "as if symmetric": lambda Z, theta: 2 * Z @ theta,
        "once": lambda Z, theta: Z @ (theta + theta.T) / 2,
        "the features": lambda Z, theta: 2 * Z,
    },
)
def test_prop_identity_check(p, formula):
    """For a form that is not symmetric, and for a factor."""
    held = True
    for theta in (p.form, p.phi @ p.phi.T):
        read = attention.quadratic_attention(p.Z, theta)
        labels = (torch.arange(p.n), torch.eye(p.n).double())  # numbers, a matrix
        for C_ in labels:
            term = flow.quadratic_field(theta, C_)(p.Z) + read
            held &= p.close(formula(p.Z, theta), term, floor=p.Z @ theta)
    return held


@proves("prop-stop-gradient")
def test_prop_stop_gradient_proof():
    """X moves, K does not; then both are Z."""
    query = lambda i, c: total(X[i, a] * phi[a, c], a)
    key = lambda j, c: total(K[j, a] * phi[a, c], a)
    held = lambda i, j: total(query(i, c) * key(j, c), c)
    prototype = total(key(j, c) * phi[q, c], c)  # (Kφφᵀ)_jq
    field = -derivative(loss(held), X[p, q])
    linear = total((C[p, j] - sigma[p, j]) * prototype, j)
    assert same(field, with_softmax(linear, held))
    at_Z = {X: lambda i, a: Z[i, a], K: lambda j, a: Z[j, a]}
    labels = total(C[p, j] * values(j, q), j)
    assert same(unfold(field, at_Z), labels - SA)
    assert not same(unfold(field, at_Z), velocity(factored))


@claim(
    "prop-stop-gradient",
    right=lambda p: flow.stop_gradient_field(p.phi, p.D, 0.7)(p.Z),
    wrong={
        "the whole gradient": lambda p: flow.quadratic_field(
            p.phi @ p.phi.T, p.D, 0.7
        )(p.Z),
        "the companion": lambda p: (
            p.D @ p.Z @ p.phi @ p.phi.T - attention.companion(p.Z, p.phi, 0.7)
        ),
        "plus": lambda p: (
            p.D @ p.Z @ p.phi @ p.phi.T + attention.self_attention(p.Z, p.phi, 0.7)
        ),
        "another scale": lambda p: flow.stop_gradient_field(p.phi, p.D)(p.Z),
    },
)
def test_prop_stop_gradient_check(p, formula):
    """Against the quadratic loss, differentiated with its keys detached."""
    N = lambda Z: 0.7 * (Z @ p.phi) @ (p.Z @ p.phi).T  # p.Z is held fixed
    loss = lambda Z: potentials.cross_entropy(N(Z), p.D) / 0.7
    size = p.Z @ p.phi @ p.phi.T
    return p.close(formula(p), -grad(loss)(p.Z), floor=size)
