"""Chapter 11, convolutional cross-attention: the gradient."""

import torch
import torch.nn.functional as F
from sympy import exp, simplify, symbols
from torch.func import grad

from claims.neighbourhoods import (
    SOFT,
    E,
    Z,
    drawn,
    f,
    g,
    j,
    l,
    lam,
    logit,
    p,
    plain_logits,
    plain_potential,
    potential,
    q,
    sigma,
    t,
    theta,
    u,
    v,
)
from claims.witnesses import claim, proves
from imr import convolution
from imr.symbolic import derivative, same, total, unfold


@proves("prop-convolution")
def test_prop_convolution_proof():
    """For every E; and the softmax of two logits, times any two prototypes."""
    gradient = derivative(potential(), Z[v, q])
    reads = lambda weight: total(
        weight * sigma[g, p, j] * theta[g, j, u, q] * E[p, u, v], g, p, j, u
    )
    assert same(gradient, unfold(reads(lam[g]), SOFT))
    assert not same(gradient, unfold(reads(1), SOFT))
    score = lambda g, j, p: exp(logit(g, j, p))
    over_places = lambda g, p, j: score(g, j, p) / total(score(g, j, t), t)
    over_heads = lambda g, p, j: score(g, j, p) / total(score(f, l, p), f, l)
    for other in (over_places, over_heads):
        assert not same(gradient, unfold(reads(lam[g]), {sigma: other}))

    # σ_1 θ_1 + σ_2 θ_2 = θ_2 + sigmoid(x_1 − x_2)(θ_1 − θ_2)
    x, y, one, two = symbols("x y one two", real=True)
    first, second = exp(x) / (exp(x) + exp(y)), exp(y) / (exp(x) + exp(y))
    unit = two + (one - two) / (1 + exp(y - x))
    assert simplify(first * one + second * two - unit) == 0


def _adjoint(sigma, values):
    """σ read back by the transposed convolution with kernels 3×3."""
    return F.conv_transpose2d(sigma, values, padding=1)


def _parts(Z, theta, bias):
    """Softmax (heads, k, height, width) of the plain logits."""
    return plain_logits(Z, theta, bias).softmax(-1).permute(2, 3, 0, 1)


def _read(sigma, theta, weights):
    return _adjoint(sigma.flatten(0, 1), _weighted(theta, weights))


def _weighted(theta, weights):
    return (weights[:, None, None, None, None] * theta).flatten(0, 1)


def _over_places(Z, theta, bias, weights):
    N = plain_logits(Z, theta, bias).permute(2, 3, 0, 1)
    return _read(N.flatten(2).softmax(-1).reshape(N.shape), theta, weights)


def _over_all_heads(Z, theta, bias, weights):
    N = plain_logits(Z, theta, bias).permute(2, 3, 0, 1)
    return _read(N.flatten(0, 1).softmax(0).reshape(N.shape), theta, weights)


def _mean_of_overlaps(Z, theta, bias, weights):
    one = torch.ones(1, 1, *Z.shape[1:]).double()
    count = _adjoint(one, torch.ones(1, 1, 3, 3).double())[0]
    return convolution.attention(Z, theta, bias, weights) / count


def _sigmoid_units(Z, theta, bias, weights):
    """Heads of two prototypes, as units of their difference and a constant part."""
    (first, second), (b, c) = theta.unbind(1), bias.unbind(1)
    sigma = torch.sigmoid(F.conv2d(Z, first - second, b - c, padding=1))
    shaped = weights[:, None, None, None]
    constant = _adjoint(torch.ones_like(sigma), shaped * second)
    return _adjoint(sigma, shaped * (first - second)) + constant


@claim(
    "prop-convolution",
    right=convolution.attention,
    wrong={
        "convolution for correlation": lambda Z, theta, bias, weights: _read(
            _parts(Z, theta.flip(-1, -2), bias), theta, weights
        ),
        "read back by the flipped kernel": lambda Z, theta, bias, weights: _read(
            _parts(Z, theta, bias), theta.flip(-1, -2), weights
        ),
        "flipped both times": lambda Z, theta, bias, weights: convolution.attention(
            Z, theta.flip(-1, -2), bias, weights
        ),
        "softmax over places": _over_places,
        "one softmax over all heads": _over_all_heads,
        "λ forgotten": lambda Z, theta, bias, weights: convolution.attention(
            Z, theta, bias
        ),
        "λ within the softmax": lambda Z, theta, bias, weights: (
            convolution.attention(
                Z, weights[:, None, None, None, None] * theta, bias
            )
        ),
        "b forgotten": lambda Z, theta, bias, weights: convolution.attention(
            Z, theta, None, weights
        ),
        "overlaps averaged": _mean_of_overlaps,
    },
)
def test_prop_convolution_check(p, formula):
    """Against autograd of a potential that is written without any convolution."""
    Z, theta, bias, weights = drawn(p, p.k)
    plain = lambda Z: plain_potential(Z, theta, bias, weights)
    ours = lambda Z: convolution.potential(Z, theta, bias, weights)
    gradient, size = grad(plain)(Z), theta.abs().max()
    pair, units = drawn(p, 2), _sigmoid_units(*drawn(p, 2))
    return (
        p.close(ours(Z), plain(Z), floor=plain_logits(Z, theta, bias).abs().max())
        and p.close(formula(Z, theta, bias, weights), gradient, floor=size)
        and p.close(formula(Z, theta, bias, weights), grad(ours)(Z), floor=size)
        and p.close(formula(*pair), units, floor=pair[1].abs().max())
    )
