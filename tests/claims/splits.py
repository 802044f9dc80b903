"""The parts of two models' flows, as the checks of chapter 7 split them."""

import torch
from torch.func import jvp

from claims.formulas import has_leading_term, soft, substeps
from imr import attention, flow


def read(theta):
    """CA as a field; plain, for derivatives that the fused attention lacks."""
    return lambda Z: soft(Z @ theta.T) @ theta


def euler(field):
    """The sub-flow that takes one Euler step."""
    return lambda h: flow.euler(field, h)


def covariance(Z, theta, V):
    """Cov(θ_j, θ_j · V_p) under each token's softmax (n, d)."""
    s, x = soft(Z @ theta.T), V @ theta.T
    return (s * x) @ theta - (s * x).sum(-1, keepdim=True) * (s @ theta)


def along(field, other):
    """The field f'[g], a derivative of one field in the direction of another."""
    return lambda Z: jvp(field, (Z,), (other(Z),))[1]


def linear(p):
    """Attention and labels of the linear flow, and a time in which it changes."""
    pull, norm = p.C @ p.theta, torch.linalg.matrix_norm(p.theta, 2)
    attend = read(p.theta)
    return (lambda Z: -attend(Z)), (lambda Z: pull + 0 * Z), 1 / norm.item() ** 2


def quadratic(p):
    """Likewise of the quadratic flow."""
    theta = p.phi @ p.phi.T
    attend = lambda Z: attention.quadratic_attention(Z, theta)
    field, norm = (
        flow.quadratic_field(theta, p.D),
        torch.linalg.matrix_norm(theta, 2),
    )
    h = 1 / (norm * (1 + 4 * norm * p.Z.norm() ** 2)).item()
    return (lambda Z: -attend(Z)), (lambda Z: field(Z) + attend(Z)), h


def misses(p, parts, step, order, claimed):
    """Whether a step of A and B misses the flow by h to this power times claimed.

    The claim may vanish, so it is compared on the scale of what it is made of.
    """
    A, B, h = parts
    whole = lambda h: substeps(lambda Z: A(Z) + B(Z), h)(p.Z)
    split = lambda h: step(A, B, h)(p.Z)
    floor = 1e-6 * A(p.Z).abs().max().item() / h ** (order - 1)
    return has_leading_term(p, split, whole, order, claimed, h, floor)
