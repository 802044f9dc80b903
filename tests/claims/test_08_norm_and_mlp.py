"""Chapter 8, normalisation, perceptron and values."""

import torch
import torch.nn.functional as F
from sympy import (
    Function,
    Piecewise,
    diff,
    erf,
    exp,
    expand,
    log,
    pi,
    simplify,
    sqrt,
    symbols,
)
from torch.func import grad, jvp

from claims.formulas import asymmetry, soft
from claims.symbols import (
    LSE,
    C,
    V,
    W,
    Z,
    a,
    b,
    c,
    i,
    j,
    l,
    m,
    p,
    q,
    sigma,
    theta,
    z,
)
from claims.witnesses import claim, proves
from imr import attention, potentials
from imr.symbolic import (
    contract,
    d,
    derivative,
    k,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)


@proves("prop-norm")
def test_prop_norm_proof():
    """z · (v − z (z·v)/(z·z)) = 0 for every d."""
    inner = lambda f, h: total(f[a] * h[a], (a, d))
    square, product = symbols("square product")
    drift = contract(total(z[a] * (V[a] - z[a] * product / square), (a, d)))
    named = {inner(z, V): product, total(z[a] ** 2, (a, d)): square}
    assert simplify(expand(drift).subs(named)) == 0


@claim(
    "prop-norm",
    right=lambda z, v: (
        v - (z * v).sum(-1, keepdim=True) / (z * z).sum(-1, keepdim=True) * z
    ),
    wrong={
        "not divided by the norm": lambda z, v: (
            v - (z * v).sum(-1, keepdim=True) * z
        ),
        "no projection": lambda z, v: v,
        "the wrong side": lambda z, v: (
            v + (z * v).sum(-1, keepdim=True) / (z * z).sum(-1, keepdim=True) * z
        ),
    },
)
def test_prop_norm_check(p, formula):
    Z, V, h = F.rms_norm(p.B, (p.d,), eps=0.0), p.draw(p.n, p.d, salt=30), 1e-5
    along = (Z * formula(Z, V)).sum(-1)
    tangent = p.close(along, torch.zeros(p.n).double(), floor=1.0)
    step = F.rms_norm(Z + h * V, (p.d,), eps=0.0) - Z
    return tangent and p.close(step / h, formula(Z, V), 1e-3, floor=V)


@proves("prop-mlp")
def test_prop_mlp_proof():
    """For every g and all sizes; then the three g' by name."""
    function, x_ = Function("g"), symbols("x", real=True)
    hidden = lambda i, m: total(Z[i, a] * W[m, a], (a, d))
    potential = total(function(hidden(i, m)), (i, n), (m, r))
    gradient = derivative(potential, Z[p, q])
    slope = diff(function(x_), x_)
    read = lambda activation: total(activation(hidden(p, m)) * W[m, q], (m, r))
    assert same(gradient, read(lambda height: slope.subs(x_, height)))
    assert not same(gradient, read(function))
    relu, error = Piecewise((x_, x_ > 0), (0, True)), erf(x_ / sqrt(2))
    bell = exp(-(x_**2) / 2) / sqrt(2 * pi)
    named = {
        "sigmoid": (log(1 + exp(x_)), 1 / (1 + exp(-x_))),
        "relu": (relu**2 / 2, relu),
        "gelu": (
            (x_**2 * (1 + error) - error) / 4 + x_ * bell / 2,
            x_ * (1 + error) / 2,
        ),
    }
    for antiderivative, activation in named.values():
        assert simplify(antiderivative.diff(x_) - activation) == 0
    assert simplify(relu.diff(x_) - relu) != 0


@claim(
    "prop-mlp",
    right=lambda Z, W, activation: attention.perceptron(Z, W, activation),
    wrong={
        "weights untied by a sign": lambda Z, W, activation: (
            -attention.perceptron(Z, W, activation)
        ),
        "the potential's activation": lambda Z, W, activation: (
            potentials.ANTIDERIVATIVES[activation](Z @ W.T) @ W
        ),
        "tanh": lambda Z, W, activation: torch.tanh(Z @ W.T) @ W,
    },
)
def test_prop_mlp_check(p, formula):
    def holds(name, activation):
        potential = lambda Z: potentials.mlp(Z, p.theta, name)
        ours = formula(p.Z, p.theta, name)
        return p.close(ours, grad(potential)(p.Z)) and p.close(
            ours, activation(p.Z @ p.theta.T) @ p.theta
        )

    named = {"sigmoid": torch.sigmoid, "relu": F.relu, "gelu": F.gelu}
    return all(holds(name, activation) for name, activation in named.items())


