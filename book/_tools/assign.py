"""Assignments, each made from one source and written to ``dist/NAME``.

A source in ``book/exercises`` (MyST, written by hand) holds the questions, solutions and tests of one assignment, marked for
Otter-Grader. From it come, and so agree,

- ``student/``: the notebook with blanks, its public tests as cells, and the expected pictures; beside it this package as a
  wheel, for machines that do not have it;
- ``solution/``: the notebook with solutions and all tests, executed; a solution that fails a test is not written;
- ``autograder.zip``: for Gradescope, ``otter run``, ``otter grade`` and ``make grade``;
- ``nbgrader/``: the notebook as nbgrader's ``source`` folder wants it.

The same source gives the same bytes.
"""

import ast
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from _tools import ROOT
from _tools.notebooks import execute
from _tools.publish import FETCH, repository

EXERCISES, DIST = ROOT / "book" / "exercises", ROOT / "dist"
BLANK = 'raise NotImplementedError("Your turn.")'
IGNORED = "otter_ignore"  # Otter's tag for cells that are not run when it grades
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the time that files in archives carry
SET_UP = """\
# Set-up. Where this course's package is installed it does nothing; elsewhere, on Colab say, it takes a few minutes.
import importlib.util, subprocess, sys
from pathlib import Path

if importlib.util.find_spec("imr") is None:
    package = "{package}"
    if package.endswith(".whl") and not Path(package).exists():
        raise FileNotFoundError(f"{{package}} came with this notebook: put it beside it (on Colab: drag it to Files)")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
"""


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
    _number(notebook)
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


def _test(source: str) -> Test:
    found = re.match(r'""" # BEGIN TEST CONFIG\n(.*?)""" # END TEST CONFIG\n(.*)', source, re.S)
    if not found:
        return Test(source)
    config = yaml.safe_load(found[1])
    return Test(found[2].strip(), config.get("hidden", False), config.get("failure_message", ""))


def assign(name: str, wheel: Path, out: Path = DIST) -> Path:
    """Write ``out/NAME`` from its source, and return it; what was there is replaced only if all goes well.

    Args:
        name: of the assignment.
        wheel: of this package.
        out: where.

    Raises:
        CellExecutionError: the solution fails one of the tests.
    """
    source = read(name)
    asked = questions(source)
    with tempfile.TemporaryDirectory() as folder:
        made, there = Path(folder) / "made", Path(folder) / "otter"
        for part in ("student", "solution", "nbgrader"):
            (made / part).mkdir(parents=True)
        _run_otter(name, source, wheel, there)
        solution = nbformat.read(there / "out" / "autograder" / f"{name}.ipynb", as_version=4)
        _solve(solution, asked, wheel.name)
        execute(solution, there)
        _write(solution, made / "solution" / f"{name}.ipynb")
        student = nbformat.read(there / "out" / "student" / f"{name}.ipynb", as_version=4)
        _blank(student, asked, wheel.name, _pictures(solution))
        _write(student, made / "student" / f"{name}.ipynb")
        for part in ("student", "nbgrader"):
            shutil.copyfile(wheel, made / part / wheel.name)
        _write(nbgrader(source, wheel.name), made / "nbgrader" / f"{name}.ipynb")
        (archive,) = (there / "out" / "autograder").glob("*.zip")
        _pack(archive, made / "autograder.zip", _prelude(source))
        shutil.rmtree(out / name, ignore_errors=True)
        shutil.copytree(made, out / name)
    return out / name


def build_wheel(folder: Path) -> Path:
    """Build this package as a wheel, the same bytes each time."""
    with tempfile.TemporaryDirectory() as clean:
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, clean)
        shutil.copytree(ROOT / "imr", Path(clean) / "imr", ignore=shutil.ignore_patterns("__pycache__"))
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        epoch = {"SOURCE_DATE_EPOCH": "315532800"}  # LONG_AGO
        command = [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), clean]
        subprocess.run(command, check=True, env=os.environ | epoch)
    (wheel,) = folder.glob("imr-*.whl")
    return wheel


def _run_otter(name: str, source: NotebookNode, wheel: Path, folder: Path) -> None:
    """Let Otter make its student and autograder notebooks, and the autograder's archive, in ``folder/out``."""
    import otter.assign  # here, since the book's build reads sources, too, and this takes seconds

    folder.mkdir()
    shutil.copyfile(wheel, folder / wheel.name)
    config = {
        "name": name,
        "init_cell": False,
        "export_cell": False,
        "run_tests": False,  # the solution is executed with its tests below
        "tests": {"files": True, "ok_format": False},
        "generate": {"zips": False},
        "autograder_files": [wheel.name],
        "requirements": [f"/autograder/source/files/{wheel.name}"],  # where Gradescope unpacks it
    }
    marked = nbformat.from_dict(source)
    mark = nbformat.v4.new_raw_cell("# ASSIGNMENT CONFIG\n" + yaml.safe_dump(config), id="config")
    marked.cells = [mark, *source.cells]
    nbformat.write(marked, folder / f"{name}.ipynb")
    otter.assign.main(str(folder / f"{name}.ipynb"), str(folder / "out"))


def _solve(notebook: NotebookNode, asked: dict[str, Question], package: str) -> None:
    """Put all tests in the place of Otter's check cells, and take the marks of solutions away."""
    _put_tests(notebook, asked, lambda test: True)
    for cell in notebook.cells:
        lines = cell.source.splitlines()
        cell.source = "\n".join(line for line in lines if not re.match(r"\s*# (BEGIN|END) SOLUTION", line))
    _set_up(notebook, package)


