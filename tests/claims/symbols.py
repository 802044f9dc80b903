"""What the proofs share: indices, tensors, and the losses as expressions."""

from imr.symbolic import d, indices, k, log_sum_exp, n, r, softmax, tensors, total

i, j, l, m, p, q, a, b, c, g, u, v = indices("i j l m p q a b c g u v")
Z, K, theta, phi, C, G, N, sigma, B = tensors("Z K theta phi C G N sigma B")
s, V, w, x, y, z, mu, weight, U, W = tensors("s V w x y z mu pi U W")


def logits(i, j):
    """(Zθᵀ)_ij."""
    return total(Z[i, a] * theta[j, a], (a, d))


def at_tokens(i, q):
    """(Zθ)_iq."""
    return total(Z[i, a] * theta[a, q], (a, d))


def at_tokens_transposed(j, q):
    """(Zθᵀ)_jq."""
    return total(Z[j, b] * theta[q, b], (b, d))


def quadratic_logits(i, j):
    """(ZθZᵀ)_ij."""
    return total(Z[i, a] * theta[a, b] * Z[j, b], (a, d), (b, d))


def LSE(i, logits=logits, over=(j, k)):
    """LSE_i of the logits."""
    return log_sum_exp(lambda j: logits(i, j), over)


LINEAR = {sigma: lambda i, j: softmax(lambda j: logits(i, j), j, (l, k))}


QUADRATIC = {
    sigma: lambda i, j: softmax(lambda j: quadratic_logits(i, j), j, (l, n))
}


def linear_loss():
    """The cross-entropy of the linear model."""
    return total(LSE(i) - total(C[i, j] * logits(i, j), (j, k)), (i, n))


def quadratic_loss(logits=quadratic_logits):
    """The cross-entropy of the quadratic model."""
    labelled = total(C[i, j] * logits(i, j), (j, n))
    return total(LSE(i, logits, (j, n)) - labelled, (i, n))


def factored_logits(i, j):
    """(Zφφᵀ Zᵀ)_ij."""
    query, key = (
        total(Z[i, a] * phi[a, c], (a, d)),
        total(Z[j, b] * phi[b, c], (b, d)),
    )
    return total(query * key, (c, r))


def values(i, q):
    """(Zφφᵀ)_iq."""
    return total(total(Z[i, a] * phi[a, c], (a, d)) * phi[q, c], (c, r))


FACTORED = {sigma: lambda i, j: softmax(lambda j: factored_logits(i, j), j, (l, n))}
