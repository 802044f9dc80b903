"""Chapter 8, logits with positions."""

import torch
from sympy import Matrix, cos, sin, symbols
from torch.func import grad

from claims.symbols import (
    D,
    Z,
    a,
    b,
    c,
    form,
    i,
    p,
    phi,
    q,
    rho,
    t,
    u,
)
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import (
    d,
    derivative,
    indices,
    log_sum_exp,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

forms, vectors, biases = (
    tensors("theta", n, n, d, d)[0],
    tensors("u", n, n, d)[0],
    tensors("b", n, n)[0],
)
(turn,) = tensors("R", n, r, r)
e, f = indices("e f", r)


def logit(i, t):
    """z_i · θ_it z_t + u_it · z_i + b_it."""
    pair = total(Z[i, a] * forms[i, t, a, b] * Z[t, b], a, b)
    return pair + total(vectors[i, t, a] * Z[i, a], a) + biases[i, t]


def nothing(*at):
    """A tensor of zeros."""
    return 0


@proves("prop-positions")
def test_prop_positions_proof():
    """The flow; then what is read in it, for a bias and for turned features.

    The logit of a rotary layer is a sum over planes of what is looked at last.
    """
    LSE = log_sum_exp(lambda t: logit(i, t), t)
    loss = total(LSE - total(D[i, t] * logit(i, t), t), i)
    soft = {rho: lambda i, t: softmax(lambda t: logit(i, t), t, u)}
    velocity = -derivative(loss, Z[p, q])
    value = total(forms[p, t, q, b] * Z[t, b], b) + vectors[p, t, q]
    back = total(forms[i, p, a, q] * Z[i, a], a)
    asks = total((D[p, t] - rho[p, t]) * value, t)
    asked = total((D[i, p] - rho[i, p]) * back, i)
    assert same(velocity, unfold(asks + asked, soft))

    biased = {forms: lambda i, t, a, b: form[a, b], vectors: nothing}
    assert same(unfold(value, biased), total(form[q, b] * Z[t, b], b))
    assert same(unfold(back, biased), total(Z[i, a] * form[a, q], a))

    apart = lambda i, t, a, b: total(
        phi[a, c] * turn[i, e, c] * turn[t, e, f] * phi[b, f], c, e, f
    )
    turned = {forms: apart, vectors: nothing, biases: nothing}
    y = lambda i, e: total(turn[i, e, c] * phi[a, c] * Z[i, a], a, c)
    returned = lambda i: total(phi[q, c] * turn[p, e, c] * y(i, e), c, e)
    assert same(unfold(logit(i, t), turned), total(y(i, e) * y(t, e), e))
    assert same(unfold(value, turned), returned(t))
    assert same(unfold(back, turned), returned(i))
    open_ = lambda t: D[p, t] + D[t, p] - rho[p, t] - rho[t, p]
    row = total(phi[q, c] * turn[p, e, c] * open_(t) * y(t, e), c, e, t)
    assert same(unfold(asks + asked, turned), row)

    speed, one, other = symbols("omega t_i t_j", real=True)
    x, y = Matrix(symbols("x:2", real=True)), Matrix(symbols("y:2", real=True))
    at = lambda t: speed * t
    R = lambda t: Matrix([[cos(at(t)), -sin(at(t))], [sin(at(t)), cos(at(t))]])
    product = (R(one) * x).dot(R(other) * y)
    between = x.dot(R(other - one) * y)
    assert (product - between.expand(trig=True)).expand() == 0


def _turns(p, places):
    """Rotations (n, r, r) in all planes: exp(t_i A), with A antisymmetric."""
    A = p.draw(p.r, p.r, salt=43)
    return torch.linalg.matrix_exp(places[:, None, None] * (A - A.T))


def _general(p, value, asked=True):
    """The flow of random forms, vectors and biases; value is what is read there."""

    def field(Z, forms, vectors, sigma):
        residual = p.D - sigma
        asks = torch.einsum("pj,pjq->pq", residual, value(Z, forms, vectors))
        return asks + asked * torch.einsum("ip,ipaq,ia->pq", residual, forms, Z)

    return field


def _keys(Z, forms, vectors):
    return torch.einsum("pjqb,jb->pjq", forms, Z) + vectors


def _rotary(p, values=True, back=True, sign=1):
    """The flow of turned features Y; what a rotary layer might leave out."""

    def field(Z, R):
        Y = torch.einsum("iec,ic->ie", R, Z @ p.phi)
        residual = p.D - (Y @ Y.T).softmax(-1)
        read = (residual + residual.T) @ (Y if values else Z @ p.phi)
        returned = torch.einsum("pec,pe->pc" if sign > 0 else "pec,pc->pe", R, read)
        return (returned if back else read) @ p.phi.T

    return field


@claim(
    "prop-positions",
    right=lambda p: (_general(p, _keys), _rotary(p)),
    wrong={
        "vectors not read": lambda p: (
            _general(p, lambda Z, forms, _: _keys(Z, forms, 0.0)),
            _rotary(p),
        ),
        "a form for all": lambda p: (
            _general(p, lambda Z, forms, u: _keys(Z, forms[:1, :1], u)),
            _rotary(p),
        ),
        "not asked": lambda p: (_general(p, _keys, asked=False), _rotary(p)),
        "values not turned": lambda p: (
            _general(p, _keys),
            _rotary(p, values=False, back=False),
        ),
        "not turned back": lambda p: (_general(p, _keys), _rotary(p, back=False)),
        "turned on": lambda p: (_general(p, _keys), _rotary(p, sign=-1)),
    },
)
def test_prop_positions_check(p, formulas):
    """Both flows; a bias alone; a shift of all positions."""
    general, rotary = formulas(p)
    return _general_holds(p, general) and _rotary_holds(p, rotary)


def _general_holds(p, field):
    forms = p.draw(p.n, p.n, p.d, p.d, salt=40) / p.d**0.5
    vectors, biases = p.draw(p.n, p.n, p.d, salt=41), p.draw(p.n, p.n, salt=42)
    pairs = lambda Z, forms: torch.einsum("ia,ijab,jb->ij", Z, forms, Z)
    forms = p.stretched(forms, pairs(p.Z, forms))

    def holds(forms, vectors):
        N = lambda Z: (
            pairs(Z, forms) + torch.einsum("ija,ia->ij", vectors, Z) + biases
        )
        velocity = -grad(lambda Z: potentials.cross_entropy(N(Z), p.D))(p.Z)
        sizes = _keys(p.Z, forms, vectors), _keys(p.Z, forms.mT, 0.0)
        ours = field(p.Z, forms, vectors, N(p.Z).softmax(-1))
        return p.close(ours, velocity, floor=max(x.abs().max() for x in sizes))

    one = p.form.expand(p.n, p.n, p.d, p.d)
    return holds(forms, vectors) and holds(one, torch.zeros_like(vectors))


def _rotary_holds(p, field):
    places = torch.arange(p.n).double()

    def loss(Z, R):
        Y = torch.einsum("iec,ic->ie", R, Z @ p.phi)
        return potentials.cross_entropy(Y @ Y.T, p.D)

    R, further = _turns(p, places), _turns(p, places + 7)
    velocity = -grad(loss)(p.Z, R)
    size = (
        flow.stop_gradient_field(p.phi, p.D)(p.Z)
        + (p.Z @ p.phi @ p.phi.T).abs().max()
    )
    close = p.close(field(p.Z, R), velocity, floor=size)
    shifted = p.close(field(p.Z, further), field(p.Z, R), 1e-9, floor=size)
    return close and shifted
