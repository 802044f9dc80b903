"""Chapter 4: attention as torch documents it."""

import torch
from sympy import KroneckerDelta, Symbol, sqrt, symbols
from torch.func import grad

from claims.formulas import mha, sdpa
from claims.symbols import Z, a, attended, c, i, j, l, logits, p, q, theta, v
from claims.witnesses import claim, proves
from imr import attention
from imr.symbolic import (
    d,
    derivative,
    indices,
    log_sum_exp,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

H = symbols("H", integer=True, positive=True)
(g,) = indices("g", H)
phi, Wq, Wk, Wv, Wo = tensors("phi Wq Wk Wv Wo", H, d, r)


def mapped(X, row, W, c):
    """(XW)_row,c."""
    return total(X[row, a] * W(a, c), a)


def layer(p, q):
    """Σ_g softmax(ZW_q (θW_k)ᵀ/√r) θW_v W_oᵀ, the heads g of width r."""
    slot = lambda W: lambda a, c: W[g, a, c]
    query = lambda c: mapped(Z, p, slot(Wq), c)
    key = lambda j, c: mapped(theta, j, slot(Wk), c)
    weights = softmax(lambda j: total(query(c) * key(j, c), c) / sqrt(r), j, l)
    value = total(weights * mapped(theta, j, slot(Wv), c), j)
    return total(value * Wo[g, q, c], c, g)


def seen(i, j, phi, c):
    """(Zφ (θφ)ᵀ)_ij, the logits in one view."""
    return total(mapped(Z, i, phi, c) * mapped(theta, j, phi, c), c)


def read(p, q, phi, c):
    """(CA(Zφ, θφ) φᵀ)_pq."""
    weights = softmax(lambda j: seen(p, j, phi, c), j, l)
    return total(weights * mapped(theta, j, phi, c) * phi(q, c), j, c)


@proves("prop-sdpa")
def test_prop_sdpa_proof():
    """The formulas that torch documents, for any scale and sizes."""
    s = Symbol("s", positive=True)
    scaled = lambda i, j: s * logits(i, j)
    loss = total(log_sum_exp(lambda j: scaled(i, j), j), i) / s
    fused = total(softmax(lambda j: scaled(p, j), j, l) * theta[j, q], j)
    assert same(fused, derivative(loss, Z[p, q]))
    assert same(fused.subs(s, 1), attended(p, q))

    head = lambda a, c: phi[g, a, c]
    weights = {W: lambda g, a, c: phi[g, a, c] for W in (Wk, Wv, Wo)}
    weights |= {Wq: lambda g, a, c: sqrt(r) * phi[g, a, c]}
    views = total(read(p, q, head, c), g)
    assert same(unfold(layer(p, q), weights), views)
    loss = total(log_sum_exp(lambda j: seen(i, j, head, c), j), i, g)
    assert same(derivative(loss, Z[p, q]), views)
    one = lambda a, v: KroneckerDelta(a, v)  # one head, which sees all features
    assert same(read(p, q, one, v), attended(p, q))


def tied(phi, root):
    """Weights of the layer for the views side by side, phi (d, d)."""
    return root * phi.T, phi.T, phi.T, phi


@claim(
    "prop-sdpa",
    right=lambda s, phi, r: ({"scale": s}, tied(phi, r**0.5)),
    wrong={
        "torch's default scale": lambda s, phi, r: ({}, tied(phi, r**0.5)),
        "a layer without the root": lambda s, phi, r: ({"scale": s}, tied(phi, 1)),
        "the root of d": lambda s, phi, r: (
            {"scale": s},
            tied(phi, len(phi) ** 0.5),
        ),
        "output not transposed": lambda s, phi, r: (
            {"scale": s},
            (r**0.5 * phi.T, phi.T, phi.T, phi.T),
        ),
    },
)
def test_prop_sdpa_check(p, formula):
    """What torch computes: the fused call, three heads, and one that sees all."""
    s, phi = 0.7, torch.cat([*p.draw(3, 3 * p.r, p.r, salt=21)], dim=1)
    options, weights = formula(s, phi, p.r)
    lse = lambda Z, theta, s=1.0: (s * Z @ theta.T).logsumexp(-1).sum() / s
    fused = sdpa(p.Z, p.theta, p.theta, **options)
    right = p.close(fused, grad(lse)(p.Z, p.theta, s))

    Z, theta = p.draw(p.n, 3 * p.r, salt=22), p.draw(p.k, 3 * p.r, salt=23)
    views = phi.split(p.r, dim=1)
    seen = lambda Z: sum(lse(Z @ view, theta @ view) for view in views)
    right = right and p.close(mha(*weights, heads=3)(Z, theta), grad(seen)(Z))

    one = mha(*tied(torch.eye(p.d).double(), p.d**0.5))(p.Z, p.theta)
    return right and p.close(one, attention.cross_attention(p.Z, p.theta))
