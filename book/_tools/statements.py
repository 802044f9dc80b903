"""The statements of the book, as Sphinx reads them: their names, their text, and what their proofs lean on.

A statement is a node of sphinx-proof with a label; its proof is the ``prf:proof`` that follows it. Its text stands in its
chapter and nowhere else: other pages name it with the role ``{statement}`` and repeat it with ``statement_text``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors import EnvironmentCollector
from sphinx.roles import XRefRole
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode
from sphinx_proof.nodes import NODE_TYPES, proof_node, unenumerable_node

STATED = (*NODE_TYPES.values(), unenumerable_node)
logger = logging.getLogger(__name__)


@dataclass
class Statement:
    """Where a statement stands, and what its proof refers to.

    Attributes:
        page: the page that states it.
        kind: "theorem", "lemma", ...
        title: in words.
        equations: the labels of those that it states.
        cited: the labels of the statements and of the equations that it and its proof cite, in their order.
    """

    page: str
    kind: str
    title: str
    equations: list[str]
    cited: list[str] = field(default_factory=list)


class statement_text(nodes.General, nodes.Element):
    """Stands in a page for the text of the statement with the label ``label``, until the page is written."""


class StatementCollector(EnvironmentCollector):
    """Collects the statements of all pages in ``env.statements``, by label, in the order of reading."""

    def clear_doc(self, app: Sphinx, env: BuildEnvironment, docname: str) -> None:
        """Forget those of a page that is gone or will be read anew."""
        kept = getattr(env, "statements", {})
        env.statements = {label: statement for label, statement in kept.items() if statement.page != docname}

    def merge_other(self, app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
        """Take over what another process has read."""
        env.statements |= {label: statement for label, statement in other.statements.items() if statement.page in docnames}

    def process_doc(self, app: Sphinx, doctree: nodes.document) -> None:
        """Find those of a page, each with the proof that follows it."""
        current = None
        for node in doctree.findall(lambda node: isinstance(node, (*STATED, proof_node))):
            if isinstance(node, proof_node):
                if current:
                    current.cited += _cited(node)
                current = None
            else:
                title = node[0].astext().strip().removeprefix("(").removesuffix(")")
                equations = [block["label"] for block in node.findall(nodes.math_block) if block.get("label")]
                current = Statement(app.env.docname, node["realtype"], title, equations)
                current.cited = [label for label in _cited(node) if label not in equations]
                app.env.statements[node["label"]] = current


def _cited(text: nodes.Element) -> Iterator[str]:
    for reference in text.findall(addnodes.pending_xref):
        if (reference["refdomain"], reference["reftype"]) in (("prf", "ref"), ("math", "eq")):
            yield reference["reftarget"]


def name(env: BuildEnvironment, label: str, title: bool = True) -> str:
    """A statement as the book names it: "Theorem 3.1 (Theorem 1 of the paper)"; the numbers are known once all is read."""
    entry, statement = env.proof_list[label], env.statements[label]
    number = env.toc_fignumbers.get(statement.page, {}).get(entry["countertype"], {}).get(label, ())
    named = " ".join([statement.kind.title(), ".".join(map(str, number))]).strip()
    return f"{named} ({statement.title})" if title and statement.title else named


def link(app: Sphinx, page: str, label: str) -> nodes.reference:
    """A link from a page to a statement, by its name."""
    text = nodes.Text(name(app.env, label))
    return make_refnode(app.builder, page, app.env.statements[label].page, label, text)


def resolve(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element) -> nodes.Node | None:
    """Resolve the role ``{statement}``; None, and with that a warning, for what is none."""
    if node["reftype"] != "statement" or node["reftarget"] not in env.statements:
        return None
    return link(app, node["refdoc"], node["reftarget"])


class RepeatStatements(SphinxPostTransform):
    """Puts the statements' texts where ``statement_text`` asks for them, before references are resolved."""

    default_priority = 5

    def run(self, **options: object) -> None:
        """Replace each; its references then lead from this page, and what can be linked to stays the chapter's."""
        for asked in list(self.document.findall(statement_text)):
            label = asked["label"]
            if label in self.env.statements:
                asked.replace_self(self._repeated(label))
            else:
                logger.warning("no statement has the label %r", label, location=asked)
                asked.parent.remove(asked)

    def _repeated(self, label: str) -> nodes.container:
        statement = self.env.statements[label]
        doctree = self.env.get_doctree(statement.page)
        (original,) = (node for node in doctree.findall(lambda node: isinstance(node, STATED)) if node["label"] == label)
        copy = nodes.container(classes=["proof", statement.kind, "imr-statement"])
        copy += [child.deepcopy() for child in original[1].children]  # the first is its title
        for node in copy.findall(nodes.Element):
            node["ids"], node["names"] = [], []
            if isinstance(node, nodes.math_block):
                node["number"] = None
            if isinstance(node, (nodes.math, nodes.math_block)):
                self._typeset()
            if isinstance(node, addnodes.pending_xref):
                node["refdoc"] = self.env.docname
        return copy

    def _typeset(self) -> None:
        """Have MathJax on this page, even if nothing else on it is mathematics."""
        self.env.get_domain("math").data["has_equations"][self.env.docname] = True


def setup(app: Sphinx) -> dict[str, object]:
    """Connect what stands above."""
    app.setup_extension("sphinx_proof")
    app.add_env_collector(StatementCollector)
    app.add_role("statement", XRefRole(warn_dangling=True))
    app.add_node(statement_text)
    app.add_post_transform(RepeatStatements)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
