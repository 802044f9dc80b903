"""Orders, measured: the first term of an error, and the slope of errors over steps.

A tolerance on error/hᵖ at one small h accepts what is only nearly right. Here the
terms after the first are extrapolated away, so that one per mille of it is seen.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import t as student

from claims.formulas import soft
from imr import attention, flow


def leading(error, power, h):
    """The limit of error(h)/hᵖ for h → 0, from h, h/2, …, h/16 by Richardson."""
    row = [error(h / 2**m) / (h / 2**m) ** power for m in range(5)]
    for m in range(1, 5):
        row = [(2**m * b - a) / (2**m - 1) for a, b in pairwise(row)]
    return row[0]


def slope(steps, errors):
    """The slope of log error over log h, and half its interval of 95 %."""
    x, y = np.log(steps), np.log(errors)
    (fit, start), free = np.polyfit(x, y, 1), len(x) - 2
    rest = ((y - fit * x - start) ** 2).sum() / free
    spread = (rest / ((x - x.mean()) ** 2).sum()) ** 0.5
    return fit, student.ppf(0.975, free) * spread


def fine(field, parts=16):
    """The exact sub-flow to rounding, for the small steps of ``leading``."""

    def subflow(h):
        step = flow.rk4(field, h / parts)
        return lambda Z: flow.trajectory(step, Z, parts)[-1]

    return subflow


def near(p, measured, claimed, unit, tolerance=1e-3):
    """Whether two arrays agree relative to the larger of the second and 1e-3 unit.

    ``unit`` is the size that the quantity has by its dimensions, so that only where
    it nearly vanishes is the comparison not relative.
    """
    size = max(claimed.abs().max().item(), 1e-3 * float(unit))
    return p.close(measured / size, claimed / size, tolerance)


def labels(p):
    """Soft and hard labels of a problem (n, k)."""
    return p.C, F.one_hot(p.y, p.k).double()


def read(theta):
    """CA as a field; plain, for derivatives that the fused attention lacks."""
    return lambda Z: soft(Z @ theta.T) @ theta


def covariance(Z, theta, V):
    """Cov(θ_j, θ_j · V_p) under each token's softmax (n, d)."""
    s, x = soft(Z @ theta.T), V @ theta.T
    return (s * x) @ theta - (s * x).sum(-1, keepdim=True) * (s @ theta)


def models(p):
    """Fields A and B, features, and a rate at which the fields change."""
    Z, theta, form, D = p.Z / p.scale, p.theta, p.phi @ p.phi.T, p.D
    speed = torch.linalg.matrix_norm(theta, 2) ** 2
    for C in labels(p):
        pull = C @ theta
        yield (
            lambda Z: -read(theta)(Z),
            (lambda Z, pull=pull: pull + 0 * Z),
            p.Z,
            speed,
        )
    attend = lambda Z: attention.quadratic_attention(Z, form)
    norm = torch.linalg.matrix_norm(form, 2)
    yield (
        (lambda Z: -attend(Z)),
        (lambda Z: flow.quadratic_field(form, D)(Z) + attend(Z)),
        Z / 3,
        2 * norm * (1 + norm * (Z / 3).square().sum()),
    )
