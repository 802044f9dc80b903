"""Chapter 10."""

import math

import torch
from sympy import KroneckerDelta, symbols

from claims.symbols import Z, a, b, i, j, q, theta
from claims.witnesses import claim, proves
from imr.blocks import CrossAttentionBlock
from imr.symbolic import d, same, tensors, total

P, W = tensors("P W", d, d)


@proves("prop-linear-block")
def test_prop_linear_block_proof():
    """By induction Z⁽ˡ⁾ is Z P with P the l-th power of I + hW; then the logits."""
    h = symbols("h", real=True)
    identity = KroneckerDelta
    assert same(total(Z[i, a] * identity(a, q), a), Z[i, q])
    at = lambda q: total(Z[i, a] * P[a, q], a)
    step = at(q) + h * total(at(b) * W[b, q], b)
    power = lambda a, q: total(P[a, b] * (identity(b, q) + h * W[b, q]), b)
    assert same(step, total(Z[i, a] * power(a, q), a))
    prototypes = lambda j, a: total(theta[j, b] * P[a, b], b)  # (θ Pᵀ)_ja
    logits = total(at(b) * theta[j, b], b)
    assert same(logits, total(Z[i, a] * prototypes(j, a), a))
    assert not same(logits, total(Z[i, a] * total(theta[j, b] * P[b, a], b), a))


def _iterated(W, h, steps):
    """(I + hW)ˡ."""
    return torch.linalg.matrix_power(torch.eye(len(W)).double() + h * W, steps)


@claim(
    "prop-linear-block",
    right=lambda theta, W, h, steps: theta @ _iterated(W, h, steps).T,
    wrong={
        "no transpose": lambda theta, W, h, steps: theta @ _iterated(W, h, steps),
        "a step less": lambda theta, W, h, steps: (
            theta @ _iterated(W, h, steps - 1).T
        ),
        "one long step": lambda theta, W, h, steps: (
            theta @ _iterated(W, h * steps, 1).T
        ),
        "the exact flow": lambda theta, W, h, steps: (
            theta @ torch.matrix_exp(h * steps * W).T
        ),
    },
)
def test_prop_linear_block_check(p, formula):
    """Iterate the block of the package with prototypes 0, whose attention is 0."""
    h, W = 0.3, p.draw(p.d, p.d, salt=101) / p.d**0.5
    block = CrossAttentionBlock(p.d, p.k, linear_map=True).double()
    Z = p.Z
    with torch.no_grad():
        block.theta.zero_()
        block.W.copy_(W)
        block.log_h.fill_(math.log(h))
        for _ in range(4):
            Z = block(Z)
    bias = p.draw(p.k, salt=102)
    return p.close(Z @ p.theta.T + bias, p.Z @ formula(p.theta, W, h, 4).T + bias)
