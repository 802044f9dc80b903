"""Regressions on neighbourhoods as formulas, and a potential without convolutions.

E[p, u, s] is 1 where the neighbourhood of p has the place s at the offset u, else
0. As it may be any tensor, one proof covers every size, stride and border.
"""

import torch
import torch.nn.functional as F
from sympy import Symbol

from imr.symbolic import (
    d,
    indices,
    k,
    log_sum_exp,
    n,
    softmax,
    tensors,
    total,
)

size = lambda name: Symbol(name, integer=True, positive=True)
P, O, H = size("P"), size("O"), size("H")  # places, offsets, heads
p, t = indices("p t", P)
(u,) = indices("u", O)
g, f = indices("g f", H)
s, v = indices("s v", n)
a, q = indices("a q", d)
j, l = indices("j l", k)
Z, B = tensors("Z B", n, d)
(E,), (theta,) = tensors("E", P, O, n), tensors("theta", H, k, O, d)
(b,), (lam,), (sigma,) = (
    tensors("b", H, k),
    tensors("lambda", H),
    tensors("sigma", H, P, k),
)


def patch(Z, p, u, a):
    """(P_p Z)_ua, what the neighbourhood of p has at the offset u."""
    return total(E[p, u, s] * Z[s, a], s)


def match(Z, g, j, p):
    """(θ_gj ⋆ Z)_p."""
    return total(theta[g, j, u, a] * patch(Z, p, u, a), u, a)


def logit(g, j, p):
    """(θ_gj ⋆ Z)_p + b_gj."""
    return match(Z, g, j, p) + b[g, j]


def potential():
    """Σ_h λ_h Σ_p LSE_j."""
    LSE = log_sum_exp(lambda j: logit(g, j, p), j)
    return total(lam[g] * LSE, g, p)


SOFT = {sigma: lambda g, p, j: softmax(lambda j: logit(g, j, p), j, l)}


def windows(Z, theta):
    """All neighbourhoods, zero outside: (height, width, c, rows, columns)."""
    rows, columns = theta.shape[-2:]
    around = (columns // 2, columns // 2, rows // 2, rows // 2)
    padded = F.pad(Z, around)
    return padded.unfold(1, rows, 1).unfold(2, columns, 1).permute(1, 2, 0, 3, 4)


def plain_logits(Z, theta, bias):
    """(height, width, heads, k), by an inner product at each place."""
    return torch.einsum("yxcuv,hkcuv->yxhk", windows(Z, theta), theta) + bias


def plain_potential(Z, theta, bias, weights):
    """U of one image (c, height, width)."""
    return (plain_logits(Z, theta, bias).logsumexp(-1) * weights).sum()


def drawn(p, k, heads=2, channels=2, height=5, width=4):
    """An image, kernels 3×3, intercepts and weights of either sign of a problem."""
    Z = p.scale * p.draw(channels, height, width, salt=71)
    theta = p.draw(heads, k, channels, 3, 3, salt=72) / 3
    bias = p.draw(heads, k, salt=73)
    theta = p.stretched(theta, plain_logits(Z, theta, 0 * bias))
    weights = p.draw(heads, salt=74)
    weights[0], weights[1:] = weights[0].abs(), -weights[1:].abs()
    return Z, theta, bias, weights
