"""The ledger and the pages of witnesses, from a book of a few lines; then those of the book."""

import re
from functools import partial
from pathlib import Path

import pytest
from _tools import claims, pdf
from bs4 import BeautifulSoup
from claimed import LISTED, SAID, TESTS, build, words
from sphinx.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A book in which all is well."""
    return build(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def book(tmp_path):
    """Build a book of one's own."""
    return partial(build, tmp_path)


def test_a_claim_is_shown_with_what_its_witnesses_said_and_their_sources(plain):
    made = plain
    assert made.warnings == ""
    lemma, theorem = made.witnesses.select("section section")
    assert words(lemma.h2).endswith("Lemma 1.1 (It is small)")
    assert lemma.h2.a["href"] == "../notebooks/01-first.html#lem-small"
    said = words(lemma)
    assert "Proof in part: passed; it covers the first half." in said
    assert "holds for 40 random problems and 8 fixed ones; it tests conditions" in said
    assert "Counted: 1,234 true and proved, 1 refused, 0 false and proved." in said
    assert "“none”: a condition fails, on problem 2" in said
    proof, check = lemma.select("div.highlight")
    assert proof.get_text().startswith('@proves("lem-small")\ndef test_lem_small_proof():')
    assert check.get_text().startswith("def test_lem_small_check():")
    said = words(theorem)
    assert "Proof by hand: there is no" in said and "passed" not in said and "Counted" not in said
    assert "the largest relative error is 2.3e-16 where 1e-11 is allowed" in said
    assert "2 tried on the fixed problems, 2 rejected" in said
    assert "“minus”: off by 0.5, on problem 1" in said and "“twice”: off by 1.2, on problem 3" in said
    (check,) = theorem.select("div.highlight")
    assert 'right="this formula"' in check.get_text()


def test_a_statement_is_repeated_with_links_from_where_it_is_repeated(plain):
    lemma, theorem = plain.witnesses.select(".imr-statement")
    assert words(lemma) == r"For every \(x\) \[ x = x . \]"  # without its number, which is a link on its own page
    assert not lemma.find(id=True)
    assert theorem.a["href"] == "../notebooks/01-first.html#lem-small" and "Lemma 1.1, " in words(theorem)


def test_links_under_a_statement_lead_to_its_witnesses(plain):
    made = plain
    statements = made.notebooks.select("div.proof[id]:not(#proof)")
    links = [[(a.get_text(), a["href"]) for a in one.select(".imr-witnesses a")] for one in statements]
    page = "../witnesses/01-first.html"
    assert links == [
        [
            ("proof in part", f"{page}#symbolic-lem-small"),
            ("check and control", f"{page}#check-lem-small"),
            ("cell", "#cell-lem-small"),
        ],
        [("check and control", f"{page}#check-thm-large"), ("cell", "#cell-thm-large")],
    ]
    ids = {tag["id"] for tag in made.witnesses.find_all(id=True)}
    assert {"symbolic-lem-small", "check-lem-small", "check-thm-large"} <= ids
    heading = made.witnesses.find(id="check-lem-small")
    assert heading.name == "section" and heading.find(True).name == "h2"  # one lands on the heading


def test_tables_of_contents_name_the_statements(plain):
    entries = [words(a) for a in plain.index.select("a[href*='#check-']")]
    assert [re.sub(r"^[\d.]+ ", "", entry) for entry in entries] == ["Lemma 1.1 (It is small)", "Theorem 1.1 (It is large)"]


def test_the_ledger_lists_all_claims_and_counts_them(plain):
    made = plain
    ledger = words(made.ledger)
    assert "2 claims: 1 that the paper states, 0 reconstructed here of what the paper has, 1 of the book's own." in (
        ledger.replace("’", "'")
    )
    assert "0 are proved by machine, 0 of them up to textbook facts, which are named; 1 in part, 1 by hand alone." in ledger
    lemma, theorem = (words(row) for row in made.ledger.select("tbody tr"))
    assert lemma == "Lemma 1.1 (It is small) paper proof in part, check on 48 problems, 1 wrong formulas, cell"
    assert theorem == "Theorem 1.1 (It is large) own proof by hand, check on 48 problems, 2 wrong formulas, cell"
    items = [words(item) for item in made.ledger.select("li") if "(It" in words(item)]
    assert any(item.startswith("Lemma 1.1 (It is small): the first half.") for item in items)
    assert any(item.startswith("Theorem 1.1 (It is large): there is no") for item in items)
    assert "Left out: no room." in ledger


