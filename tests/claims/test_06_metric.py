"""Chapter 6, self-attention without its companion: a gradient in which metric?"""

import torch
from sympy import Matrix, Symbol, exp, log, symbols
from torch.func import grad, jvp

from claims.certain import enclosed
from claims.formulas import asymmetry, soft
from claims.tokens import (
    SYMMETRIC,
    B,
    Z,
    a,
    at_tokens,
    b,
    i,
    j,
    l,
    p,
    q,
    s,
    sigma,
    symmetric,
    theta,
    with_softmax,
)
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import d, derivative, n, same, tensors, total, unfold


@proves("prop-not-a-gradient")
def test_prop_not_a_gradient_proof():
    """Two tokens, one feature, φ = 1, s = 1, C = I: signs by intervals."""
    x, y = symbols("x y", real=True)
    part = lambda f, h: exp(f * h) / (exp(f * x) + exp(f * y))
    field = Matrix([f - part(f, x) * x - part(f, y) * y for f in (x, y)])
    loss = sum(log(exp(f * x) + exp(f * y)) - f * f for f in (x, y))
    J = field.jacobian([x, y])
    skew = enclosed(J[0, 1] - J[1, 0], x=1, y=0)
    assert skew.a > 0.427 and skew.b < 0.428
    ascent = field.dot(Matrix([loss.diff(x), loss.diff(y)]))
    rate = enclosed(ascent, x=3, y=2)
    assert rate.a > 0.7249 and rate.b < 0.7251


@claim(
    "prop-not-a-gradient",
    right=lambda phi, C: flow.stop_gradient_field(phi, C),
    wrong={
        "the whole gradient": lambda phi, C: flow.quadratic_field(phi @ phi.T, C),
        "the label term alone": lambda phi, C: lambda Z: Z @ phi @ phi.T,
    },
    examples=10,
)
def test_prop_not_a_gradient_check(p, formula):
    """The Jacobian is asymmetric; and the field can ascend, as in the proof."""
    Z, phi = p.draw(3, 2, salt=27), p.draw(2, 2, salt=28)
    skew = asymmetry(formula(phi, torch.arange(3)), Z) > 1e-6
    Z, phi = torch.tensor([[3.0], [2.0]]).double(), torch.ones(1, 1).double()
    C = torch.arange(2)
    loss = lambda Z: potentials.quadratic(Z, phi, C)
    _, rate = jvp(loss, (Z,), (formula(phi, C)(Z),))
    return skew and bool(rate > 0.7)


@proves("prop-metric")
def test_prop_metric_proof():
    """For every symmetric θ; the rates token by token, then their sum."""
    E = lambda i, j: exp(s * symmetric(i, j))
    energy = total(E(i, j), i, j) / (2 * s)
    weight = total(E(p, j), j)  # D_p
    plain = total(sigma[p, j] * at_tokens(j, q), j)
    read = unfold(with_softmax(plain), SYMMETRIC)  # (σZθ)_pq
    assert same(derivative(energy, Z[p, q]), weight * read)
    assert same(derivative(energy, Z[p, q]) / weight, read)
    # On a sphere the slope of a token along its motion is that of what is tangent.
    (x, v) = tensors("x v", d)
    tangent = lambda a: v[a] - x[a] * total(x[b] * v[b], b) / total(x[b] ** 2, b)
    assert same(total(x[a] * tangent(a), a), 0)
    assert same(total(v[a] * tangent(a), a), total(tangent(a) ** 2, a))
    (D,), (V,) = tensors("D", n, positive=True), tensors("V", n, d)
    assert total(D[i] * V[i, a] ** 2, i, a).is_nonnegative
    # For θ = cI and C = I the field is cz − SA, and its tangent part that of −SA.
    c = Symbol("c", positive=True)
    labelled = unfold(tangent(a), {v: lambda a: c * x[a] - v[a]})
    assert same(labelled, -tangent(a))


def _tangent(Z, V):
    return V - Z * (Z * V).sum(-1, keepdim=True) / Z.square().sum(-1, keepdim=True)


@claim(
    "prop-metric",
    right=lambda N, s: (s * N).exp().sum(-1),
    wrong={
        "no metric": lambda N, s: torch.ones_like(N[0]),
        "the columns of the softmax": lambda N, s: soft(s * N).sum(0),
        "without the scale": lambda N, s: N.exp().sum(-1),
        "a metric for all": lambda N, s: (s * N).exp().sum().expand(len(N)),
    },
)
def test_prop_metric_check(p, formula):
    """The identity; the rates in space and on spheres. E is over e^(top logit)."""
    theta, scale = p.form + p.form.T, 0.7
    N = p.Z @ theta @ p.Z.T
    top = (scale * N).max()
    energy = lambda Z: (scale * Z @ theta @ Z.T - top).exp().sum() / (2 * scale)
    read = soft(scale * N) @ p.Z @ theta
    D = formula(N - top / scale, scale)
    # The logits are rounded by about 1e-16 of their size, and so is what exp makes.
    tolerance = 1e-11 * (1 + N.abs().max().item() / 100)
    size = p.Z @ theta
    held = p.close(D[:, None] * read, grad(energy)(p.Z), tolerance, size)
    for V in (read, -read, _tangent(p.Z, read), -_tangent(p.Z, read)):
        rate = jvp(energy, (p.Z,), (V,))[1]
        sign = 1 if (V * read).sum() > 0 else -1
        claimed = sign * (D * V.square().sum(-1)).sum()
        held &= p.close(claimed, rate, tolerance, (size.norm() * read.norm()))
    return held


