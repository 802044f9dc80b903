"""Chapter 7, bounds of Lie's and Strang's errors, and what a step keeps."""

import math

import torch
import torch.nn.functional as F

from claims.orders import covariance, fine, labels, leading, near, read
from claims.witnesses import claim
from imr import flow, potentials


def _steps(theta, C, h, parts=16):
    """One step of the flow, of attention, of Lie's and of Strang's splitting."""
    attend, pull = fine(lambda Z: -read(theta)(Z), parts), flow.shift(C @ theta)
    return (
        fine(flow.linear_field(theta, C), parts)(h),
        attend(h),
        flow.lie(attend, pull, h),
        flow.strang(pull, attend, h),
    )


TIE = torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([[1.0, 0.0]]).double()


@claim(
    "prop-lie-bound",
    right=lambda Lip, pull, h, l: Lip * pull * l * h * h / 2,
    wrong={
        "an order more": lambda Lip, pull, h, l: Lip * pull * l * h**3 / 2,
        "one per cent less": lambda Lip, pull, h, l: (
            0.99 * Lip * pull * l * h * h / 2
        ),
        "the sum does not grow": lambda Lip, pull, h, l: Lip * pull * h * h / 8,
        "without the Lipschitz constant": lambda Lip, pull, h, l: (
            pull * l * h * h / 4
        ),
    },
    examples=20,
)
def test_prop_lie_bound_check(p, formula):
    """No error above the bound, attained at a tie; no two points pushed apart."""

    def within(theta, C, Z, h, steps=8):
        size = flow.lipschitz_bound(theta), (C @ theta).norm(), h
        true, _, lie, strang = _steps(theta, C, h)
        ends = [flow.trajectory(step, Z, steps) for step in (true, lie, strang)]
        error = lambda end: (end - ends[0]).flatten(1).norm(dim=1)
        most = torch.stack([formula(*size, l) for l in range(steps + 1)]) + 1e-9
        return bool(
            (error(ends[1]) <= most).all()
            & (error(ends[2]) <= most / 2 + 1e-9).all()
        )

    def together(theta, C, Z, Y, h):
        gap = (Z - Y).norm() + 1e-9
        return all((f(Z) - f(Y)).norm() <= gap for f in _steps(theta, C, h, 200))

    unit = 1 / torch.linalg.matrix_norm(p.theta, 2) ** 2
    return within(*TIE, torch.zeros(1, 1).double(), 1e-2, 1) and all(
        within(p.theta, C, p.Z, float(h * unit))
        and together(p.theta, C, p.Z, p.Z + p.B, float(h * unit))
        for C in labels(p)
        for h in (0.1, 1.0, 5.0)
    )
