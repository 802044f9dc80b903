"""Chapter 8, the perceptron, tied and untied, and untied values."""

import torch
import torch.nn.functional as F
from sympy import (
    Piecewise,
    erf,
    exp,
    log,
    pi,
    simplify,
    sqrt,
    symbols,
)
from torch.func import grad, jacrev, jvp

from claims.formulas import soft
from claims.symbols import C, Z, a, b, c, i, j, l, p, q, sigma, theta, v
from claims.witnesses import claim, proves
from imr import attention, potentials
from imr.symbolic import (
    d,
    derivative,
    function,
    log_sum_exp,
    n,
    r,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

W, V = tensors("W V", r, d)
(z,) = tensors("z", d)
g, x = function("g"), symbols("x", real=True)


@proves("prop-mlp")
def test_prop_mlp_proof():
    """For every g and all sizes; then the three g' by name, also ReLU at 0."""
    hidden = lambda i, c: total(Z[i, a] * W[c, a], a)
    potential = total(g(hidden(i, c)), i, c)
    slope = lambda c: g(x).diff(x).subs(x, hidden(p, c))
    gradient = derivative(potential, Z[p, q])
    assert same(gradient, total(slope(c) * W[c, q], c))
    assert not same(gradient, total(g(hidden(p, c)) * W[c, q], c))

    relu, error = Piecewise((x, x > 0), (0, True)), erf(x / sqrt(2))
    bell = exp(-(x**2) / 2) / sqrt(2 * pi)
    named = {
        "sigmoid": (log(1 + exp(x)), 1 / (1 + exp(-x))),
        "relu": (relu**2 / 2, relu),
        "gelu": (
            (x**2 * (1 + error) - error) / 4 + x * bell / 2,
            x * (1 + error) / 2,
        ),
    }
    for antiderivative, activation in named.values():
        assert simplify(antiderivative.diff(x) - activation) == 0
    assert all((relu**2 / 2 / x).limit(x, 0, side) == 0 for side in "+-")
    assert simplify(relu.diff(x) - relu) != 0


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
    """The Jacobian; the potential of units tied up to a factor; one unit untied.

    That a field has a potential exactly if its Jacobian is symmetric is Poincaré's
    lemma.
    """
    (factor,) = tensors("lambda", r)
    hidden = lambda c: total(W[c, b] * z[b], b)
    slope = lambda order, c: g(x).diff(x, order).subs(x, hidden(c))
    field = lambda q: total(V[c, q] * slope(1, c), c)
    jacobian = lambda q, v: total(V[c, q] * slope(2, c) * W[c, v], c)
    assert same(derivative(field(q), z[v]), jacobian(q, v))
    assert not same(jacobian(q, v), jacobian(v, q))

    tied = {V: lambda c, q: factor[c] * W[c, q]}
    potential = total(factor[c] * g(hidden(c)), c)
    assert same(derivative(potential, z[q]), unfold(field(q), tied))
    assert same(unfold(jacobian(q, v), tied), unfold(jacobian(v, q), tied))

    one, two = symbols("z1 z2", real=True)
    unit = [0 * one, log(1 + exp(one)).diff(one)]  # w = (1, 0), v = (0, 1)
    assert unit[0].diff(two) == unit[0].diff(one) == unit[1].diff(two) == 0
    assert simplify(unit[1].diff(one)).is_positive


def _units(V, W, slopes):
    """Vᵀ diag(slopes) W."""
    return V.T @ torch.diag(slopes) @ W


@claim(
    "prop-untied-mlp",
    right=lambda V, W, first, second: _units(V, W, second),
    wrong={
        "transposed": lambda V, W, first, second: _units(W, V, second),
        "the first derivative": lambda V, W, first, second: _units(V, W, first),
        "no derivative": lambda V, W, first, second: V.T @ W,
        "tied": lambda V, W, first, second: _units(W, W, second),
        "its symmetric part": lambda V, W, first, second: (
            (_units(V, W, second) + _units(W, V, second)) / 2
        ),
    },
)
def test_prop_untied_mlp_check(p, formula):
    """The Jacobian, which is symmetric if tied up to a factor, else not."""
    W, V, factor = (
        p.draw(4, p.d, salt=31),
        p.draw(4, p.d, salt=32),
        p.draw(4, 1, salt=33),
    )
    token = p.B[0]
    first = torch.sigmoid(W @ token)
    second = first * (1 - first)

    def jacobian(V):
        J = jacrev(lambda z: V.T @ torch.sigmoid(W @ z))(token)
        return J, p.close(formula(V, W, first, second), J)

    (tied, holds), (untied, holds_too) = jacobian(factor * W), jacobian(V)
    symmetric = p.close(tied, tied.T)
    apart = p.d == 1 or (untied - untied.T).abs().max() > 1e-6 * untied.abs().max()
    return holds and holds_too and symmetric and bool(apart)


@proves("prop-untied")
def test_prop_untied_proof():
    """The gradient, the velocity of W_V = W_K W_Qᵀ M, and the sign of the rate.

    M + Mᵀ ⪰ 0 has a root, M + Mᵀ = RRᵀ. So M = RRᵀ/2 + B − Bᵀ for some B, and the
    rate is minus a sum of squares.
    """
    key, query = tensors("K Q", d, r)
    M, B, R = tensors("M B R", d, d)
    (G,) = tensors("G", n, d)
    A = lambda j, q: total(theta[j, b] * key[b, c] * query[q, c], b, c)
    untied = lambda i, j: total(Z[i, a] * A(j, a), a)
    LSE = log_sum_exp(lambda j: untied(i, j), j)
    loss = total(LSE - total(C[i, j] * untied(i, j), j), i)
    slope = derivative(loss, Z[p, v])
    read = {sigma: lambda i, j: softmax(lambda j: untied(i, j), j, l)}
    residual = lambda j: C[p, j] - sigma[p, j]
    assert same(-slope, unfold(total(residual(j) * A(j, v), j), read))

    value = lambda b, q: total(key[b, c] * query[a, c] * M[a, q], a, c)
    velocity = unfold(total(residual(j) * theta[j, b] * value(b, q), j, b), read)
    assert same(velocity, -total(slope * M[v, q], v))

    rate = -total(G[p, q] * G[p, a] * M[a, q], p, q, a)  # G for the gradient
    root = {M: lambda a, q: total(R[a, v] * R[q, v], v) / 2 + B[a, q] - B[q, a]}
    assert same(unfold(M[a, q] + M[q, a], root), total(R[a, v] * R[q, v], v))
    squares = total(total(G[p, a] * R[a, v], a) ** 2, p, v) / 2
    assert same(unfold(rate, root), -squares) and squares.is_nonnegative


def _rate(G, M):
    return -torch.trace(G @ M @ G.T)


@claim(
    "prop-untied",
    right=lambda Q, K, M, G: (K @ Q.T, _rate(G, M)),
    wrong={
        "M forgotten": lambda Q, K, M, G: (K @ Q.T, -(G**2).sum()),
        "the other sign": lambda Q, K, M, G: (K @ Q.T, -_rate(G, M)),
        "M and its transpose": lambda Q, K, M, G: (K @ Q.T, _rate(G, M @ M.T)),
        "half": lambda Q, K, M, G: (K @ Q.T, _rate(G, M) / 2),
        "queries and keys exchanged": lambda Q, K, M, G: (Q @ K.T, _rate(G, M)),
    },
)
def test_prop_untied_check(p, formula):
    """Of queries ZW_Q, keys θW_K and values θW_V with W_V = W_K W_Qᵀ M."""
    Q, K = p.draw(p.d, p.r, salt=34), p.draw(p.d, p.r, salt=35)
    turn = p.draw(p.d, p.d, salt=36)
    M = p.W @ p.W.T + turn - turn.T  # its symmetric part is non-negative
    K = p.stretched(K, p.Z @ Q @ K.T @ p.theta.T)
    loss = lambda Z: potentials.linear(Z @ Q, p.theta @ K, p.C)
    residual = p.C - soft(p.Z @ Q @ K.T @ p.theta.T)
    gradient = grad(loss)(p.Z)
    product, claimed = formula(Q, K, M, gradient)
    pull = p.C @ p.theta @ product
    gives = p.close(residual @ p.theta @ product, -gradient, floor=pull)
    rate = jvp(loss, (p.Z,), (residual @ p.theta @ product @ M,))[1]
    size = (gradient @ M).norm() * gradient.norm()
    return (
        gives
        and p.close(claimed, rate, floor=size)
        and bool(claimed <= 1e-9 * size)
    )
