"""Chapter 8, heads, temperature and masks."""

import torch
from sympy import KroneckerDelta, Matrix, Symbol, exp, eye, limit, log, oo
from torch.func import grad, jacrev

from claims.symbols import (
    C,
    Z,
    a,
    b,
    c,
    form,
    i,
    j,
    l,
    p,
    q,
    rho,
    sigma,
    t,
    theta,
    u,
)
from claims.witnesses import claim, proves
from imr import attention, flow, potentials
from imr.symbolic import (
    d,
    derivative,
    indices,
    k,
    log_sum_exp,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)


@proves("prop-heads")
def test_prop_heads_proof():
    """The gradient, the layer with one output map, and one softmax for all heads.

    That this is another layer is shown by two tokens and two heads.
    """
    H, s = Symbol("H", integer=True, positive=True), Symbol("s", positive=True)
    (h,), (phi,) = indices("h", H), tensors("phi", H, d, r)
    (heads,) = tensors("sigma", H, n, n)
    query = lambda h, i, c: total(Z[i, a] * phi[h, a, c], a)
    N = lambda h, i, t: total(query(h, i, c) * query(h, t, c), c)
    value = lambda h, t: total(query(h, t, c) * phi[h, q, c], c)
    potential = total(log_sum_exp(lambda t: s * N(h, i, t), t) / s, i, h)
    soft = {heads: lambda h, i, t: softmax(lambda t: s * N(h, i, t), t, u)}
    SA = total(heads[h, p, t] * value(h, t), h, t)
    SA_star = total(heads[h, t, p] * value(h, t), h, t)
    gradient = derivative(potential, Z[p, q])
    assert same(gradient, unfold(SA + SA_star, soft))

    result = lambda h, c: total(heads[h, p, t] * query(h, t, c), t)
    assert same(SA, total(result(h, c) * phi[h, q, c], h, c))
    form = lambda a, b: total(phi[h, a, c] * phi[h, b, c], h, c)
    assert same(total(Z[i, a] * form(a, b) * Z[t, b], a, b), total(N(h, i, t), h))

    pair, axes = Matrix([[1, 1], [0, 0]]), eye(2)
    apart = _read_exactly(pair, [axes[:, 0], axes[:, 1]])
    joint = _read_exactly(pair, [axes])
    assert all(
        (one - two).factor().is_positive
        for one, two in zip(joint, apart, strict=True)
    )


def _read_exactly(Z, heads):
    """Row 1 of Σ_h SA(Z, φ_h)."""
    rows = []
    for phi in heads:
        weights = (Z * phi * (Z * phi).T)[0, :].applyfunc(exp)
        rows.append(weights / sum(weights) * Z * phi * phi.T)
    return sum(rows[1:], rows[0])


def _pull(p):
    return sum((p.D + p.D.T) @ p.Z @ phi @ phi.T for phi in p.heads)


@claim(
    "prop-heads",
    right=lambda p: (
        _pull(p)
        - attention.self_attention(p.Z, p.heads)
        - attention.companion(p.Z, p.heads)
    ),
    wrong={
        "one softmax for the sum": lambda p: flow.quadratic_field(
            sum(phi @ phi.T for phi in p.heads), p.D
        )(p.Z),
        "companions forgotten": lambda p: (
            _pull(p) - attention.self_attention(p.Z, p.heads)
        ),
        "mean over heads": lambda p: (
            sum(flow.quadratic_field(phi @ phi.T, p.D)(p.Z) for phi in p.heads) / 3
        ),
    },
)
def test_prop_heads_check(p, formula):
    loss = lambda Z: potentials.multi_head(Z, p.heads, p.D)
    return p.close(formula(p), -grad(loss)(p.Z), floor=_pull(p))


@proves("prop-temperature")
def test_prop_temperature_proof():
    """The gradient; then LSE(sN)/s − N_l = log(Σ_j E_j)/s, E_j = exp(s(N_j − N_l)).

    With N_l the largest logit E_l = 1 and E_j ≤ 1, say E_j = 1 − F_j². The sum lies
    between 1 and k, since Σ_j E_j − E_l and k − Σ_j E_j have no negative terms.
    """
    s = Symbol("s", positive=True)
    scaled = lambda i, j: s * total(Z[i, a] * theta[j, a], a)
    LSE = log_sum_exp(lambda j: scaled(i, j), j)
    loss = total(LSE - total(C[i, j] * scaled(i, j), j), i) / s
    read = {sigma: lambda i, j: softmax(lambda j: scaled(i, j), j, l)}
    claim = unfold(total((C[p, j] - sigma[p, j]) * theta[j, q], j), read)
    assert same(-derivative(loss, Z[p, q]), claim)
    assert not same(-derivative(s * loss, Z[p, q]), claim)

    (N, F), (E,) = tensors("N F", k), tensors("E", k, positive=True)
    excess = log_sum_exp(lambda j: s * N[j], j) / s - N[l]
    assert same(excess, log(total(exp(s * (N[j] - N[l])), j)) / s)
    others = total((1 - KroneckerDelta(j, l)) ** 2 * E[j], j)
    assert same(total(E[j], j) - E[l], others) and others.is_nonnegative
    lacking = total(F[j] ** 2, j)
    assert same(k - total(1 - F[j] ** 2, j), lacking) and lacking.is_nonnegative
    assert limit(log(k) / s, s, oo) == 0