def _blank(notebook: NotebookNode, asked: dict[str, Question], package: str, pictures: list[NotebookNode]) -> None:
    """Make the student's version: public tests, blanks that say so, the pictures that are expected."""
    _put_tests(notebook, asked, lambda test: not test.hidden)
    for cell in notebook.cells:
        if "otter_answer_cell" in cell.metadata.get("tags", []) and cell.cell_type == "code":
            cell.source = re.sub(r"^(\s*)\.\.\.$", rf"\g<1>{BLANK}", cell.source, flags=re.M)
    drawing = [place for place, cell in enumerate(notebook.cells) if "expected" in cell.metadata.get("tags", [])]
    for place, picture in reversed(list(zip(drawing, pictures, strict=True))):
        notebook.cells.insert(place + 1, picture)
    _set_up(notebook, package)


def _put_tests(notebook: NotebookNode, asked: dict[str, Question], shown: Callable[[Test], bool]) -> None:
    cells = []
    for cell in notebook.cells:
        check = re.fullmatch(r'grader\.check\("(\w+)"\)', cell.source)
        if not check:
            cells.append(cell)
            continue
        tests = [test for test in asked[check[1]].tests if shown(test)]
        cells += [nbformat.v4.new_code_cell(test.source, metadata={"tags": [IGNORED]}) for test in tests]
    notebook.cells = cells


def _set_up(notebook: NotebookNode, package: str) -> None:
    """Put the cell that sets a bare machine up under the title."""
    address = repository()
    source = SET_UP.format(package=f"imr @ git+https://github.com/{address}" if address else package)
    if notebook.metadata.imr.get("data"):
        source += "\n" + FETCH
    notebook.cells.insert(1, nbformat.v4.new_code_cell(source.rstrip()))


def _pictures(solution: NotebookNode) -> list[NotebookNode]:
    """The last picture of each cell tagged ``expected``, as a text cell to be shown to students."""
    cells = []
    for number, cell in enumerate(c for c in solution.cells if "expected" in c.metadata.get("tags", [])):
        image = [output["data"]["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})][-1]
        name = f"expected-{number + 1}.png"
        text = f"It should look like this:\n\n![{cell.metadata.mystnb.image.alt.strip()}](attachment:{name})"
        attachments = {name: {"image/png": base64.b64encode(base64.b64decode(image)).decode()}}
        cells.append(nbformat.v4.new_markdown_cell(text, attachments=attachments))
    return cells


def nbgrader(source: NotebookNode, package: str) -> NotebookNode:
    """The notebook for nbgrader's ``source`` folder: solutions and hidden tests between its marks, points on the tests."""
    asked, cells, question, inside = questions(source), [], None, ""
    for cell in source.cells:
        mark = cell.source.partition("\n")[0] if cell.cell_type == "raw" else ""
        if mark == "# BEGIN QUESTION":
            question = asked[yaml.safe_load(cell.source)["name"]]
        elif mark.startswith(("# BEGIN", "# END")):
            inside = mark.removeprefix("# BEGIN ") if mark.startswith("# BEGIN") else ""
            if inside == "TESTS":
                cells += [_nbgrader_test(question, number) for number in range(len(question.tests))]
        elif inside == "SOLUTION":
            text = re.sub(r"# (BEGIN|END) SOLUTION.*", r"### \1 SOLUTION", cell.source)
            marks = {"grade": False, "solution": True, "locked": False, "schema_version": 3, "task": False}
            own = {"nbgrader": marks | {"grade_id": f"{question.name}-answer"}}
            cells.append(nbformat.v4.new_code_cell(text, metadata=own))
        elif not inside:
            cells.append(nbformat.from_dict(cell))
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=source.metadata)
    _set_up(notebook, package)
    return notebook


def _nbgrader_test(question: Question, number: int) -> NotebookNode:
    test = question.tests[number]
    text = f"### BEGIN HIDDEN TESTS\n{test.source}\n### END HIDDEN TESTS" if test.hidden else test.source
    marks = {"grade": True, "solution": False, "locked": True, "schema_version": 3, "task": False}
    own = marks | {"grade_id": f"{question.name}-{number + 1}", "points": question.points / len(question.tests)}
    return nbformat.v4.new_code_cell(text, metadata={"nbgrader": own})


def _prelude(source: NotebookNode) -> str:
    """What the tests of every question need: Otter runs them in a namespace of their own."""
    cells = [cell.source for cell in source.cells if "for-tests" in cell.metadata.get("tags", [])]
    return "\n\n".join(cells) + "\n"


def _pack(archive: Path, target: Path, prelude: str) -> None:
    """Copy Otter's archive, with the prelude in each test file, in one order and with one time."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name.startswith("tests/"):
                content = prelude.encode() + content
                ast.parse(content)
            new.writestr(zipfile.ZipInfo(name, LONG_AGO), content, zipfile.ZIP_DEFLATED)


def _number(notebook: NotebookNode) -> None:
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"


def _write(notebook: NotebookNode, path: Path) -> None:
    """Write with ids by position, and of what Otter notes only the name."""
    _number(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata["otter"] = {"assignment_name": path.stem}  # graders refuse a notebook of another assignment
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
