"""Chapter 5: what the probabilities do along the flow, and over a layer."""

import torch
from sympy import KroneckerDelta, exp, log, symbols
from torch.func import jvp

from claims.formulas import soft
from claims.linear import gradient, score, sigma, slope
from claims.symbols import C, Z, b, i, j, l, m, p, q, theta
from claims.witnesses import claim, proves
from imr import flow
from imr.symbolic import derivative, k, n, same, softmax, tensors, total


@proves("prop-mirror")
def test_prop_mirror_proof():
    """The replicator equation, its fitness, a layer, and orthonormal prototypes."""
    gram = lambda j, l: total(theta[j, q] * theta[l, q], q)
    excess = lambda s: lambda i, j: C[i, j] - s(i, j)
    force = lambda s, gram: lambda i, j: total(excess(s)(i, l) * gram(l, j), l)
    s = lambda i, j: sigma(Z, i, j)
    F = force(s, gram)
    mean = total(s(i, m) * F(i, m), m)
    down = lambda p, b: -gradient(Z, p, b)
    assert same(slope(s(i, j), Z, down), s(i, j) * (F(i, j) - mean))
    assert same(slope(log(s(i, j)), Z, down), F(i, j) - mean)
    assert not same(slope(s(i, j), Z, down), s(i, j) * F(i, j))
    (S,) = tensors("S", n, k)
    mismatch = total(total((S[i, j] - C[i, j]) * theta[j, b], j) ** 2, i, b) / 2
    free = force(lambda i, j: S[i, j], gram)
    assert same(-derivative(mismatch, S[p, m]), free(p, m))
    h = symbols("h", positive=True)
    after = lambda i, j: score(Z, i, j) + h * total(down(i, b) * theta[j, b], b)
    weight = lambda i, j: s(i, j) * exp(h * F(i, j))
    layer = softmax(lambda j: after(i, j), j, l)
    assert same(layer, weight(i, j) / total(weight(i, m), m))
    orthonormal = force(s, KroneckerDelta)
    assert same(orthonormal(i, j), excess(s)(i, j))


@claim(
    "prop-mirror",
    right=lambda s, C, gram: (C - s) @ gram,
    wrong={
        "as if orthonormal": lambda s, C, gram: C - s,
        "the other way": lambda s, C, gram: (s - C) @ gram,
        "labels alone": lambda s, C, gram: C @ gram,
        "squared lengths alone": lambda s, C, gram: (C - s) * gram.diagonal(),
    },
)
def test_prop_mirror_check(p, formula):
    field, gram = flow.linear_field(p.theta, p.C), p.theta @ p.theta.T
    read = lambda Z: soft(Z @ p.theta.T)
    s, moved = jvp(read, (p.Z,), (field(p.Z),))
    F = formula(s, p.C, gram)
    claimed = s * (F - (s * F).sum(-1, keepdim=True))
    h = 1 / gram.abs().max()
    weights = s * (h * F).exp()
    layer = weights / weights.sum(-1, keepdim=True)
    after = read(flow.euler(field, h)(p.Z))
    frame = torch.linalg.qr(p.draw(p.d + p.k, p.k, salt=34))[0].T  # orthonormal
    plain = formula(s, p.C, frame @ frame.T)
    return (
        p.close(claimed, moved, 1e-12, floor=gram)
        and p.close(layer, after, 1e-11)
        and p.close(plain, p.C - s, 1e-12, floor=1.0)
    )