def test_what_proofs_by_machine_take_as_given_is_named_wherever_they_are(book):
    facts = {"rests_on": ["the mean value theorem", "Jensen's inequality"]}
    whole = {"lem-small": {"source": "paper"} | facts, "thm-large": {"source": "own", "rests_on": facts["rests_on"][:1]}}
    made = book(listed=whole, said=SAID | {"thm-large": SAID["thm-large"] | {"proof": SAID["lem-small"]["proof"]}})
    assert made.warnings == ""
    ledger = words(made.ledger).replace("’", "'")
    assert "2 are proved by machine, 2 of them up to textbook facts, which are named; 0 in part, 0 by hand alone." in ledger
    names = ("the mean value theorem: Lemma 1.1 (It is small), Theorem 1.1", "Jensen's inequality: Lemma 1.1 (It is small).")
    assert all(name in ledger for name in names)
    assert ledger.count("proof by machine up to textbook facts, check on") == 2
    said = words(made.witnesses).replace("’", "'")
    assert "Proof by machine: passed; given, as textbooks prove it: the mean value theorem, Jensen's inequality." in said
    links = made.notebooks.select(".imr-witnesses a")
    assert links[0].get_text() == "proof by machine up to textbook facts"


def test_a_proof_in_part_says_what_it_covers_and_what_it_takes_as_given(book):
    part = {"source": "own", "proved": "the first half", "rests_on": ["Taylor's formula"]}
    made = book(listed=LISTED | {"lem-small": part})
    said = words(made.witnesses).replace("’", "'")
    assert "passed; it covers the first half; given, as textbooks prove it: Taylor's formula." in said
    assert "0 are proved by machine, 0 of them" in words(made.ledger)


def test_a_claim_without_a_statement_is_a_warning(book):
    made = book(listed=LISTED | {"thm-gone": {"source": "own"}}, said=SAID | {"thm-gone": SAID["lem-small"]})
    assert "lists the claim thm-gone, but no statement has this label" in made.warnings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("See {statement}`thm-gone`.", "'statement' reference target not found: thm-gone"),
        ("```{ledger} sums\n```", "no part 'sums' of the ledger, expected one of: counts"),
        ("```{witnesses} ledger\n```", "book/ledger states no claim of book/claims.yml"),
    ],
)
def test_a_mistake_on_a_page_is_a_warning(book, text, says):
    assert says in book(**{"index": f"# Title\n\n{text}\n\n```{{toctree}}\n:glob:\n*/*\nledger\n```\n"}).warnings


def test_a_book_is_not_built_without_results(book):
    with pytest.raises(ConfigError, match="make claims"):
        book(said=None)


def test_a_book_is_not_built_with_old_results(book):
    book()
    with pytest.raises(ConfigError, match="older than"):
        book(said=None, tests=TESTS + "\n")


@pytest.fixture(scope="module")
def pages(html):
    return {file: BeautifulSoup(file.read_text(), "html.parser") for file in (html / "book").rglob("*.html")}


def test_every_claim_is_linked_from_its_statement(pages):
    ids = {file: {tag["id"] for tag in page.find_all(id=True)} for file, page in pages.items()}
    for label, claim in claims.claims(ROOT).items():
        ((file, statement),) = ((f, page.find(id=label)) for f, page in pages.items() if label in ids[f])
        links = [link["href"].partition("#") for link in statement.select(".imr-witnesses a")]
        reached = {anchor for name, _, anchor in links if anchor in ids[(file.parent / (name or file.name)).resolve()]}
        kinds = ("check", "cell") if "by_hand" in claim else ("check", "cell", "symbolic")
        assert reached == {f"{kind}-{label}" for kind in kinds}


def test_the_pages_show_what_the_last_run_said(pages):
    listed = claims.claims(ROOT)
    assert set(listed) == set(claims.read_results(ROOT))
    for label, said in claims.read_results(ROOT).items():
        (section,) = (page.find(id=f"check-{label}") for page in pages.values() if page.find(id=f"check-{label}"))
        text, check = words(section), said["check"]
        assert f"holds for {check['random']} random problems and {check['fixed']} fixed ones" in text
        for tolerance, error in check["errors"]:
            assert f"{error:.2g} where {tolerance:g} is allowed" in text
        assert all(f"{number:,} {what}" in text for what, number in check["counts"].items())
        assert f"{len(said['wrong'])} tried on the fixed problems, {len(said['wrong'])} rejected" in text
        for result in said["wrong"].values():
            assert (f"off by {result['error']:.2g}" if result["error"] else "a condition fails") in text
        assert f"def {check['function']}(" in text
        assert ("Proof by hand" in text) == ("proof" not in said) == ("by_hand" in listed[label])


def test_the_sources_fit_the_page(pages):
    for file, page in pages.items():
        for line in [line for code in page.select("section[id^=check-] pre") for line in code.get_text().splitlines()]:
            assert len(line) <= 84, f"{file.name}: {line}"


def test_every_chapter_with_claims_has_its_page_of_witnesses():
    notebooks = {path.stem: path.read_text() for path in (ROOT / "book" / "notebooks").glob("*.ipynb")}
    claiming = [
        stem for stem, text in notebooks.items() if set(re.findall(r":label: ([\w-]+)", text)) & set(claims.claims(ROOT))
    ]
    assert {f"book/witnesses/{stem}" for stem in claiming} <= set(pdf.pages())
