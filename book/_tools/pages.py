"""What this book adds to Sphinx and its theme, beside the text that ``facts``, ``claims`` and ``slides`` make.

The foot of a chapter, what stands under the links to the chapters before and after it, the buttons for Colab and Binder, an
accessible bibliography, and Python for the browser, put beside the pages.
"""

import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.writers.html5 import HTML5Translator

from _tools import ROOT, notebooks, publish
from _tools.facts import CHAPTERS, deck_of, moved, objectives, reference


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what stands below."""
    app.add_node(nodes.citation, override=True, html=(visit_citation, HTML5Translator.depart_citation))
    app.connect("config-inited", offer_launch)
    app.connect("doctree-read", end_chapter)
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("html-page-context", say_what_comes)
    app.connect("build-finished", put_live)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def offer_launch(app: Sphinx, config: Config) -> None:
    """Give each chapter buttons for Colab and Binder, if the project's public address is known."""
    if name := publish.repository():
        config.html_theme_options |= {
            "repository_url": f"https://github.com/{name}",
            "repository_branch": publish.BRANCH,
            "launch_buttons": {
                "binderhub_url": "https://mybinder.org",
                "colab_url": "https://colab.research.google.com",
                "notebook_interface": "jupyterlab",
            },
        }


def end_chapter(app: Sphinx, doctree: nodes.document) -> None:
    """End each chapter with when it was last executed, with which versions, and a link to its slides."""
    page = app.env.docname
    if not page.startswith(CHAPTERS):
        return
    row = notebooks.refreshed(Path(app.env.doc2path(page)))
    refreshed = f"Last refreshed on {row['date']} with {', '.join(row['versions'])}."
    foot = nodes.paragraph("", refreshed, classes=["imr-refreshed"])
    if deck := deck_of(app.env, page):
        foot += [nodes.Text(" "), reference("doc", f"/{deck}", page, "Slides"), nodes.Text(".")]
    doctree += foot


def visit_citation(self: HTML5Translator, node: nodes.citation) -> None:
    """Begin an entry of the bibliography as an item of its list.

    docutils gives it the role ``doc-biblioentry``, which DPUB-ARIA 1.1 deprecates. In ARIA a list may own list items only
    (axe: aria-required-children); with anything else in it, a screen reader would say that it is empty.
    """
    if not isinstance(node.previous_sibling(), nodes.citation):
        self.body.append('<div role="list" class="citation-list">\n')
    self.body.append(self.starttag(node, "div", CLASS="citation", role="listitem"))


def leave_out_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Jupyter Book puts Thebe's settings on each page, twice, which is an error in every browser; nothing here uses it."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body', '')}".lower()
    ]


def say_what_comes(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Put under the links to the chapters before and after what one is able to do with them: their first objective."""
    _, before, after = app.builder.relations.get(page) or (None, None, None)
    for side, neighbour in (("prev", before), ("next", after)):
        promised = objectives(app.env, neighbour) if neighbour else []
        if context.get(side) and promised:
            context[side] = context[side] | {"title": context[side]["title"] + _teaser(app, promised[0])}


def _teaser(app: Sphinx, objective: nodes.paragraph) -> str:
    """An objective as HTML that stands within a link, where no other link may stand."""
    span = nodes.inline("", "", *moved(objective, "").children, classes=["imr-objective"])
    for xref in list(span.findall(addnodes.pending_xref)):
        xref.replace_self(nodes.Text(xref.astext()))
    if isinstance(span[-1], nodes.Text):
        span[-1] = nodes.Text(span[-1].rstrip(";."))
    return app.builder.render_partial(span)["fragment"]


def put_live(app: Sphinx, error: Exception | None) -> None:
    """Put Python for the browser beside the pages, if ``make live`` has fetched it, and what of imr needs SymPy only."""
    fetched, live = Path(app.srcdir) / "_build" / "live", Path(app.outdir) / "live"
    if error or not fetched.is_dir():
        return
    shutil.copytree(fetched, live, dirs_exist_ok=True)
    with ZipFile(live / "imr.zip", "w") as archive:
        for pattern in ("__init__.py", "answers.py", "symbolic/*.py"):
            for file in sorted((ROOT / "imr").glob(pattern)):
                archive.write(file, file.relative_to(ROOT))
