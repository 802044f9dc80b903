"""Chapter 6, doubly stochastic attention."""

from itertools import pairwise

import torch
import z3
from sympy import Rational, exp, expand_log, factor, limit, log, simplify, symbols
from torch.func import grad

from claims.certain import follows
from claims.formulas import soft
from claims.lemmas import cauchy_schwarz, gibbs
from claims.tokens import (
    SYMMETRIC,
    C,
    S,
    Z,
    at_tokens,
    i,
    j,
    l,
    p,
    q,
    symmetric,
)
from claims.witnesses import claim, proves
from imr.symbolic import derivative, n, same, tensors, total, unfold

P, Q = tensors("P Q", n, n, positive=True)
u, v, w, x, z = tensors("u v w x z", n)


def value(plan, reward):
    """⟨Π, N⟩ − Σ Π log Π."""
    gain = lambda i, j: plan[i, j] * (reward(i, j) - log(plan[i, j]))
    return total(gain(i, j), i, j)


def divergence(one, other):
    """KL(Q ‖ P) = Σ Q log(Q/P)."""
    return total(one[i, j] * (log(one[i, j]) - log(other[i, j])), i, j)


def sums(plan, u, v):
    """Σ u + Σ v, for a plan whose rows and columns sum to one."""
    rows, columns = total(plan[i, j], j), total(plan[i, j], i)
    return total(u[i] * rows, i) + total(v[j] * columns, j)


def one_plan():
    """⟨Q, N⟩ − Σ Q log Q = −Σu − Σv − KL(Q ‖ P) for log P = u + N + v; KL ≥ 0."""
    reward = lambda i, j: log(P[i, j]) - u[i] - v[j]
    assert same(value(Q, reward), -sums(Q, u, v) - divergence(Q, P))
    assert same(value(P, reward), -sums(P, u, v))
    gibbs()  # KL(Q ‖ P) > 0 unless Q = P, as the entries of both sum to n
    # Of a symmetric reward the transposed plan has the same value.
    both, across = (lambda i, j: S[i, j] + S[j, i]), {P: lambda i, j: Q[j, i]}
    assert same(unfold(value(P, both), across), value(Q, both))


def two_plans():
    """2|Q − P|² ≤ KL(Q‖P) + KL(P‖Q) = ⟨Q − P, M − N⟩, for the plans of N and M."""
    change = lambda i, j: log(Q[i, j]) - w[i] - z[j] - log(P[i, j]) + u[i] + v[j]
    gain = lambda plan: total(plan[i, j] * change(i, j), i, j)
    lift = lambda plan: sums(plan, u, v) - sums(plan, w, z)  # W(M) − W(N)
    assert same(lift(P) - gain(P), divergence(P, Q))
    assert same(gain(Q) - lift(Q), divergence(Q, P))
    both = total((Q[i, j] - P[i, j]) * (log(Q[i, j]) - log(P[i, j])), i, j)
    assert same(divergence(Q, P) + divergence(P, Q), both)
    # (q − p)(log q − log p) ≥ 2 (q − p)²/(q + p): over p², with t = q/p.
    t = symbols("t", positive=True)
    beyond = log(t) - 2 * (t - 1) / (t + 1)  # its sign is that of t − 1
    assert beyond.subs(t, 1) == 0
    assert factor(beyond.diff(t)) == (t - 1) ** 2 / (t * (t + 1) ** 2)
    # (Σ|x|)² ≤ Σ x²/y · Σ y, with y = p + q, which sums to two.
    (y,) = tensors("y", n, positive=True)
    gap = total(x[j] ** 2 / y[j], j) * total(y[j], j) - total(x[j], j) ** 2
    squares = total(y[j] * y[l] * (x[j] / y[j] - x[l] / y[l]) ** 2 / 2, j, l)
    assert same(gap, squares) and squares.is_nonnegative
    # 2 Σ x² ≤ (Σ|x|)² where Σ x = 0: then |x_j| is at most the sum of the others.
    one, rest = z3.Reals("one rest")
    assert follows(2 * one**2 <= one * (one + rest), one >= 0, one <= rest)
    # So both divergences, at least 2 Σ x²/y, are at least 2 Σ x².
    both, ratios, shift, length = z3.Reals("both ratios shift length")
    known = both >= 2 * ratios, 2 * shift <= length, length <= 2 * ratios
    assert follows(both >= 2 * shift, *known)
    cauchy_schwarz()
    # 2a² ≤ ab, by Cauchy–Schwarz, says 2a ≤ b.
    assert follows(2 * one <= rest, one >= 0, rest >= 0, 2 * one**2 <= one * rest)


