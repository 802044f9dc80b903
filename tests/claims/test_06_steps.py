"""Chapter 6, how fast the quadratic flow is, and which steps descend."""

import math

import torch
import z3
from scipy.special import lambertw
from sympy import (
    Matrix,
    Rational,
    exp,
    expand,
    factorial,
    hessian,
    limit,
    log,
    oo,
    simplify,
    symbols,
    zeros,
)
from torch.func import grad, jacfwd

from claims.certain import follows
from claims.tokens import C, G, Z, i, j, l, logits, p, q, s, velocity
from claims.witnesses import claim, proves
from imr import flow, potentials
from imr.symbolic import indices, k, same, softmax, tensors, total


def never_faster():
    """‖Ż‖² ≤ 8n ‖θ‖² ‖Z‖², from what the letters below say."""
    # |C − σ|² ≤ 2n: entry by entry, and the rows of both sum to one.
    c, t = z3.Reals("c t")
    in_0_1 = (c >= 0, c <= 1, t >= 0, t <= 1)
    assert follows((c - t) ** 2 <= c + t, *in_0_1)
    assert same(total(softmax(lambda j: G[i, j], j, l), j), 1)
    # |GX|² ≤ |G|² |X|² (Cauchy–Schwarz): the gap of an entry is a sum of squares.
    (X,) = tensors("X", *Z.shape)
    gap = total(G[i, j] ** 2, j) * total(X[j, q] ** 2, j)
    gap -= total(G[i, j] * X[j, q], j) ** 2
    squares = total((G[i, j] * X[l, q] - G[i, l] * X[j, q]) ** 2 / 2, j, l)
    assert same(gap, squares) and squares.is_nonnegative
    # |X + Y|² ≤ 2|X|² + 2|Y|², entry by entry.
    assert follows((c + t) ** 2 <= 2 * c**2 + 2 * t**2)
    # With x = |GZθᵀ|², y = |GᵀZθ|², both ≤ 2n|θ|²|Z|²: |Ż|² ≤ 2x + 2y.
    x, y, bound = z3.Reals("x y bound")
    assert follows(2 * x + 2 * y <= 4 * bound, x <= bound, y <= bound)


def outward():
    """⟨Z, Ż⟩ = 2⟨C − σ, N⟩ ≤ 2n w/s, where w e^(w+1) = n − 1."""
    inner = total(Z[p, q] * velocity(), p, q)
    rows = softmax(lambda j: s * logits(i, j), j, l)
    claimed = 2 * total((C[i, j] - rows) * logits(i, j), i, j)
    assert same(inner, claimed)
    # A row, seen from its largest logit M; the k = n − 1 others are M − x_u²/s, and
    # the labels expect of them y_u².
    (x, y), (u,) = tensors("x y", k), indices("u", k)
    M, w = symbols("M w", real=True)
    a, other = (lambda u: x[u] ** 2), (lambda u: M - x[u] ** 2 / s)
    hoped = (1 - total(y[u] ** 2, u)) * M + total(y[u] ** 2 * other(u), u)
    lost = total(y[u] ** 2 * a(u), u) / s
    assert same(M - hoped, lost) and lost.is_nonnegative
    everything = exp(s * M) + total(exp(s * other(u)), u)
    mean = M * exp(s * M) + total(other(u) * exp(s * other(u)), u)
    weights = 1 + total(exp(-a(u)), u)
    assert same(M - mean / everything, total(a(u) * exp(-a(u)), u) / weights / s)
    # That is at most w/s: with w = k e^−(1+w) the gap is a sum of terms.
    terms = total(exp(-1 - w) - (a(u) - w) * exp(-a(u)), u)
    gap = k * exp(-1 - w) - w + w * weights - total(a(u) * exp(-a(u)), u)
    assert same(terms, gap)
    assert simplify((w - k * exp(-1 - w)).subs(k, w * exp(w + 1))) == 0
    # A term is e^−a (e^x − 1 − x) with x = a − 1 − w; and 1 + x ≤ e^x.
    t = symbols("t", real=True)
    term, beyond = exp(-1 - w) - (t - w) * exp(-t), t - 1 - w
    assert simplify(term - exp(-t) * (exp(beyond) - 1 - beyond)) == 0


def best_constants():
    """Features for which both inequalities are equalities, or nearly so."""
    # θ = −1, C = I, Z = (z, −z): N = −z² and z², σ tends to the exchange.
    z, w = symbols("z w", positive=True)
    field, _ = _pair([[1, 0], [0, 1]], -1)
    speed = field.subs({x1: z, x2: -z}, simultaneous=True).norm() / (sqrt2 * z)
    assert limit(simplify(speed), z, oo) == 4  # = 2 √(2·2)
    # Z = I, θ = (1 + w)/s I, C = I: every row of logits is ((1 + w)/s, 0, …, 0).
    logit = (1 + w) / s
    top = exp(s * logit)
    row = logit * (1 - top / (top + w * exp(1 + w)))  # n − 1 = w e^(1+w)
    assert simplify(row - w / s) == 0


x1, x2 = symbols("x1 x2", real=True)
sqrt2 = 2 ** Rational(1, 2)


def _pair(labels, theta=1):
    """The flow and the loss of two tokens x1 and x2 with one feature."""
    rows = [[theta * x * y for y in (x1, x2)] for x in (x1, x2)]
    loss = 0
    for N, C_ in zip(rows, labels, strict=True):
        expected = sum(c * x for c, x in zip(C_, N, strict=True))
        loss += log(sum(map(exp, N))) - expected
    return -Matrix([loss.diff(x1), loss.diff(x2)]), loss


@proves("prop-growth")
def test_prop_growth_proof():
    never_faster()
    outward()
    best_constants()


