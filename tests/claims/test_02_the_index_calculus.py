"""Chapter 2."""

from random import Random

import torch
from sympy import Basic, KroneckerDelta
from torch.func import jacrev

from claims.formulas import soft
from claims.symbols import i, j, l, m, p
from claims.witnesses import claim, proves
from imr.symbolic import Index, derivative, k, n, same, softmax, tensors
from symbolic.identities import INDICES, changed, differ, formula, rewritten, values

(N,) = tensors("N", n, k)


def _anonymous(expr):
    """The formula with one index for all indices of a range."""
    first = {size: group[0] for size, group in INDICES.items()}
    return expr.replace(lambda e: isinstance(e, Index), lambda e: first[e.size])


@claim(
    "prop-sound",
    right=same,
    wrong={
        "everything is equal": lambda x, y: True,
        "equal where all sizes are one": lambda x, y: (
            not differ(values(x, sizes=[(1, 1, 1)]), values(y, sizes=[(1, 1, 1)]))
        ),
        "names of indices do not matter": lambda x, y: (
            Basic.compare(_anonymous(x), _anonymous(y)) == 0
        ),
    },
    examples=4,
)
def test_prop_sound_check(p, formula):
    """Of random pairs, true and false ones, none that differs is proved."""
    draw, proved = Random(p.seed), 0
    for _ in range(4):
        first = _formula(draw)
        for make in (rewritten, changed):
            try:
                other = make(draw, first)
                said = formula(first, other)
            except ValueError:  # an index that a sum has already
                continue
            proved += said
            if said and differ(values(first), values(other)):
                return False
    return proved > 1


def _formula(draw):
    scope = [group[0] for group in INDICES.values()]
    return formula(draw, scope, draw.choice([2, 3]))


@proves("lem-softmax")
def test_lem_softmax_proof():
    probability = lambda i, j: softmax(lambda j: N[i, j], j, m)
    own_row, same_class = KroneckerDelta(i, p), KroneckerDelta(j, l)
    slope = own_row * probability(i, j) * (same_class - probability(i, l))
    assert same(derivative(probability(i, j), N[p, l]), slope)


@claim(
    "lem-softmax",
    right=lambda s: (
        torch.diag_embed(s) - s[:, :, None] * s[:, None],
        torch.eye(len(s)).double(),
    ),
    wrong={
        "the diagonal alone": lambda s: (
            torch.diag_embed(s * (1 - s)),
            torch.eye(len(s)).double(),
        ),
        "plus": lambda s: (
            torch.diag_embed(s) + s[:, :, None] * s[:, None],
            torch.eye(len(s)).double(),
        ),
        "p(1 - p) everywhere": lambda s: (
            s[:, :, None] * (1 - s)[:, None],
            torch.eye(len(s)).double(),
        ),
        "every row": lambda s: (
            torch.diag_embed(s) - s[:, :, None] * s[:, None],
            torch.ones(len(s), len(s)).double(),
        ),
    },
)
def test_lem_softmax_check(p, formula):
    N = p.Z @ p.theta.T
    blocks, rows = formula(soft(N))  # (n, k, k), (n, n)
    claimed = torch.einsum("ijl,ip->ijpl", blocks, rows)
    # Differences of numbers up to one.
    return p.close(claimed, jacrev(soft)(N), floor=1.0)