@proves("prop-untied-mlp")
def test_prop_untied_mlp_proof():
    """One hidden unit, two features: z ↦ f(v·z)w has the Jacobian f'(v·z) w vᵀ.

    It is symmetric only if w is parallel to v.
    """
    z0, z1, v0, v1, w0, w1 = symbols("z0 z1 v0 v1 w0 w1")
    layer = [factor * exp(v0 * z0 + v1 * z1) for factor in (w0, w1)]
    asymmetry = layer[0].diff(z1) - layer[1].diff(z0)
    assert simplify(asymmetry / exp(v0 * z0 + v1 * z1) - (w0 * v1 - w1 * v0)) == 0


@claim(
    "prop-untied-mlp",
    right=lambda V, W: lambda Z: F.gelu(Z @ V.T) @ W,
    wrong={
        "tied": lambda V, W: lambda Z: attention.perceptron(Z, W),
        "tied up to a factor": lambda V, W: lambda Z: F.gelu(Z @ W.T) @ (3 * W),
    },
    examples=10,
)
def test_prop_untied_mlp_check(p, formula):
    layer = formula(p.draw(4, 3, salt=31), p.draw(4, 3, salt=32))
    return asymmetry(layer, p.draw(2, 3, salt=33)) > 1e-6


@proves("prop-untied")
def test_prop_untied_proof():
    """The gradient of untied logits, and the rate −tr(∇L M ∇Lᵀ) along −∇L M.

    Of M the symmetric part alone counts.
    """
    query, key, gradient, mixer = tensors("Q K G M")
    product = lambda a, b: total(query[a, c] * key[b, c], (c, r))
    form = lambda i, j: Z[i, a] * product(a, b) * theta[j, b]
    untied = lambda i, j: total(form(i, j), (a, d), (b, d))
    loss = total(LSE(i, untied) - total(C[i, j] * untied(i, j), (j, k)), (i, n))
    read = {sigma: lambda i, j: softmax(lambda j: untied(i, j), j, (l, k))}
    value = theta[j, b] * product(q, b)
    claim = total((C[p, j] - sigma[p, j]) * value, (j, k), (b, d))
    assert same(-derivative(loss, Z[p, q]), unfold(claim, read))
    along = total(gradient[p, a] * mixer[a, q], (a, d))
    rate = total(gradient[p, q] * -along, (p, n), (q, d))
    square = lambda M: total(
        gradient[p, q] * M * gradient[p, c], (p, n), (q, d), (c, d)
    )
    trace, symmetric = square(mixer[q, c]), square(mixer[q, c] + mixer[c, q]) / 2
    assert same(rate, -trace) and not same(rate, trace) and same(trace, symmetric)


@claim(
    "prop-untied",
    right=lambda gradient, M: -torch.trace(gradient @ M @ gradient.T),
    wrong={
        "M forgotten": lambda gradient, M: -(gradient**2).sum(),
        "the other sign": lambda gradient, M: torch.trace(
            gradient @ M @ gradient.T
        ),
        "M on the other side": lambda gradient, M: (
            -torch.trace(gradient @ M @ M.T @ gradient.T)
        ),
    },
)
def test_prop_untied_check(p, formula):
    """Queries ZW_Q, keys θW_K, values θW_V with W_V = W_K W_Qᵀ M move by −∇L M."""
    query, key = p.draw(p.d, p.r, salt=34), p.draw(p.d, p.r, salt=35)
    M = p.W @ p.W.T + p.form - p.form.T  # its symmetric part is non-negative
    loss = lambda Z: potentials.linear(Z @ query, p.theta @ key, p.C)
    s = soft(p.Z @ query @ key.T @ p.theta.T)
    velocity = (p.C - s) @ p.theta @ key @ query.T @ M
    gradient, rate = grad(loss)(p.Z), jvp(loss, (p.Z,), (velocity,))[1]
    claimed = formula(gradient, M)
    size = (gradient @ M).norm() * gradient.norm()
    return p.close(claimed, rate, floor=size) and bool(claimed <= 1e-9 * size)
