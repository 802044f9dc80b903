"""Chapter 8, normalisation after the step and before attention.

In the proofs √d is |z|, the norm of a token z of the sphere: they hold on spheres
of any radius, and nowhere need that |z|² = d.
"""

import torch
import torch.nn.functional as F
from sympy import Symbol, sqrt
from torch.func import grad, jacrev, jvp

from claims.formulas import has_leading_term, substeps
from claims.symbols import a, b
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import contract, d, same, tensors, total

z, v, y = tensors("z v y", d)
h = Symbol("h", real=True)


def dot(x, y):
    """x · y for entries x(a), y(a)."""
    return total(x(b) * y(b), b)


def square(x):
    """|x|², its terms in sums of their own: then a factor of x leaves the root."""
    return contract(dot(x, x))


def project(x, y):
    """(I − xxᵀ/|x|²)y."""
    return lambda a: y(a) - x(a) * dot(x, y) / square(x)


def normalised(x):
    """|z| x/|x|, which is RMSNorm(x) where |z| = √d."""
    return lambda a: sqrt(square(at)) * x(a) / sqrt(square(x))


def at_zero(function, order):
    """The derivative of this order in h at h = 0."""
    return function.diff(h, order).subs(h, 0)


at, velocity, slope = (lambda a: z[a]), (lambda a: v[a]), (lambda a: y[a])
Pv = project(at, velocity)


@proves("prop-norm")
def test_prop_norm_proof():
    """For every d. The slope v'[Pv] of the field is a vector y, of which nothing
    is known; LayerNorm is written out, with its mean and its mean square.
    """
    assert same(dot(at, Pv), 0) and not same(dot(at, velocity), 0)
    assert same(dot(velocity, Pv), dot(Pv, Pv))

    step = normalised(lambda a: z[a] + h * v[a])(a)
    moved = project(lambda a: z[a] + h * Pv(a), lambda a: v[a] + h * y[a])(a)
    assert same(step.subs(h, 0), z[a])
    assert same(at_zero(step, 1), Pv(a)) and not same(at_zero(step, 1), v[a])
    error = (at_zero(step, 2) - at_zero(moved, 1)) / 2
    radial, turned = dot(at, velocity) / square(at), project(at, slope)(a)
    assert same(error, -(radial * Pv(a) + turned) / 2)
    assert not same(error, -turned / 2) and not same(error, -radial * Pv(a) / 2)

    centred = lambda x: lambda a: x(a) - total(x(b), b) / d
    token = centred(slope)  # any z ⊥ 1
    assert same(total(token(a), a), 0) and same(centred(token)(a), token(a))
    layer_norm = centred(slope)(a) / sqrt(square(centred(slope)) / d)
    assert same(layer_norm, sqrt(d) * token(a) / sqrt(square(token)))
    stepped = centred(lambda a: token(a) + h * v[a])(a)
    assert same(stepped, token(a) + h * centred(velocity)(a))


def _projected(Z, V, sign=-1):
    return V + sign * (Z * V).sum(-1, keepdim=True) / Z.square().sum(-1, True) * Z


def _error(Z, V, slope):
    """−(z·v/d Pv + P v'[Pv])/2."""
    tangent = _projected(Z, V)
    radial = (Z * V).mean(-1, keepdim=True) * tangent
    return -(radial + _projected(Z, slope(tangent))) / 2


@claim(
    "prop-norm",
    right=lambda Z, V, slope: (_projected(Z, V), _error(Z, V, slope)),
    wrong={
        "not divided by the norm": lambda Z, V, slope: (
            V - (Z * V).sum(-1, keepdim=True) * Z,
            _error(Z, V, slope),
        ),
        "no projection": lambda Z, V, slope: (V, _error(Z, V, slope)),
        "the wrong side": lambda Z, V, slope: (
            _projected(Z, V, sign=1),
            _error(Z, V, slope),
        ),
        "no error": lambda Z, V, slope: (_projected(Z, V), torch.zeros_like(Z)),
        "the error's other sign": lambda Z, V, slope: (
            _projected(Z, V),
            -_error(Z, V, slope),
        ),
        "twice the error": lambda Z, V, slope: (
            _projected(Z, V),
            2 * _error(Z, V, slope),
        ),
        "an error without its radial part": lambda Z, V, slope: (
            _projected(Z, V),
            -_projected(Z, slope(_projected(Z, V))) / 2,
        ),
    },
    examples=12,
)
def test_prop_norm_check(p, formula):
    """One step of RMSNorm or, from two features on, of LayerNorm; the rate."""
    attention = flow.quadratic_field(p.draw(p.d, p.d, salt=36) / p.d, p.D)
    field = lambda Z: attention(Z) + Z @ p.W
    rms = lambda X: F.rms_norm(X, (p.d,), eps=0.0)
    layer = lambda X: F.layer_norm(X, (p.d,), eps=0.0)
    centred = lambda Z: field(Z) - field(Z).mean(-1, keepdim=True)
    ways = [(rms, field, field)] + [(layer, field, centred)] * (p.d > 1)
    way = ways[p.seed % len(ways)]
    return _steps(p, formula, *way) and _rate(p, formula, rms)


