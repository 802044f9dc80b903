"""The linear model as functions of its features, for proofs that have several."""

from sympy import log

from claims.symbols import C, a, i, j, l, theta
from imr.symbolic import (
    d,
    derivative,
    indices,
    log_sum_exp,
    n,
    softmax,
    tensors,
    total,
)

Y, W = tensors("Y W", n, d)
(row,), (column,) = indices("row", n), indices("column", d)  # of ``inner`` alone


def score(Z, i, j):
    """(Zθᵀ)_ij at the features Z."""
    return total(Z[i, a] * theta[j, a], a)


def sigma(Z, i, j):
    """σ_ij at the features Z."""
    return softmax(lambda j: score(Z, i, j), j, l)


def lse(Z, i):
    """LSE_i at the features Z."""
    return log_sum_exp(lambda j: score(Z, i, j), j)


def token_loss(Z, i, labels=lambda i, j: C[i, j]):
    """The cross-entropy of one token."""
    return lse(Z, i) - total(labels(i, j) * score(Z, i, j), j)


def loss(Z):
    """The cross-entropy, summed over the tokens."""
    return total(token_loss(Z, i), i)


def gradient(Z, i, b):
    """∇L in its closed form, (σ − C)θ; ``test_prop_hessian_proof`` derives it."""
    return total((sigma(Z, i, j) - C[i, j]) * theta[j, b], j)


def kl(Z, Y, i):
    """KL(σ_i(Z) ‖ σ_i(Y))."""
    return total(sigma(Z, i, j) * (log(sigma(Z, i, j)) - log(sigma(Y, i, j))), j)


def inner(f, g):
    """⟨F, G⟩ of two matrices, given as functions of token and feature."""
    return total(f(row, column) * g(row, column), row, column)


def slope(f, Z, direction):
    """The derivative of f in Z along a direction, given like that."""
    return inner(lambda p, b: derivative(f, Z[p, b]), direction)
