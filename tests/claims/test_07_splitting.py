"""Chapter 7, the orders of splitting."""

from itertools import product

import torch
from sympy import Eq, Rational, S, expand, factorial, solve, symbols
from torch.func import jvp

from claims.formulas import exact, has_leading_term, substeps
from claims.symbols import LINEAR, Z, j, m, p, q, sigma, theta, u, v
from claims.witnesses import claim, proves
from imr import attention, flow
from imr.symbolic import d, derivative, k, n, same, total, unfold
from strategies import Problem

A_, B_ = symbols("A B", commutative=False)
step = symbols("h")


def bracket(f, h):
    return f * h - h * f


def flow_series(generator):
    """The flow of a generator for a time h, up to h³."""
    terms = (
        generator**order * step**order / factorial(order) for order in range(4)
    )
    return sum(terms, S.Zero)


def strang_error(inner):
    """Strang's step with this one inside, less the flow of the sum."""
    half = flow_series(B_ / 2)
    return expand(half * inner * half - flow_series(A_ + B_))


@proves("prop-lie")
def test_prop_lie_proof():
    error = expand(flow_series(A_) * flow_series(B_) - flow_series(A_ + B_))
    assert [error.coeff(step, order) for order in (0, 1)] == [0, 0]
    assert expand(error.coeff(step, 2) - bracket(A_, B_) / 2) == 0


def _parts(p):
    """The quadratic flow in two fields: attention (A) and labels (B)."""
    theta = p.phi @ p.phi.T
    read = lambda Z: attention.quadratic_attention(Z, theta)
    field = flow.quadratic_field(theta, p.D)
    return (lambda Z: -read(Z)), lambda Z: field(Z) + read(Z)


def _step_size(p):
    """A time in which the logits change by about one."""
    form = torch.linalg.matrix_norm(p.phi @ p.phi.T, 2)
    return 1 / (form * (1 + 4 * form * p.Z.norm() ** 2)).item()


def _commutator(A, B, Z):
    """f_B' f_A − f_A' f_B."""
    return jvp(B, (Z,), (A(Z),))[1] - jvp(A, (Z,), (B(Z),))[1]


@claim(
    "prop-lie",
    right=lambda bracket: bracket / 2,
    wrong={
        "the other sign": lambda bracket: -bracket / 2,
        "no half": lambda bracket: bracket,
        "no error": lambda bracket: 0 * bracket,
        "1.009 times it": lambda bracket: 1.009 * bracket / 2,
    },
)
def test_prop_lie_check(p, formula):
    A, B = _parts(p)
    whole = lambda h: substeps(lambda Z: A(Z) + B(Z), h)(p.Z)
    split = lambda h: flow.lie(exact(A), exact(B), h)(p.Z)
    claimed = formula(_commutator(A, B, p.Z))
    return has_leading_term(p, split, whole, 2, claimed, _step_size(p))


@proves("prop-strang")
def test_prop_strang_proof():
    error = strang_error(flow_series(A_))
    assert [error.coeff(step, order) for order in (0, 1, 2)] == [0, 0, 0]
    claim = bracket(A_, bracket(A_, B_)) / 12 + bracket(B_, bracket(A_, B_)) / 24
    assert expand(error.coeff(step, 3) - claim) == 0


@claim(
    "prop-strang",
    right=lambda inner, outer: inner / 12 + outer / 24,
    wrong={
        "coefficients exchanged": lambda inner, outer: inner / 24 + outer / 12,
        "the other sign": lambda inner, outer: inner / 12 - outer / 24,
        "the inner bracket alone": lambda inner, outer: inner / 12,
        "1/25 for 1/24": lambda inner, outer: inner / 12 + outer / 25,
        "1.015 times it": lambda inner, outer: 1.015 * (inner / 12 + outer / 24),
        "no error": lambda inner, outer: 0 * inner,
    },
    examples=15,
)
def test_prop_strang_check(p, formula):
    """The local error over h³ against [A, [A, B]] and [B, [A, B]]."""
    A, B = _parts(p)
    whole = lambda h: substeps(lambda Z: A(Z) + B(Z), h)(p.Z)
    split = lambda h: flow.strang(exact(B), exact(A), h)(p.Z)
    AB = lambda Z: _commutator(A, B, Z)
    claimed = formula(_commutator(A, AB, p.Z), _commutator(B, AB, p.Z))
    return has_leading_term(p, split, whole, 3, claimed, _step_size(p))


@proves("prop-strang-euler")
def test_prop_strang_euler_proof():
    """The Euler step pulls back as 1 + hA + h²/2 (A² − D): −h²/2 D is left.

    D is the derivation along f_A'f_A. In the linear model it is the covariance of
    the prototypes with their products with CA.
    """
    D = symbols("D", commutative=False)
    error = strang_error(1 + step * A_ + step**2 / 2 * (A_**2 - D))
    assert error.coeff(step, 1) == 0 and expand(error.coeff(step, 2) + D / 2) == 0
    mean = lambda f: total(unfold(sigma[p, j], LINEAR) * f(j), (j, k))
    CA = lambda u, v: unfold(total(sigma[u, m] * theta[m, v], (m, k)), LINEAR)
    read = lambda j: theta[j, q]
    score = lambda j: total(CA(p, v) * theta[j, v], (v, d))
    slope = total(derivative(mean(read), Z[u, v]) * CA(u, v), (u, n), (v, d))
    covariance = mean(lambda j: read(j) * score(j)) - mean(read) * mean(score)
    assert same(slope, covariance)


@claim(
    "prop-strang-euler",
    right=lambda attend: lambda h: flow.euler(attend, h),
    wrong={
        "midpoint inside": lambda attend: lambda h: flow.midpoint(attend, h),
        "exact inside": lambda attend: exact(attend),
    },
    examples=15,
)
def test_prop_strang_euler_check(p, formula):
    """Half the step leaves half the error; at this size no commutator vanishes."""
    p, time = Problem(n=4, d=3, k=5, r=3, seed=p.seed), 0.02
    A, B = _parts(p)
    end = lambda step, steps: flow.trajectory(step, p.Z, steps)[-1]
    truth = end(flow.rk4(lambda Z: A(Z) + B(Z), time / 20), 20)
    strang = lambda steps: flow.strang(exact(B), formula(A), time / steps)
    error = lambda steps: (end(strang(steps), steps) - truth).norm()
    return bool(1.8 < error(4) / error(8) < 2.2)


def test_no_other_coefficients_solve_the_proof_of_prop_strang():
    """So that proof is not vacuous."""
    f, h = symbols("f h")
    inner, outer = bracket(A_, bracket(A_, B_)), bracket(B_, bracket(A_, B_))
    error = strang_error(flow_series(A_)).coeff(step, 3)
    difference = expand(error - f * inner - h * outer)
    words = [
        x * y * z for x, y, z in product((A_, B_), repeat=3) if len({x, y, z}) > 1
    ]
    assert len(words) == 6
    (solution,) = solve(
        [Eq(difference.coeff(word), 0) for word in words], [f, h], dict=True
    )
    assert solution == {f: Rational(1, 12), h: Rational(1, 24)}
