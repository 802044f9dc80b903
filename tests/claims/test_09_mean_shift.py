"""Chapter 9, mean shift."""

import torch
from sympy import exp, log, symbols
from torch.func import grad

from claims.divergence import a, divergence, j, l, square
from claims.formulas import kl, soft
from claims.lemmas import gibbs
from claims.witnesses import claim, proves
from imr import attention
from imr.symbolic import d, derivative, indices, k, same, softmax, tensors, total

(q,) = indices("q", d)
z, w, v = tensors("z w v", d)
(mu,) = tensors("mu", k, d)
(weight,) = tensors("pi", k, positive=True)
tau = symbols("tau", positive=True)


def _exponent(z):
    return lambda j: -total((z[a] - mu[j, a]) ** 2, a) / (2 * tau)


def _log_density(z):
    return log(total(weight[j] * exp(_exponent(z)(j)), j))


def _bump(z):
    """log π_j − |z − μ_j|²/2τ as a function of j."""
    return lambda j: log(weight[j]) + _exponent(z)(j)


def _step(q):
    """(z⁺)_q."""
    return total(softmax(_bump(z), j, l) * mu[j, q], j)


@proves("prop-mean-shift")
def test_prop_mean_shift_proof():
    share = softmax(_bump(z), j, l)
    assert same(share, weight[j] * exp(_exponent(z)(j) - _log_density(z)))
    assert same(tau * derivative(_log_density(z), z[q]), _step(q) - z[q])
    score = lambda j: total(z[a] * mu[j, a], a) / tau
    norm = lambda j: square(lambda a: mu[j, a]) / (2 * tau)
    logits = lambda j: score(j) - norm(j) + log(weight[j])
    assert same(share, softmax(logits, j, l))
    # what all logits have in common, such as one norm and one weight, cancels
    common = symbols("c", real=True)
    assert same(softmax(score, j, l), softmax(lambda j: score(j) + common, j, l))


def _distance(Z, mu):
    """|z − μ_j|² (n, k)."""
    return ((Z[:, None] - mu) ** 2).sum(-1)


def _prior(p):
    """Weights of the bumps (k,), all positive."""
    return p.draw(p.k, salt=38).softmax(-1)


def _mean_shift(Z, mu, prior, tau, norms=True):
    score = Z @ mu.T - norms * (mu**2).sum(-1) / 2
    return soft(score / tau + prior.log()) @ mu


@claim(
    "prop-mean-shift",
    right=_mean_shift,
    wrong={
        "norms of the centres forgotten": lambda Z, mu, prior, tau: _mean_shift(
            Z, mu, prior, tau, norms=False
        ),
        "weights forgotten": lambda Z, mu, prior, tau: _mean_shift(
            Z, mu, torch.ones_like(prior), tau
        ),
        "the shift, not where it ends": lambda Z, mu, prior, tau: (
            _mean_shift(Z, mu, prior, tau) - Z
        ),
        "plain cross-attention": lambda Z, mu, prior, tau: (
            attention.cross_attention(Z, mu, 1 / tau)
        ),
    },
)
def test_prop_mean_shift_check(p, formula):
    """Against the gradient of log D; for one norm and weight, plain attention."""
    one_norm = p.theta / p.theta.norm(dim=-1, keepdim=True)
    equal = torch.ones(p.k).double()

    def shifts(mu, prior, part, formula):
        tau = part * _distance(p.Z, mu).max()  # the exponents go to 1/(2 part)
        bump = lambda Z: prior.log() - _distance(Z, mu) / (2 * tau)
        shift = tau * grad(lambda Z: bump(Z).logsumexp(-1).sum())(p.Z)
        moved = formula(p.Z, mu, prior, tau.item())
        largest = max(A.abs().max() for A in (p.Z, mu))
        return p.close(moved, p.Z + shift, floor=largest)

    plain = lambda Z, mu, prior, tau: attention.cross_attention(Z, mu, 1 / tau)
    return all(
        shifts(p.theta, _prior(p), part, formula)
        and shifts(one_norm, equal, part, plain)
        for part in (0.001, 0.1, 10.0)
    )


@proves("prop-mean-shift-climbs")
def test_prop_mean_shift_climbs_proof():
    # for every w; z⁺ is one of them
    Q = lambda w: total(softmax(_bump(z), j, l) * _bump(w)(j), j)
    product = lambda step: total((w[a] - z[a]) * (2 * step(a) - w[a] - z[a]), a)
    assert same(Q(w) - Q(z), product(_step) / (2 * tau))
    # the product, with z⁺ called v, is |v − z|² − |w − v|²: it ends at w = v
    there, short = (square(lambda a, e=e: v[a] - e[a]) for e in (z, w))
    assert same(product(lambda a: v[a]), there - short)
    rise = _log_density(w) - _log_density(z)
    assert same(rise, Q(w) - Q(z) + divergence(_bump(z), _bump(w)))
    gibbs()


def _gains(Z, mu, prior, tau, part=0.5, surplus=kl):
    """What Q loses from z⁺ to z, and what log D gains from z to z⁺."""
    bump = lambda Z: prior.log() - _distance(Z, mu) / (2 * tau)
    new = _mean_shift(Z, mu, prior, tau)
    moved = part * ((new - Z) ** 2).sum(-1) / tau
    return moved, moved + surplus(bump(Z), bump(new))


@claim(
    "prop-mean-shift-climbs",
    right=_gains,
    wrong={
        "no divergence": lambda *problem: _gains(
            *problem, surplus=lambda N, M: 0 * kl(N, M)
        ),
        "the divergence exchanged": lambda *problem: _gains(
            *problem, surplus=lambda N, M: kl(M, N)
        ),
        "the whole square": lambda *problem: _gains(*problem, part=1.0),
        "a third of the square": lambda *problem: _gains(*problem, part=1 / 3),
    },
)
def test_prop_mean_shift_climbs_check(p, formula):
    prior = _prior(p)

    def holds(part):
        tau = part * _distance(p.Z, p.theta).max()
        bump = lambda Z: prior.log() - _distance(Z, p.theta) / (2 * tau)
        log_D = lambda Z: bump(Z).logsumexp(-1)
        new = p.Z + tau * grad(lambda Z: log_D(Z).sum())(p.Z)
        lost = (soft(bump(p.Z)) * (bump(new) - bump(p.Z))).sum(-1)
        less, gain = formula(p.Z, p.theta, prior, tau)
        largest = 1 / part
        return (
            p.close(lost, less, floor=largest)
            and p.close(log_D(new) - log_D(p.Z), gain, floor=largest)
            and bool((gain >= less - 1e-14 * largest).all())
        )

    return all(holds(part) for part in (0.001, 0.1, 10.0))
