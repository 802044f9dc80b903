"""Text notebooks and their executed twins: the one place that runs a notebook.

``book/chapters/*.md`` (MyST, written by hand) are the only source; ``book/notebooks/*.ipynb`` are their executed twins,
which the book renders and nbval compares. Timestamps prove nothing after a clone, so ``problems`` compares the inputs.
"""

import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from textwrap import indent
from typing import Any

import jupytext
import nbformat
from jupytext.compare import NotebookDifference, compare_notebooks
from nbclient import NotebookClient
from nbformat import NotebookNode

from _tools import BOOK
from imr.files import replacing

CHAPTERS, NOTEBOOKS = BOOK / "chapters", BOOK / "notebooks"
PACKAGES = ("torch", "sympy", "numpy", "matplotlib", "pandas", "scikit-learn")
CELL_KEYS = ("tags", "mystnb")  # the cell metadata that travels
EXEMPT = re.compile("nbval|raises-exception")  # tags by which nbval leaves a cell uncompared
COMPARED = {"text/plain", "text/latex", "text/html"}  # what nbval compares of a displayed result
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
    """Execute a chapter from its text and write its twin, which notes when, how long, and with which versions.

    Raises:
        CellExecutionError: a cell fails; the twin stays as it was.
    """
    notebook, started = from_text(CHAPTERS / f"{stem}.md"), time.perf_counter()
    execute(notebook, NOTEBOOKS)
    notebook.metadata["refreshed"] = {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(time.perf_counter() - started, 1),
        "versions": [f"python {sys.version.split()[0]}", *(f"{name} {version(name)}" for name in PACKAGES)],
    }
    nbformat.validate(notebook)
    twin = NOTEBOOKS / f"{stem}.ipynb"
    with replacing(twin) as part:
        nbformat.write(notebook, part)
    return twin


def refreshed(twin: Path) -> dict[str, Any]:
    """What ``refresh`` noted in a twin: ``date`` (ISO), ``seconds``, and ``versions``, such as ``python 3.12.1``."""
    return nbformat.read(twin, as_version=4).metadata["refreshed"]


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run a notebook in a folder, its outputs the same each time; a CellExecutionError names a cell that fails."""
    language = notebook.metadata.language_info
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # else each kernel warns that it talks to this machine alone unencrypted
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata["language_info"] = language  # the kernel writes its exact version there


def problems(wanted: Iterable[str] | None = None) -> list[str]:
    """Everything that makes stored notebooks unfit to be compared, one line each; empty if all is well.

    ``wanted`` names the chapters to look at; by default all of them, and notebooks that have none.
    """
    texts = {path.stem for path in CHAPTERS.glob("*.md")}
    twins = {path.stem for path in NOTEBOOKS.glob("*.ipynb")}
    stems = texts | twins if wanted is None else set(wanted)
    found = [f"{stem}: no executed twin; run make refresh CHAPTERS={stem}" for stem in sorted(stems & texts - twins)]
    found += [f"{stem}: a twin without text in {CHAPTERS.name}/; delete it" for stem in sorted(stems & twins - texts)]
    for stem in sorted(stems & texts & twins):
        text = from_text(CHAPTERS / f"{stem}.md")
        twin = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
        unfit = [*_differences(text, twin), *_unproved(twin)]
        found += [f"{stem}: {problem}; run make refresh CHAPTERS={stem}" for problem in unfit]
    return found


def _differences(text: NotebookNode, twin: NotebookNode) -> list[str]:
    found = []
    if text.metadata.imr != twin.metadata.get("imr"):
        found.append("text and twin differ in their metadata")
    if "refreshed" not in twin.metadata:
        found.append("the twin does not say when it was refreshed")
    try:
        compare_notebooks(twin, text, fmt="md:myst", allow_expected_differences=False)
    except NotebookDifference as difference:
        found.append(f"text and twin differ ({difference})")
    return found


def _unproved(twin: NotebookNode) -> list[str]:
    """Why nbval would prove nothing: it passes a cell without a count, and what a tag exempts."""
    code = [cell for cell in twin.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    compared = sum(any(_is_compared(output) for output in cell.outputs) for cell in code)
    found = [f"a tag exempts {cell.source.splitlines()[:1]}" for cell in code if EXEMPT.search(str(cell.metadata))]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"not executed from top to bottom, counts are {counts} (nbval skips a cell without a count)")
    if compared < COMPARED_LEAST:
        found.append(f"{compared} cells have an output that nbval compares, expected at least {COMPARED_LEAST}")
    return found


def _is_compared(output: NotebookNode) -> bool:
    return output.output_type == "stream" or bool(COMPARED & set(output.get("data", {})))


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
