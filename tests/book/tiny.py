"""Tiny books, to try in seconds what the book adds to Sphinx."""

import io
from pathlib import Path
from typing import NamedTuple

import nbformat
from _tools import BOOK
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

CONFIG = {
    "extensions": ["myst_nb", "sphinx_proof", "sphinx_exercise", "_tools.facts", "_tools.pages", "_tools.slides"],
    "html_theme": "basic",
    "include_patterns": ["book/**"],
    "myst_enable_extensions": ["dollarmath", "substitution"],
    "nb_execution_mode": "off",
    "numfig": True,
    "root_doc": "book/index",
    "templates_path": [str(BOOK / "_templates")],
}
REFRESHED = {"date": "2030-01-02", "seconds": 3.4, "versions": ["python 3.99", "torch 9.0"]}


class Site(NamedTuple):
    """What a book became: its pages by name, its folder, and what the build complained about."""

    pages: dict[str, BeautifulSoup]
    folder: Path
    warnings: str


def prose(text):
    """A cell of text."""
    return nbformat.v4.new_markdown_cell(text)


def code(source, *outputs, **mystnb):
    """A cell that has run: what it printed, as text, and what it displayed, as data by media type."""
    made = [
        nbformat.v4.new_output("stream", name="stdout", text=output)
        if isinstance(output, str)
        else nbformat.v4.new_output("display_data", data=output)
        for output in outputs
    ]
    return nbformat.v4.new_code_cell(source, outputs=made, execution_count=1, metadata={"mystnb": mystnb})


def chapter(*cells):
    """A chapter as ``make refresh`` leaves it."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    own = {"kernelspec": kernel, "language_info": {"name": "python"}, "refreshed": REFRESHED, "imr": {}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=list(cells), metadata=own))


def build(folder, files):
    """Build a book from the texts of its files, by their names under ``book/``."""
    for name, text in files.items():
        path = folder / "book" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    out, warnings = folder / "out", io.StringIO()
    with patch_docutils(), docutils_namespace():
        app = Sphinx(folder, None, out, folder / "trees", "html", CONFIG, status=None, warning=warnings)
        app.build()
    read = {path: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in (out / "book").rglob("*.html")}
    pages = {path.relative_to(out / "book").with_suffix("").as_posix(): page for path, page in read.items()}
    return Site(pages, out, warnings.getvalue())
