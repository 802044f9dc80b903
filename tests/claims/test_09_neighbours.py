"""Chapter 9, other roads to the same read."""

import torch
from sympy import S, symbols
from torch.func import grad

from claims.witnesses import claim, proves
from imr import attention
from imr.symbolic import (
    d,
    derivative,
    indices,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

i, t, u = indices("i t u", n)
a, q = indices("a q", d)
c, e = indices("c e", r)


@proves("prop-in-context")
def test_prop_in_context_proof():
    rate = symbols("eta", positive=True)
    (W,), (z,) = tensors("W", r, d), tensors("z", d)
    (x,), (y,) = tensors("x", n, d), tensors("y", n, r)
    residual = lambda i, c: total(W[c, a] * x[i, a], a) - y[i, c]
    loss = total(residual(i, c) ** 2, i, c) / 2
    start = {W: lambda c, a: S.Zero}
    after_one_step = -rate * unfold(derivative(loss, W[e, q]), start)
    assert same(after_one_step, rate * total(y[i, e] * x[i, q], i))
    prediction = total(after_one_step * z[q], q)
    score = total(x[i, a] * z[a], a)
    assert same(prediction, rate * total(score * y[i, e], i))


@claim(
    "prop-in-context",
    right=lambda X, Y, z, rate: rate * Y.T @ (X @ z),
    wrong={
        "softmax attention": lambda X, Y, z, rate: rate * Y.T @ (X @ z).softmax(0),
        "rate forgotten": lambda X, Y, z, rate: Y.T @ (X @ z),
        "mean over examples": lambda X, Y, z, rate: rate * Y.T @ (X @ z) / len(X),
        "minus": lambda X, Y, z, rate: -rate * Y.T @ (X @ z),
    },
)
def test_prop_in_context_check(p, formula):
    Y, z, rate = p.draw(p.n, p.r, salt=36), p.draw(p.d, salt=37), 0.1
    loss = lambda A: ((p.Z @ A.T - Y) ** 2).sum() / 2
    A = -rate * grad(loss)(torch.zeros(p.r, p.d).double())
    terms = rate * Y.abs().T @ (p.Z.abs() @ z.abs())
    return p.close(formula(p.Z, Y, z, rate), A @ z, floor=terms)


@proves("prop-crate")
def test_prop_crate_proof():
    H = symbols("H", integer=True, positive=True)
    (g,), (Z,), (U,) = indices("g", H), tensors("Z", n, d), tensors("U", H, d, r)
    coded = lambda g, c, i: total(U[g, a, c] * Z[i, a], a)
    score = lambda g, i, t: total(coded(g, c, i) * coded(g, c, t), c)
    value = lambda g: total(coded(g, e, t) * U[g, q, e], e)
    # a softmax of each column: entry (t, i) sums over the rows
    column = lambda g, t, i: softmax(lambda t: score(g, t, i), t, u)
    SSA = lambda g, e, i: total(coded(g, e, t) * column(g, t, i), t)
    MSSA = total(U[g, q, e] * SSA(g, e, i), g, e)
    row = lambda g: softmax(lambda t: score(g, i, t), t, u)
    assert same(MSSA, total(row(g) * value(g), g, t))
    companion = lambda g: softmax(lambda i: score(g, t, i), i, u)
    assert not same(MSSA, total(companion(g) * value(g), g, t))


@claim(
    "prop-crate",
    right=lambda X, U: attention.self_attention(X.T, U).T,
    wrong={
        "the companion": lambda X, U: attention.companion(X.T, U).T,
        "one head": lambda X, U: attention.self_attention(X.T, U[0]).T,
        "one softmax for all heads": lambda X, U: (
            attention.self_attention(X.T, torch.cat(list(U), dim=1)).T
        ),
        "minus": lambda X, U: -attention.self_attention(X.T, U).T,
    },
)
def test_prop_crate_check(p, formula):
    """In CRATE tokens are columns of X (d, n); its softmax normalises columns."""
    X = p.Z.T
    head = lambda U, Y: U @ Y @ (Y.T @ Y).softmax(0)
    crate = sum(head(U, U.T @ X) for U in p.heads)
    return p.close(formula(X, p.heads), crate)
