"""Lecture slides: a deck for each chapter that has a ``book/slides/NN-topic.md``, shown by reveal.js.

A deck is a page of Sphinx in another shell, outside the table of contents and the search. What stands before the first
heading is its first slide; each ``# Title`` begins another. ``{embed}`` puts a piece of a chapter there by its label, with
what the chapter numbers it, so that no formula, code or picture is ever written twice: a statement (``thm-1``), an exercise
(``ex-theta``), an equation (``eq-ca``), a cell (``cell-theorem-1``; with ``:remove-input:`` only what it shows), a figure
(``fig-jacobian``), or one that moves (``live-flow-field``). Directive and option are those of mystmd.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from _tools.facts import CHAPTERS, DECKS, moved, objectives, reference

logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what stands below."""
    app.add_directive("embed", Embed)
    app.add_node(embed, html=(visit_embed, depart_embed))
    app.add_node(slide, html=(visit_slide, depart_slide))
    app.add_post_transform(PutPieces)
    app.add_post_transform(CutIntoSlides)
    app.connect("doctree-read", set_apart)
    app.connect("html-page-context", change_shell)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class embed(nodes.General, nodes.Element):
    """The place of a piece, then what holds it: its ``label`` and ``page``, the ``prefix`` of its ids; ``bare``: no code."""


class slide(nodes.section):
    """A slide under the deck's title: a section whose heading is one of the second level."""


class Embed(SphinxDirective):
    """``{embed} LABEL``: a piece of a chapter, as that chapter shows it."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"remove-input": directives.flag}

    def run(self) -> list[nodes.Node]:
        """A place that ``PutPieces`` fills when all pages are parsed."""
        place = embed(label=self.arguments[0], bare="remove-input" in self.options)
        self.set_source_info(place)
        return [place]


class PutPieces(SphinxPostTransform):
    """Copy each piece into its place; before other transforms, which resolve what it refers to, from here."""

    default_priority = 1

    def run(self, **kwargs: Any) -> None:
        """Fill all places; warn of a piece that is not in the book, or there more than once."""
        for number, place in enumerate(self.document.findall(embed)):
            place["prefix"] = f"piece-{number}-"
            found = list(labelled(self.env, place["label"]))
            if len(found) == 1:
                ((place["page"], piece),) = found
                place += fit(moved(piece, self.env.docname), place)
            else:
                message = "slides: the piece %r is %d times in the book, expected once"
                logger.warning(message, place["label"], len(found), location=place)


def pages_with(env: BuildEnvironment, label: str) -> set[str]:
    """The pages on which the domains of Sphinx, that of mathematics, and sphinx-proof know a label."""
    known = [env.domains["std"].anonlabels.get(label, [None])[0], env.domains["math"].equations.get(label, [None])[0]]
    known.append(getattr(env, "proof_list", {}).get(label, {}).get("docname"))
    return {page for page in known if page}


def labelled(env: BuildEnvironment, label: str) -> Iterator[tuple[str, nodes.Element]]:
    """What bears a label, and its page: a formula or exercise has it as ``label``, all else among its ``names``."""
    for page in pages_with(env, label):
        for node in env.get_doctree(page).findall(nodes.Element):
            if label in (node.get("label"), *node.get("names", [])):
                yield page, node


def fit(piece: nodes.Element, place: embed) -> nodes.Element:
    """Make a piece fit its place: without sections, which reveal.js would take for slides, and with ids that are unique."""
    for section in list(piece.findall(nodes.section)):  # sphinx-proof makes one in each statement
        section.parent.replace(section, nodes.container("", *section.children, classes=section["classes"]))
    for node in piece.findall(nodes.Element):  # an equation may stand on two slides, alone and in a statement
        node["ids"] = [place["prefix"] + name for name in node.get("ids", [])]
    if place["bare"]:
        for code in [part for part in piece if part.get("nb_element") == "cell_code_source"]:
            piece.remove(code)
        return nodes.container("", piece, classes=["output-only"])
    return piece


class CutIntoSlides(SphinxPostTransform):
    """Make of a deck's text a title, what the chapter promises, and its slides, one beside the other."""

    default_priority = 1

    def run(self, **kwargs: Any) -> None:
        """Arrange a deck's document anew; other pages stay as they are."""
        deck = self.env.docname
        if not deck.startswith(DECKS):
            return
        chapter = CHAPTERS + deck.removeprefix(DECKS)
        if chapter not in self.env.found_docs:
            logger.warning("slides: there is no chapter %s", chapter, location=deck)
            return
        begin = [node for node in self.document if not isinstance(node, nodes.section)]
        title = self.env.titles[chapter].deepcopy()
        title["secnumber"] = self.env.toc_secnumbers.get(chapter, {}).get("")
        back = nodes.paragraph("", "", reference("doc", f"/{chapter}", deck, "The chapter"))
        promises = nodes.bullet_list("", *(nodes.list_item("", moved(one, deck)) for one in objectives(self.env, chapter)))
        slides = [nodes.section("", title, *begin, back, ids=["title"], classes=["title"])]
        slides += [slide("", nodes.title("", "You will be able to"), promises, ids=["objectives"])]
        slides += [slide("", *node.children, ids=node["ids"]) for node in self.document if isinstance(node, nodes.section)]
        self.document[:] = slides


def visit_embed(self: HTML5Translator, node: embed) -> None:
    """Number a piece as its own page does."""
    node["numbers"] = self.builder.fignumbers
    self.builder.fignumbers = {
        kind: {node["prefix"] + name: number for name, number in numbers.items()}
        for kind, numbers in self.builder.env.toc_fignumbers.get(node.get("page"), {}).items()
    }


def depart_embed(self: HTML5Translator, node: embed) -> None:
    """Number what follows as this page does."""
    self.builder.fignumbers = node["numbers"]


def visit_slide(self: HTML5Translator, node: slide) -> None:
    """Begin a slide."""
    self.section_level += 1
    self.visit_section(node)


def depart_slide(self: HTML5Translator, node: slide) -> None:
    """End a slide."""
    self.depart_section(node)
    self.section_level -= 1


def set_apart(app: Sphinx, doctree: nodes.document) -> None:
    """Say that a deck belongs in no table of contents, and that the search does not read it."""
    if app.env.docname.startswith(DECKS):
        app.env.metadata[app.env.docname] |= {"orphan": "", "nosearch": ""}


def change_shell(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> str | None:
    """Show a deck with ``slides.html`` in the place of the theme's page, under its chapter's title."""
    chapter = CHAPTERS + page.removeprefix(DECKS)
    if not page.startswith(DECKS) or chapter not in app.env.titles:
        return None
    context["title"] = app.env.titles[chapter].astext()
    return "slides.html"
