"""Chapter 7, the local errors of exact Lie steps, of layers, and of Strang's."""

import torch
from sympy import KroneckerDelta, symbols
from torch.func import jvp

from claims import orders
from claims.fields import (
    CA,
    along,
    covariance,
    h,
    mean,
    moved,
    pull,
    rate,
    velocity,
)
from claims.orders import fine, labels, leading, models, near, read
from claims.symbols import LINEAR, C, Z, j, l, m, p, q, sigma, theta, v
from claims.witnesses import claim, proves
from imr import attention, flow
from imr.symbolic import indices, k, n, same, softmax, tensors, total, unfold


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


@proves("prop-commutator")
def test_prop_commutator_proof():
    """The second derivative in h of a Lie step, less the flow's; its zeros."""
    split = -rate(moved(CA(p, q), lambda i, a: -CA(i, a)))  # of Φ_A^h + h Cθ
    exact_flow = -rate(moved(CA(p, q), velocity))
    assert same((split - exact_flow) / 2, covariance(pull) / 2)
    assert not same((split - exact_flow) / 2, covariance(pull))
    # Zero exactly if the products x_j are equal: times (Cθ)_p it is their variance,
    x = lambda j: total(pull(p, v) * theta[j, v], v)
    variance = mean(lambda j: (x(j) - mean(x)) ** 2)
    assert same(total(covariance(pull) * pull(p, q), q), variance)
    weight, apart, one = symbols("s x one", positive=True)
    assert (weight * apart**2).is_positive  # in which an unequal x_j would be seen;
    equal = mean(lambda j: theta[j, q] * one) - mean(lambda j: theta[j, q]) * one
    assert same(equal, 0)
    # and for a label m, y_j = θ_j · w with |w| = 1 and D the largest distance:
    y, N = tensors("y N", k)
    s, D = lambda j: softmax(lambda j: N[j], j, l), symbols("D", positive=True)
    centre, far = total(s(j) * y[j], j), lambda j: (y[j] - y[m]) ** 2
    spread = total(s(j) * (y[j] - centre) ** 2, j)
    assert same(spread + (centre - y[m]) ** 2, total(s(j) * far(j), j))
    others = s(j) * (1 - KroneckerDelta(j, m)) * (D**2 - far(j))  # no term below 0
    assert same(total(others, j), D**2 * (1 - s(m)) - total(s(j) * far(j), j))


@claim(
    "prop-commutator",
    right=lambda Z, theta, pull: orders.covariance(Z, theta, pull) / 2,
    wrong={
        "the other sign": lambda Z, theta, pull: (
            -orders.covariance(Z, theta, pull) / 2
        ),
        "no half": lambda Z, theta, pull: orders.covariance(Z, theta, pull),
        "second moment, not covariance": lambda Z, theta, pull: (
            ((Z @ theta.T).softmax(-1) * (pull @ theta.T)) @ theta / 2
        ),
        "no error": lambda Z, theta, pull: 0 * Z,
        "nine per mille more": lambda Z, theta, pull: (
            1.009 * orders.covariance(Z, theta, pull) / 2
        ),
        "with CA, as for a layer": lambda Z, theta, pull: (
            orders.covariance(Z, theta, read(theta)(Z)) / 2
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


@proves("prop-lie-euler")
def test_prop_lie_euler_proof():
    after = Z[p, q] - h * CA(p, q)
    whole = unfold(total((C[p, j] - sigma[p, j]) * theta[j, q], j), LINEAR)
    assert same(after + h * pull(p, q), Z[p, q] + h * whole)
    first = moved(Z[p, q] - h * CA(p, q), pull)  # the label shift first
    assert not same(first, Z[p, q] + h * whole)
    exact_flow = -rate(moved(CA(p, q), velocity))
    assert same(exact_flow, along(velocity(p, q), velocity))
    assert same(-exact_flow / 2, covariance(velocity) / 2)


@claim(
    "prop-lie-euler",
    right=lambda Z, theta, pull: (
        orders.covariance(Z, theta, pull - read(theta)(Z)) / 2
    ),
    wrong={
        "exact Lie's error": lambda Z, theta, pull: (
            orders.covariance(Z, theta, pull) / 2
        ),
        "Strang's with an Euler step": lambda Z, theta, pull: (
            -orders.covariance(Z, theta, read(theta)(Z)) / 2
        ),
        "the other sign": lambda Z, theta, pull: (
            orders.covariance(Z, theta, read(theta)(Z) - pull) / 2
        ),
        "no half": lambda Z, theta, pull: orders.covariance(
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


def _times(M, z):
    """x ↦ (Mz)_x, the sum over an index of its own."""

    def row(x):
        y = x.fresh()
        return total(M[x, y] * z(y), y)

    return row


def _affine(c, M):
    """The field z ↦ c + Mz, on functions of an index."""
    return lambda z: lambda x: c[x] + _times(M, z)(x)


@proves("prop-strang-euler")
def test_prop_strang_euler_proof():
    """Two derivatives in h of the step itself: any fields, then the linear model.

    At h² the fields count by value and slope at the point alone, so that fields
    with constant slopes stand for all: f_A = a + Az, f_B = b + Bz at z = 0.
    """
    (x,), (a, b), (A, B) = indices("x", n), tensors("a b", n), tensors("A B", n, n)
    f_A, f_B = _affine(a, A), _affine(b, B)
    euler = lambda f, h: lambda z: lambda x: z(x) + h * f(z)(x)
    midpoint = lambda z: lambda x: z(x) + h * f_A(euler(f_A, h / 2)(z))(x)
    exact_flow = lambda f, M, h: (
        lambda z: lambda x: z(x) + h * f(z)(x) + h**2 / 2 * _times(M, f(z))(x)
    )
    half = exact_flow(f_B, B, h / 2)
    strang = lambda inner: half(inner(half(lambda x: 0 * a[x])))(x)
    whole = lambda x: a[x] + b[x]
    both = _times(A, whole)(x) + _times(B, whole)(x)
    left = (rate(strang(euler(f_A, h)), 2) - both) / 2
    assert same(left, -_times(A, lambda x: a[x])(x) / 2)
    assert not same(left, 3 * _times(A, lambda x: a[x])(x) / 2)
    assert same(rate(strang(euler(f_A, h))), whole(x))
    for second_order in (exact_flow(f_A, A, h), midpoint):
        assert same(rate(strang(second_order), 2), both)

    inner = moved(CA(p, q), lambda i, a: pull(i, a) / 2)
    layer = Z[p, q] + h * pull(p, q) - h * inner
    left = (rate(layer, 2) + rate(moved(CA(p, q), velocity))) / 2
    assert same(left, -covariance(CA) / 2)
    assert not same(left, covariance(CA) / 2)


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
    row = orders.covariance(p.Z, p.theta, read(p.theta)(p.Z))
    return p.close(_along(attend, attend, p.Z), row) and all(
        holds(_euler, formula, *parts)
        and holds(midpoint, lambda A, B, Z: 0 * Z, *parts)
        for parts in models(p)
    )
