"""Chapter 4: the velocity, and the fall of the loss."""

import torch
from sympy import KroneckerDelta, Symbol
from torch.func import grad, jvp

from claims.symbols import (
    LINEAR,
    B,
    C,
    G,
    Z,
    a,
    attended,
    j,
    l,
    linear_loss,
    p,
    q,
    sigma,
    t,
    theta,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import contract, derivative, same, total, unfold


@proves("cor-flow")
def test_cor_flow_proof():
    """The velocity in its two forms; and it is the mean of those of hard labels."""
    pull = total(C[p, j] * theta[j, q], j)
    difference = unfold(total((C[p, j] - sigma[p, j]) * theta[j, q], j), LINEAR)
    velocity = -derivative(linear_loss(), Z[p, q])
    assert same(velocity, pull - attended(p, q))
    assert same(velocity, difference)
    hard = unfold(velocity, {C: lambda i, j: KroneckerDelta(j, l)})
    mean, mass = total(C[p, l] * hard, l), total(C[p, l], l)
    assert same(mean, pull - mass * attended(p, q))  # the rows of C have mass one


@claim(
    "cor-flow",
    right=lambda p: flow.linear_field(p.theta, p.C)(p.Z),
    wrong={
        "plus attention": lambda p: (
            p.C @ p.theta + attention.cross_attention(p.Z, p.theta)
        ),
        "no label": lambda p: -attention.cross_attention(p.Z, p.theta),
        "ascent": lambda p: -flow.linear_field(p.theta, p.C)(p.Z),
        "mean over tokens": lambda p: flow.linear_field(p.theta, p.C)(p.Z) / p.n,
    },
)
def test_cor_flow_check(p, formula):
    descent = -grad(lambda Z: potentials.linear(Z, p.theta, p.C))(p.Z)
    hard = [flow.linear_field(p.theta, torch.full((p.n,), c)) for c in range(p.k)]
    mean = sum(p.C[:, [c]] * field(p.Z) for c, field in enumerate(hard))
    floor = p.theta.abs().max()  # the velocity is a difference of prototypes
    return all(p.close(formula(p), x, floor=floor) for x in (descent, mean))


@proves("cor-dissipation")
def test_cor_dissipation_proof():
    """d/dh L(Z + hB) = ⟨∇L, B⟩ for any B; and for B = −∇L, a sum of squares."""
    h = Symbol("h", real=True)
    moved = unfold(linear_loss(), {Z: lambda i, a: Z[i, a] + h * B[i, a]})
    rate = contract(moved.diff(h).subs(h, 0))
    gradient = derivative(linear_loss(), Z[p, q])
    assert same(rate, total(gradient * B[p, q], p, q))
    squares = total(G[p, q] ** 2, p, q)  # G is the gradient
    assert same(
        unfold(total(G[p, q] * B[p, q], p, q), {B: lambda i, a: -G[i, a]}), -squares
    )
    # None of the squares is above their sum, so where that is zero each of them is.
    others = (1 - KroneckerDelta(p, t) * KroneckerDelta(q, a)) ** 2
    rest = total(others * G[p, q] ** 2, p, q)
    assert same(squares - G[t, a] ** 2, rest)
    assert squares.is_nonnegative and rest.is_nonnegative


@claim(
    "cor-dissipation",
    right=lambda gradient: -(gradient**2).sum(),
    wrong={
        "norm, not squared": lambda gradient: -gradient.norm(),
        "half": lambda gradient: -(gradient**2).sum() / 2,
        "growth": lambda gradient: (gradient**2).sum(),
    },
)
def test_cor_dissipation_check(p, formula):
    """The rate at a point; and the loss falls over a short stretch of the flow."""
    loss = lambda Z: potentials.linear(Z, p.theta, p.C)
    field, gradient = flow.linear_field(p.theta, p.C), grad(loss)(p.Z)
    _, rate = jvp(loss, (p.Z,), (field(p.Z),))
    # The rate is a difference of ⟨σ, N'⟩ and ⟨C, N'⟩, for N' of this size.
    floor = p.theta.norm() * gradient.norm()
    h = 0.1 / torch.linalg.matrix_norm(p.theta, 2).square()
    ahead = loss(flow.rk4(field, h.item())(p.Z))
    falls = ahead <= loss(p.Z) + 1e-14 * (p.Z @ p.theta.T).abs().sum()
    return bool(falls) and p.close(formula(gradient), rate, floor=floor)
