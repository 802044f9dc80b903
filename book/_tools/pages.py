"""What this book adds to Sphinx; named in ``_config.yml``."""

import html
import json
import re
import shutil
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from _tools import ROOT, assignments, claims, publish, slides

PDF = ROOT / "_build" / "imr.pdf"


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what stands below."""
    app.connect("config-inited", offer_launch)
    app.connect("source-read", fill_in)
    app.connect("html-page-context", say_when_refreshed)
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("html-page-context", mend_citation_lists)
    app.connect("html-page-context", say_what_comes)
    app.connect("html-page-context", link_witnesses)
    app.connect("build-finished", put_live)
    app.connect("build-finished", make_slides)
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


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Put into a page what only the build knows, in the place of a comment that names it."""
    made = {
        "<!-- status -->": status_table,
        "<!-- data -->": data_table,
        "<!-- assignments -->": assignments_list,
        "<!-- objectives -->": objectives_list,
        "<!-- decks -->": decks_list,
        "<!-- pdf -->": lambda: (
            "{download}`As one PDF <../_build/imr.pdf>`." if PDF.exists() else "`make pdf` makes one PDF of it."
        ),
        "<!-- launch -->": lambda: (
            "The rocket at the top of a chapter opens it on Colab or Binder, where its first cell sets everything up."
            if publish.repository()
            else "This copy of the book does not know the project's public address, so it has no buttons for Colab and "
            "Binder; `IMR_REPOSITORY=OWNER/NAME make book` makes them."
        ),
    }
    for comment, make in made.items():
        if comment in source[0]:
            source[0] = source[0].replace(comment, make())


def status() -> dict[str, dict[str, Any]]:
    """What ``make refresh`` noted about each chapter."""
    return json.loads((ROOT / "book" / "notebooks" / "status.json").read_text(encoding="utf-8"))


def status_table() -> str:
    """A row for each chapter: when it was executed, how long it took, with which versions."""
    rows = [
        f"| {{doc}}`notebooks/{stem}` | {row['refreshed']} | {row['seconds']:.0f} | {_versions(row)} |"
        for stem, row in status().items()
    ]
    return "\n".join(["| chapter | refreshed | seconds | with |", "|---|---|---|---|", *rows])


def data_table() -> str:
    """The checksums of the images, from the records of the experiment."""
    records = json.loads((ROOT / "book" / "results" / "fashion-mnist" / "results.json").read_text(encoding="utf-8"))
    rows = [f"| `{name}` | `{md5}` |" for name, md5 in records["environment"]["data_md5"].items()]
    return "\n".join(["| file of Fashion-MNIST | MD5 |", "|---|---|", *rows])


def assignments_list() -> str:
    """An item for each assignment: chapters, points, minutes and the titles of its questions."""
    items = []
    for name in assignments.names():
        source = assignments.read(name)
        title, *titles = re.findall(r"^##? (?:\d\. )?(.+?)(?: \(\d+ points?,.*)?$", assignments.text(source), re.M)
        numbers = [f"{{doc}}`{int(stem[:2])} <notebooks/{stem}>`" for stem in source.metadata.imr.chapters]
        chapters = f"chapters {', '.join(numbers)}"
        points = sum(question.points for question in assignments.questions(source).values())
        asked = "; ".join(titles[: len(assignments.questions(source))])
        worth = f"{points} points, {source.metadata.imr.minutes} minutes, after {chapters}"
        items.append(f"- **{title}** (`{name}`; {worth}): *{asked}*")
    return "\n".join(items)


def decks_list() -> str:
    """Links to the slides."""
    links = [f'<a href="../slides/{name}.html">{int(name[:2])}</a>' for name in slides.names()]
    return f"Slides by chapter: {', '.join(links)}."


def objectives_list() -> str:
    """An item for each chapter: what one can do after it, the exercises that check that, and the assignment."""
    items = []
    asked = {name: assignments.read(name).metadata.imr.chapters for name in assignments.names()}
    for stem in status():
        text = (ROOT / "book" / "chapters" / f"{stem}.md").read_text(encoding="utf-8")
        tip = text.partition("What you will be able to do\n:class: tip\n")[2].partition("\n\n")[0]
        can = " ".join(line.removeprefix("- ").strip() for line in tip.splitlines()).rstrip(".")
        exercises = ", ".join(f"{{ref}}`{label}`" for label in re.findall(r"{exercise}\n:label: (\S+)", text))
        then = "".join(f"; assignment `{name}`" for name, chapters in asked.items() if stem in chapters)
        items.append(f"- {{doc}}`notebooks/{stem}`: {can}. *Checked by* {exercises}{then}.")
    return "\n".join(items)


