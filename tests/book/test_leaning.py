"""The graph of what leans on what: read from a book of a few lines, drawn, and that of the book."""

import re
from functools import partial
from pathlib import Path

import networkx as nx
import pytest
from _tools import claims, leaning
from _tools.statements import Statement
from bs4 import BeautifulSoup
from claimed import CHAPTER, build, words

ROOT = Path(__file__).resolve().parents[2]


BARE = CHAPTER.replace("By {prf:ref}`lem-small`, ", "")  # the theorem's proof cites, the theorem does not


@pytest.fixture
def book(tmp_path):
    """Build a book of one's own."""
    return partial(build, tmp_path)


@pytest.mark.parametrize("cited", ["{prf:ref}`lem-small`", "{eq}`eq-small`"])
def test_the_graph_leads_from_a_statement_to_what_cites_it(book, cited):
    made = book(**{"notebooks/01-first": BARE.replace("CITED", cited)})
    assert made.warnings == ""
    links = made.ledger.select("svg a")
    assert [link["href"] for link in links] == ["notebooks/01-first.html#lem-small", "notebooks/01-first.html#thm-large"]
    assert links[0]["aria-label"] == "Lemma 1.1 (It is small)"
    assert links[1]["aria-label"] == "Theorem 1.1 (It is large), leans on Lemma 1.1"
    assert len(made.ledger.select("svg .edges path")) == 1
    assert made.ledger.svg["aria-labelledby"].split() == [made.ledger.svg.title["id"], made.ledger.svg.desc["id"]]


def test_statements_that_lean_on_nothing_are_named_beside_the_graph(book):
    made = book(**{"notebooks/01-first": BARE.replace("CITED", "nothing")})
    assert not made.ledger.svg
    assert "(2): Lemma 1.1 (It is small); Theorem 1.1 (It is large)." in words(made.ledger)


def test_a_statement_leans_on_what_it_cites_itself(book):
    made = book("nothing")
    assert made.ledger.select("svg a")[1]["aria-label"] == "Theorem 1.1 (It is large), leans on Lemma 1.1"


def test_a_circle_of_statements_is_a_warning(book):
    circle = CHAPTER.replace("Plain.", "See {prf:ref}`thm-large`.").replace("CITED", "{prf:ref}`lem-small`")
    made = book(**{"notebooks/01-first": circle})
    assert "proofs lean on each other in a circle: " in made.warnings
    assert "lem-small → thm-large → lem-small" in made.warnings or "thm-large → lem-small → thm-large" in made.warnings


def test_a_proof_that_cites_its_own_statement_goes_in_a_circle(book):
    assert "in a circle: thm-large → thm-large" in book("{prf:ref}`thm-large`").warnings


def stated(cited):
    return {label: Statement("page", "lemma", f"Number {label}", [], list(on)) for label, on in cited.items()}


def test_what_leans_stands_further_right_and_no_two_boxes_overlap():
    graph = leaning.leaning(stated({"a": "", "b": "a", "c": "ab", "d": "a", "e": "cd", "f": ""} | {c: "e" for c in "ghijk"}))
    drawn = leaning.svg(graph, lambda label: ("Lemma", f"Number {label}"), lambda label: f"#{label}")
    soup = BeautifulSoup(drawn, "html.parser")
    box = {a["href"][1:]: {name: float(a.rect[name]) for name in ("x", "y", "width", "height")} for a in soup.select("a")}
    assert set(box) == set("abcdefghijk")
    for start, end in graph.edges:
        assert box[start]["x"] + box[start]["width"] < box[end]["x"]
    for one in box:
        for other in box:
            apart = abs(box[one]["x"] - box[other]["x"]) >= box[one]["width"]
            assert one == other or apart or abs(box[one]["y"] - box[other]["y"]) >= box[one]["height"]
    assert len(soup.select("path")) == graph.number_of_edges()
    left, top, width, height = map(float, soup.svg["viewbox"].split())
    assert all(left <= b["x"] and b["x"] + b["width"] <= left + width for b in box.values())
    assert all(top <= b["y"] and b["y"] + b["height"] <= top + height for b in box.values())


def test_every_line_of_the_graph_runs_from_its_statement_to_what_leans_on_it():
    graph = leaning.leaning(stated({"a": "", "b": "a", "c": "b", "d": "ac"}))
    soup = BeautifulSoup(leaning.svg(graph, lambda label: (label, label), lambda label: label), "html.parser")
    right = {(float(a.rect["x"]) + float(a.rect["width"]), middle(a.rect)): a["href"] for a in soup.select("a")}
    left = {(float(a.rect["x"]), middle(a.rect)): a["href"] for a in soup.select("a")}
    ends = [[float(number) for number in re.findall(r"[\d.]+", path["d"])] for path in soup.select("path")]
    assert {(right[tuple(points[:2])], left[tuple(points[-2:])]) for points in ends} == set(graph.edges)


def middle(rect):
    return float(rect["y"]) + float(rect["height"]) / 2


def test_a_graph_without_circles_has_none():
    assert leaning.circle(nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")])) == []
    assert leaning.circle(nx.DiGraph([("a", "b"), ("b", "a")])) in (["a", "b"], ["b", "a"])


def test_every_statement_of_the_book_is_in_the_graph_or_beside_it(html):
    pages = {
        file: BeautifulSoup(file.read_text(), "html.parser")
        for file in (html / "book").rglob("*.html")
        if "slides" not in file.parts
    }
    section = pages[html / "book" / "ledger.html"].find(id="what-leans-on-what")
    there = {link["href"].partition("#")[2] for link in section.select("svg a, p a")}
    there_are = {one["id"] for page in pages.values() for one in page.select("div.proof.admonition[id]")} - {"proof"}
    assert there == there_are == set(claims.claims(ROOT))
    assert "Corollary 3.1 (Weighted tokens), leans on Theorem 3.1" in [
        link["aria-label"] for link in section.select("a[aria-label]")
    ]
