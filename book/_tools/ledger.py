"""The ledger of claims and the pages of their witnesses, built from ``_build/claims.json`` and from ``tests/claims``.

The pages hold text and directives: ``{ledger}`` a part of the ledger, ``{witnesses}`` the claims of a chapter, each with
what its witnesses said and with their sources. Under each statement in a chapter links lead to its witnesses. A claim that
no statement makes is a warning of the build.
"""

import re
from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from _tools import claims, statements

logger = logging.getLogger(__name__)


def require_results(app: Sphinx) -> None:
    """Refuse to build pages without, or with old, results of the witnesses."""
    try:
        claims.claims(Path(app.srcdir))
        claims.read_results(Path(app.srcdir))
    except claims.ClaimsError as error:
        raise ConfigError(str(error)) from error


class LedgerDirective(SphinxDirective):
    """``{ledger} PART``: how many claims there are, all of them in a table, or what of their proofs is not by machine."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The part as nodes."""
        part = self.arguments[0]
        if part not in PARTS:
            raise self.error(f"no part {part!r} of the ledger, expected one of: {', '.join(PARTS)}")
        self.env.note_reread()
        return self.parse_text_to_nodes(PARTS[part](Path(self.env.srcdir), part))


def _counts(root: Path, part: str) -> str:
    listed = claims.claims(root)
    source = Counter(claim["source"] for claim in listed.values())
    whole = [claim for claim in listed.values() if not set(claims.PROOFS) & set(claim)]
    in_part, by_hand = (sum(kind in claim for claim in listed.values()) for kind in ("proved", "by_hand"))
    return (
        f"{len(listed)} claims: {source['paper']} that the paper states, {source['reconstructed']} reconstructed here of "
        f"what the paper has, {source['own']} of the book's own. {len(whole)} are proved by machine, "
        f"{sum('rests_on' in claim for claim in whole)} of them up to textbook facts, which are named; "
        f"{in_part} in part, {by_hand} by hand alone."
    )


def _table(root: Path, part: str) -> str:
    results = claims.read_results(root)
    rows = ["| statement | source | witnesses |", "|---|---|---|"]
    for label, claim in claims.claims(root).items():
        check, wrong = results[label]["check"], results[label]["wrong"]
        links = [
            "proof by hand" if "by_hand" in claim else f"[{_proof(claim)}](#symbolic-{label})",
            f"[check on {check['random'] + check['fixed']} problems, {len(wrong)} wrong formulas](#check-{label})",
            f"[cell](#cell-{label})",
        ]
        rows.append(f"| {{statement}}`{label}` | {claim['source']} | {', '.join(links)} |")
    return "\n".join(rows)


def _proof(claim: claims.Claim) -> str:
    kind = "proof in part" if "proved" in claim else "proof by machine"
    return f"{kind} up to textbook facts" if "rests_on" in claim else kind


def _partly(root: Path, part: str) -> str:
    listed = claims.claims(root)
    return "\n".join(f"- {{statement}}`{label}`: {claim[part]}." for label, claim in listed.items() if part in claim)


def _given(root: Path, part: str) -> str:
    """Each fact that proofs by machine take as given, with the statements whose proofs do."""
    resting: dict[str, list[str]] = {}
    for label, claim in claims.claims(root).items():
        for fact in claim.get("rests_on", ()):
            resting.setdefault(fact, []).append(f"{{statement}}`{label}`")
    return "\n".join(f"- {fact}: {', '.join(labels)}." for fact, labels in resting.items())


def _left_out(root: Path, part: str) -> str:
    return "\n".join(f"- {item['what']} *Left out:* {item['why']}" for item in claims.left_out(root))


PARTS = {
    "counts": _counts,
    "claims": _table,
    "rests_on": _given,
    "proved": _partly,
    "by_hand": _partly,
    "left_out": _left_out,
}


class WitnessesDirective(SphinxDirective):
    """``{witnesses} PAGE``: a section for each claim that a chapter states, in the order of the book."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The sections, each under the name of its statement."""
        self.env.note_reread()
        root = Path(self.env.srcdir)
        page = self.env.relfn2path(self.arguments[0])[0]
        # From the source, as Sphinx may read this page before that one.
        here = set(re.findall(r":label: ([\w-]+)", Path(self.env.doc2path(page)).read_text(encoding="utf-8")))
        listed, results = claims.claims(root), claims.read_results(root)
        sections = [self._section(label, listed[label], results[label]) for label in listed if label in here]
        if not sections:
            raise self.error(f"{page} states no claim of {claims.LISTED}")
        return sections

    def _section(self, label: str, claim: claims.Claim, said: dict) -> nodes.section:
        (title,), _ = self.parse_inline(f"{{statement}}`{label}`")
        section = nodes.section(ids=[f"check-{label}"], names=[f"check-{label}"])
        section += [nodes.title("", "", title), statements.statement_text(label=label)]
        section += self.parse_text_to_nodes(_said(label, claim, said))
        self.state.document.note_explicit_target(section)
        return section


