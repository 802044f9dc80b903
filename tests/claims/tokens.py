"""The quadratic model as formulas: its logits, softmax, loss and flow."""

from sympy import Symbol

from imr.symbolic import (
    d,
    indices,
    log_sum_exp,
    n,
    r,
    softmax,
    tensors,
    total,
    unfold,
)

i, j, l, p = indices("i j l p", n)
a, b, q = indices("a b q", d)
(c,) = indices("c", r)
Z, K, X = tensors("Z K X", n, d)
C, G, S, sigma = tensors("C G S sigma", n, n)
theta, B = tensors("theta B", d, d)
(phi,) = tensors("phi", d, r)
s = Symbol("s", positive=True)

SYMMETRIC = {theta: lambda a, b: B[a, b] + B[b, a]}
"""Every symmetric form is θ = B + Bᵀ, with B = θ/2."""
FACTORED = {theta: lambda a, b: total(phi[a, c] * phi[b, c], c)}
"""θ = φφᵀ."""


def logits(i, j):
    """(ZθZᵀ)_ij."""
    return total(Z[i, a] * theta[a, b] * Z[j, b], a, b)


def at_tokens(i, q):
    """(Zθ)_iq."""
    return total(Z[i, a] * theta[a, q], a)


def at_tokens_transposed(j, q):
    """(Zθᵀ)_jq."""
    return total(theta[q, b] * Z[j, b], b)


def factored(i, j):
    """The logits for θ = φφᵀ."""
    return unfold(logits(i, j), FACTORED)


def symmetric(i, j):
    """The logits for any symmetric θ."""
    return unfold(logits(i, j), SYMMETRIC)


def values(i, q):
    """(Zφφᵀ)_iq."""
    return unfold(at_tokens(i, q), FACTORED)


def lse(i, logits=logits):
    """LSE_i(sN)/s."""
    return log_sum_exp(lambda j: s * logits(i, j), j) / s


def with_softmax(expr, logits=logits):
    """The expression with σ = σ(sN) put in."""
    rows = lambda i, j: softmax(lambda j: s * logits(i, j), j, l)
    return unfold(expr, {sigma: rows})


def loss(logits=logits):
    """The cross-entropy of sN with the labels C, over s."""
    return total(lse(i, logits) - total(C[i, j] * logits(i, j), j), i)


def velocity(logits=logits):
    """(C − σ)Zθᵀ + (C − σ)ᵀZθ, with σ put in."""
    asks = total((C[p, j] - sigma[p, j]) * at_tokens_transposed(j, q), j)
    is_asked = total((C[i, p] - sigma[i, p]) * at_tokens(i, q), i)
    return with_softmax(asks + is_asked, logits)
