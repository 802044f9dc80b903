"""What this book adds to Sphinx; named in ``_config.yml``."""

import json
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
PDF = ROOT / "_build" / "imr.pdf"


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what stands below."""
    app.connect("source-read", fill_in)
    app.connect("html-page-context", say_when_refreshed)
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("html-page-context", mend_citation_lists)
    app.connect("build-finished", put_live)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    """Put into a page what only the build knows, in the place of a comment that names it."""
    made = {
        "<!-- status -->": status_table,
        "<!-- data -->": data_table,
        "<!-- pdf -->": lambda: (
            "{download}`As one PDF <../_build/imr.pdf>`." if PDF.exists() else "`make pdf` makes one PDF of it."
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


def say_when_refreshed(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """End each chapter with when it was last executed, and with which versions."""
    row = status().get(Path(page).name)
    if row and page.startswith("book/notebooks/"):
        context["body"] += f'<p class="imr-refreshed">Last refreshed on {row["refreshed"]} with {_versions(row)}.</p>\n'


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


def put_live(app: Sphinx, error: Exception | None) -> None:
    """Put Python for the browser beside the pages, if ``make live`` has fetched it, and what of imr needs SymPy only."""
    fetched, live = ROOT / "_build" / "live", Path(app.outdir) / "live"
    if error or not fetched.is_dir():
        return
    shutil.copytree(fetched, live, dirs_exist_ok=True)
    with ZipFile(live / "imr.zip", "w") as archive:
        for room in ("__init__", "symbolic", "check"):
            archive.write(ROOT / "imr" / f"{room}.py", f"imr/{room}.py")
