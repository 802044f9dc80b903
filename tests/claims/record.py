"""A pytest plugin: no witness of a claim is missing, and what they said is kept.

Where all of ``tests/claims`` ran, each claim of ``book/claims.yml`` must have had
its proof (unless it is by hand), its check and wrong formulas; where all notebooks
ran, its cell. What is missing, failed or was skipped fails the session. If nothing
is, what the tests said is left in ``_build/claims.json``, for the ledger's pages.
"""

from collections import Counter
from pathlib import Path

import pytest
from _tools import claims
from pytest import ExitCode

TESTS, NOTEBOOKS = Path("tests/claims"), Path("book/notebooks")
KINDS = {TESTS: ("proof", "check", "control"), NOTEBOOKS: ("cell",)}
ONE = ("proof", "check")  # of a claim, at most
TO_THE_END = (ExitCode.OK, ExitCode.TESTS_FAILED, ExitCode.NO_TESTS_COLLECTED)
NARROWING = ("keyword", "markexpr", "deselect", "lf", "stepwise", "ignore_glob")
NOT_RUN = ("collectonly", "setuponly", "setupplan")
Witnesses = dict[tuple[str, str], dict]


def pytest_configure(config: pytest.Config) -> None:
    """Keep a record where reports arrive: in the one process, or xdist's first."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Record(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the reports say which items are witnesses, and of what."""
    for item in items:
        for mark in item.iter_markers("witness"):
            label, kind, name = (*mark.args, "")[:3]
            file = item.path.relative_to(item.config.rootpath).as_posix()
            witness = {"label": label, "kind": kind, "name": name}
            witness |= {"file": file, "function": item.originalname}
            item.user_properties.append(("witness", witness))
        cell = getattr(item, "cell", None)  # of a notebook, if nbval collected it
        for tag in cell.metadata.get("tags", []) if cell else []:
            if tag.startswith("claim-"):
                witness = {"label": tag.removeprefix("claim-"), "kind": "cell"}
                item.user_properties.append(("witness", witness))


class Record:
    """What the witnesses said in this session, by test and label."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.root = config, config.rootpath
        self.witnesses: Witnesses = {}
        self.problems: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a witness ended, and what it said."""
        if report.when != "call" and report.passed:
            return
        said = dict(report.user_properties).get("said", {})
        for name, witness in report.user_properties:
            if name == "witness":
                key = (report.nodeid, witness["label"])
                kept = self.witnesses.setdefault(
                    key, witness | {"outcome": "passed"}
                )
                kept["said"] = said
                if kept["outcome"] == "passed":
                    kept["outcome"] = report.outcome

    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> None:
        """Fail the session if a witness is missing; else leave what they said."""
        if exitstatus not in TO_THE_END or session.shouldstop or session.shouldfail:
            return
        for folder in filter(self.ran_whole, KINDS):
            found = self.look(KINDS[folder])
            self.problems += found
            if folder == TESTS and not found:
                claims.write_results(self.root, results(self.witnesses))
            elif folder == TESTS:
                (self.root / claims.RESULTS).unlink(missing_ok=True)
        if self.problems:
            session.exitstatus = ExitCode.TESTS_FAILED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> None:
        """Say which witnesses are missing."""
        if self.problems:
            terminalreporter.section("claims without their witnesses", red=True)
            for problem in self.problems:
                terminalreporter.line(problem)

    def ran_whole(self, folder: Path) -> bool:
        """Whether this session was asked to run everything in a folder."""
        option, whole = self.config.getoption, self.root / folder
        if any(option(name, None) for name in (*NARROWING, *NOT_RUN)):
            return False
        if folder == NOTEBOOKS and not option("nbval", False):
            return False
        start = self.config.invocation_params.dir
        asked = [start / argument for argument in self.config.args]
        ignored = [start / path for path in option("ignore") or []]
        in_part = any(
            path.is_relative_to(whole) or whole.is_relative_to(path)
            for path in ignored
        )
        return (
            whole.is_dir() and any(map(whole.is_relative_to, asked)) and not in_part
        )

    def look(self, kinds: tuple[str, ...]) -> list[str]:
        """What is wrong with the list, or with witnesses of these kinds."""
        try:
            listed = claims.claims(self.root)
        except claims.ClaimsError as error:
            return [str(error)]
        return [
            *disowned(listed, self.witnesses, kinds),
            *missing(listed, self.witnesses, kinds),
        ]


def disowned(
    listed: dict[str, dict], witnesses: Witnesses, kinds: tuple[str, ...]
) -> list[str]:
    """Witnesses that did not pass, or whose claim the list does not know so."""
    found = []
    for (test, label), witness in witnesses.items():
        kind = witness["kind"]
        if kind not in kinds:
            continue
        if label not in listed:
            found.append(f"{label}: {claims.LISTED} has no such claim; see {test}")
        elif witness["outcome"] != "passed":
            found.append(f"{label}: its {kind} {witness['outcome']}; see {test}")
        elif kind == "proof" and "by_hand" in listed[label]:
            found.append(f"{label}: {claims.LISTED} says by hand, but see {test}")
    return found


def missing(
    listed: dict[str, dict], witnesses: Witnesses, kinds: tuple[str, ...]
) -> list[str]:
    """Claims without a witness of one of these kinds, or with one too many."""
    count = Counter(
        (label, witness["kind"]) for (_, label), witness in witnesses.items()
    )
    found = []
    for label, claim in listed.items():
        for kind in kinds:
            by_hand = kind == "proof" and "by_hand" in claim
            if not count[label, kind] and not by_hand:
                found.append(f"{label}: it has no {kind}")
            if count[label, kind] > 1 and kind in ONE:
                found.append(
                    f"{label}: its {kind} is there {count[label, kind]} times"
                )
    return found


def results(witnesses: Witnesses) -> dict[str, dict]:
    """What they said, by label: the proof, the check, each wrong formula."""
    found: dict[str, dict] = {}
    for witness in witnesses.values():
        claim = found.setdefault(witness["label"], {"wrong": {}})
        if witness["kind"] == "control":
            claim["wrong"][witness["name"]] = witness["said"]
        elif witness["kind"] in ONE:
            place = {name: witness[name] for name in ("file", "function")}
            claim[witness["kind"]] = place | witness["said"]
    return found
