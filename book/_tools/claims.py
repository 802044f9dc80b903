"""The claims of the book, and what their witnesses said.

``book/claims.yml`` names the claims, by the labels of the statements that make them. Their witnesses are in
``tests/claims``: a proof, a check, and wrong formulas that the check must reject. When all have passed, pytest leaves what
they said in ``_build/claims.json`` (tests/claims/record.py); the pages of the ledger (ledger.py) show that and nothing else.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from imr.files import write_text

SOURCES = ("paper", "reconstructed", "own")
PROOFS = ("by_hand", "proved")
LISTED = Path("book/claims.yml")
RESULTS = Path("_build/claims.json")
TESTED = ("book/claims.yml", "imr/*.py", "imr/symbolic/*.py", "tests/strategies.py", "tests/claims/*.py")
Claim = dict[str, str | list[str]]


class ClaimsError(ValueError):
    """The list of claims is wrong, or what the witnesses said is missing or out of date."""


def claims(root: Path) -> dict[str, Claim]:
    """The claims in the order of the book, by label.

    Each has its ``source``; ``by_hand`` if no proof is by machine, or ``proved`` if one is in part; and ``rests_on``, the
    textbook facts that the proof by machine takes as given, if there are some.

    Raises:
        ClaimsError: a claim has no or an unknown source, or says of itself what cannot be.
    """
    listed = _read(root)["claims"]
    for label, claim in listed.items():
        if wrong := _wrong(claim):
            raise ClaimsError(f"{LISTED}: {label} {wrong}")
    return listed


def _wrong(claim: Claim) -> str:
    """What is wrong with a claim, or nothing."""
    if claim.get("source") not in SOURCES:
        return f"has the source {claim.get('source')!r}, expected {', '.join(SOURCES)}"
    if unknown := set(claim) - {"source", *PROOFS, "rests_on"}:
        return f"says {', '.join(sorted(unknown))}, expected source, by_hand or proved, and rests_on"
    if set(PROOFS) <= set(claim):
        return "is proved by hand and by machine in part, expected one of the two"
    if "rests_on" not in claim:
        return ""
    if "by_hand" in claim:
        return "is proved by hand, and rests_on is for what a proof by machine takes as given"
    facts = claim["rests_on"]
    names = isinstance(facts, list) and all(isinstance(fact, str) and fact for fact in facts)
    return "" if names and len(set(facts)) == len(facts) > 0 else f"rests_on {facts!r}, expected a list of different facts"


def left_out(root: Path) -> list[dict[str, str]]:
    """What the book says without witnesses: items of ``what`` and ``why``."""
    return _read(root)["left_out"]


def _read(root: Path) -> dict[str, Any]:
    return yaml.load((root / LISTED).read_text(encoding="utf-8"), OneOfEach)


class OneOfEach(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the last of the two."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping; a ClaimsError names a key that stands twice."""
        keys = [key.value for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ClaimsError(f"{LISTED}: {', '.join(sorted(twice))} stands there twice")
        return super().construct_mapping(node, deep)


def digest(root: Path) -> str:
    """A fingerprint of all that the witnesses depend on: the list, the package and the tests."""
    state = hashlib.sha256()
    for file in sorted(file for pattern in TESTED for file in root.glob(pattern)):
        content = file.read_bytes()
        state.update(f"{file.relative_to(root)} {len(content)}\n".encode() + content)
    return state.hexdigest()


def write_results(root: Path, results: dict[str, dict]) -> None:
    """Keep what the witnesses said of each claim, with the state of the sources in which they said it."""
    (root / RESULTS).parent.mkdir(exist_ok=True)
    write_text(root / RESULTS, json.dumps({"sources": digest(root), "claims": results}, indent=1, allow_nan=False))


def read_results(root: Path) -> dict[str, dict]:
    """What the witnesses said of each claim, by label.

    Raises:
        ClaimsError: they have not run, or not since the list, the package or the tests changed.
    """
    if not (root / RESULTS).is_file():
        raise ClaimsError(f"{RESULTS} is not there: the witnesses of the claims have not run, or one failed; make claims")
    found = json.loads((root / RESULTS).read_text(encoding="utf-8"))
    if found["sources"] != digest(root):
        raise ClaimsError(f"{RESULTS} is older than {', '.join(TESTED)}: the witnesses must run again; make claims")
    return found["claims"]
