"""What this book adds to Sphinx; named in ``_config.yml``."""

import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what stands below."""
    app.connect("html-page-context", leave_out_thebe, priority=900)
    app.connect("html-page-context", mend_citation_lists)
    app.connect("build-finished", put_live)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


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