def _steps(p, formula, norm, field, on_sphere):
    """Whether norm(Z + h field(Z)) is a step of the projected flow of on_sphere."""
    Z = norm(p.B)
    tangent = lambda Z: formula(Z, on_sphere(Z), torch.zeros_like)[0]
    slope = lambda W: jvp(on_sphere, (Z,), (W,))[1]
    first, second = formula(Z, on_sphere(Z), slope)
    J = jacrev(field)(Z).flatten(2).flatten(0, 1)
    time = 0.5 / (J.norm() + field(Z).abs().max()).item()
    step = lambda h: norm(Z + h * field(Z))
    exact = lambda h: substeps(tangent, h)(Z)
    kept = p.close((Z * first).sum(-1), torch.zeros(p.n).double(), floor=field(Z))
    leads = has_leading_term(p, step, lambda h: Z, 1, first, time, 1e-9)
    errs = has_leading_term(p, step, exact, 2, second, time, 1e-9)
    return kept and leads and errs


def _rate(p, formula, rms):
    """Whether L falls along the projected flow at the rate |ż|²."""
    Z, loss = rms(p.B), lambda Z: potentials.linear(Z, p.theta, p.C)
    V = -grad(loss)(Z)
    along = formula(Z, V, torch.zeros_like)[0]
    rate = jvp(loss, (Z,), (along,))[1]
    return p.close(rate, -along.square().sum(), floor=V.square().sum())


@proves("prop-pre-norm")
def test_prop_pre_norm_proof():
    """For every d, token by token; z stands for u, and the token is c u.

    (1) RMSNorm does not see the factor c = |z_i|/√d. (2) The derivative of the
    direction. (3) The rate of L is Σ_i −v_i · u̇_i, a sum of no positive terms.
    (4) is the chain rule: x_i(τ_i(t)) solves the equation of (2).
    """
    stretch = Symbol("c", positive=True)
    token = lambda a: stretch * z[a] + h * v[a]
    assert same(token(a), stretch * (z[a] + h / stretch * v[a]))
    assert same(square(lambda a: stretch * y[a]), stretch**2 * square(slope))
    assert same(square(token), stretch**2 * square(lambda a: token(a) / stretch))

    clocked = lambda a: Pv(a) / stretch
    speed = at_zero(normalised(token)(a), 1)
    assert same(speed, clocked(a)) and not same(speed, Pv(a))
    assert same(dot(velocity, clocked), dot(Pv, Pv) / stretch)
    assert (square(slope) / stretch).is_nonnegative


def _rms(X):
    return F.rms_norm(X, X.shape[-1:], eps=0.0)


@claim(
    "prop-pre-norm",
    right=lambda norm, d: d**0.5 / norm,
    wrong={
        "no clock": lambda norm, d: torch.ones_like(norm),
        "the clock turned round": lambda norm, d: norm / d**0.5,
        "without the root of d": lambda norm, d: 1 / norm,
        "the squared norm": lambda norm, d: d / norm**2,
    },
    examples=8,
)
def test_prop_pre_norm_check(p, clock):
    """The formula is the clock √d/|z|; with both potentials, then along a path."""
    linear = lambda Z: potentials.linear(Z, p.theta, p.C)
    quadratic = lambda Z: potentials.quadratic(Z, p.form, p.D)
    pair = (linear, quadratic)
    return all(_clocked(p, loss, clock) for loss in pair) and _same_path(p, clock)


def _clocked(p, loss, clock):
    U, c = _rms(p.Z), clock(p.Z.norm(dim=-1, keepdim=True), p.d)
    V = -grad(loss)(U)
    layers = [(p.Z + h * V, U + h * c * V) for h in (0.01, 1.0, 100.0)]
    same_layer = all(p.close(_rms(one), _rms(other), 1e-9) for one, other in layers)
    turns = jvp(_rms, (p.Z,), (V,))[1]
    follows = p.close(turns, c * _projected(U, V), 1e-10, floor=c * V)
    rate = jvp(lambda Z: loss(_rms(Z)), (p.Z,), (V,))[1]
    falls = -(c * _projected(U, V).square()).sum()
    return same_layer and follows and p.close(rate, falls, 1e-10, (c * V * V).sum())


def _same_path(p, clock):
    """Whether RMSNorm(z(t)) = x(τ(t)), with τ integrated beside z.

    No token is faster than two prototypes are apart, so that each keeps half its
    norm for this long.
    """
    start, theta = _rms(p.B), p.draw(p.k, p.d, salt=37) / p.d**0.5
    field, norms = flow.linear_field(theta, p.C), p.d**0.5 * p.w.exp()
    time = (norms.min() / 2 / torch.cdist(theta, theta).max()).clamp(max=1).item()
    timed = lambda X: torch.cat(
        [clock(X[:, 1:].norm(dim=-1, keepdim=True), p.d), field(_rms(X[:, 1:]))], -1
    )
    begin = torch.cat(
        [torch.zeros(p.n, 1).double(), start * p.w.exp()[:, None]], -1
    )
    end = flow.trajectory(flow.rk4(timed, time / 32), begin, 32)[-1]
    tangent = lambda Z: _projected(Z, field(Z))
    path = flow.trajectory(flow.rk4(tangent, end[:, :1] / 32), start, 32)
    return p.close(_rms(end[:, 1:]), path[-1], 1e-7)
