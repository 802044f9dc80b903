"""Chapter 9, the step of a Hopfield network."""

from sympy import symbols
from torch.func import grad

from claims.divergence import a, divergence, j, l, square
from claims.formulas import kl, lse
from claims.lemmas import gibbs
from claims.witnesses import claim, proves
from imr import attention
from imr.symbolic import (
    d,
    derivative,
    indices,
    k,
    log_sum_exp,
    same,
    softmax,
    tensors,
    total,
    unfold,
)

(q,) = indices("q", d)
z, w, v = tensors("z w v", d)
(X,) = tensors("X", k, d)
s = symbols("s", positive=True)


@proves("prop-hopfield")
def test_prop_hopfield_proof():
    score = lambda z: lambda j: s * total(X[j, a] * z[a], a)
    energy = lambda z: square(lambda a: z[a]) / 2 - log_sum_exp(score(z), j) / s
    read = lambda q: total(softmax(score(z), j, l) * X[j, q], j)
    assert same(derivative(energy(z), z[q]), z[q] - read(q))
    # for every step z → w; the product vanishes at w = read
    change = energy(w) - energy(z) + divergence(score(z), score(w)) / s
    product = total((w[a] - read(a)) * (w[a] - z[a]), a)
    assert same(change, product - square(lambda a: w[a] - z[a]) / 2)
    gibbs()
    # the constant is the best: equality where all patterns are one
    alone = {X: lambda j, a: v[a]}
    assert same(unfold(divergence(score(z), score(w)), alone), 0)
    assert same(unfold(read(q), alone), v[q])


def _hopfield(Z, X, s, part=0.5, surplus=kl):
    """The update of each state, and by how much the energy falls."""
    new = attention.cross_attention(Z, X, s)
    moved = ((new - Z) ** 2).sum(-1)
    return new, part * moved + surplus(s * Z @ X.T, s * new @ X.T) / s


@claim(
    "prop-hopfield",
    right=_hopfield,
    wrong={
        "the sign of the regression flow": lambda Z, X, s: (
            -_hopfield(Z, X, s)[0],
            _hopfield(Z, X, s)[1],
        ),
        "no temperature": lambda Z, X, s: _hopfield(Z, X, 1.0),
        "half a step": lambda Z, X, s: (
            (Z + _hopfield(Z, X, s)[0]) / 2,
            _hopfield(Z, X, s)[1],
        ),
        "no divergence": lambda Z, X, s: _hopfield(
            Z, X, s, surplus=lambda N, M: 0 * kl(N, M)
        ),
        "the divergence exchanged": lambda Z, X, s: _hopfield(
            Z, X, s, surplus=lambda N, M: kl(M, N)
        ),
        "the whole square": lambda Z, X, s: _hopfield(Z, X, s, part=1.0),
    },
)
def test_prop_hopfield_check(p, formula):
    def holds(s):
        energy = lambda Z: (Z**2).sum(-1) / 2 - lse(s * Z, p.theta) / s
        new, fall = formula(p.Z, p.theta, s)
        least = ((new - p.Z) ** 2).sum(-1) / 2
        step = p.Z - grad(lambda Z: energy(Z).sum())(p.Z)
        return (
            p.close(new, step, floor=p.Z)
            and p.close(energy(p.Z) - energy(new), fall, floor=largest)
            and bool((fall >= least - 1e-14 * largest).all())
        )

    largest = max((A**2).sum(-1).max() for A in (p.Z, p.theta))
    return all(holds(s) for s in (0.3, 1 / 0.3))
