"""Chapter 7, the local errors of exact Lie steps, of layers, and of Strang's."""

import torch
from torch.func import jvp

from claims.orders import covariance, fine, labels, leading, models, near, read
from claims.witnesses import claim
from imr import attention, flow


def _parts(p, C):
    """Attention as a field, the label's shift, the flow, and a rate of change."""
    pull = flow.shift(C @ p.theta)
    rate = torch.linalg.matrix_norm(p.theta, 2) ** 2
    return (lambda Z: -read(p.theta)(Z)), pull, flow.linear_field(p.theta, C), rate


def _holds(p, C, step, claimed):
    """Whether a step misses the exact flow by h² times what is claimed."""
    attend, pull, whole, rate = _parts(p, C)
    error = lambda h: step(attend, pull, h)(p.Z) - fine(whole)(h)(p.Z)
    unit = rate * (C @ p.theta).norm()
    return near(p, leading(error, 2, 0.1 / rate), claimed, unit)


def _euler(field):
    return lambda h: flow.euler(field, h)


@claim(
    "prop-commutator",
    right=lambda Z, theta, pull: covariance(Z, theta, pull) / 2,
    wrong={
        "the other sign": lambda Z, theta, pull: -covariance(Z, theta, pull) / 2,
        "no half": lambda Z, theta, pull: covariance(Z, theta, pull),
        "second moment, not covariance": lambda Z, theta, pull: (
            ((Z @ theta.T).softmax(-1) * (pull @ theta.T)) @ theta / 2
        ),
        "no error": lambda Z, theta, pull: 0 * Z,
        "nine per mille more": lambda Z, theta, pull: (
            1.009 * covariance(Z, theta, pull) / 2
        ),
        "with CA, as for a layer": lambda Z, theta, pull: (
            covariance(Z, theta, read(theta)(Z)) / 2
        ),
    },
    examples=20,
)
def test_prop_commutator_check(p, formula):
    """The local error; zero for equal products, small where a label is sure."""
    step = lambda A, B, h: flow.lie(fine(A), B, h)
    errors = all(
        _holds(p, C, step, formula(p.Z, p.theta, C @ p.theta)) for C in labels(p)
    )
    pull = p.C @ p.theta  # prototypes moved until all have the product 1 with c_1
    level = p.theta + (1 - p.theta @ pull[0])[:, None] * pull[0] / pull[0].dot(
        pull[0]
    )
    unit = level.square().sum() * pull[0].norm()
    flat = formula(p.Z[:1], level, pull[:1]) / unit
    hard, sure = labels(p)[1] @ p.theta, (p.Z @ p.theta.T).softmax(-1)
    room = 1 - sure.gather(-1, p.y[:, None])[:, 0]
    most = 2 * flow.lipschitz_bound(p.theta) * hard.norm(dim=-1) * room
    small = formula(p.Z, p.theta, hard).norm(dim=-1) <= most + 1e-12
    return errors and p.close(flat, 0 * flat, 1e-12) and bool(small.all())


@claim(
    "prop-lie-euler",
    right=lambda Z, theta, pull: covariance(Z, theta, pull - read(theta)(Z)) / 2,
    wrong={
        "exact Lie's error": lambda Z, theta, pull: covariance(Z, theta, pull) / 2,
        "Strang's with an Euler step": lambda Z, theta, pull: (
            -covariance(Z, theta, read(theta)(Z)) / 2
        ),
        "the other sign": lambda Z, theta, pull: (
            covariance(Z, theta, read(theta)(Z) - pull) / 2
        ),
        "no half": lambda Z, theta, pull: covariance(
            Z, theta, pull - read(theta)(Z)
        ),
        "no error": lambda Z, theta, pull: 0 * Z,
    },
    examples=20,
)
def test_prop_lie_euler_check(p, formula):
    """The two are one step, for logits to ±500 too; and its local error."""

    def one_step(Z, C):
        attend = lambda Z: -attention.cross_attention(Z, p.theta)
        split = flow.lie(_euler(attend), flow.shift(C @ p.theta), 0.3)
        return p.close(
            split(Z), flow.euler(flow.linear_field(p.theta, C), 0.3)(Z), 1e-13
        )

    large = 500 * p.Z / (p.Z @ p.theta.T).abs().max()
    step = lambda A, B, h: flow.lie(_euler(A), B, h)
    return all(
        one_step(p.Z, C)
        and one_step(large, C)
        and _holds(p, C, step, formula(p.Z, p.theta, C @ p.theta))
        for C in labels(p)
    )


def _along(field, other, Z):
    """f'[g], the derivative of a field in the direction of another."""
    return jvp(field, (Z,), (other(Z),))[1]


@claim(
    "prop-strang-euler",
    right=lambda A, B, Z: -_along(A, A, Z) / 2,
    wrong={
        "the other sign": lambda A, B, Z: _along(A, A, Z) / 2,
        "seven times": lambda A, B, Z: -7 * _along(A, A, Z) / 2,
        "Euler's of the whole flow": lambda A, B, Z: (
            -_along(lambda Z: A(Z) + B(Z), lambda Z: A(Z) + B(Z), Z) / 2
        ),
        "no error": lambda A, B, Z: 0 * Z,
        "nine per mille more": lambda A, B, Z: -1.009 * _along(A, A, Z) / 2,
    },
    examples=20,
)
def test_prop_strang_euler_check(p, formula):
    """With an Euler step inside; with the midpoint rule nothing is left at h²."""
    midpoint = lambda field: lambda h: flow.midpoint(field, h)

    def holds(inner, claimed, A, B, Z, rate):
        whole = fine(lambda Z: A(Z) + B(Z))
        error = lambda h: flow.strang(fine(B), inner(A), h)(Z) - whole(h)(Z)
        unit = rate * A(Z).norm()
        return near(p, leading(error, 2, 0.1 / rate), claimed(A, B, Z), unit)

    attend = lambda Z: -read(p.theta)(Z)
    row = covariance(p.Z, p.theta, read(p.theta)(p.Z))
    return p.close(_along(attend, attend, p.Z), row) and all(
        holds(_euler, formula, *parts)
        and holds(midpoint, lambda A, B, Z: 0 * Z, *parts)
        for parts in models(p)
    )
