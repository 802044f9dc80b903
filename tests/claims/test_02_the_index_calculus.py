"""Chapter 2."""

import os
from random import Random

import torch
from sympy import Basic, KroneckerDelta
from torch.func import jacrev

from claims.formulas import soft
from claims.symbols import i, j, l, m, p
from claims.witnesses import claim, proves
from imr.symbolic import Index, derivative, k, n, same, softmax, tensors
from symbolic.identities import INDICES, changed, differ, rewritten, values
from symbolic.identities import formula as random_formula

(N,) = tensors("N", n, k)
TRIED = int(os.environ.get("IMR_IDENTITIES", "1000"))
"""About so many random formulas, each against two others; ask for more."""


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
    draw, counts = Random(repr(p)), p.counts
    counts["false and proved"] = 0
    for _ in range(TRIED // 22):  # 4 problems are random, 18 fixed
        scope = [group[0] for group in INDICES.values()]
        first = random_formula(draw, scope, draw.choice([2, 3, 4]))
        for make in (rewritten, changed):
            try:
                other = make(draw, first)
                said = "proved" if formula(first, other) else "not proved"
            except ValueError as refusal:
                why = "an index twice" if "twice" in str(refusal) else "no value"
                counts[f"refused, for {why}"] += 1
                continue
            false = differ(values(first), values(other))
            assert not (make is rewritten and false), (first, other)
            counts[f"{'false' if false else 'true'} and {said}"] += 1
            if counts["false and proved"]:
                return False
    few = TRIED // 44
    return counts["true and proved"] > few < counts["false and not proved"]


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
