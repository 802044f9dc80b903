"""Chapter 10."""

import math

import torch
import torch.nn.functional as F
from sympy import KroneckerDelta, symbols

from claims.symbols import Z, a, b, i, j, l, p, q, theta
from claims.witnesses import claim, proves
from imr.blocks import CrossAttentionBlock
from imr.symbolic import d, k, n, same, tensors, total, unfold

P, W = tensors("P W", d, d)
M, V = tensors("M V", n, k)
m, v, shift = tensors("m v b", k)


@proves("prop-fixed")
def test_prop_fixed_proof():
    """Logits from logits; tokens alike in these stay so; C = σ is no step.

    V is C − σ: where N is the same for two tokens, so is V, a function of it.
    """
    h = symbols("h", real=True)
    read = lambda at, j: total(at(a) * theta[j, a], a) + shift[j]
    gram = lambda l, j: total(theta[l, a] * theta[j, a], a)
    step = lambda a: Z[i, a] + h * total(V[i, l] * theta[l, a], l)
    N = lambda j: read(lambda a: Z[i, a], j)
    assert same(read(step, j), N(j) + h * total(V[i, l] * gram(l, j), l))
    assert not same(read(step, j), N(j) + h * V[i, j])
    # Tokens i and p whose logits and, as functions of these, V are equal.
    alike = lambda row, j: M[row, j] + h * total(V[row, l] * gram(l, j), l)
    equal = {M: lambda row, j: m[j], V: lambda row, j: v[j]}
    assert same(unfold(alike(i, j), equal), unfold(alike(p, j), equal))
    still = {V: lambda row, j: m[j] - m[j]}
    assert same(unfold(step(q), still), Z[i, q])


def _guess(N):
    """One-hot on the largest logit, smoothed by a tenth."""
    return 0.9 * F.one_hot(N.argmax(-1), N.shape[-1]).double() + 0.1 / N.shape[-1]


@claim(
    "prop-fixed",
    right=lambda N, h, gram: N + h * (_guess(N) - N.softmax(-1)) @ gram,
    wrong={
        "orthonormal prototypes": lambda N, h, gram: (
            N + h * (_guess(N) - N.softmax(-1))
        ),
        "plus": lambda N, h, gram: N + h * (_guess(N) + N.softmax(-1)) @ gram,
        "half a step": lambda N, h, gram: (
            N + h / 2 * (_guess(N) - N.softmax(-1)) @ gram
        ),
        "the label alone": lambda N, h, gram: N + h * _guess(N) @ gram,
        "nothing moves": lambda N, h, gram: N,
    },
)
def test_prop_fixed_check(p, formula):
    """Four steps of tokens, and of others with the same logits, by the logits."""
    h, b = 0.3 / p.theta.square().sum(), p.draw(p.k, salt=103)
    free = torch.linalg.svd(p.theta).Vh[torch.linalg.matrix_rank(p.theta) :]
    unseen = p.B @ free.T @ free  # what no prototype sees
    N = p.Z @ p.theta.T + b
    pair = torch.stack([p.Z, p.Z + unseen])
    for _ in range(4):
        now = pair @ p.theta.T + b
        pair = pair + h * (_guess(now) - now.softmax(-1)) @ p.theta
        N = formula(N, h, p.theta @ p.theta.T)
    return p.close(pair @ p.theta.T + b, N.expand(2, -1, -1), 1e-9, floor=1.0)


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
