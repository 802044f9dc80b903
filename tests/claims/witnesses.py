"""How a claim gets its witnesses.

``proves`` marks a test as a proof; ``claim`` makes tests of a check.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from math import inf
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings

from strategies import Problem, problems

Formula = Callable
Check = Callable[[Problem, Formula], bool]
Said = dict[str, object]


def proves(label: str) -> pytest.MarkDecorator:
    """Mark a test as the proof of the claim with this label."""
    return pytest.mark.witness(label, "proof")


def claim(
    label: str, right: Formula, wrong: dict[str, Formula], examples: int = 40
) -> Callable[[Check], Callable]:
    """Make tests of a check: the right formula passes it, each wrong one fails.

    The check takes a problem and a formula and says whether this holds there. It
    compares with ``problem.close``, which keeps the errors for the record: they are
    relative to the largest entry of the second argument, what is right. Where that
    is zero, or a small difference of large terms, it passes those as the ``floor``.
    Errors of steps it compares with ``formulas.has_leading_term``.

    Args:
        label: of the statement in its chapter.
        right: what the statement says; must hold for every problem.
        wrong: plausible mistakes by name; each must fail for a fixed problem.
        examples: how many random problems to draw.
    """

    def tests(check: Check) -> Callable:
        runs = [_Run("check", "right", partial(accepts, check, right, examples))]
        for name, formula in wrong.items():
            runs.append(_Run("control", name, partial(rejects, check, formula)))

        @pytest.mark.parametrize("run", [run.marked(label) for run in runs])
        def test(run: Callable[[], Said], record_property: Callable) -> None:
            record_property("said", run())

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return tests


class _Run(NamedTuple):
    """A test of a formula: whether a check accepts it, or rejects it."""

    kind: str
    name: str
    run: Callable[[], Said]

    def marked(self, label: str) -> object:
        mark = pytest.mark.witness(label, self.kind, self.name)
        name = self.name if self.kind == "check" else f"wrong: {self.name}"
        return pytest.param(self.run, marks=mark, id=name)


def fixed() -> list[Problem]:
    """The problems on which each wrong formula is tried, and the right one too.

    Soft and hard labels, features of several scales, logits up to ±500.
    """
    return [
        Problem(seed=seed, scale=scale, hard=hard, logit=logit)
        for seed in range(3)
        for hard in (False, True)
        for scale, logit in ((0.3, 0.0), (1.0, 0.0), (3.0, 500.0))
    ]


def accepts(check: Check, right: Formula, examples: int) -> Said:
    """Try the right formula on random and on fixed problems; it must hold for each.

    Returns:
        ``random`` and ``fixed``: the number of problems; ``errors``: pairs of a
        tolerance and the largest error seen of those that it allows, both relative.
        There is none if the check compares no arrays, but numbers by an inequality.
        ``counts``: what the check has counted, all problems together.

    Raises:
        AssertionError: it fails for a problem, which is named.
    """
    drawn: set[Problem] = set()
    errors: dict[float, float] = {}
    counted: dict[Problem, Counter[str]] = {}

    def holds(problem: Problem) -> None:
        assert check(problem, right), (
            f"the claim fails for {problem}: {problem.errors}"
        )
        for tolerance, error in problem.errors.items():
            errors[tolerance] = max(error, errors.get(tolerance, 0.0))
        counted[problem] = problem.counts

    # A problem is small as it is, and to look for the smallest one takes minutes.
    @settings(
        max_examples=examples,
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(problems)
    def hold(problem: Problem) -> None:
        holds(problem)
        drawn.add(problem)

    hold()
    for problem in fixed():
        holds(problem)
    counts: Counter[str] = Counter()
    for count in counted.values():
        counts.update(count)
    said = {"random": len(drawn), "fixed": len(fixed()), "counts": dict(counts)}
    return said | {"errors": sorted(map(list, errors.items()))}


def rejects(check: Check, wrong: Formula) -> Said:
    """Try a wrong formula on the fixed problems, until it fails.

    Returns:
        ``problems``: how many it took; ``error``: by how much it was off, relative,
        or None where a condition failed, or shapes differ.

    Raises:
        AssertionError: it fails for none, so the check is too weak.
    """
    for number, problem in enumerate(fixed(), 1):
        if not check(problem, wrong):
            beyond = [
                e for allowed, e in problem.errors.items() if allowed < e < inf
            ]
            return {"problems": number, "error": max(beyond, default=None)}
    raise AssertionError("the check accepts this wrong formula for every problem")
