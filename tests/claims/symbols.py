"""What the proofs share: indices, tensors, and the losses as expressions.

Tokens are i, p, t, u; features a, b, q, v; classes j, l, m; c runs to the rank.
In the quadratic model tokens are the classes: labels D, probabilities rho (n, n).
"""

from imr.symbolic import (
    d,
    indices,
    k,
    log_sum_exp,
    n,
    r,
    softmax,
    tensors,
    total,
    unfold,
)

i, p, t, u = indices("i p t u", n)
a, b, q, v = indices("a b q v", d)
j, l, m = indices("j l m", k)
(c,) = indices("c", r)
Z, B, G = tensors("Z B G", n, d)
(theta,) = tensors("theta", k, d)
(form,) = tensors("Theta", d, d)
(phi,) = tensors("phi", d, r)
C, sigma = tensors("C sigma", n, k)
D, rho, S = tensors("D rho S", n, n)


def logits(i, j):
    """(Zθᵀ)_ij."""
    return total(Z[i, a] * theta[j, a], a)


def at_tokens(i, q):
    """(ZΘ)_iq."""
    return total(Z[i, a] * form[a, q], a)


def at_tokens_transposed(t, q):
    """(ZΘᵀ)_tq."""
    return total(Z[t, b] * form[q, b], b)


def quadratic_logits(i, t):
    """(ZΘZᵀ)_it."""
    return total(Z[i, a] * form[a, b] * Z[t, b], a, b)


def LSE(i, logits=logits, over=j):
    """LSE_i of the logits."""
    return log_sum_exp(lambda j: logits(i, j), over)


LINEAR = {sigma: lambda i, j: softmax(lambda j: logits(i, j), j, l)}


def attended(p, q):
    """CA(Z, θ)_pq."""
    return unfold(total(sigma[p, j] * theta[j, q], j), LINEAR)


QUADRATIC = {rho: lambda i, t: softmax(lambda t: quadratic_logits(i, t), t, u)}


def linear_loss():
    """The cross-entropy of the linear model."""
    return total(LSE(i) - total(C[i, j] * logits(i, j), j), i)


def quadratic_loss(logits=quadratic_logits):
    """The cross-entropy of the quadratic model."""
    return total(LSE(i, logits, t) - total(D[i, t] * logits(i, t), t), i)


def factored_logits(i, t):
    """(Zφφᵀ Zᵀ)_it."""
    query = total(Z[i, a] * phi[a, c], a)
    key = total(Z[t, b] * phi[b, c], b)
    return total(query * key, c)


def values(i, q):
    """(Zφφᵀ)_iq."""
    return total(total(Z[i, a] * phi[a, c], a) * phi[q, c], c)


FACTORED = {rho: lambda i, t: softmax(lambda t: factored_logits(i, t), t, u)}
