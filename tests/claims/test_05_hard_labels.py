"""Chapter 5, hard labels: two classes and more, how fast and where to."""

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import nnls
from scipy.special import wrightomega
from sympy import LambertW, exp, limit, log, oo, simplify, symbols
from torch.func import grad
from z3 import Implies, Reals

from claims.certain import follows
from claims.lemmas import (
    a_mean_is_not_below_the_least,
    a_sum_bounds_its_terms,
    cauchy_schwarz,
    gibbs,
    variance_bound,
)
from claims.one_token import (
    LOSS,
    margin,
    own,
    pull,
    rival,
    rivals,
    velocity,
    z,
)
from claims.symbols import j, q, theta, v
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import d, derivative, same, tensors, total


@proves("prop-two-classes")
def test_prop_two_classes_proof():
    """The margin's equation for every d; its solution; its end, by squeezing."""
    first, second, z = tensors("theta_1 theta_2 z", d)
    score = lambda one: total(one[v] * z[v], v)
    loss = log(exp(score(first)) + exp(score(second))) - score(first)
    gap = lambda v: first[v] - second[v]
    rate = -total(gap(q) * derivative(loss, z[q]), q)
    m = score(first) - score(second)
    assert same(rate, total(gap(q) ** 2, q) / (1 + exp(m)))
    t, c2 = symbols("t c", positive=True)
    m0 = symbols("m_0", real=True)
    s = c2 * t + m0 + exp(m0)
    solution = s - LambertW(exp(s))
    # W = W(e^s) means W e^W = e^s, that is s = W + log W; so e^m = W.
    W = symbols("W", positive=True)
    at_W = lambda f: f.subs(LambertW(exp(s)), W)
    time = (W + log(W) - m0 - exp(m0)) / c2
    assert simplify(exp(at_W(solution).subs(t, time)) - W) == 0
    assert simplify(at_W(solution.diff(t)) - c2 / (1 + W)) == 0
    # At t = 0 it is e^{m_0}, which has W e^W = e^s there: m(0) = s − e^{m_0} = m_0.
    assert simplify(exp(m0) * exp(exp(m0)) - exp(s.subs(t, 0))) == 0
    # m + e^m = s puts e^m between s − log s and s, once s ≥ 1 and so m ≥ 0.
    m, power, at, log_s = Reals("m power s log_s")  # power is e^m
    whole = m + power == at
    assert follows(m >= 0, whole, at >= 1, Implies(m < 0, power < 1))
    assert follows(power <= at, whole, m >= 0)
    assert follows(power >= at - log_s, whole, m <= log_s)
    s = symbols("s", positive=True)
    assert limit(log((s - log(s)) / s), s, oo) == 0
    assert limit(s * log(1 + 1 / s), s, oo) == 1
    assert limit(s * log(1 + 1 / (s - log(s))), s, oo) == 1
    assert limit((c2 * t + m0 + exp(m0)) / (c2 * t), t, oo) == 1


def lambert(s):
    """W(e^s) for a tensor s."""
    return torch.from_numpy(np.asarray(wrightomega(s.numpy()).real))


@claim(
    "prop-two-classes",
    right=lambda c, t, m0: (s := c * t + m0 + torch.exp(m0)) - lambert(s),
    wrong={
        "the start forgotten": lambda c, t, m0: (s := c * t) - lambert(s),
        "large times only": lambda c, t, m0: torch.log(c * t),
        "plus": lambda c, t, m0: (s := c * t + m0 + torch.exp(m0)) + lambert(s),
    },
    examples=10,
)
def test_prop_two_classes_check(p, formula):
    theta = p.draw(2, p.d, salt=25) / p.d**0.5
    z, time = 0.5 * p.B[:1], torch.tensor(2.0).double()
    gap = theta[0] - theta[1]
    field = flow.linear_field(theta, torch.tensor([0]))
    end = flow.trajectory(flow.rk4(field, 2.0 / 200), z, 200)[-1]
    at = lambda t: formula((gap**2).sum(), t, (z @ gap)[0])
    far = 1e6 / (gap**2).sum()  # so that ct is 10⁶, and ct L almost 1
    ends = p.close(1e6 * torch.log1p(torch.exp(-at(far))), torch.ones(()), 1e-4)
    return ends and p.close((end @ gap)[0], at(time), 1e-7)


