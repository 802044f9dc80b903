"""The ledger of claims.

``claims.yml`` lists what the book claims. Each claim has four witnesses: a symbolic proof (tests/test_proofs.py), a numeric
check and a negative control (tests/test_claims.py), and a cell of its chapter. Every test session notes which of them ran
and how it ended (conftest.py); ``write`` makes the pages from that, and refuses while one is missing or has failed.
"""

import ast
import json
from collections import Counter
from functools import cache

import nbformat
import yaml

from _tools import BOOK, ROOT

OUTCOMES = ROOT / "_build" / "witnesses.json"
KINDS = ("symbolic", "numeric", "control", "chapter")
SOURCES = ("paper", "reconstructed", "own")


def claims() -> list[dict]:
    """Read the claims; raise a ValueError for one that is incomplete, twice there or of unknown source."""
    entries = yaml.safe_load((BOOK / "claims.yml").read_text())["claims"]
    for entry in entries:
        if missing := {"id", "says", "source", "label"} - set(entry):
            raise ValueError(f"claim {entry.get('id', entry)} lacks {', '.join(sorted(missing))}")
        if entry["source"] not in SOURCES:
            raise ValueError(
                f"claim {entry['id']} has the source {entry['source']!r}, expected one of: {', '.join(SOURCES)}"
            )
    if twice := [name for name, count in Counter(entry["id"] for entry in entries).items() if count > 1]:
        raise ValueError(f"claims listed twice: {', '.join(twice)}")
    return entries


def problems(outcomes: dict[str, dict[str, str]]) -> list[str]:
    """What keeps the ledger from being true, given how the witnesses of the last session ended; empty if nothing does.

    Args:
        outcomes: claim to kind to outcome ("passed", "failed", "skipped"), as conftest.py notes them.
    """
    found, known = [], {entry["id"] for entry in claims()}
    for entry in claims():
        kinds = [kind for kind in KINDS if not (kind == "symbolic" and "by_hand" in entry)]
        for kind in kinds:
            outcome = outcomes.get(entry["id"], {}).get(kind, "did not run")
            if outcome != "passed":
                found.append(f"{entry['id']}: its {kind} witness {outcome}")
    found += [f"{name}: witnesses name it, claims.yml does not" for name in sorted(set(outcomes) - known)]
    return found


@cache
def cells() -> dict[str, str]:
    """The chapter that has a cell with the tag claim-<id>, for each claim: id to the stem of the notebook."""
    found = {}
    for path in sorted((BOOK / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("claim-"):
                    found.setdefault(tag.removeprefix("claim-"), path.stem)
    return found


def code() -> dict[str, dict[str, str]]:
    """The source of the tests, by file and claim: functions decorated with proves("…") or claim("…")."""
    found: dict[str, dict[str, str]] = {}
    for file, decorator in (("test_proofs.py", "proves"), ("test_claims.py", "claim")):
        text = (ROOT / "tests" / file).read_text()
        for node in ast.parse(text).body:
            for call in getattr(node, "decorator_list", []):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == decorator:
                    lines = text.splitlines()[call.lineno - 1 : node.end_lineno]
                    found.setdefault(file, {})[call.args[0].value] = "\n".join(lines)
    return found


def pages() -> dict[str, str]:
    """The text of ledger.md and witnesses.md."""
    entries, where, source = claims(), cells(), code()
    count = Counter(entry["source"] for entry in entries)
    in_part = sum("proved" in entry for entry in entries)
    by_hand = sum("by_hand" in entry for entry in entries)
    rows = []
    for entry in entries:
        name, says = entry["id"], entry["says"].replace(r"\|", r"\Vert ")  # a bar ends a cell of the table
        proof = f"[{'proof in part' if 'proved' in entry else 'proof'}](#symbolic-{name})"
        proof = "by hand" if "by_hand" in entry else proof
        cell = f"[cell](#cell-{name})" if name in where else "no cell"
        witnesses = f"{proof}, [check and control](#check-{name}), {cell}"
        rows.append(f"| {says} | {{prf:ref}}`{entry['label']}`, {entry['source']} | {witnesses} |")
    left_out = yaml.safe_load((BOOK / "claims.yml").read_text())["left_out"]
    ledger = LEDGER.format(
        number=len(entries),
        **{name: count[name] for name in SOURCES},
        whole=len(entries) - in_part - by_hand,
        in_part=in_part,
        number_by_hand=by_hand,
        rows="\n".join(rows),
        proved="\n".join(f"- {e['says']} *Proved by machine:* {e['proved']}." for e in entries if "proved" in e),
        by_hand="\n".join(f"- {e['says']} *By hand:* {e['by_hand']}." for e in entries if "by_hand" in e),
        left_out="\n".join(f"- {e['what']} *Left out:* {e['why']}" for e in left_out),
    )
    sections = []
    for entry in entries:
        parts = [f"## {entry['id']}\n\n{entry['says']} ({{prf:ref}}`{entry['label']}`)"]
        if "by_hand" not in entry:
            parts.append(_block(f"symbolic-{entry['id']}", source["test_proofs.py"].get(entry["id"], "")))
        parts.append(_block(f"check-{entry['id']}", source["test_claims.py"].get(entry["id"], "")))
        sections.append("\n\n".join(parts))
    return {"ledger.md": ledger, "witnesses.md": WITNESSES + "\n\n".join(sections) + "\n"}


def _block(label: str, text: str) -> str:
    return f"({label})=\n```python\n{text}\n```"


LEDGER = """<!-- Made from the tests that ran; make ledger. -->

(page-ledger)=
# Ledger of claims

Every claim of the book, where it stands, whose it is, and its four witnesses. *Proof*: by machine for symbolic sizes, or an exact
example where the claim is that something fails. *Check*: numerically, against automatic differentiation in float64, over random shapes
and scales. *Control*: the same check rejects plausible wrong formulas. *Cell*: the chapter asserts it. The page was made after each of
these witnesses had run and passed; a link leads to it. That the sentences in the table say what their witnesses test is a matter of
reading: no machine compares the two.

{number} claims: {paper} that the paper states, {reconstructed} reconstructed here of what the paper has, {own} of the book's own.
{whole} are proved by machine, {in_part} in part, {number_by_hand} by hand alone.

| claim | stated in, source | witnesses |
|---|---|---|
{rows}

## Proved by machine in part

{proved}

## Proved by hand

{by_hand}

## Left out

{left_out}
"""

WITNESSES = """<!-- Made from tests/; make ledger. -->

(page-witnesses)=
# Witnesses

The tests behind the {ref}`page-ledger`, as they stand in `tests/test_proofs.py` and `tests/test_claims.py`. A check takes a random problem
and a formula: the right one must pass for every problem, each wrong one must fail for some.

"""


def settle(write: bool) -> list[str]:
    """What is wrong with the ledger after the last session of tests; with ``write`` its pages are made if nothing is."""
    found = problems(json.loads(OUTCOMES.read_text()) if OUTCOMES.exists() else {})
    for name, text in pages().items():
        if write and not found:
            (BOOK / name).write_text(text)
        elif not (BOOK / name).exists() or (BOOK / name).read_text() != text:
            found.append(f"{name} is stale; run make ledger")
    return found
