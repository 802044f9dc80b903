"""The derivatives of random formulas; that whatever is proved of such is true, the check of ``prop-sound`` tries.

The values come from ``identities.number``, in floating point; the calculus checks itself in exact arithmetic besides.
"""

from random import Random

import pytest
from symbolic.identities import ENTRY, INDICES, differ, formula, values

from imr.symbolic import derivative

TRIED = 250
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_every_derivative_is_right(part):
    """By central differences, in an entry of random place."""
    slopes = 0
    for seed in range(part, TRIED, PARTS):
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
    assert slopes > 0.1 * TRIED / PARTS
