"""The list of claims: what it may say, and that it names every numbered statement of the chapters."""

import json
import re
from pathlib import Path

import pytest
from _tools import claims

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("thm-a: {}", "thm-a has the source None, expected paper"),
        ("thm-a: {source: own, says: x}", "thm-a says says, expected source"),
        ("thm-a: {source: own, by_hand: x, proved: y}", "by hand and by machine in part"),
        ("thm-a: {source: own}\n  thm-a: {source: own}", "thm-a stands there twice"),
        ("thm-a: {source: own, by_hand: x, rests_on: [y]}", "thm-a is proved by hand, and rests_on is for"),
        *(
            (f"thm-a: {{source: own, rests_on: {bad}}}", "expected a list of")
            for bad in ("y", "[]", "[y, y]", "[1]", "['']")
        ),
    ],
)
def test_a_bad_list_of_claims_is_refused(tmp_path, text, says):
    (tmp_path / "book").mkdir()
    (tmp_path / claims.LISTED).write_text(f"claims:\n  {text}\n")
    with pytest.raises(claims.ClaimsError, match=says):
        claims.claims(tmp_path)


def test_what_a_claim_says_of_itself_is_read(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / claims.LISTED).write_text("claims:\n  thm-a: {source: own, proved: x, rests_on: [Gibbs, Taylor]}\n")
    assert claims.claims(tmp_path) == {"thm-a": {"source": "own", "proved": "x", "rests_on": ["Gibbs", "Taylor"]}}


def test_every_numbered_statement_is_a_claim_in_the_order_of_the_book_and_nothing_else_is():
    chapters = "".join(path.read_text() for path in sorted((ROOT / "book" / "chapters").glob("*.md")))
    stated = r"^(?:`{3,}|:{3,}){prf:(?:theorem|lemma|proposition|corollary)}[^\n]*\n(?::label: ([\w-]+))?"
    assert re.findall(stated, chapters, re.M) == list(claims.claims(ROOT))
    assert json.dumps(claims.left_out(ROOT))
