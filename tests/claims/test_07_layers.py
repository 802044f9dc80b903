"""Chapter 7, the local errors of exact Lie steps, of layers, and of Strang's."""

import torch.nn.functional as F
import z3
from sympy import KroneckerDelta, S, symbols

from claims import splits
from claims.certain import follows
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
from claims.formulas import exact, has_order, soft, substeps
from claims.lemmas import (
    a_covariance_is_bounded_by_variances,
    a_variance_is_a_mean_of_squares,
)
from claims.splits import euler, linear, misses, quadratic, read
from claims.symbols import LINEAR, C, Z, j, l, m, p, q, sigma, theta, v
from claims.witnesses import claim, proves
from imr import attention, flow
from imr.symbolic import (
    contract,
    indices,
    k,
    n,
    same,
    softmax,
    tensors,
    total,
    unfold,
)
from strategies import Problem


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
    a_variance_is_a_mean_of_squares()  # in which an unequal x_j would be seen;
    one = symbols("one", real=True)
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
    # Both variances are so bounded, that of θ_j · θ_m with its length² before it.
    a_covariance_is_bounded_by_variances()
    cov, one, two, most, length = z3.Reals("cov one two most length")
    known = cov**2 <= one * two, one <= most, two <= most * length**2
    signs = one >= 0, two >= 0, length >= 0
    assert follows(cov <= most * length, *known, *signs)


@claim(
    "prop-commutator",
    right=lambda Z, theta, pull: splits.covariance(Z, theta, pull) / 2,
    wrong={
        "the other sign": lambda Z, theta, pull: (
            -splits.covariance(Z, theta, pull) / 2
        ),
        "no half": lambda Z, theta, pull: splits.covariance(Z, theta, pull),
        "second moment, not covariance": lambda Z, theta, pull: (
            ((Z @ theta.T).softmax(-1) * (pull @ theta.T)) @ theta / 2
        ),
        "no error": lambda Z, theta, pull: 0 * Z,
        "nine per mille more": lambda Z, theta, pull: (
            1.009 * splits.covariance(Z, theta, pull) / 2
        ),
        "with CA, as for a layer": lambda Z, theta, pull: (
            splits.covariance(Z, theta, read(theta)(Z)) / 2
        ),
    },
    examples=20,
)
def test_prop_commutator_check(p, formula):
    """The local error; zero for equal products, small where a label is sure."""
    step = lambda A, B, h: flow.lie(exact(A), flow.shift(B(p.Z)), h)
    pull = p.C @ p.theta
    error = misses(p, linear(p), step, 2, formula(p.Z, p.theta, pull))
    one = F.normalize(pull[:1])  # with which all prototypes get the product 1:
    level = p.theta - (p.theta @ one.T - 1) * one
    flat = formula(p.Z[:1], level, one)
    hard = F.one_hot(p.y, p.k).double()
    far = (1 - soft(p.Z @ p.theta.T).gather(-1, p.y[:, None]))[:, 0]
    most = 2 * flow.lipschitz_bound(p.theta) * (hard @ p.theta).norm(dim=-1) * far
    small = formula(p.Z, p.theta, hard @ p.theta).norm(dim=-1)
    rounding = 1e-12 * p.theta.norm() ** 3
    below = (small <= most + rounding).all()
    return error and p.close(flat, 0 * flat, 1e-12, level) and bool(below)


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
        splits.covariance(Z, theta, pull - read(theta)(Z)) / 2
    ),
    wrong={
        "exact Lie's error": lambda Z, theta, pull: (
            splits.covariance(Z, theta, pull) / 2
        ),
        "Strang's with an Euler step": lambda Z, theta, pull: (
            -splits.covariance(Z, theta, read(theta)(Z)) / 2
        ),
        "the other sign": lambda Z, theta, pull: (
            splits.covariance(Z, theta, read(theta)(Z) - pull) / 2
        ),
        "no half": lambda Z, theta, pull: splits.covariance(
            Z, theta, pull - read(theta)(Z)
        ),
        "no error": lambda Z, theta, pull: 0 * Z,
    },
    examples=20,
)
def test_prop_lie_euler_check(p, formula):
    """The two are one step; and its local error."""
    attend = lambda Z: -attention.cross_attention(Z, p.theta)
    split = flow.lie(euler(attend), flow.shift(p.C @ p.theta), 0.3)(p.Z)
    whole = flow.euler(flow.linear_field(p.theta, p.C), 0.3)(p.Z)
    step = lambda A, B, h: flow.lie(euler(A), flow.shift(B(p.Z)), h)
    claimed = formula(p.Z, p.theta, p.C @ p.theta)
    one_step = p.close(split, whole, 1e-13, floor=p.theta)
    return one_step and misses(p, linear(p), step, 2, claimed)


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
    strang = lambda inner: contract(half(inner(half(lambda x: S.Zero)))(x))
    whole = lambda x: a[x] + b[x]
    both = _times(A, whole)(x) + _times(B, whole)(x)
    step = strang(euler(f_A, h))
    left = (rate(step, 2) - both) / 2
    assert same(left, -_times(A, lambda x: a[x])(x) / 2)
    assert not same(left, 3 * _times(A, lambda x: a[x])(x) / 2)
    assert same(rate(step), whole(x))
    second_order = exact_flow(f_A, A, h)
    assert same(rate(strang(second_order), 2), both)
    assert same(midpoint(lambda x: b[x])(x), second_order(lambda x: b[x])(x))

    inner = moved(CA(p, q), lambda i, a: pull(i, a) / 2)
    # The step is Z + h Cθ − h inner, and (h inner)'' is 2 inner' at h = 0.
    left = (-2 * rate(inner) + rate(moved(CA(p, q), velocity))) / 2
    assert same(left, -covariance(CA) / 2)
    assert not same(left, covariance(CA) / 2)


