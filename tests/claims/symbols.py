"""What the proofs share: indices, tensors, and the losses as expressions.

Tokens are i, p, t, u; features a, b, q, v; classes j, l, m; c runs to the rank.
Where tokens are the classes D are the labels and rho the probabilities (n, n); the
quadratic model itself is in ``tokens``.
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
D, rho = tensors("D rho", n, n)


def logits(i, j):
    """(Zθᵀ)_ij."""
    return total(Z[i, a] * theta[j, a], a)


def LSE(i, logits=logits):
    """LSE_i of the logits."""
    return log_sum_exp(lambda j: logits(i, j), j)


LINEAR = {sigma: lambda i, j: softmax(lambda j: logits(i, j), j, l)}


def attended(p, q):
    """CA(Z, θ)_pq."""
    return unfold(total(sigma[p, j] * theta[j, q], j), LINEAR)


def linear_loss():
    """The cross-entropy of the linear model."""
    return total(LSE(i) - total(C[i, j] * logits(i, j), j), i)