def say_when_refreshed(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """End each chapter with when it was last executed, and with which versions."""
    row = status().get(Path(page).name)
    if row and page.startswith("book/notebooks/"):
        name = Path(page).name
        lecture = f' <a href="../../slides/{name}.html">Slides</a>.' if name in slides.names() else ""
        refreshed = f"Last refreshed on {row['refreshed']} with {_versions(row)}."
        context["body"] += f'<p class="imr-refreshed">{refreshed}{lecture}</p>\n'


def _versions(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in row["versions"].items())


def leave_out_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Jupyter Book puts Thebe's settings on each page, twice, which is an error in every browser; nothing here uses it."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body', '')}".lower()
    ]


def mend_citation_lists(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """The entries of a list must be list items for those who hear the page; docutils gives them a role that is outdated."""
    context["body"] = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')


def say_what_comes(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Put under the links to the chapters before and after what one is able to do with them: their first objective."""
    _, before, after = app.builder.relations.get(page) or (None, None, None)
    for side, neighbour in (("prev", before), ("next", after)):
        if context.get(side) and (objective := _objective(app, neighbour)):
            title = f'{context[side]["title"]}<span class="imr-objective">{objective}</span>'
            context[side] = context[side] | {"title": title}


def _objective(app: Sphinx, page: str | None) -> str | None:
    """The first item of what a chapter says that one will be able to do, as HTML; None for a page that says nothing."""
    tips = list(app.env.get_doctree(page).findall(nodes.admonition)) if page else []
    if not (tips and tips[0].next_node(nodes.list_item)):
        return None
    pieces = [
        f'<span class="math notranslate nohighlight">\\({html.escape(piece.astext())}\\)</span>'
        if isinstance(piece, nodes.math)
        else html.escape(piece.astext())
        for piece in tips[0].next_node(nodes.list_item)[0].children
    ]
    return "".join(pieces).rstrip(";.")


def link_witnesses(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """End each statement that is a claim of the ledger with links to what proves and checks it."""
    if not page.startswith("book/notebooks/"):
        return
    there = app.builder.get_relative_uri(page, "book/witnesses")
    for label, own in groupby(sorted(claims.claims(), key=itemgetter("label")), itemgetter("label")):
        links = "; ".join(_witnesses(claim, there) for claim in own)
        statement = rf'(<div class="proof [\w ]*" id="{label}">.*?</section>)'
        ending = f'<p class="imr-witnesses">Witnesses: {links}.</p>'
        context["body"] = re.sub(statement, lambda found, end=ending: found[1] + end, context["body"], count=1, flags=re.S)


def _witnesses(claim: dict[str, str], there: str) -> str:
    name = claim["id"]
    proof = "proof in part" if "proved" in claim else "proof by machine"
    links = [] if "by_hand" in claim else [f'<a href="{there}#symbolic-{name}">{proof}</a>']
    links.append(f'<a href="{there}#check-{name}">check and control</a>')
    if name in claims.cells():
        links.append(f'<a href="#cell-{name}">cell</a>')
    return ", ".join(links)


def put_live(app: Sphinx, error: Exception | None) -> None:
    """Put Python for the browser beside the pages, if ``make live`` has fetched it, and what of imr needs SymPy only."""
    fetched, live = ROOT / "_build" / "live", Path(app.outdir) / "live"
    if error or not fetched.is_dir():
        return
    shutil.copytree(fetched, live, dirs_exist_ok=True)
    with ZipFile(live / "imr.zip", "w") as archive:
        for room in ("__init__", "symbolic", "check"):
            archive.write(ROOT / "imr" / f"{room}.py", f"imr/{room}.py")


def make_slides(app: Sphinx, error: Exception | None) -> None:
    """Make the lecture slides from the pages that have just been built."""
    if not error and app.builder.name == "html":
        slides.write(Path(app.outdir))
