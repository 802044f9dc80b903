"""Random formulas: whatever is proved is true. ``IMR_IDENTITIES=20000`` tries more; the record says what was tried.

The values come from ``identities.number``, in floating point; the calculus checks itself in exact arithmetic besides.
"""

import os
from collections import Counter
from random import Random

import pytest
from symbolic.identities import ENTRY, INDICES, changed, differ, formula, rewritten, values

from imr.symbolic import derivative, same

TRIED = int(os.environ.get("IMR_IDENTITIES", "1000"))
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_is_proved_is_true(part, record_property):
    said = Counter()
    for seed in range(part, TRIED, PARTS):
        draw = Random(seed)
        first = formula(draw, [group[0] for group in INDICES.values()], draw.choice([2, 3, 4]))
        for kind, make in (("the same", rewritten), ("a neighbour", changed)):
            try:
                other = make(draw, first)
                proved = same(first, other)
            except ValueError as refusal:
                said["refused: " + ("an index twice" if "twice" in str(refusal) else "no value")] += 1
                continue
            false = differ(values(first), values(other))
            assert not (proved and false), (seed, first, other)
            assert not (kind == "the same" and false), ("a rewriting of the test's own is wrong", seed, first, other)
            said[f"{kind}, {'false' if false else 'true'}, {'proved' if proved else 'not proved'}"] += 1
    record_property("said", dict(said))
    assert said["the same, true, proved"] > 0.95 * TRIED / PARTS
    assert said["a neighbour, false, not proved"] > 0.6 * TRIED / PARTS


@pytest.mark.parametrize("part", range(PARTS))
def test_every_derivative_is_right(part):
    """By central differences, in an entry of random place."""
    slopes = 0
    for seed in range(part, TRIED // 4, PARTS):
        draw = Random(seed)
        f = formula(draw, [group[0] for group in INDICES.values()], draw.choice([2, 3]))
        try:
            slope = derivative(f, ENTRY)
        except ValueError:
            continue
        slopes += slope != 0
        up, down = values(f, 1e-5), values(f, -1e-5)
        central = [(x - y) / 2e-5 for x, y in zip(up, down, strict=True)]
        assert not differ(values(slope), central, 1e-4), (seed, f, slope)
    assert slopes > 0.1 * TRIED / 4 / PARTS
