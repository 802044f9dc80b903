"""Chapter 7, the orders of splitting, for any two fields."""

import math
from itertools import product

import torch
from sympy import (
    Eq,
    Rational,
    S,
    Sum,
    exp,
    expand,
    factorial,
    oo,
    simplify,
    solve,
    symbols,
)

from claims.formulas import exact
from claims.splits import along, linear, misses, quadratic, read
from claims.witnesses import claim, proves
from imr import flow

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
    """Taylor's coefficients of e^{hA} e^{hB} − e^{h(A+B)}: none before h²."""
    error = expand(flow_series(A_) * flow_series(B_) - flow_series(A_ + B_))
    assert [error.coeff(step, order) for order in (0, 1)] == [0, 0]
    assert expand(error.coeff(step, 2) - bracket(A_, B_) / 2) == 0


def _bracket(A, B):
    """The field [A, B]id = f_B' f_A − f_A' f_B."""
    return lambda Z: along(B, A)(Z) - along(A, B)(Z)


@claim(
    "prop-lie",
    right=lambda bracket: bracket / 2,
    wrong={
        "the other sign": lambda bracket: -bracket / 2,
        "no half": lambda bracket: bracket,
        "no error": lambda bracket: 0 * bracket,
        "nine per mille more": lambda bracket: 1.009 * bracket / 2,
    },
    examples=10,
)
def test_prop_lie_check(p, formula):
    step = lambda A, B, h: flow.lie(exact(A), exact(B), h)
    return all(
        misses(p, parts, step, 2, formula(_bracket(*parts[:2])(p.Z)))
        for parts in (linear(p), quadratic(p))
    )


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
        "no error": lambda inner, outer: 0 * inner,
        "1/25 for 1/24": lambda inner, outer: inner / 12 + outer / 25,
        "1/30 for 1/24": lambda inner, outer: inner / 12 + outer / 30,
        "nine per mille more": lambda inner, outer: (
            1.009 * (inner / 12 + outer / 24)
        ),
    },
    examples=8,
)
def test_prop_strang_check(p, formula):
    """The local error over h³ against [A, [A, B]] and [B, [A, B]]."""
    step = lambda A, B, h: flow.strang(exact(B), exact(A), h)

    def claimed(A, B, _):
        AB = _bracket(A, B)
        return formula(_bracket(A, AB)(p.Z), _bracket(B, AB)(p.Z))

    return all(
        misses(p, parts, step, 3, claimed(*parts))
        for parts in (linear(p), quadratic(p))
    )


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


@proves("prop-many-steps")
def test_prop_many_steps_proof():
    """A step of the induction; Grönwall's inequality gives its hypothesis.

    By it an error e grows to at most e^{Kh} e + c h^{p+1} in a step. If e is within
    the bound at the time t, then it is at t + h, and on the way it is below ρ.
    """
    K, c, h, t, x = symbols("K c h t x", positive=True)
    p = symbols("p", positive=True)
    bound = lambda t: c / K * (exp(K * t) - 1) * h**p
    m = symbols("m", integer=True, nonnegative=True)
    term = x ** (m + 2) / factorial(m + 2)
    assert term.is_positive  # so that e^x − 1 − x, their sum, is positive
    assert simplify(Sum(term, (m, 0, oo)).doit() - (exp(x) - 1 - x)) == 0
    slack = bound(t + h) - exp(K * h) * bound(t) - c * h ** (p + 1)
    assert simplify(slack - c / K * h**p * (exp(x) - 1 - x).subs(x, K * h)) == 0
    assert bound(0) == 0
    # e^{Kh} e, short of (c/K) e^{K(t+h)} h^p, which is at most ρ if t + h ≤ T:
    room = c / K * exp(K * (t + h)) * h**p - exp(K * h) * bound(t)
    assert simplify(room).is_positive


@claim(
    "prop-many-steps",
    right=lambda K, c, t, h, order: c / K * (exp(K * t) - 1) * h**order,
    wrong={
        "the errors only add up": lambda K, c, t, h, order: c * t * h**order,
        "an order more": lambda K, c, t, h, order: (
            c / K * (exp(K * t) - 1) * h ** (order + 1)
        ),
        "half of it": lambda K, c, t, h, order: (
            c / K * (exp(K * t) - 1) * h**order / 2
        ),
        "one per cent less": lambda K, c, t, h, order: (
            0.99 * c / K * (exp(K * t) - 1) * h**order
        ),
    },
    examples=12,
)
def test_prop_many_steps_check(p, formula):
    """Attained by Ż = KZ with errors all in one direction; then Lie splitting."""
    K, c = p.draw(2, salt=71).exp().tolist()
    u, steps, time = p.B / p.B.norm(), 500, 1.0 / K
    h, order = time / steps, 1 + p.seed % 2
    grow = lambda Z: math.exp(K * h) * Z + c * h ** (order + 1) * u
    error = flow.trajectory(grow, p.Z, steps)[-1] - math.exp(K * time) * p.Z
    attained = error.norm().item() / float(formula(K, c, time, h, order))
    read_, pull = (lambda Z: -read(p.theta)(Z)), p.C @ p.theta
    K = flow.lipschitz_bound(p.theta).item() + 1e-3
    c, h = K * pull.norm().item() / 2, 0.2 / K
    lie = flow.trajectory(flow.lie(exact(read_), flow.shift(pull), h), p.Z, 20)
    true = flow.trajectory(exact(flow.linear_field(p.theta, p.C))(h), p.Z, 20)
    bound = [float(formula(K, c, m * h, h, 1)) for m in range(21)]
    within = (lie - true).flatten(1).norm(dim=1) <= torch.tensor(bound) + 1e-12
    return 0.995 < attained < 1.005 and bool(within.all())
