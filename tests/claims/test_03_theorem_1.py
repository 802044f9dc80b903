"""Chapter 3."""

import torch
from sympy import KroneckerDelta
from torch.func import grad, jacrev

from claims.formulas import lse, soft
from claims.symbols import LINEAR, LSE, Z, i, j, l, m, p, q, sigma, t, theta
from claims.witnesses import claim, proves
from imr import attention
from imr.symbolic import (
    contract,
    derivative,
    k,
    n,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

(N,) = tensors("N", n, k)
(w,) = tensors("w", n)


@proves("lem-lse")
def test_lem_lse_proof():
    assert same(
        derivative(LSE(i, lambda i, j: N[i, j]), N[p, m]),
        KroneckerDelta(i, p) * softmax(lambda j: N[p, j], m, l),
    )


def own_row(X):
    """δ_ip X_iq as (n, n, …): what token i has, in the place of row i."""
    return torch.eye(len(X)).double()[..., None] * X[:, None]


@claim(
    "lem-lse",
    right=lambda N: own_row(soft(N)),
    wrong={
        "delta forgotten": lambda N: soft(N)[:, None].expand(-1, len(N), -1),
        "p(1 - p)": lambda N: own_row(soft(N) * (1 - soft(N))),
        "softmax over tokens": lambda N: own_row(N.softmax(-2)),
        "minus": lambda N: -own_row(soft(N)),
    },
)
def test_lem_lse_check(p, formula):
    N = p.Z @ p.theta.T
    return p.close(formula(N), jacrev(lambda N: N.logsumexp(-1))(N))  # (n, n, k)


def theorem_1(i):
    """∂LSE_i/∂Z_pq, as the theorem has it."""
    return KroneckerDelta(i, p) * total(sigma[i, j] * theta[j, q], j)


@proves("thm-1")
def test_thm_1_proof():
    assert same(derivative(LSE(i), Z[p, q]), unfold(theorem_1(i), LINEAR))


@claim(
    "thm-1",
    right=lambda Z, theta: own_row(attention.cross_attention(Z, theta)),
    wrong={
        "delta forgotten": lambda Z, theta: attention.cross_attention(Z, theta)[
            :, None
        ].expand(-1, len(Z), -1),
        "factor 2": lambda Z, theta: own_row(2 * soft(Z @ theta.T) @ theta),
        "p(1 - p)": lambda Z, theta: own_row(
            (soft(Z @ theta.T) * (1 - soft(Z @ theta.T))) @ theta
        ),
        "softmax over tokens": lambda Z, theta: own_row(
            (Z @ theta.T).softmax(-2) @ theta
        ),
        "mean over tokens": lambda Z, theta: own_row(
            soft(Z @ theta.T) @ theta / len(Z)
        ),
    },
)
def test_thm_1_check(p, formula):
    slope = jacrev(lambda Z: lse(Z, p.theta))(p.Z)  # (n, n, d)
    return p.close(formula(p.Z, p.theta), slope)


@proves("cor-weights")
def test_cor_weights_proof():
    """The corollary from the theorem; and back, with the unit vectors for w."""
    gradient = w[p] * total(sigma[p, j] * theta[j, q], j)
    weighted = total(w[i] * LSE(i), i)
    assert same(derivative(weighted, Z[p, q]), unfold(gradient, LINEAR))
    assert same(total(w[i] * theorem_1(i), i), gradient)
    unit = {w: lambda i: KroneckerDelta(i, t)}
    assert same(contract(unfold(weighted, unit)), LSE(t))
    assert same(unfold(gradient, unit), theorem_1(t))


@claim(
    "cor-weights",
    right=lambda p: p.w[:, None] * attention.cross_attention(p.Z, p.theta),
    wrong={
        "weights forgotten": lambda p: attention.cross_attention(p.Z, p.theta),
        "weights inside the softmax": lambda p: attention.cross_attention(
            p.w[:, None] * p.Z, p.theta
        ),
        "mean weight": lambda p: (
            p.w.mean() * attention.cross_attention(p.Z, p.theta)
        ),
    },
)
def test_cor_weights_check(p, formula):
    return p.close(formula(p), grad(lambda Z: (p.w * lse(Z, p.theta)).sum())(p.Z))