def best_constant():
    """Two tokens, from 0 to N = (t, −t; −t, t): the plan (a, 1 − a; 1 − a, a)."""
    t = symbols("t", positive=True)
    a = 1 / (1 + exp(-2 * t))
    assert (
        simplify(expand_log(log(a) - t - log(1 - a) - t, force=True)) == 0
    )  # u + v
    moved, change = 2 * (a - Rational(1, 2)), 2 * t  # the norms of four entries
    assert limit(moved / change, t, 0) == Rational(1, 2)


def the_flow():
    """The chain rule, with ∇W = Π, for a symmetric plan and a symmetric form."""
    plan = lambda i, j: S[i, j] + S[j, i]
    labelled = total((plan(i, j) - C[i, j]) * symmetric(i, j), i, j)
    read = total((C[p, j] + C[j, p] - 2 * plan(p, j)) * at_tokens(j, q), j)
    assert same(-derivative(labelled, Z[p, q]), unfold(read, SYMMETRIC))


@proves("prop-sinkhorn")
def test_prop_sinkhorn_proof():
    one_plan()
    two_plans()
    best_constant()
    the_flow()


def _newton(N, u):
    """A step to the u (n,) for which exp(N + u + uᵀ) has rows that sum to one."""
    S = N + u
    J = torch.eye(len(N)).double() + S.detach().softmax(-1)
    return u - torch.linalg.pinv(J, rtol=1e-10) @ (u + S.logsumexp(-1))


def _dual(N, growth=1.3):
    """That u, from small rewards to N: for large ones Sinkhorn's way is slow."""
    largest = max(1.0, N.detach().abs().max().item())
    scales = [1.0]
    while scales[-1] < largest:
        scales.append(min(largest, growth * scales[-1]))
    u = torch.zeros(len(N)).double()
    for before, scale in pairwise([scales[0], *scales]):
        u = u * scale / before
        for _ in range(12):
            u = _newton(scale / largest * N.detach(), u)
    return _newton(N, u)  # of this step autograd sees the slope


@claim(
    "prop-sinkhorn",
    right=lambda C, plan, Z, theta: ((C + C.T - 2 * plan) @ Z @ theta, 0.5),
    wrong={
        "the plan once": lambda C, plan, Z, theta: (
            (C + C.T - plan) @ Z @ theta,
            0.5,
        ),
        "softmax for the plan": lambda C, plan, Z, theta: (
            (C + C.T - 2 * soft(Z @ theta @ Z.T)) @ Z @ theta,
            0.5,
        ),
        "labels not symmetrised": lambda C, plan, Z, theta: (
            2 * (C - plan) @ Z @ theta,
            0.5,
        ),
        "slower by one per mille": lambda C, plan, Z, theta: (
            (C + C.T - 2 * plan) @ Z @ theta,
            0.4995,
        ),
    },
    examples=10,
)
def test_prop_sinkhorn_check(p, formula):
    """The plan, its flow, and how fast it moves with the reward."""
    theta = p.form + p.form.T
    N = lambda Z: Z @ theta @ Z.T
    dual = lambda Z: -2 * _dual(N(Z)).sum() - (p.D * N(Z)).sum()
    from_dual = lambda N, u: (N + u[:, None] + u).exp()
    plan = lambda N: from_dual(N, _dual(N))
    at_Z = _dual(N(p.Z))
    Pi = from_dual(N(p.Z), at_Z)
    field, speed = formula(p.D, Pi, p.Z, theta)
    ones = torch.ones(p.n).double()
    held = p.close(Pi.sum(0), ones, 1e-9) and p.close(Pi.sum(1), ones, 1e-9)
    # Rounding of the logits moves the plan, and is as large as they are.
    tolerance = 1e-8 * (1 + N(p.Z).abs().max().item() / 100)
    held &= p.close(field, -grad(dual)(p.Z), tolerance, floor=p.Z @ theta)
    best = (Pi * N(p.Z)).sum() - torch.special.xlogy(Pi, Pi).sum()
    held &= p.close(-2 * at_Z.sum(), best, 1e-9, floor=N(p.Z))
    # Of two tokens with equal rewards the plan moves as fast as it can.
    step = 1e-3 * (p.B @ p.B.T), 1e-3 * torch.tensor([[1.0, -1], [-1, 1]]).double()
    for start, change in zip(
        (N(p.Z), torch.zeros(2, 2).double()), step, strict=True
    ):
        moved = (plan(start + change) - plan(start)).norm()
        held &= bool(moved <= speed * change.norm() * (1 + 1e-9) + 1e-9)
    return held