@proves("prop-each-token")
def test_prop_each_token_proof():
    """A token x with weight m for itself, w_j for the others; θ symmetric."""
    (x, y), (w,), m = tensors("x y", d), tensors("w", n), Symbol("m", real=True)
    form = lambda a, b: B[a, b] + B[b, a]
    read = lambda v: total(form(q, b) * v(b), b)  # (θv)_q
    score = lambda v: total(x[a] * form(a, b) * v(b), a, b)
    me, other = (lambda b: x[b]), (lambda j: lambda b: Z[j, b])
    of_others = total(w[j] * exp(s * score(other(j))), j)
    everything = m * exp(s * score(me)) + of_others
    own = m * exp(s * score(me)) / everything  # σ_pp
    mean = total(w[j] * exp(s * score(other(j))) * read(other(j)), j) / everything
    velocity = read(me) - own * read(me) - mean
    potential = log(of_others) / s - score(me) / 2
    assert same(velocity, -(1 - own) * derivative(potential, x[q]))
    loss = log(everything) / s - score(me)
    assert not same(velocity, -derivative(loss, x[q]))
    # Two tokens: the other is y, and the potential of both is the same.
    to_y = exp(s * score(lambda b: y[b]))
    away = to_y / (exp(s * score(me)) + to_y)  # σ_12
    gap = total((x[a] - y[a]) * form(a, b) * (x[b] - y[b]), a, b)
    pair = read(me) - (1 - away) * read(me) - away * read(lambda b: y[b])
    assert same(pair, away * derivative(gap / 2, x[q]))
    # A token that is no key of its own: any form, any labels, its own loss.
    any_score = lambda j: total(x[a] * theta[a, b] * Z[j, b], a, b)
    (c,) = tensors("c", n)
    row = lambda j: (
        w[j] * exp(s * any_score(j)) / total(w[l] * exp(s * any_score(l)), l)
    )
    alone = log(total(w[j] * exp(s * any_score(j)), j)) / s
    alone -= total(c[j] * any_score(j), j)
    field = total((c[j] - row(j)) * total(theta[q, b] * Z[j, b], b), j)
    assert same(field, -derivative(alone, x[q]))


def _others(X, Z, theta, scale, mask):
    """Speeds 1 − σ_pp, and the sum of all ℓ_p, each a function of its row of X."""
    alone = ~torch.eye(len(Z), dtype=torch.bool)
    hidden = lambda N, seen: N.masked_fill(~seen, -torch.inf)
    weights = soft(hidden(scale * Z @ theta @ Z.T, mask))
    to_others = hidden(scale * X @ theta @ Z.T, mask & alone).logsumexp(-1) / scale
    own = ((X @ theta) * X).sum(-1)
    return 1 - weights.diagonal(), (to_others - own / 2)[mask.sum(-1) > 1].sum()


def _own_loss(X, Z, theta, scale, mask):
    """Speed one, and the loss of each token as it is, its own key included."""
    N = X @ theta @ Z.T
    own = ((X @ theta) * X).sum(-1)
    N = N - torch.diag(N.diagonal()) + torch.diag(own)
    N = N.masked_fill(~mask, -torch.inf)
    lse = (scale * N).logsumexp(-1) / scale
    return torch.ones(len(Z)).double(), (lse - own)[mask.sum(-1) > 1].sum()


@claim(
    "prop-each-token",
    right=_others,
    wrong={
        "its own loss": _own_loss,
        "at speed one": lambda *a: (torch.ones(len(a[1])).double(), _others(*a)[1]),
        "speed and potential halved": lambda *a: (
            _others(*a)[0],
            _others(*a)[1] / 2,
        ),
    },
)
def test_prop_each_token_check(p, formula):
    """All tokens are keys; those before, and itself; all but itself."""
    theta, scale = p.phi @ p.phi.T, 0.7
    size, future = p.Z @ theta, potentials.future(p.n)
    held = True
    for causal, mask in ((False, future | True), (True, ~future)):
        speed, _ = formula(p.Z, p.Z, theta, scale, mask)
        slope = grad(lambda X, m=mask: formula(X, p.Z, theta, scale, m)[1])(p.Z)
        field = flow.stop_gradient_field(p.phi, torch.arange(p.n), scale, causal)
        held &= p.close(field(p.Z), -speed[:, None] * slope, floor=size)
    alone = torch.eye(p.n, dtype=torch.bool)
    if p.n > 1:
        C = p.labels(p.draw(p.n, p.n, salt=7).masked_fill(alone, -torch.inf))
        N = lambda X: (X @ p.form @ p.Z.T).masked_fill(alone, -torch.inf)
        own_loss = lambda X: potentials.cross_entropy(N(X), C)
        field = (C - soft(N(p.Z))) @ p.Z @ p.form.T
        held &= p.close(field, -grad(own_loss)(p.Z), floor=p.Z @ p.form.T)
    return held
