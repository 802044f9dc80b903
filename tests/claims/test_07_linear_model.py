"""Chapter 7, the linear model."""

import torch
from sympy import S, symbols
from torch.func import grad

from claims.formulas import exact, has_leading_term, lse, soft, substeps
from claims.symbols import (
    LINEAR,
    LSE,
    C,
    U,
    Z,
    a,
    i,
    j,
    l,
    logits,
    m,
    p,
    q,
    sigma,
    theta,
    u,
    v,
    w,
)
from claims.witnesses import claim, proves
from imr import attention, flow
from imr.symbolic import d, derivative, k, n, same, softmax, total, unfold


@proves("prop-commutator")
def test_prop_commutator_proof():
    """With f_A = −CA and f_B = Cθ constant, ½(f_B' f_A − f_A' f_B) is ½ dCA[Cθ]."""
    mean = lambda f: total(unfold(sigma[p, j], LINEAR) * f(j), (j, k))
    pull = lambda u, v: total(C[u, m] * theta[m, v], (m, k))
    read = lambda j: theta[j, q]
    score = lambda j: total(pull(p, v) * theta[j, v], (v, d))
    slope = total(derivative(mean(read), Z[u, v]) * pull(u, v), (u, n), (v, d))
    covariance = mean(lambda j: read(j) * score(j)) - mean(read) * mean(score)
    assert same(slope / 2, covariance / 2)


def _covariance(s, theta, scores):
    return (s * scores) @ theta - (s * scores).sum(-1, keepdim=True) * (s @ theta)


@claim(
    "prop-commutator",
    right=lambda s, theta, scores: _covariance(s, theta, scores) / 2,
    wrong={
        "the other sign": lambda s, theta, scores: (
            -_covariance(s, theta, scores) / 2
        ),
        "no half": lambda s, theta, scores: _covariance(s, theta, scores),
        "1.009 times it": lambda s, theta, scores: (
            1.009 * _covariance(s, theta, scores) / 2
        ),
        "no error": lambda s, theta, scores: 0 * _covariance(s, theta, scores),
        "second moment, not covariance": lambda s, theta, scores: (
            (s * scores) @ theta / 2
        ),
    },
)
def test_prop_commutator_check(p, formula):
    attend, pull = (lambda Z: -attention.cross_attention(Z, p.theta)), p.C @ p.theta
    field = flow.linear_field(p.theta, p.C)
    split = lambda h: flow.lie(exact(attend), flow.shift(pull), h)(p.Z)
    whole = lambda h: substeps(field, h)(p.Z)
    scores = pull @ p.theta.T
    claimed = formula(soft(p.Z @ p.theta.T), p.theta, scores)
    rounding = 1e-6 * (scores.abs().max() * p.theta).abs().max().item()
    h = 1 / torch.linalg.matrix_norm(p.theta, 2).item() ** 2
    return has_leading_term(p, split, whole, 2, claimed, h, rounding)


@proves("prop-lie-euler")
def test_prop_lie_euler_proof():
    h = symbols("h")
    read = lambda weights: total(weights(j) * theta[j, q], (j, k))
    attention, pull = read(lambda j: sigma[p, j]), read(lambda j: C[p, j])
    split = (Z[p, q] - h * attention) + h * pull
    assert same(split, Z[p, q] + h * read(lambda j: C[p, j] - sigma[p, j]))


def _euler(field):
    return lambda h: flow.euler(field, h)


@claim(
    "prop-lie-euler",
    right=lambda attend, pull, h: flow.lie(_euler(attend), flow.shift(pull), h),
    wrong={
        "the label first": lambda attend, pull, h: flow.lie(
            flow.shift(pull), _euler(attend), h
        ),
        "an exact attention step": lambda attend, pull, h: flow.lie(
            exact(attend), flow.shift(pull), h
        ),
        "Strang": lambda attend, pull, h: flow.strang(
            flow.shift(pull), _euler(attend), h
        ),
    },
)
def test_prop_lie_euler_check(p, formula):
    attend, pull = (lambda Z: -attention.cross_attention(Z, p.theta)), p.C @ p.theta
    whole = flow.euler(flow.linear_field(p.theta, p.C), 0.3)
    return p.close(formula(attend, pull, 0.3)(p.Z), whole(p.Z), 1e-13)


@proves("prop-label-free")
def test_prop_label_free_proof():
    labels = lambda p, j: total(Z[p, a] * U[a, j], (a, d))
    product = lambda a, q: total(U[a, j] * theta[j, q], (j, k))
    pull = total(labels(p, j) * theta[j, q], (j, k))
    assert same(pull, total(Z[p, a] * product(a, q), (a, d)))


@claim(
    "prop-label-free",
    right=lambda p, U: flow.label_free_field(p.theta, U @ p.theta)(p.Z),
    wrong={
        "plus attention": lambda p, U: (
            p.Z @ U @ p.theta + attention.cross_attention(p.Z, p.theta)
        ),
        "W transposed": lambda p, U: flow.label_free_field(
            p.theta, (U @ p.theta).T
        )(p.Z),
        "W forgotten": lambda p, U: -attention.cross_attention(p.Z, p.theta),
    },
)
def test_prop_label_free_check(p, formula):
    U = p.draw(p.d, p.k, salt=29)
    layer = flow.linear_map(p.W)(0.1)(p.Z)
    exponential = p.close(layer, substeps(lambda Z: Z @ p.W, 0.1)(p.Z), 1e-5)
    labelled = flow.linear_field(p.theta, p.Z @ U)(p.Z)
    return exponential and p.close(formula(p, U), labelled)


@proves("prop-self-training")
def test_prop_self_training_proof():
    beta = symbols("beta", positive=True)
    sharp = lambda i, j: beta * logits(i, j)
    potential = LSE(i) - LSE(i, sharp) / beta
    sharpened = {sigma: lambda i, j: softmax(lambda j: sharp(i, j), j, (l, k))}
    read = total(sigma[p, j] * theta[j, q], (j, k))
    field = unfold(read, sharpened) - unfold(read, LINEAR)
    assert same(-derivative(total(w[i] * potential, (i, n)), Z[p, q]), w[p] * field)
    assert same(field.subs(beta, 1), S.Zero)


@claim(
    "prop-self-training",
    right=lambda p, beta: (
        (soft(beta * p.Z @ p.theta.T) - soft(p.Z @ p.theta.T)) @ p.theta
    ),
    wrong={
        "the other sign": lambda p, beta: (
            (soft(p.Z @ p.theta.T) - soft(beta * p.Z @ p.theta.T)) @ p.theta
        ),
        "a factor beta": lambda p, beta: (
            (beta * soft(beta * p.Z @ p.theta.T) - soft(p.Z @ p.theta.T)) @ p.theta
        ),
    },
)
def test_prop_self_training_check(p, formula):
    tokens = lambda Z, beta: lse(Z, p.theta) - lse(beta * Z, p.theta) / beta
    potential = lambda Z, beta: tokens(Z, beta).sum()
    # Differences of two averages of prototypes.
    still = p.close(formula(p, 1.0), torch.zeros_like(p.Z), floor=p.theta)
    slope = grad(potential)(p.Z, 3.0)
    return still and p.close(formula(p, 3.0), -slope, floor=p.theta)