@proves("prop-hard-labels")
def test_prop_hard_labels_proof():
    """The soft margin M rises like that of two classes; its gradient v shrinks.

    The mean difference v is at least as long as γ, the shortest mean of all.
    """
    S, squared = rivals(), total(pull(q) ** 2, q)
    M = -log(S)
    assert same(exp(LOSS) - 1, S)  # M = −log(e^L − 1)
    assert same(velocity(v), pull(v) / (1 + 1 / S))  # and 1/S = e^M
    along = lambda g: total(derivative(g, z[v]) * pull(v), v) / (1 + 1 / S)
    assert same(along(M), squared / (1 + 1 / S))
    score = lambda j: total((own[v] - theta[j, v]) * pull(v), v)
    mean = lambda g: total(rival(j) * g(j), j) / S
    variance = mean(lambda j: score(j) ** 2) - mean(score) ** 2
    assert same(along(squared), -2 * variance / (1 + 1 / S))
    variance_bound()  # v shrinks, as a variance is not negative
    a_mean_is_not_below_the_least()  # γ ≤ u*·v, a mean of margins of u*
    cauchy_schwarz()  # u*·v ≤ |v| ≤ D, as a mean of lengths
    # M − γ|z − z_0| rises, as Ṁ = |v|·|ż| and |v| ≥ γ; M is below every margin.
    fast, g, e, t, S0, S1 = Reals("fast g e t S0 S1")
    assert follows(fast * fast / e >= g * (fast / e), g <= fast, g > 0, e >= 1)
    a_sum_bounds_its_terms()  # S ≥ e^{−m_j}
    assert same(log(S / rival(j)), margin(z, j) - M)
    far, along_u, M0, M1 = Reals("far along M_0 M_1")  # far is |z − z_0|
    turned = (g * far <= M1 - M0, g * along_u >= M1, g > 0)
    assert follows(along_u >= far + M0 / g, *turned)
    # By (c)'s second step M ≤ γ|z| ≤ γ|z_0| + γ∫|v| in the clock dτ = dt/(1 + e^M),
    # so ∫(|v| − γ) ≤ K/γ; as |v| falls, |v| ≤ γ + K/(γτ), which tends to γ.
    excess, K, clock = Reals("excess K clock")
    assert follows(fast * (fast - g) >= g * (fast - g), fast >= g, g > 0)
    bound = (clock * (fast - g) <= excess, g * excess <= K, clock > 0, g > 0)
    assert follows(fast <= g + K / (g * clock), *bound)
    x, c0, D2 = symbols("x c_0 D_2", positive=True)
    assert limit(log(D2 * x + c0) / x, x, oo) == 0  # M/t, as e^M ≤ D²t + c_0
    assert limit(x * log(1 + 1 / x), x, oo) == 1  # L e^M, for x = e^M
    assert limit((x - c0) / x, x, oo) == 1  # the cosine, for x = |z| → ∞
    # 1/S rises at a rate of γ²/(1 + S_0) or more: L ≤ S ≤ (1 + S_0)/(γ²t).
    assert same(along(1 / S), squared / (1 + S))
    rises = 1 / S0 + g * g * t / (1 + S0) <= 1 / S1
    signs = (S0 > 0, S1 > 0, t > 0, g > 0)
    assert follows(S1 * (g * g * t) <= 1 + S0, rises, *signs)
    gibbs()  # log(1 + S) ≤ S


def shortest(rows):
    """The point nearest to 0 of the convex hull of the rows."""
    ones = np.ones((1, len(rows)))
    weights, _ = nnls(
        np.concatenate([rows.T, ones]), np.r_[np.zeros(rows.shape[1]), 1]
    )
    return torch.from_numpy(weights / weights.sum() @ rows)


def far_out(gaps, z, clock):
    """Times and features of the flow, at most at ``clock`` = ∫ dt/(1 + e^M)."""

    def field(_, state):
        margins = gaps @ state[:-1]
        odds = np.exp(margins.min() - margins)
        M = margins.min() - np.log(odds.sum())
        return np.r_[odds @ gaps / odds.sum(), 1 + np.exp(M)]

    points = np.linspace(0, clock, 60)
    start, exact = np.r_[z, 0.0], {"rtol": 1e-10, "atol": 1e-12}
    run = solve_ivp(field, (0, clock), start, "LSODA", points, **exact).y
    return torch.from_numpy(run[-1]), torch.from_numpy(run[:-1].T)


@claim(
    "prop-hard-labels",
    right=lambda gaps: shortest(gaps).norm() ** -2,
    wrong={
        "γ not squared": lambda gaps: shortest(gaps).norm() ** -1,
        "the farthest prototype": lambda gaps: (
            torch.from_numpy(gaps).norm(dim=-1).max() ** -2
        ),
        "the nearest prototype": lambda gaps: (
            torch.from_numpy(gaps).norm(dim=-1).min() ** -2
        ),
        "their mean": lambda gaps: torch.from_numpy(gaps.mean(0)).norm() ** -2,
    },
    examples=6,
)
def test_prop_hard_labels_check(p, formula):
    theta = p.draw(p.k + 1, p.d, salt=29)
    own = int(theta.norm(dim=-1).argmax())  # a vertex
    others = [j for j in range(len(theta)) if j != own]
    gaps = theta[own] - theta[others]
    v, z0, y = shortest(gaps.numpy()), p.B[0], torch.tensor([own])
    g, M = v.norm(), lambda z: -(-(z @ gaps.T)).logsumexp(-1)
    # The odds' mean is the velocity, by autograd, and no shorter than γ.
    odds = (-(gaps @ z0)).softmax(-1)
    force = -grad(lambda z: potentials.linear(z[None], theta, y))(z0)
    here = p.close(force, odds @ gaps / (1 + M(z0).exp()), 1e-12, floor=theta)
    t, z = far_out(gaps.numpy(), z0.numpy(), 300 / g.item() ** 2)
    L = torch.log1p(torch.exp(-M(z)))
    below = (t * L <= torch.exp(L[0]) / g**2 * (1 + 1e-6)).all()
    rise = M(z) + M(z).exp() - M(z0) - M(z0).exp()
    slack, D = 1e-6 * (1 + M(z).exp()), gaps.norm(dim=-1).max()
    between = ((g**2 * t <= rise + slack) & (rise - slack <= D**2 * t)).all()
    turned = z @ v / g >= ((z - z0).norm(dim=-1) + M(z0) / g) - 1e-6 * z.norm()
    ratio = (t * L)[-1] / formula(gaps.numpy())
    ends = p.close(ratio, torch.ones(()).double(), 2e-2)
    return here and ends and bool(below and between and turned.all())