def _said(label: str, claim: claims.Claim, said: dict) -> str:
    """What the witnesses of a claim said, then their sources, as MyST."""
    check, wrong = said["check"], said["wrong"]
    lines = [
        f"- *Proof by hand:* {claim['by_hand']}." if "by_hand" in claim else _machine(claim),
        f"- *Check:* holds for {check['random']} random problems and {check['fixed']} fixed ones; {_errors(check)}.",
        *([f"- *Counted:* {_counted(check['counts'])}."] if check["counts"] else []),
        f"- *Wrong formulas:* {len(wrong)} tried on the fixed problems, {len(wrong)} rejected.",
        *(f"  - “{name}”: {_rejected(result)}" for name, result in wrong.items()),
        f"- *Cell:* [in the chapter](#cell-{label}).",
        "",
        *([] if "by_hand" in claim else _source(f"symbolic-{label}", "The proof", said["proof"])),
        *_source(f"source-{label}", "The check and the wrong formulas", check),
    ]
    return "\n".join(lines)


def _machine(claim: claims.Claim) -> str:
    """That the proof by machine passed, what it covers if not all, and what it takes as given."""
    passed = "*Proof in part:* passed; it covers " + claim["proved"] if "proved" in claim else "*Proof by machine:* passed"
    given = f"; given, as textbooks prove it: {', '.join(claim['rests_on'])}" if "rests_on" in claim else ""
    return f"- {passed}{given}."


def _errors(check: dict) -> str:
    """The largest error for each tolerance of a check."""
    if not check["errors"]:
        return "it tests conditions, so there is no error to give"
    parts = [f"{error:.2g} where {tolerance:g} is allowed" for tolerance, error in check["errors"]]
    return f"the largest relative error is {' and '.join(parts)}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in sorted(counts.items(), key=lambda count: -count[1]))


def _rejected(result: dict) -> str:
    by = "a condition fails" if result["error"] is None else f"off by {result['error']:.2g}"
    return f"{by}, on problem {result['problems']}"


def _source(anchor: str, title: str, place: dict[str, str]) -> list[str]:
    file, function = place["file"], place["function"]
    include = f"```{{literalinclude}} /{file}\n:pyobject: {function}\n:language: python\n```"
    return [f"({anchor})=", f"{title}, in `{file}`:", "", include, ""]


class LinkWitnesses(SphinxPostTransform):
    """Ends each statement that is a claim with links to its witnesses, where it stands and not where it is repeated."""

    default_priority = 5  # before references are resolved

    def run(self, **options: object) -> None:
        """Append a paragraph to the statement's node."""
        listed = claims.claims(Path(self.env.srcdir))
        for node in self.document.findall(lambda node: isinstance(node, statements.STATED)):
            if claim := listed.get(node["label"]):
                node += self._links(node["label"], claim)

    def _links(self, label: str, claim: claims.Claim) -> nodes.paragraph:
        links = [("check and control", f"check-{label}"), ("cell", f"cell-{label}")]
        if "by_hand" not in claim:
            links.insert(0, (_proof(claim), f"symbolic-{label}"))
        paragraph = nodes.paragraph("", "Witnesses: ", classes=["imr-witnesses"])
        for number, (text, target) in enumerate(links):
            link = addnodes.pending_xref("", nodes.inline("", text), refdomain="std", reftype="ref", reftarget=target)
            link["refexplicit"], link["refwarn"], link["refdoc"] = True, True, self.env.docname
            paragraph += [nodes.Text(", "), link] if number else [link]
        paragraph += nodes.Text(".")
        return paragraph


def name_headings(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Call the sections of claims in tables of contents what their headings call them, now that the numbers are known."""
    for toc in env.tocs.values():
        for entry in toc.findall(nodes.reference):
            label = entry.get("anchorname", "").removeprefix("#check-")
            if label in env.statements:
                entry.children = []
                entry += nodes.Text(statements.name(env, label))
    return []


def require_statements(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of a claim that no statement makes."""
    for label in claims.claims(Path(app.srcdir)):
        if label not in env.statements:
            logger.warning("%s lists the claim %s, but no statement has this label", claims.LISTED, label)


def setup(app: Sphinx) -> dict[str, object]:
    """Connect what stands above."""
    app.setup_extension("_tools.statements")
    app.setup_extension("_tools.leaning")
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("witnesses", WitnessesDirective)
    app.add_post_transform(LinkWitnesses)
    app.add_css_file("claims.css")
    app.connect("builder-inited", require_results)
    app.connect("env-get-updated", name_headings, priority=900)
    app.connect("env-check-consistency", require_statements)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
