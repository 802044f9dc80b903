"""Assignments, each made from one source and written to ``dist/NAME``.

A source in ``book/exercises`` (MyST, written by hand) holds the questions, solutions and tests of one assignment, marked for
Otter-Grader. From it come, and so agree,

- ``student/``: the notebook with blanks, its public tests as cells, and the expected pictures; beside it this package as a
  wheel, for machines that do not have it;
- ``solution/``: the notebook with solutions and all tests, executed; a solution that fails a test is not written;
- ``autograder.zip``: for Gradescope, ``otter run``, ``otter grade`` and ``make grade``.

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
from pathlib import Path

import nbformat
import otter.assign
import yaml
from nbformat import NotebookNode

from _tools import ROOT, assignments
from _tools.assignments import Question, Test
from _tools.notebooks import execute, set_up_cell
from _tools.publish import repository

DIST = ROOT / "dist"
BLANK = 'raise NotImplementedError("Your turn.")'
IGNORED = "otter_ignore"  # Otter's tag for cells that are not run when it grades
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the time that files in archives carry
INSTALL = """\
package = "{package}"
if package.endswith(".whl") and not Path(package).exists():
    raise FileNotFoundError(f"{{package}} came with this notebook: put it beside it (on Colab: drag it to Files)")
subprocess.run([*pip, package], check=True)
"""


def assign(name: str, wheel: Path, out: Path = DIST) -> Path:
    """Write ``out/NAME`` from its source, and return it; what was there is replaced only if all goes well.

    Args:
        name: of the assignment.
        wheel: of this package.
        out: where.

    Raises:
        CellExecutionError: the solution fails one of the tests.
    """
    source = assignments.read(name)
    asked = assignments.questions(source)
    with tempfile.TemporaryDirectory() as folder:
        made, there = Path(folder) / "made", Path(folder) / "otter"
        for part in ("student", "solution"):
            (made / part).mkdir(parents=True)
        _run_otter(name, source, wheel, there)
        solution = nbformat.read(there / "out" / "autograder" / f"{name}.ipynb", as_version=4)
        _solve(solution, asked, wheel.name)
        execute(solution, there)
        _write(solution, made / "solution" / f"{name}.ipynb")
        student = nbformat.read(there / "out" / "student" / f"{name}.ipynb", as_version=4)
        _blank(student, asked, wheel.name, _pictures(solution))
        _write(student, made / "student" / f"{name}.ipynb")
        shutil.copyfile(wheel, made / "student" / wheel.name)
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
    install = INSTALL.format(package=f"imr @ git+https://github.com/{address}" if address else package)
    notebook.cells.insert(1, set_up_cell(install, notebook))


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


def _write(notebook: NotebookNode, path: Path) -> None:
    """Write with ids by position, and of what Otter notes only the name."""
    assignments.number(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata["otter"] = {"assignment_name": path.stem}  # graders refuse a notebook of another assignment
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
