"""Chapter 4: what the flow does not see."""

from sympy import Indexed, Symbol

from claims.symbols import LINEAR, C, Z, attended, j, p, q, sigma, t, theta
from claims.witnesses import claim, proves
from imr import attention, flow
from imr.symbolic import d, k, same, tensors, total, unfold

(shift,) = tensors("v", d)
s, other, x, y = tensors("s t x y", k)


def velocity(p, q):
    """(Cθ − CA(Z, θ))_pq."""
    return total(C[p, j] * theta[j, q], j) - attended(p, q)


@proves("prop-symmetries")
def test_prop_symmetries_proof():
    # (a) Row p is made of row p alone. If that is row t of Z and C, it is row t.
    for row in (attended, velocity):
        entries = row(p, q).atoms(Indexed)
        assert {e.indices[0] for e in entries if e.base in (Z, C)} == {p}
        moved = {Z: lambda i, a: Z[t, a], C: lambda i, j: C[t, j]}
        assert same(unfold(row(p, q), moved), row(t, q))
    # (b) Attention shifts; the velocity by what the row of C lacks to one.
    shifted = {theta: lambda j, a: theta[j, a] + shift[a]}
    assert same(unfold(attended(p, q), shifted), attended(p, q) + shift[q])
    excess = total(C[p, j], j) - 1
    moved = unfold(velocity(p, q), shifted)
    assert same(moved, velocity(p, q) + excess * shift[q])
    # (c) The weights are positive and sum to one.
    assert unfold(sigma[p, j], LINEAR).is_positive
    assert same(unfold(total(sigma[p, j], j), LINEAR), 1)
    # So from any other point of the hull, with weights t, the segment to it goes on
    # by the least weight e = s_j − x_j² at least; and t_j = 1 − y_j².
    e = Symbol("e", positive=True)
    beyond = lambda s, t: s + e * (s - t)
    point = lambda weights: total(weights[j] * theta[j, q], j)
    on = total(beyond(s[j], other[j]) * theta[j, q], j)
    assert same(on, beyond(point(s), point(other)))
    mass = total(beyond(s[j], other[j]), j)
    assert same(mass, beyond(total(s[j], j), total(other[j], j)))  # 1 + e(1 − 1)
    weight = e**2 + (1 + e) * x[j] ** 2 + e * y[j] ** 2
    assert same(beyond(e + x[j] ** 2, 1 - y[j] ** 2), weight)
    assert weight.is_nonnegative


@claim(
    "prop-symmetries",
    right=lambda theta, C: flow.linear_field(theta, C),
    wrong={
        "attention alone sees the shift": lambda theta, C: (
            lambda Z: -attention.cross_attention(Z, theta)
        ),
        "labels that sum to two": lambda theta, C: flow.linear_field(theta, 2 * C),
        "softmax over tokens": lambda theta, C: (
            lambda Z: C @ theta - (Z @ theta.T).softmax(-2) @ theta
        ),
        "unnormalised weights": lambda theta, C: (
            lambda Z: C @ theta - (Z @ theta.T).exp() @ theta
        ),
    },
)
def test_prop_symmetries_check(p, formula):
    order, floor = p.w.argsort(), p.theta.abs().max()
    here = formula(p.theta, p.C)(p.Z)
    read = p.C @ p.theta - here
    # Heights over d directions: those of the hull bound those of what is read.
    height, hull = read @ p.W, p.theta @ p.W
    slack = 1e-11 * hull.abs().max()
    within = (height <= hull.amax(0) + slack) & (height >= hull.amin(0) - slack)
    there = formula(p.theta, p.C[order])(p.Z[order])
    shifted = formula(p.theta + p.B[0], p.C)(p.Z)
    permuted = p.close(there, here[order], floor=floor)
    return (
        bool(within.all())
        and permuted
        and p.close(shifted, here, 1e-9, floor=floor)
    )