def _w(n):
    """The w of n tokens."""
    return lambertw((n - 1) / math.e).real


@claim(
    "prop-growth",
    right=lambda n: (2 * math.sqrt(2 * n), 2 * n * _w(n)),
    wrong={
        "as if there were one read": lambda n: (math.sqrt(2 * n), 2 * n * _w(n)),
        "speed, one per mille less": lambda n: (
            1.998 * math.sqrt(2 * n),
            2 * n * _w(n),
        ),
        "speed, without the number": lambda n: (2 * math.sqrt(2), 2 * n * _w(n)),
        "growth, one per mille less": lambda n: (
            2 * math.sqrt(2 * n),
            1.998 * n * _w(n),
        ),
        "no growth": lambda n: (2 * math.sqrt(2 * n), 0.0),
    },
)
def test_prop_growth_check(p, formula):
    """The bounds at random features and where they are attained; and a path."""
    eye, pair = torch.eye(p.n).double(), torch.tensor([[5.0], [-5.0]]).double()
    one, two = torch.eye(1).double(), torch.eye(2).double()
    s = 0.5 + p.seed % 3
    attained = {
        "growth": (eye, (1 + _w(p.n)) / s * eye, eye, s),
        "speed": (pair, -one, two, 1.0),
    }
    for X, form, labels, scale in ((p.Z, p.form, p.D, s), *attained.values()):
        speed, growth = formula(len(X))
        V = flow.quadratic_field(form, labels, scale)(X)
        fastest = speed * torch.linalg.matrix_norm(form, 2) * X.norm()
        slack = 1e-12 * X.norm() * V.norm() + 1e-12
        if V.norm() > fastest + slack or (X * V).sum() > growth / scale + slack:
            return False
    return _stays_below(p, growth=formula(p.n)[1])


def _stays_below(p, growth):
    """‖Z(t)‖² along a finely integrated flow, for a time of forty steps."""
    theta = p.form / torch.linalg.matrix_norm(p.form, 2)
    start = p.B / p.B.norm()
    field = flow.quadratic_field(theta, p.D)
    path = flow.trajectory(flow.rk4(field, 0.05), start, 40)
    times = 0.05 * torch.arange(41)
    size = path.square().sum((1, 2))
    return bool((size <= size[0] + 2 * growth * times + 1e-6).all())


@proves("prop-curvature")
def test_prop_curvature_proof():
    """Two tokens, one feature, θ = 1, at z1 = z2 = z; labels c for the other."""
    z, h, e, c = symbols("z h epsilon c", real=True)
    field, loss = _pair([[1 - c, c], [c, 1 - c]])
    together, apart = {x1: z, x2: z}, {x1: z + e, x2: z - e}
    top = z**2 - 2 + 4 * c
    H = hessian(loss, (x1, x2)).subs(together).applyfunc(simplify)
    assert (H * Matrix([1, -1]) - top * Matrix([1, -1])).expand().is_zero_matrix
    assert (H * Matrix([1, 1])).expand().is_zero_matrix
    assert field.subs(together).applyfunc(simplify).is_zero_matrix
    # What a step changes, from z ± ε: the first terms of its series in ε.
    step = (Matrix([x1, x2]) + h * field).subs(apart)
    term = lambda f, m: f.diff(e, m).subs(e, 0).applyfunc(simplify) / factorial(m)
    moved = sum((term(step, m) * e**m for m in range(3)), zeros(2, 1))
    after = loss.subs(dict(zip((x1, x2), moved, strict=True)), simultaneous=True)
    change = Matrix([after - loss.subs(apart)])
    assert term(change, 0)[0] == term(change, 1)[0] == 0
    assert expand(term(change, 2)[0] - h * top**2 * (h * top - 2)) == 0
    # That is positive if hλ > 2, as it is for large z, for every h > 0 and c.
    size, curved = z3.Reals("size curved")
    rise = size * curved**2 * (size * curved - 2)
    assert follows(rise > 0, size > 0, size * curved > 2)
    assert limit(top, z, oo) == oo


@claim(
    "prop-curvature",
    right=lambda z, c: z**2 - 2 + 4 * c,
    wrong={
        "labels without a part": lambda z, c: z**2,
        "labels with half of theirs": lambda z, c: z**2 - 2 + 2 * c,
        "bounded": lambda z, c: z**0,
        "twice": lambda z, c: 2 * (z**2 - 2 + 4 * c),
        "one per mille more": lambda z, c: 1.001 * (z**2 - 2 + 4 * c),
        "logit, not its square": lambda z, c: z - 2 + 4 * c,
    },
)
def test_prop_curvature_check(p, formula):
    """The spectrum from automatic differentiation; steps on both sides of 2/λ."""
    generator = torch.Generator().manual_seed(p.seed)
    z = 2 + 20 * torch.rand((), generator=generator, dtype=torch.float64)
    one, Z = torch.eye(1).double(), z.repeat(2, 1)
    c = round(torch.rand((), generator=generator).item(), int(not p.hard))
    top = formula(z, c)
    labels = torch.tensor([[1 - c, c], [c, 1 - c]], dtype=torch.float64)
    loss = lambda Z: potentials.quadratic(Z, one, labels)
    H = jacfwd(grad(loss))(Z).reshape(2, 2)
    held = p.close(torch.linalg.eigvalsh(H), torch.stack([0 * z, top]), 1e-9)
    near = Z + torch.tensor([[1e-3], [-1e-3]]) / z
    for factor in (0.98, 1.02):  # of 2/λ: down just below it, up just above
        step = flow.euler(flow.quadratic_field(one, labels), factor * 2 / top)
        held &= bool((loss(step(near)) > loss(near)) == (factor > 1))
    return held
