"""Text notebooks and their executed twins.

``book/chapters/*.md`` (MyST, written by hand) are the only source; ``book/notebooks/*.ipynb`` are their executed twins,
which the book renders and nbval compares. Timestamps prove nothing after a clone, so ``check`` compares the inputs.
"""

import json
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from textwrap import indent

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from _tools import BOOK

CHAPTERS, NOTEBOOKS = BOOK / "chapters", BOOK / "notebooks"
STATUS = NOTEBOOKS / "status.json"
PACKAGES = ("torch", "sympy", "numpy", "matplotlib", "pandas", "scikit-learn")
CELL_KEYS = ("tags", "mystnb")  # the cell metadata that travels
COMPARED_LEAST = 3  # a notebook with fewer compared outputs proves too little


def stems() -> list[str]:
    """The chapters, in their order."""
    return sorted(path.stem for path in CHAPTERS.glob("*.md"))


def from_text(path: Path) -> NotebookNode:
    """Read a text notebook into a notebook without outputs, with cell ids that depend on the position alone."""
    text = jupytext.read(path, fmt="md:myst")
    for number, cell in enumerate(text.cells):
        cell["id"] = f"{path.stem[:2]}-{number:03d}"
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in CELL_KEYS if key in cell.metadata})
    text.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python", "pygments_lexer": "ipython3"},
        imr=text.metadata.get("imr", NotebookNode()),
    )
    text.nbformat, text.nbformat_minor = 4, 5
    return text


def refresh(stem: str) -> Path:
    """Execute a chapter from its text and write its twin; the twin stays as it was if a cell fails."""
    notebook = from_text(CHAPTERS / f"{stem}.md")
    started = time.perf_counter()
    execute(notebook, NOTEBOOKS)
    seconds = time.perf_counter() - started
    nbformat.validate(notebook)
    twin = NOTEBOOKS / f"{stem}.ipynb"
    nbformat.write(notebook, twin)
    _note(stem, seconds)
    return twin


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook in a folder, its outputs the same each time; a CellExecutionError names a cell that fails."""
    language = notebook.metadata.language_info
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata["language_info"] = language  # the kernel writes its exact version there


def _note(stem: str, seconds: float) -> None:
    """Write down when a chapter was executed, how long it took, and with which versions, for the status page."""
    status = json.loads(STATUS.read_text(encoding="utf-8")) if STATUS.exists() else {}
    versions = {"python": ".".join(map(str, sys.version_info[:3])), **{name: version(name) for name in PACKAGES}}
    today = datetime.now(UTC).date().isoformat()
    status[stem] = {"refreshed": today, "seconds": round(seconds, 1), "versions": versions}
    kept = {name: status[name] for name in stems() if name in status}
    STATUS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def problems(chapters: Path = CHAPTERS, notebooks: Path = NOTEBOOKS) -> list[str]:
    """Everything that makes a stored notebook unfit to be compared, one line each; empty if all is well."""
    texts, twins = (
        {path.stem for path in folder.glob(glob)} for folder, glob in ((chapters, "*.md"), (notebooks, "*.ipynb"))
    )
    found = [f"{stem}: no executed twin; run make refresh CHAPTERS={stem}" for stem in sorted(texts - twins)]
    found += [f"{stem}: a twin without text in {chapters.name}/; delete it" for stem in sorted(twins - texts)]
    for stem in sorted(texts & twins):
        text = from_text(chapters / f"{stem}.md")
        twin = nbformat.read(notebooks / f"{stem}.ipynb", as_version=4)
        found += [f"{stem}: {problem}; run make refresh CHAPTERS={stem}" for problem in _compare(text, twin)]
    return found


def _compare(text: NotebookNode, twin: NotebookNode) -> list[str]:
    found = []
    if text.metadata.imr != twin.metadata.get("imr"):
        found.append("text and twin differ in their metadata")
    if len(text.cells) != len(twin.cells):
        found.append(f"the text has {len(text.cells)} cells, the twin {len(twin.cells)}")
    for number, (a, b) in enumerate(zip(text.cells, twin.cells, strict=False), 1):
        if (a.cell_type, a.source, a.metadata) != (b.cell_type, b.source, b.metadata):
            found.append(f"text and twin differ in cell {number}: {b.source.splitlines()[:1]}")
    code = [cell for cell in twin.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"not executed from top to bottom, counts are {counts} (nbval skips a cell without a count)")
    compared = sum(any(_is_compared(output) for output in cell.outputs) for cell in code if not _is_ignored(cell))
    if compared < COMPARED_LEAST:
        found.append(f"{compared} cells have an output that nbval compares, expected at least {COMPARED_LEAST}")
    return found


def _is_compared(output: NotebookNode) -> bool:
    return output.output_type == "stream" or bool({"text/plain", "text/latex", "text/html"} & set(output.get("data", {})))


def _is_ignored(cell: NotebookNode) -> bool:
    return any("ignore-output" in tag or "skip" in tag for tag in cell.metadata.get("tags", []))


SET_UP = """\
# Set-up. Where the package is installed already it does nothing; elsewhere, on Colab say, it takes a few minutes.
import importlib.util, os, subprocess, sys
from pathlib import Path

pip = [sys.executable, "-m", "pip", "install", "--quiet"]
if importlib.util.find_spec("imr") is None:
{install}
"""
FETCH = """
from imr import data
if not data.is_present():
    data.download()  # Fashion-MNIST, 30 MB
"""


def set_up_cell(install: str, notebook: NotebookNode) -> NotebookNode:
    """Make the first cell of a notebook that leaves this house, which sets a bare machine up.

    Args:
        install: the lines that install the package; they may use ``pip``, a list to which they add what, ``os``,
            ``subprocess`` and ``Path``.
        notebook: the one that it is for; its data are fetched if its metadata name them.
    """
    source = SET_UP.format(install=indent(install.strip(), "    ")) + (FETCH if notebook.metadata.imr.get("data") else "")
    return nbformat.v4.new_code_cell(source.strip(), id="set-up")
