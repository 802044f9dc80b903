"""Chapter 9."""

import torch
from sympy import S, exp, log, symbols
from torch.func import grad

from claims.formulas import lse, soft
from claims.symbols import W, a, i, j, l, m, mu, p, q, weight, x, y, z
from claims.witnesses import claim, proves
from imr import attention
from imr.symbolic import (
    contract,
    d,
    derivative,
    k,
    log_sum_exp,
    n,
    r,
    same,
    softmax,
    total,
    unfold,
)


@proves("prop-hopfield")
def test_prop_hopfield_proof():
    tau = symbols("tau", positive=True)
    score = lambda j: total(x[j, a] * z[a], (a, d)) / tau
    energy = -tau * log_sum_exp(score, (j, k)) + total(z[a] ** 2, (a, d)) / 2
    read = total(softmax(score, j, (l, k)) * x[j, q], (j, k))
    assert same(derivative(energy, z[q]), z[q] - unfold(read, {}))


@claim(
    "prop-hopfield",
    right=lambda Z, X, tau: attention.cross_attention(Z, X, 1 / tau),
    wrong={
        "the sign of the regression flow": lambda Z, X, tau: (
            -attention.cross_attention(Z, X, 1 / tau)
        ),
        "no temperature": lambda Z, X, tau: attention.cross_attention(Z, X),
        "half a step": lambda Z, X, tau: (
            (Z + attention.cross_attention(Z, X, 1 / tau)) / 2
        ),
    },
)
def test_prop_hopfield_check(p, formula):
    tau = 0.3
    energy = lambda Z: (-tau * lse(Z / tau, p.theta)).sum() + (Z**2).sum() / 2
    update = formula(p.Z, p.theta, tau)
    descends = energy(update) <= energy(p.Z) + 1e-10
    return p.close(update, p.Z - grad(energy)(p.Z)) and bool(descends)


@proves("prop-mean-shift")
def test_prop_mean_shift_proof():
    tau = symbols("tau", positive=True)
    square = lambda j: total((z[a] - mu[j, a]) ** 2, (a, d))
    density = lambda j: weight[j] * exp(-square(j) / (2 * tau))
    everything = total(density(j), (j, k))
    claim = total(density(j) * (mu[j, q] - z[q]), (j, k)) / everything
    assert same(tau * derivative(log(everything), z[q]), claim)


@claim(
    "prop-mean-shift",
    right=lambda Z, mu, weights, tau: (
        soft((Z @ mu.T - (mu**2).sum(-1) / 2) / tau + weights.log()) @ mu - Z
    ),
    wrong={
        "norms of the centres forgotten": lambda Z, mu, weights, tau: (
            soft(Z @ mu.T / tau + weights.log()) @ mu - Z
        ),
        "weights forgotten": lambda Z, mu, weights, tau: (
            soft((Z @ mu.T - (mu**2).sum(-1) / 2) / tau) @ mu - Z
        ),
        "no pull back": lambda Z, mu, weights, tau: (
            soft((Z @ mu.T - (mu**2).sum(-1) / 2) / tau + weights.log()) @ mu
        ),
    },
)
def test_prop_mean_shift_check(p, formula):
    tau, weights = 0.7, p.C[0]
    square = lambda Z: ((Z[:, None] - p.theta) ** 2).sum(-1)  # (n, k)
    logarithm = lambda Z: weights.log() - square(Z) / (2 * tau)
    density = lambda Z: logarithm(Z).logsumexp(-1).sum()
    return p.close(formula(p.Z, p.theta, weights, tau), tau * grad(density)(p.Z))


@proves("prop-in-context")
def test_prop_in_context_proof():
    rate = symbols("eta", positive=True)
    residual = lambda i, m: total(W[m, a] * x[i, a], (a, d)) - y[i, m]
    loss = total(residual(i, m) ** 2, (i, n), (m, r)) / 2
    at_zero = lambda e: e.replace(
        lambda e: getattr(e, "base", None) == W, lambda e: S.Zero
    )
    after_one_step = -rate * at_zero(derivative(loss, W[p, q]))
    prediction = contract(total(after_one_step * z[q], (q, d)))
    score = total(x[i, a] * z[a], (a, d))
    assert same(prediction, rate * total(y[i, p] * score, (i, n)))


@claim(
    "prop-in-context",
    right=lambda X, Y, z, rate: rate * Y.T @ (X @ z),
    wrong={
        "softmax attention": lambda X, Y, z, rate: rate * Y.T @ (X @ z).softmax(0),
        "rate forgotten": lambda X, Y, z, rate: Y.T @ (X @ z),
        "mean over examples": lambda X, Y, z, rate: rate * Y.T @ (X @ z) / len(X),
    },
)
def test_prop_in_context_check(p, formula):
    Y, z, rate = p.draw(p.n, p.r, salt=36), p.draw(p.d, salt=37), 0.1
    loss = lambda A: ((p.Z @ A.T - Y) ** 2).sum() / 2
    A = -rate * grad(loss)(torch.zeros(p.r, p.d).double())
    return p.close(formula(p.Z, Y, z, rate), A @ z)


@claim(
    "prop-crate",
    right=lambda X, U: attention.self_attention(X.T, U).T,
    wrong={
        "the companion": lambda X, U: attention.companion(X.T, U).T,
        "one head": lambda X, U: attention.self_attention(X.T, U[0]).T,
        "one softmax for all heads": lambda X, U: (
            attention.self_attention(X.T, torch.cat(list(U), dim=1)).T
        ),
    },
)
def test_prop_crate_check(p, formula):
    """In CRATE tokens are columns of X (d, n); its softmax normalises columns."""
    X = p.Z.T
    head = lambda U, Y: U @ Y @ (Y.T @ Y).softmax(0)
    crate = sum(head(U, U.T @ X) for U in p.heads)
    return p.close(formula(X, p.heads), crate)
