"""The text of pages that is made from facts: directives for Sphinx.

Each of ``FACTS`` fills a template of ``book/_templates`` with what only the build knows; so do two substitutions, within a
sentence. ``{objective-list}`` says what one can do after each chapter, taken from the parsed chapters.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import is_exercise_node

from _tools import BOOK, assignments, notebooks, publish

CHAPTERS, DECKS = "book/notebooks/", "book/slides/"  # where the pages of chapters and their slides stand
RESULTS = "book/results/fashion-mnist/results.json"
PDF = "_build/imr.pdf"
TEMPLATES = Environment(loader=FileSystemLoader(BOOK / "_templates"), undefined=StrictUndefined, autoescape=False)


def setup(app: Sphinx) -> dict[str, bool]:
    """Give the directives their names."""
    for name in FACTS:
        app.add_directive(name, Filled)
    app.add_directive("objective-list", ObjectiveList)
    app.add_post_transform(ListObjectives)
    app.connect("config-inited", set_substitutions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def chapters(env: BuildEnvironment) -> list[str]:
    """The pages of the chapters, in their order."""
    return sorted(page for page in env.found_docs if page.startswith(CHAPTERS))


def deck_of(env: BuildEnvironment, chapter: str) -> str | None:
    """The page of a chapter's slides, if it has some."""
    deck = DECKS + chapter.removeprefix(CHAPTERS)
    return deck if deck in env.found_docs else None


def reference(kind: str, target: str, page: str, text: str | None = None) -> addnodes.pending_xref:
    """A reference as the role ``kind`` (``ref``, ``doc``) makes it on a page; its text is the target's own by default."""
    inside = nodes.inline("", text or target, classes=["xref", "std", f"std-{kind}"])
    own = {"refdomain": "std", "reftype": kind, "reftarget": target, "refdoc": page, "refwarn": True}
    return addnodes.pending_xref("", inside, refexplicit=text is not None, **own)


def moved(node: nodes.Node, page: str) -> nodes.Node:
    """A copy of what stands on one page, to stand on another: its references will be resolved from there."""
    copy = node.deepcopy()
    for xref in copy.findall(addnodes.pending_xref):
        xref["refdoc"] = page
    return copy


def objectives(env: BuildEnvironment, page: str) -> list[nodes.paragraph]:
    """What a chapter says that one will be able to do, the items of its first tip; empty for a page that says nothing."""
    tips = (box for box in env.get_doctree(page).findall(nodes.admonition) if "tip" in box["classes"])
    tip = next(tips, nodes.admonition())
    return [item[0] for item in tip.findall(nodes.list_item)]


def chapter_status(env: BuildEnvironment) -> dict[str, Any]:
    """When each chapter was executed, how long it took, with which versions."""
    return {"chapters": [(page, notebooks.refreshed(Path(env.doc2path(page)))) for page in chapters(env)]}


def image_checksums(env: BuildEnvironment) -> dict[str, Any]:
    """The MD5 of the images' files, from the records of the experiment."""
    records = json.loads((Path(env.srcdir) / RESULTS).read_text(encoding="utf-8"))
    return {"checksums": records["environment"]["data_md5"].items()}


def assignment_list(env: BuildEnvironment) -> dict[str, Any]:
    """Chapters, points, minutes and titles of each assignment, as its source tells those who make it."""
    found = []
    for name in assignments.names():
        source = assignments.read(name)
        asked = assignments.questions(source)
        title, *headings = [line for line in assignments.text(source).splitlines() if line.startswith(("# ", "## "))]
        titles = [line.partition(". ")[2].rpartition(" (")[0] for line in headings[: len(asked)]]  # ## 2. Title (3 points, …
        points = sum(question.points for question in asked.values())
        own = {"name": name, "title": title.removeprefix("# "), "questions": titles, "points": points}
        found.append(own | source.metadata.imr)
    return {"assignments": found}


def deck_links(env: BuildEnvironment) -> dict[str, Any]:
    """The decks of slides, by the numbers of their chapters."""
    decks = [(number, deck_of(env, chapter)) for number, chapter in enumerate(chapters(env), 1)]
    return {"decks": [{"number": number, "page": deck} for number, deck in decks if deck]}


FACTS: dict[str, Callable[[BuildEnvironment], dict[str, Any]]] = {
    "chapter-status": chapter_status,
    "image-checksums": image_checksums,
    "assignment-list": assignment_list,
    "deck-links": deck_links,
}
"""What fills the template ``NAME.md.jinja`` of each directive."""


class Filled(SphinxDirective):
    """A directive that stands for its template, filled in: MyST that is parsed in its place."""

    def run(self) -> list[nodes.Node]:
        """The template's nodes."""
        text = TEMPLATES.get_template(f"{self.name}.md.jinja").render(FACTS[self.name](self.env))
        return self.parse_text_to_nodes(text)


def set_substitutions(app: Sphinx, config: Config) -> None:
    """Set what stands for ``{{ printed_book }}`` and ``{{ launch_buttons }}`` in a sentence."""
    printed = f"/{PDF}" if (Path(app.srcdir) / PDF).exists() else None
    config.myst_substitutions |= {
        "printed_book": TEMPLATES.get_template("printed-book.md.jinja").render(printed=printed),
        "launch_buttons": TEMPLATES.get_template("launch-buttons.md.jinja").render(repository=publish.repository()),
    }


class objective_list(nodes.General, nodes.Element):
    """The place of the list, until all chapters are parsed."""


class ObjectiveList(SphinxDirective):
    """``{objective-list}``: for each chapter what one can do after it, the exercises that check that, and the assignment."""

    def run(self) -> list[nodes.Node]:
        """A place that ``ListObjectives`` fills."""
        return [objective_list()]


class ListObjectives(SphinxPostTransform):
    """Fill the places of ``{objective-list}``; before other transforms, which number and resolve what is put in."""

    default_priority = 1

    def run(self, **kwargs: Any) -> None:
        """Put a list in each place."""
        for place in list(self.document.findall(objective_list)):
            self.env.domains["math"].data["has_equations"][self.env.docname] = True  # or the page comes without MathJax
            asked = {name: assignments.read(name).metadata.imr.chapters for name in assignments.names()}
            place.replace_self(nodes.bullet_list("", *(self.item(chapter, asked) for chapter in chapters(self.env))))

    def item(self, chapter: str, asked: dict[str, list[str]]) -> nodes.list_item:
        """One chapter: its objectives, then the exercises and assignments that check them."""
        here, found = self.env.docname, nodes.paragraph()
        found += [reference("doc", f"/{chapter}", here), nodes.Text(": ")]
        for objective in objectives(self.env, chapter):
            found += [*moved(objective, here).children, nodes.Text(" ")]
        checks = [
            [reference("ref", exercise["label"], here)]
            for exercise in self.env.get_doctree(chapter).findall(is_exercise_node)
        ]
        checks += [
            [nodes.Text("assignment "), nodes.literal("", name)]
            for name, about in asked.items()
            if Path(chapter).name in about
        ]
        for place, check in enumerate(checks):
            found += [nodes.Text(", ") if place else nodes.emphasis("", "Checked by "), *check]
        found += nodes.Text(".")
        return nodes.list_item("", found)
