"""Chapter 4."""

import torch
from sympy import Symbol, expand
from torch.func import grad, jvp

from claims.formulas import mha, sdpa
from claims.symbols import (
    LINEAR,
    C,
    N,
    V,
    Z,
    i,
    j,
    l,
    linear_loss,
    p,
    q,
    sigma,
    theta,
    x,
    y,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import contract, d, derivative, k, n, same, softmax, total, unfold


@proves("cor-flow")
def test_cor_flow_proof():
    claim = total((C[p, j] - sigma[p, j]) * theta[j, q], (j, k))
    assert same(-derivative(linear_loss(), Z[p, q]), unfold(claim, LINEAR))


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
    loss = lambda Z: potentials.linear(Z, p.theta, p.C)
    return p.close(formula(p), -grad(loss)(p.Z))


@claim(
    "prop-sdpa",
    right=lambda Z, theta, I, d: (
        sdpa(Z, theta, theta, scale=1.0),
        mha(d**0.5 * I, I, I, I)(Z, theta),
    ),
    wrong={
        "torch's default scale": lambda Z, theta, I, d: (sdpa(Z, theta, theta),),
        "a layer without the root of d": lambda Z, theta, I, d: (
            mha(I, I, I, I)(Z, theta),
        ),
        "keys scaled too": lambda Z, theta, I, d: (
            mha(d**0.5 * I, d**0.5 * I, I, I)(Z, theta),
        ),
    },
)
def test_prop_sdpa_check(p, formula):
    ours, I = attention.cross_attention(p.Z, p.theta), torch.eye(p.d).double()
    return all(p.close(theirs, ours) for theirs in formula(p.Z, p.theta, I, p.d))


@proves("cor-dissipation")
def test_cor_dissipation_proof():
    """d/dt L(Z + tV) = Σ (∂L/∂Z)·V for every V; with V = −∂L/∂Z that is −‖∇L‖²."""
    t = Symbol("t")
    moved = unfold(linear_loss(), {Z: lambda i, a: x[i, a] + t * V[i, a]})
    rate = contract(moved.diff(t)).subs(t, 0)
    gradient = derivative(linear_loss(), Z[p, q])
    gradient = gradient.xreplace({Z.label: x.label}).replace(Z, x)
    assert same(rate, total(gradient * V[p, q], (p, n), (q, d)))


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
    loss = lambda Z: potentials.linear(Z, p.theta, p.C)
    _, rate = jvp(loss, (p.Z,), (flow.linear_field(p.theta, p.C)(p.Z),))
    return p.close(formula(grad(loss)(p.Z)), rate)


@proves("prop-symmetries")
def test_prop_symmetries_proof():
    """Adding c_i to row i of the logits leaves σ alone, and (C − σ)1 = 0."""
    shifted = expand(softmax(lambda j: N[i, j] + x[i], p, (j, k)), power_exp=True)
    shifted = shifted.replace(lambda e: e.is_Add and e.has(N), expand)
    assert same(contract(expand(shifted)), softmax(lambda j: N[i, j], p, (j, k)))
    excess = total((C[p, j] - softmax(lambda j: N[p, j], j, (l, k))) * y[q], (j, k))
    assert same(contract(excess), y[q] * (total(C[p, j], (j, k)) - 1))


@claim(
    "prop-symmetries",
    right=lambda theta, C: flow.linear_field(theta, C),
    wrong={
        "attention alone sees the shift": lambda theta, C: (
            lambda Z: -attention.cross_attention(Z, theta)
        ),
        "softmax over tokens": lambda theta, C: (
            lambda Z: C @ theta - (Z @ theta.T).softmax(-2) @ theta
        ),
        "unnormalised weights": lambda theta, C: (
            lambda Z: C @ theta - (Z @ theta.T).exp() @ theta
        ),
    },
)
def test_prop_symmetries_check(p, formula):
    order = p.w.argsort()
    here = formula(p.theta, p.C)(p.Z)
    read = p.C @ p.theta - here
    # Heights over d directions: those of the hull bound those of what is read.
    height, hull = read @ p.W, p.theta @ p.W
    below, above = height <= hull.amax(0) + 1e-9, height >= hull.amin(0) - 1e-9
    permuted = p.close(formula(p.theta, p.C[order])(p.Z[order]), here[order])
    shifted = p.close(formula(p.theta + p.B[0], p.C)(p.Z), here, 1e-9)
    return bool(below.all() and above.all()) and permuted and shifted
