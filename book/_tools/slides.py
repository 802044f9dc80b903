"""Lecture slides: a deck for each chapter that has a ``book/slides/NN-topic.md``, shown by reveal.js.

A deck is Markdown. ``## Title`` begins a slide. A line ``{{ piece }}`` puts a piece of the *built* book there, by its label,
so that no formula, code or picture is ever written twice: a statement (``thm-1``), an exercise (``ex-theta``), an equation
(``eq-ca``), a cell (``cell-theorem-1``; ``cell-theorem-1 output``: what it shows, without its code), a figure by its caption
(``figure The Jacobian of log-sum-exp``), or one that moves (``live flow-field``, ``live iterates``). The build makes the
decks last.
"""

import html
import posixpath
import re
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from _tools import BOOK

DECKS = BOOK / "slides"
CHAPTERS = "book/notebooks"
PAGE = """\
<!DOCTYPE html>
<html lang="en" data-content_root="../">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} (slides)</title>
<link rel="stylesheet" href="../_static/reveal/reveal.css">
<link rel="stylesheet" href="../_static/pygments.css">
<link rel="stylesheet" href="../_static/imr.css">
<link rel="stylesheet" href="../_static/figures.css">
<link rel="stylesheet" href="../_static/slides.css">
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => (document.documentElement.dataset.theme = dark.matches ? "dark" : "light");
dark.addEventListener("change", follow);
follow();
</script>
<script defer src="../_static/slides.js"></script>
<script defer src="../_static/mathjax/tex-svg-full.js"></script>
<script defer src="../_static/reveal/reveal.js"></script>
<script defer src="../_static/page.js"></script>
<script defer src="../_static/flow.js"></script>
<script defer src="../_static/plot.js"></script>
<script defer src="../_static/figures.js"></script>
</head>
<body>
<main><div class="reveal"><div class="slides">
{slides}
</div></div></main>
</body>
</html>
"""


class SlideError(ValueError):
    """A deck asks for a piece that the book does not have."""


def names() -> list[str]:
    """The chapters that have a deck."""
    return sorted(path.stem for path in DECKS.glob("*.md"))


def write(site: Path) -> None:
    """Make all decks from the built book, into its folder ``slides``.

    Raises:
        SlideError: a piece is not in the book, or more than once.
    """
    pages = {path.stem: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in (site / CHAPTERS).glob("*.html")}
    (site / "slides").mkdir(exist_ok=True)
    for name in names():
        (site / "slides" / f"{name}.html").write_text(deck(name, pages), encoding="utf-8")


def deck(name: str, pages: dict[str, BeautifulSoup]) -> str:
    """One deck as a page: a title, what the chapter promises, the slides, and the way back."""
    article = pages[name].select_one("article")
    title = _title(article)
    promises = article.select_one(".admonition ul")
    begin, *rest = re.split(r"^## ", (DECKS / f"{name}.md").read_text(encoding="utf-8"), flags=re.M)
    back = f'<p><a href="../{CHAPTERS}/{name}.html">The chapter</a></p>'
    slides = [f'<section class="title"><h1>{title}</h1>\n{_filled(begin, name, pages)}\n{back}</section>']
    slides.append(f"<section><h2>You will be able to</h2>\n{_moved(promises, name)}</section>")
    for slide in rest:
        head, _, body = slide.partition("\n")
        slides.append(f"<section><h2>{_markdown(head, inline=True)}</h2>\n{_filled(body, name, pages)}</section>")
    return PAGE.format(title=html.escape(BeautifulSoup(title, "html.parser").get_text()), slides="\n".join(slides))


def _title(article: Tag) -> str:
    heading = article.select_one("h1")
    for extra in heading.select(".headerlink"):
        extra.decompose()
    return heading.decode_contents().strip()


def _filled(text: str, name: str, pages: dict[str, BeautifulSoup]) -> str:
    """Markdown to HTML, with the pieces in their places."""
    parts = re.split(r"^\{\{ (.+) \}\}$", text, flags=re.M)
    for place in range(1, len(parts), 2):
        parts[place] = _piece(parts[place], name, pages)
    return "\n".join(part if place % 2 else _markdown(part) for place, part in enumerate(parts))


def _markdown(text: str, inline: bool = False) -> str:
    def formula(content: str, options: dict) -> str:
        left, right = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
        return f"{left}{html.escape(content)}{right}"

    reader = MarkdownIt("commonmark", {"typographer": True}).enable(["table", "smartquotes"])
    reader.use(dollarmath_plugin, renderer=formula)
    return reader.renderInline(text) if inline else reader.render(text)


def _piece(asked: str, name: str, pages: dict[str, BeautifulSoup]) -> str:
    """A piece of a chapter, of this one before any other."""
    label, _, rest = asked.partition(" ")
    for page in [name, *sorted(set(pages) - {name})]:
        soup = pages[page]
        if label == "figure":
            found = [figure for figure in soup.select("figure") if _caption(figure) == rest]
        elif label == "live":
            found = soup.select(f'figure[data-figure="{rest}"], div.imr-{rest}')
        elif label.startswith("cell-"):
            found = soup.select(f"div.cell#{label}")
        elif label.startswith("eq-"):
            found = soup.select(f"#equation-{label}")
        else:
            found = soup.select(f"div.proof#{label}, div.exercise#{label}")
        if len(found) > 1:
            raise SlideError(f"slides of {name}: {asked!r} is {len(found)} times on {page}")
        if found:
            return _moved(found[0], page, output=rest == "output")
    raise SlideError(f"slides of {name}: no {asked!r} in the book")


def _caption(figure: Tag) -> str:
    text = figure.select_one(".caption-text")
    return text.get_text() if text else ""


def _moved(piece: Tag, page: str, output: bool = False) -> str:
    """A copy of a piece, its links and pictures as they are from the folder of slides, without what only the book needs."""
    copy = BeautifulSoup(str(piece), "html.parser")
    for extra in copy.select(".headerlink, .imr-witnesses, .imr-cell" + (", .cell_input, details" if output else "")):
        extra.decompose()
    for attribute in ("src", "href"):
        for tag in copy.find_all(**{attribute: True}):
            if not re.match(r"[a-z]+:", tag[attribute]):
                path, mark, place = tag[attribute].partition("#")
                there = posixpath.normpath(posixpath.join(CHAPTERS, path)) if path else f"{CHAPTERS}/{page}.html"
                tag[attribute] = f"../{there}{mark}{place}"
    for tag in copy.find_all(id=True):
        if "imr-iterates" not in tag.get("class", []):  # whose script finds it by its id
            del tag["id"]
    for tag in copy.find_all("section"):  # which reveal.js would take for slides
        tag.name = "div"
    return f'<div class="output-only">{copy}</div>' if output else str(copy)
