"""Chapter 7, a linear map of the features in the place of the labels."""

import math

import torch
from sympy import KroneckerDelta, limit, log, oo, symbols
from torch.func import grad

from claims.fields import CA, along
from claims.formulas import asymmetry, lse, soft, substeps
from claims.symbols import (
    LSE,
    B,
    C,
    Z,
    a,
    b,
    i,
    j,
    p,
    q,
    t,
    theta,
    v,
)
from claims.witnesses import claim, proves
from imr import attention, flow
from imr.symbolic import d, derivative, k, same, tensors, total, unfold

(U,), (W,), (shift,) = tensors("U", d, k), tensors("W", d, d), tensors("v", d)


@proves("prop-label-free")
def test_prop_label_free_proof():
    guess = {C: lambda i, j: total(Z[i, a] * U[a, j], a)}
    pull = unfold(total(C[p, j] * theta[j, q], j), guess)
    product = {W: lambda a, q: total(U[a, j] * theta[j, q], j)}
    assert same(pull, unfold(total(Z[p, a] * W[a, q], a), product))
    field = lambda p, q: total(Z[p, a] * W[a, q], a) - CA(p, q)
    crossed = derivative(field(p, q), Z[t, b]) - derivative(field(t, b), Z[p, q])
    assert same(crossed, KroneckerDelta(p, t) * (W[b, q] - W[q, b]))
    # So the Jacobian is symmetric exactly for a symmetric W (take p = t), and then
    even = {W: lambda a, q: (W[a, q] + W[q, a]) / 2}
    assert same(unfold(crossed, even), 0)
    square = total(Z[i, a] * W[a, q] * Z[i, q], i, a, q)
    potential = total(LSE(i), i) - unfold(square, even) / 2
    assert same(-derivative(potential, Z[p, v]), unfold(field(p, v), even))
    assert not same(
        -derivative(total(LSE(i), i) - square, Z[p, v]), unfold(field(p, v), even)
    )


@claim(
    "prop-label-free",
    right=lambda p, U: p.Z @ U @ p.theta - attention.cross_attention(p.Z, p.theta),
    wrong={
        "plus attention": lambda p, U: (
            p.Z @ U @ p.theta + attention.cross_attention(p.Z, p.theta)
        ),
        "W transposed": lambda p, U: flow.label_free_field(
            p.theta, (U @ p.theta).T
        )(p.Z),
        "W forgotten": lambda p, U: -attention.cross_attention(p.Z, p.theta),
        "ZU in the loss": lambda p, U: (
            p.Z @ (U @ p.theta + (U @ p.theta).T)
            - attention.cross_attention(p.Z, p.theta)
        ),
    },
)
def test_prop_label_free_check(p, formula):
    """The field; its Jacobian, symmetric for a symmetric W; its potential."""
    U = p.draw(p.d, p.k, salt=29)
    labelled = flow.linear_field(p.theta, p.Z @ U)(p.Z)
    layer = flow.linear_map(p.W)(0.1)(p.Z)
    exponential = p.close(layer, substeps(lambda Z: Z @ p.W, 0.1)(p.Z), 1e-5)
    even = p.W + p.W.T
    unit = p.theta / p.theta.abs().max()  # so that a small asymmetry is seen
    field = lambda W: lambda Z: Z @ W - soft(Z @ unit.T) @ unit
    potential = lambda Z: lse(Z, unit).sum() - (Z * (Z @ even)).sum() / 2
    gradient = p.close(field(even)(p.Z), -grad(potential)(p.Z))
    symmetric = asymmetry(field(even), p.Z) < 1e-10
    skew = p.d == 1 or asymmetry(field(p.W), p.Z) > 1e-6
    same_field = p.close(formula(p, U), labelled)
    return exponential and gradient and symmetric and skew and same_field


@proves("prop-label-free-flow")
def test_prop_label_free_flow_proof():
    # 1. Linear but for −CA: ‖W‖₂ and Λ add up to a Lipschitz constant.
    field = lambda p, q: total(Z[p, a] * W[a, q], a) - CA(p, q)
    direction = lambda i, a: B[i, a]
    linear, attend = total(B[p, a] * W[a, q], a), along(CA(p, q), direction)
    assert same(along(field(p, q), direction), linear - attend)
    # 2. On z = cw, with Ww = λw and |w| = 1; M is the largest θ_j · w.
    c, top, eigenvalue = symbols("c M lambda", positive=True)
    (w,) = tensors("w", d)
    quadratic = total(Z[p, a] * W[a, q] * Z[p, q], a, q)
    on_line = unfold(quadratic, {Z: lambda i, a: c * w[a]})
    assert same(on_line, c**2 * total(w[a] * total(W[a, q] * w[q], q), a))
    # LSE ≤ log k + cM is prop-smooth-max, as no logit c θ_j · w exceeds cM.
    above = log(k) + c * top - eigenvalue * c**2 / 2
    assert limit(above, c, oo) == -oo
    # 3. Prototypes moved together by v, with the same U.
    moved = {theta: lambda j, a: theta[j, a] + shift[a]}
    guess = lambda j: total(Z[p, a] * U[a, j], a)
    labelled = total(guess(j) * theta[j, q], j) - CA(p, q)
    extra = (total(guess(j), j) - 1) * shift[q]
    assert same(unfold(labelled, moved), labelled + extra)
    assert not same(unfold(labelled, moved), labelled)


@claim(
    "prop-label-free-flow",
    right=lambda rows, v, lip, norm: ((rows - 1)[:, None] * v, lip + norm, 1 / 2),
    wrong={
        "the shift is not seen": lambda rows, v, lip, norm: (
            *(0 * rows[:, None] * v, lip + norm),
            1 / 2,
        ),
        "rows sum to nought": lambda rows, v, lip, norm: (
            *(rows[:, None] * v, lip + norm),
            1 / 2,
        ),
        "attention's constant alone": lambda rows, v, lip, norm: (
            *((rows - 1)[:, None] * v, lip),
            1 / 2,
        ),
        "no half before the square": lambda rows, v, lip, norm: (
            *((rows - 1)[:, None] * v, lip + norm),
            1.0,
        ),
    },
    examples=20,
)
def test_prop_label_free_flow_check(p, formula):
    """The change by a shift, a Lipschitz constant, and the potential on a line."""
    U, v = p.draw(p.d, p.k, salt=29), p.draw(p.d, salt=30)
    even = p.W @ p.W.T + torch.eye(p.d).double()
    norm, lip = torch.linalg.norm(even, 2), flow.lipschitz_bound(p.theta)
    extra, constant, half = formula((p.Z @ U).sum(-1), v, lip, norm)
    field = lambda theta: flow.linear_field(theta, p.Z @ U)(p.Z)
    w = torch.linalg.eigh(even).eigenvectors[:, -1]
    f = flow.label_free_field(p.theta, even)
    slow = all(
        (f(p.Z + x) - f(p.Z)).norm() <= (constant + 1e-9) * x.norm()
        for x in (w + 0 * p.Z, p.B)
    )
    c = 10.0 ** torch.arange(-1, 5).double()
    token = (c[:, None] * (p.theta @ w)).logsumexp(-1) - norm * c**2 / 2
    most = math.log(p.k) + c * (p.theta @ w).max() - half * norm * c**2
    below = (token <= most + 1e-9 * c**2).all() and token[-1] < -1e6
    return (
        p.close(field(p.theta + v) - field(p.theta), extra) and slow and bool(below)
    )