def _scaled(p, s, bound):
    return flow.linear_field(p.theta, p.C, s)(p.Z), bound


@claim(
    "prop-temperature",
    right=lambda p, s, log_k: _scaled(p, s, log_k / s),
    wrong={
        "a factor s": lambda p, s, log_k: (
            s * flow.linear_field(p.theta, p.C, s)(p.Z),
            log_k / s,
        ),
        "the scale forgotten": lambda p, s, log_k: _scaled(p, 1.0, log_k / s),
        "divided by s": lambda p, s, log_k: _scaled(p, 1 / s, log_k / s),
        "a bound without s": lambda p, s, log_k: _scaled(p, s, log_k),
        "half the bound": lambda p, s, log_k: _scaled(p, s, log_k / s / 2),
    },
)
def test_prop_temperature_check(p, formula):
    """The bound is met where all logits are equal, as those of a token at zero."""
    log_k, N = torch.tensor(p.k).double().log(), p.Z @ p.theta.T

    def holds(s):
        velocity, bound = formula(p, s, log_k)
        gradient = grad(lambda Z: potentials.linear(Z, p.theta, p.C, s))(p.Z)
        gap = lambda N: (s * N).logsumexp(-1) / s - N.amax(-1)
        rounding = 1e-12 * (bound + N.abs().max())
        within = (gap(N) >= -rounding).all() and (gap(N) <= bound + rounding).all()
        met = p.close(gap(torch.zeros_like(N[0])), bound)
        close = p.close(velocity, -gradient, floor=p.C @ p.theta)
        return bool(within) and met and close

    return all(map(holds, (0.1, p.d**-0.5 / 2, 3.0)))


@proves("prop-causal")
def test_prop_causal_proof():
    """For every mask: a row, their sum, with keys held fixed, what is not read."""
    mask, key = tensors("m", n, n)[0], tensors("K", n, d)[0]

    def parts(key):
        logit = lambda i, t: total(Z[i, a] * form[a, b] * key[t, b], a, b)
        weight = lambda i, t: mask[i, t] * exp(logit(i, t))
        masked = {rho: lambda i, t: weight(i, t) / total(weight(i, u), u)}
        return derivative(log(total(weight(i, t), t)), Z[p, q]), masked

    slope, masked = parts(Z)
    as_query = lambda i, key: total(rho[i, t] * key[t, b] * form[q, b], t, b)
    as_key = rho[i, p] * total(Z[i, b] * form[b, q], b)
    both = KroneckerDelta(i, p) * as_query(i, Z) + as_key
    assert same(slope, unfold(both, masked))
    assert not same(slope, unfold(KroneckerDelta(i, p) * as_query(i, Z), masked))
    whole = unfold(as_query(p, Z) + total(as_key, i), masked)
    assert same(total(slope, i), whole)
    assert same(unfold(rho[i, t], masked).subs(mask[i, t], 0), 0)

    held, masked = parts(key)
    assert same(total(held, i), unfold(as_query(p, key), masked))


def _causal_labels(p):
    scores = p.draw(p.n, p.n, salt=7)
    return p.labels(scores.masked_fill(potentials.future(p.n), -torch.inf))


@claim(
    "prop-causal",
    right=lambda phi, C: (
        flow.stop_gradient_field(phi, C, causal=True),
        lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi, causal=True),
    ),
    wrong={
        "mask forgotten": lambda phi, C: (
            flow.stop_gradient_field(phi, C),
            lambda Z: C.T @ Z @ phi @ phi.T - attention.companion(Z, phi),
        ),
        "anti-causal part dropped": lambda phi, C: (
            flow.stop_gradient_field(phi, C, causal=True),
            torch.zeros_like,
        ),
        "parts exchanged": lambda phi, C: (
            lambda Z: (
                C.T @ Z @ phi @ phi.T - attention.companion(Z, phi, causal=True)
            ),
            flow.stop_gradient_field(phi, C, causal=True),
        ),
    },
)
def test_prop_causal_check(p, formula):
    C, theta = _causal_labels(p), p.phi @ p.phi.T
    whole = -grad(lambda Z: potentials.quadratic(Z, theta, C, causal=True))(p.Z)
    causal, anti_causal = formula(p.phi, C)
    J = jacrev(causal)(p.Z)  # (n, d, n, d)
    sees_future = J.permute(0, 2, 1, 3)[potentials.future(p.n)].abs().sum()
    parts = causal(p.Z) + anti_causal(p.Z)
    close = p.close(parts, whole, floor=(C + C.T) @ p.Z @ theta)
    return close and bool(sees_future <= 1e-12 * J.abs().max())
