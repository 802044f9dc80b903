"""Chapter 2."""

import torch
from sympy import KroneckerDelta
from torch.func import jacrev

from claims.formulas import soft
from claims.symbols import j, p, q, x
from claims.witnesses import claim, proves
from imr.symbolic import derivative, k, same, softmax


@proves("lem-softmax")
def test_lem_softmax_proof():
    probability = lambda q: softmax(lambda j: x[j], q, (j, k))
    assert same(
        derivative(probability(p), x[q]),
        probability(p) * (KroneckerDelta(p, q) - probability(q)),
    )


@claim(
    "lem-softmax",
    right=lambda s: torch.diag(s) - s[:, None] * s,
    wrong={
        "the diagonal alone": lambda s: torch.diag(s * (1 - s)),
        "plus": lambda s: torch.diag(s) + s[:, None] * s,
        "p(1 - p) everywhere": lambda s: s[:, None] * (1 - s),
    },
)
def test_lem_softmax_check(p, formula):
    N = p.Z[0] @ p.theta.T
    # Differences of numbers up to one.
    return p.close(formula(soft(N)), jacrev(soft)(N), floor=1.0)
