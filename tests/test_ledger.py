import re
from pathlib import Path

import pytest
from _tools import claims

ROOT = Path(__file__).resolve().parents[1]

CLAIMS = claims.claims()


@pytest.fixture
def outcomes():
    """A session in which every witness ran and passed."""
    return {
        claim["id"]: {kind: "passed" for kind in claims.KINDS if kind != "symbolic" or "by_hand" not in claim}
        for claim in CLAIMS
    }


def test_all_is_well_when_every_witness_passed(outcomes):
    assert claims.problems(outcomes) == []


@pytest.mark.parametrize("kind", claims.KINDS)
@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_a_witness_that_did_not_pass_is_a_problem(outcomes, kind, outcome):
    outcomes["theorem-1"][kind] = outcome
    assert claims.problems(outcomes) == [f"theorem-1: its {kind} witness {outcome}"]


@pytest.mark.parametrize("kind", claims.KINDS)
def test_a_witness_that_did_not_run_is_a_problem(outcomes, kind):
    del outcomes["theorem-1"][kind]
    assert claims.problems(outcomes) == [f"theorem-1: its {kind} witness did not run"]


def test_a_claim_without_any_witness_and_a_witness_without_a_claim_are_problems(outcomes):
    outcomes["theorem-2"] = outcomes.pop("theorem-1")
    found = claims.problems(outcomes)
    assert len(found) == 5 and "theorem-2: witnesses name it, claims.yml does not" in found


def test_only_a_claim_proved_by_hand_needs_no_symbolic_witness(outcomes):
    by_hand = next(claim["id"] for claim in CLAIMS if "by_hand" in claim)
    assert "symbolic" not in outcomes[by_hand]
    assert all(len(claim["by_hand"]) > 20 for claim in CLAIMS if "by_hand" in claim)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries[0].pop("label"), "lacks label"),
        (lambda entries: entries[0].update(source="hearsay"), "has the source 'hearsay'"),
        (lambda entries: entries[1].update(id=entries[0]["id"]), "listed twice"),
    ],
)
def test_a_bad_list_of_claims_is_refused(change, message, tmp_path, monkeypatch):
    entries = [dict(claim) for claim in CLAIMS[:2]]
    change(entries)
    (tmp_path / "claims.yml").write_text(claims.yaml.safe_dump({"claims": entries}))
    monkeypatch.setattr(claims, "BOOK", tmp_path)
    with pytest.raises(ValueError, match=message):
        claims.claims()


def test_the_pages_are_fresh():
    for name, text in claims.pages().items():
        assert (ROOT / "book" / name).read_text() == text, f"{name} is stale; run make ledger"


def test_every_claim_is_stated_where_the_ledger_says():
    chapters = "".join(path.read_text() for path in (ROOT / "book" / "chapters").glob("*.md"))
    for claim in CLAIMS:
        assert re.search(rf"^:label: {claim['label']}$", chapters, re.M), claim["id"]


def test_every_witness_has_its_code_and_its_cell_on_the_page():
    page, where = claims.pages()["witnesses.md"], claims.cells()
    for claim in CLAIMS:
        assert claim["id"] in where
        for kind in ("check",) if "by_hand" in claim else ("check", "symbolic"):
            block = page.partition(f"({kind}-{claim['id']})=\n```python\n")[2].partition("```")[0]
            assert f'"{claim["id"]}"' in block and "def " in block
