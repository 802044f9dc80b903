"""The texts of the assignments, ``book/exercises/*.md`` (MyST, written by hand), and the questions that stand in them.

Raw cells mark the parts of a text, in the way of Otter-Grader; the instructor's guide has the table.
"""

import re
from dataclasses import dataclass, field

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from _tools import BOOK

EXERCISES = BOOK / "exercises"


@dataclass
class Test:
    """One test of a question: its code (a function and its call), whether students see it, and what to say if it fails."""

    source: str
    hidden: bool = False
    message: str = ""


@dataclass
class Question:
    """One question: its name, its points, which its tests share equally, and the tests."""

    name: str
    points: float
    tests: list[Test] = field(default_factory=list)


def names() -> list[str]:
    """The assignments, in their order."""
    return sorted(path.stem for path in EXERCISES.glob("*.md"))


def read(name: str) -> NotebookNode:
    """Read a source into a notebook whose cell ids depend on the position alone."""
    notebook = jupytext.read(EXERCISES / f"{name}.md", fmt="md:myst")
    number(notebook)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    own = {"kernelspec": kernel, "language_info": {"name": "python"}, "imr": notebook.metadata.imr}
    notebook.metadata = nbformat.from_dict(own)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def questions(notebook: NotebookNode) -> dict[str, Question]:
    """The questions of a source by name, read from what stands between its marks."""
    found: dict[str, Question] = {}
    question, inside = None, False
    for cell in notebook.cells:
        mark = cell.source.partition("\n")[0] if cell.cell_type == "raw" else ""
        if mark == "# BEGIN QUESTION":
            config = yaml.safe_load(cell.source)
            question = found[config["name"]] = Question(config["name"], config["points"])
        elif mark in ("# BEGIN TESTS", "# END TESTS"):
            inside = mark == "# BEGIN TESTS"
        elif inside:
            question.tests.append(_test(cell.source))
    return found


def text(notebook: NotebookNode) -> str:
    """The prose of a notebook."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def number(notebook: NotebookNode) -> None:
    """Give each cell an id that depends on its position alone."""
    for position, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{position:03d}"


def _test(source: str) -> Test:
    found = re.match(r'""" # BEGIN TEST CONFIG\n(.*?)""" # END TEST CONFIG\n(.*)', source, re.S)
    if not found:
        return Test(source)
    config = yaml.safe_load(found[1])
    return Test(found[2].strip(), config.get("hidden", False), config.get("failure_message", ""))
