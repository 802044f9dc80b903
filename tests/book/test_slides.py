"""Decks of slides: pieces of chapters by their labels, each tried on a book of a few lines, then all decks of the book."""

import pytest
from bs4 import BeautifulSoup
from tiny import build, chapter, code, prose

TOC = "# Title\n\n```{toctree}\n:numbered:\nnotebooks/01-first\nnotebooks/02-second\n```\n"
STATEMENT = """\
# Second

$$ a = b $$ (eq-first)

```{prf:lemma} Small
:label: lem-small

By {eq}`eq-first` and {prf:ref}`lem-small`, $a$ is $b$.

$$ b = c $$ (eq-inner)
```

```{exercise}
:label: ex-one

Say so.
```

(live-thing)=

<figure data-figure="thing"><figcaption>It moves.</figcaption></figure>
"""
PNG = {"image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="}
FIGURE = {"figure": {"caption": "What is seen", "name": "fig-seen"}}
BOOK = {
    "index.md": TOC,
    "notebooks/01-first.ipynb": chapter(
        prose("# First\n\n$$ x $$ (eq-x)\n\n```{admonition} You will be able to\n:class: tip\n- see.\n```")
    ),
    "notebooks/02-second.ipynb": chapter(
        prose(STATEMENT), code("draw()", "0.5", PNG, **FIGURE), prose("(cell-sum)=\n"), code("1 + 1", "two")
    ),
}


def embed(label, *options):
    return "\n".join([f"```{{embed}} {label}", *options, "```"])


def slides(folder, *pieces):
    """The slides of a deck of the first chapter, one for each piece, in a book without complaints."""
    deck = "Begin.\n\n" + "\n\n".join(f"# Slide {number}\n\n{piece}" for number, piece in enumerate(pieces, 1))
    site = build(folder, BOOK | {"slides/01-first.md": deck})
    assert site.warnings == ""
    return site.pages["slides/01-first"].select(".slides > section")


def words(node):
    return " ".join(node.get_text().replace("¶", "").split())


def test_a_deck_begins_with_its_chapter_and_what_it_promises(tmp_path):
    title, promises, slide = slides(tmp_path, "Text.")
    assert words(title) == "1. First Begin. The chapter" and title.h1
    assert title.a["href"] == "#title" and title.find("a", string="The chapter")["href"] == "../notebooks/01-first.html"
    assert words(promises) == "You will be able to see." and promises.h2
    assert words(slide) == "Slide 1 Text." and slide.h2


def test_a_statement_keeps_its_number_and_its_links(tmp_path):
    *_, slide = slides(tmp_path, embed("lem-small"))
    assert "Lemma 2.1 (Small)" in words(slide)
    assert [words(number) for number in slide.select(".eqno")] == ["(2.2)"]
    links = [link["href"] for link in slide.select("a.reference")]
    assert links == ["../notebooks/02-second.html#equation-eq-first", "../notebooks/02-second.html#lem-small"]
    assert not slide.find("section")  # which reveal.js would count as a slide


def test_equations_exercises_and_raw_figures_are_found_by_their_labels(tmp_path):
    *_, equation, exercise, live = slides(tmp_path, embed("eq-first"), embed("ex-one"), embed("live-thing"))
    assert words(equation) == r"Slide 1 (2.1)\[ a = b \]"
    assert words(exercise) == "Slide 2 Exercise 2.1 Say so."
    assert live.select_one("figure[data-figure=thing] figcaption").string == "It moves."


def test_a_cell_is_shown_with_or_without_its_code(tmp_path):
    *_, both, shown = slides(tmp_path, embed("cell-sum"), embed("cell-sum", ":remove-input:"))
    assert words(both) == "Slide 1 1 + 1 two"
    assert words(shown) == "Slide 2 two" and shown.select(".output-only")


def test_a_piece_may_stand_on_two_slides(tmp_path):
    *_, inside, alone = slides(tmp_path, embed("lem-small"), embed("eq-inner"))
    numbers = [piece.select_one(".math:has(.eqno)") for piece in (inside, alone)]
    assert [words(number.select_one(".eqno")) for number in numbers] == ["(2.2)", "(2.2)"]
    assert numbers[0]["id"] != numbers[1]["id"]


def test_a_figure_comes_alone_with_its_number_and_its_picture(tmp_path):
    *_, slide = slides(tmp_path, embed("fig-seen"))
    assert words(slide) == "Slide 1 Fig. 2.1 What is seen"
    assert (tmp_path / "out" / "book" / "slides" / slide.img["src"]).is_file()


@pytest.mark.parametrize(("label", "times"), [("eq-nothing", 0), ("eq-x", 2)])
def test_a_piece_that_is_not_there_once_is_reported_with_its_deck(tmp_path, label, times):
    again = {"notebooks/02-second.ipynb": chapter(prose("# Second\n\n(eq-x)=\n\nText."))}
    warnings = build(tmp_path, BOOK | again | {"slides/01-first.md": "# Slide\n\n" + embed(label)}).warnings
    assert f"01-first.md:3: WARNING: slides: the piece '{label}' is {times} times in the book, expected once" in warnings


def test_a_deck_without_its_chapter_is_reported(tmp_path):
    warnings = build(tmp_path, BOOK | {"slides/07-other.md": "# Slide"}).warnings
    assert "slides: there is no chapter book/notebooks/07-other" in warnings


def test_decks_are_outside_the_search_and_the_table_of_contents(tmp_path):
    site = build(tmp_path, BOOK | {"slides/01-first.md": "# Unusual\n\nExtraordinary."})
    assert site.warnings == ""  # of a page in no table of contents
    index = (site.folder / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")")
    assert "unusu" not in index and "extraordinari" not in index
    assert "Unusual" not in site.pages["index"].get_text()


def test_no_place_on_a_deck_of_the_book_is_there_twice(html):
    for page in (html / "book" / "slides").glob("*.html"):
        places = [tag["id"] for tag in BeautifulSoup(page.read_text(), "html.parser").find_all(id=True)]
        assert len(places) == len(set(places)), page.name