@claim(
    "prop-strang-euler",
    right=lambda A, B: lambda Z: -splits.along(A, A)(Z) / 2,
    wrong={
        "the other sign": lambda A, B: lambda Z: splits.along(A, A)(Z) / 2,
        "seven times": lambda A, B: lambda Z: -7 * splits.along(A, A)(Z) / 2,
        "Euler's of the whole flow": lambda A, B: (
            lambda Z: (
                -splits.along(lambda Z: A(Z) + B(Z), lambda Z: A(Z) + B(Z))(Z) / 2
            )
        ),
        "no error": lambda A, B: lambda Z: 0 * Z,
        "nine per mille more": lambda A, B: (
            lambda Z: -1.009 * splits.along(A, A)(Z) / 2
        ),
    },
    examples=8,
)
def test_prop_strang_euler_check(p, formula):
    """With an Euler step inside any flow; with the midpoint rule nothing at h²."""
    strang = lambda inner: lambda A, B, h: flow.strang(exact(B), inner(A), h)
    attend, size = read(p.theta), p.theta.abs().max() ** 3
    row = splits.covariance(p.Z, p.theta, attend(p.Z))
    slope = splits.along(attend, attend)(p.Z)
    return (
        p.close(slope, row, floor=size)
        and _midpoint_misses_by_h3(p.seed, strang)
        and all(
            misses(p, parts, strang(euler), 2, formula(*parts[:2])(p.Z))
            for parts in (linear(p), quadratic(p))
        )
    )


def _midpoint_misses_by_h3(seed, strang):
    """Of a size at which nothing vanishes."""
    p = Problem(n=4, d=3, k=5, seed=seed)
    (A, B, h), midpoint = linear(p), lambda field: lambda h: flow.midpoint(field, h)
    split = lambda h: strang(midpoint)(A, B, h)(p.Z)
    whole = lambda h: substeps(lambda Z: A(Z) + B(Z), h)(p.Z)
    return has_order(split, whole, 3, h)
