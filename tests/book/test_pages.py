"""What the book adds to the pages of Sphinx, each on a book of a few lines."""

import json
from zipfile import ZipFile

import pytest
from _tools import ROOT, assignments
from tiny import REFRESHED, build, chapter, prose

TOC = "# Title\n\n```{toctree}\n:numbered:\nnotebooks/01-first\nnotebooks/02-second\nfacts\n```\n"
FIRST = """\
# First

```{admonition} What you will be able to do
:class: tip
- say what a {ref}`second step <ch-second>` of size $h$ does;
- take *it*.
```

```{exercise}
:label: ex-one

Say so.
```
"""
BOOK = {
    "index.md": TOC,
    "facts.md": "# Facts",
    "notebooks/01-first.ipynb": chapter(prose(FIRST)),
    "notebooks/02-second.ipynb": chapter(prose("(ch-second)=\n# Second\n\nText.")),
}
ASSIGNMENT = """\
---
imr:
  minutes: 30
  chapters: [01-first, 02-second]
---

# Steps

```{raw-cell}
# BEGIN QUESTION
name: one
points: 3
```

## 1. A step (of two) (3 points, 10 minutes)

```{raw-cell}
# END QUESTION
```

```{raw-cell}
# BEGIN QUESTION
name: two
points: 2
```

## 2. Another (2 points, 20 minutes)

```{raw-cell}
# END QUESTION
```

## More
"""


@pytest.fixture
def assignment(tmp_path, monkeypatch):
    """The book has one assignment."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "01-steps.md").write_text(ASSIGNMENT)
    monkeypatch.setattr(assignments, "EXERCISES", tmp_path / "sources")


def facts(folder, text, **more):
    """What a page becomes, in a book without complaints."""
    site = build(folder, BOOK | {"facts.md": f"# Facts\n\n{text}\n"} | more)
    assert site.warnings == ""
    return site.pages["facts"]


def directive(name):
    return f"```{{{name}}}\n```"


def words(node):
    return " ".join(node.get_text().replace("¶", "").split())


def test_chapter_status_is_what_the_notebooks_say(tmp_path):
    rows = facts(tmp_path, directive("chapter-status")).select("tbody tr")
    assert [words(row) for row in rows] == [f"{title} 2030-01-02 3 python 3.99, torch 9.0" for title in ("First", "Second")]
    assert [row.a["href"] for row in rows] == ["notebooks/01-first.html", "notebooks/02-second.html"]


def test_image_checksums_are_those_of_the_records(tmp_path):
    records = {"results/fashion-mnist/results.json": json.dumps({"environment": {"data_md5": {"images.gz": "12ab"}}})}
    assert words(facts(tmp_path, directive("image-checksums"), **records).tbody) == "images.gz 12ab"


def test_assignment_list_says_what_is_asked_and_what_it_is_worth(tmp_path, assignment):
    (item,) = facts(tmp_path, directive("assignment-list")).select("ul:has(strong) > li")
    assert words(item) == "Steps (01-steps; 5 points, 30 minutes, after chapters 1, 2): A step (of two); Another"
    assert [link["href"] for link in item.select("a")] == ["notebooks/01-first.html", "notebooks/02-second.html"]


def test_objective_list_is_taken_from_the_chapters(tmp_path, assignment):
    page = facts(tmp_path, directive("objective-list"))
    first, second = page.select("li:has(em:-soup-contains('Checked by'))")
    can = r"say what a second step of size \(h\) does; take it."
    assert words(first) == f"First: {can} Checked by Exercise 1.1, assignment 01-steps."
    assert words(second) == "Second: Checked by assignment 01-steps."
    to = ["notebooks/01-first.html", "notebooks/02-second.html#ch-second", "notebooks/01-first.html#ex-one"]
    assert [link["href"] for link in first.select("a")] == to
    assert page.select("script[src*=mathjax]")  # the page's only formula stands in what was taken


def test_deck_links_name_the_chapters_that_have_slides(tmp_path):
    page = facts(tmp_path, directive("deck-links"), **{"slides/02-second.md": "# Slide"})
    (links,) = page.select("p:-soup-contains('Slides by chapter')")
    assert words(links) == "Slides by chapter: 2." and links.a["href"] == "slides/02-second.html"


@pytest.mark.parametrize(("address", "says"), [("", "has no buttons"), ("owner/name", "The rocket")])
def test_a_book_without_an_address_says_so(tmp_path, monkeypatch, address, says):
    monkeypatch.setenv("IMR_REPOSITORY", address)
    pages = build(tmp_path, BOOK | {"facts.md": "# Facts\n\nElsewhere. {{ launch_buttons }}"}).pages
    assert says in words(pages["facts"])


def test_a_printed_book_is_offered_once_it_is_there(tmp_path):
    text = "It is one. {{ printed_book }}"
    page = facts(tmp_path, text)
    assert "make pdf makes one PDF" in words(page) and not page.select("a.download")
    (tmp_path / "_build").mkdir()
    (tmp_path / "_build" / "imr.pdf").write_bytes(b"%PDF")
    link = facts(tmp_path, text + " ").select_one("a.download")
    assert words(link) == "As one PDF" and (tmp_path / "out" / "book" / link["href"]).read_bytes() == b"%PDF"


def test_a_chapter_ends_with_when_it_was_executed_and_its_slides(tmp_path):
    pages = build(tmp_path, BOOK | {"slides/02-second.md": "# Slide"}).pages
    said = f"Last refreshed on {REFRESHED['date']} with python 3.99, torch 9.0."
    foot = pages["notebooks/02-second"].select_one(".imr-refreshed")
    assert words(foot) == f"{said} Slides." and foot.a["href"] == "../slides/02-second.html"
    foot = pages["notebooks/01-first"].select_one(".imr-refreshed")
    assert words(foot) == said and foot.a is None
    assert not pages["index"].select(".imr-refreshed")


def test_the_way_on_says_what_the_next_chapter_teaches(tmp_path):
    pages = build(tmp_path, BOOK).pages
    objective = pages["index"].select_one("a[title='next chapter'] .imr-objective")
    assert words(objective) == r"say what a second step of size \(h\) does"
    assert not objective.find("a")  # which could not stand in a link
    assert not pages["notebooks/01-first"].select("a[title='next chapter'] .imr-objective")  # it promises nothing


def test_entries_of_a_bibliography_are_items_of_a_list(tmp_path):
    entries = "As [One]_ and [Two]_ say.\n\n.. [One] First.\n.. [Two] Second."
    page = facts(tmp_path, f"```{{eval-rst}}\n{entries}\n```")
    (bibliography,) = page.select("[role=list]")
    assert [entry["role"] for entry in bibliography.find_all(recursive=False)] == ["listitem", "listitem"]
    assert not page.select("[role=doc-biblioentry]")


def test_python_is_put_beside_the_pages_if_it_was_fetched(tmp_path):
    assert not (build(tmp_path, BOOK).folder / "live").exists()
    fetched = tmp_path / "_build" / "live" / "pyodide.mjs"
    fetched.parent.mkdir(parents=True)
    fetched.write_text("Python")
    live = build(tmp_path, BOOK).folder / "live"
    assert (live / "pyodide.mjs").read_text() == "Python"
    with ZipFile(live / "imr.zip") as archive:
        names = {file.relative_to(ROOT).as_posix() for file in (ROOT / "imr" / "symbolic").glob("*.py")}
        assert set(archive.namelist()) == {"imr/__init__.py", "imr/answers.py"} | names and archive.testzip() is None
