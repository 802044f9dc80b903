"""Grade a folder of notebooks: a queue of submissions, each with its own kernel and its own report.

The tests are those of ``dist/NAME/autograder.zip``, run by Otter's own classes on what the notebook leaves, so the points
are those of Gradescope and ``otter run``. A notebook that breaks gets a line that says how, and harms no other: what that
covers and what not, :mod:`_tools.sandbox` says.
"""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path

from tqdm import tqdm

from _tools import kernels, marks, reports
from _tools.assign import DIST
from _tools.marks import Autograder
from _tools.reports import GradeError, Report, short
from _tools.sandbox import Limits

GET_DATA = "python -m imr data --download fetches it, IMR_DATA=DIR says where it is"


def grade(
    folder: Path,
    out: Path,
    assignment: str | None = None,
    jobs: int = 1,
    limits: Limits | None = None,
    dist: Path = DIST,
) -> list[Report]:
    """Grade every file of a folder, and write ``grades.csv``, ``totals.csv`` and ``feedback/`` as the results come.

    Args:
        folder: of submissions: notebooks, or a folder for each student.
        out: for the results.
        assignment: which it is; by default each notebook says.
        jobs: how many at a time.
        limits: for each submission.
        dist: where ``make assign`` has put the autograders.

    Raises:
        GradeError: there is nothing to grade, or no autograder.
    """
    submissions = find(folder)
    autograders = marks.autograders(dist, assignment)
    kernels.preload(set().union(*(autograder.imports for autograder in autograders.values())))
    out.mkdir(parents=True, exist_ok=True)
    done: list[Report] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        own = (assignment, autograders, limits or Limits())
        waiting = [pool.submit(_supervise, student, file, *own) for student, file in submissions]
        for future in tqdm(as_completed(waiting), "grading", len(submissions), unit="notebook"):
            done.append(future.result())
            reports.write_feedback(done[-1], out)
            reports.write(done, out)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C: what runs is waited for, what waits is not begun
    return done


def find(folder: Path) -> list[tuple[str, Path]]:
    """Find the submissions in a folder: a student is a file or a folder in it, by its name.

    Returns:
        (student, file) for each of them, no two with one name; the file is a folder where that holds no notebook.

    Raises:
        GradeError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise GradeError(f"{folder} is no folder: name the one that holds the submissions")
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.name != "__MACOSX"]
    found = [pair for path in paths for pair in _of_student(path)]
    if not found:
        raise GradeError(f"{folder} is empty: expected notebooks, or a folder with a notebook for each student")
    often = Counter(student for student, _ in found)
    names = [s if often[s] == 1 else "-".join(file.relative_to(folder).parts) for s, file in found]
    return [(name.encode("utf-8", "replace").decode(), file) for name, (_, file) in zip(names, found, strict=True)]


def _of_student(path: Path) -> list[tuple[str, Path]]:
    if not path.is_dir():
        return [(path.stem, path)]
    own = sorted(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if len(own) > 1:
        return [(f"{path.name}-{file.stem}", file) for file in own]
    return [(path.name, own[0] if own else path)]


@cache
def _images() -> str | None:
    """The folder of Fashion-MNIST, as it is from any other; None if it is not there."""
    from imr import data  # here, since it imports torch

    return str(data.folder().resolve()) if data.is_present() else None


def _supervise(student: str, file: Path, asked: str | None, autograders: dict[str, Autograder], limits: Limits) -> Report:
    """Grade one submission; whatever is wrong with it stands in its report and harms no other."""
    report = Report(student)
    try:
        notebook = _notebook(file, limits)
        report.assignment = _assignment(notebook, asked, list(autograders))
        _fill(report, notebook, autograders[report.assignment], limits)
    except GradeError as error:
        report.trouble.append(str(error))
    except Exception as error:
        report.trouble.append(f"could not be graded: {type(error).__name__}: {short(error)}")
    return report


def _fill(report: Report, notebook: dict, autograder: Autograder, limits: Limits) -> None:
    """Run a notebook and write into its report what is found."""
    worth = autograder.worth
    report.points = {question: (0.0, of) for question, of in worth.items()}
    images = _images() if autograder.needs_data else ""
    if images is None:
        raise GradeError(f"needs Fashion-MNIST, which is not here: {GET_DATA}")
    code = [cell for cell in notebook["cells"] if isinstance(cell, dict) and cell.get("cell_type") == "code"]
    found = kernels.run(code, autograder.tests, images, limits)
    report.points |= {question: (got, worth[question]) for question, got in found.points.items()}
    report.failed, report.trouble, report.graded = found.failed, found.trouble, True


def _notebook(file: Path, limits: Limits) -> dict:
    """Read a submission; a GradeError says why it is no notebook."""
    if file.is_dir():
        raise GradeError("a folder without a notebook")
    if file.suffix != ".ipynb":
        raise GradeError(f"not a notebook: a file {file.suffix or 'without suffix'}")
    try:
        if file.stat().st_size > limits.file:
            raise GradeError(f"the file has {file.stat().st_size >> 20} MiB, more than {limits.file >> 20}: not opened")
        notebook = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(notebook["cells"], list) and isinstance(notebook["metadata"], dict):
            return notebook
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GradeError(f"not a notebook: it cannot be read ({type(error).__name__})") from error
    raise GradeError("not a notebook: it cannot be read (no list of cells)")


def _assignment(notebook: dict, asked: str | None, known: list[str]) -> str:
    """Which assignment a notebook is of: what ``make assign`` has written into it, and else what was asked for."""
    noted = notebook["metadata"].get("otter")
    name = noted.get("assignment_name") if isinstance(noted, dict) else None
    if name is None and asked is None:
        raise GradeError("does not say which assignment it is: NAME=… says it for all")
    if name is not None and name not in known:
        raise GradeError(f"is of the assignment {name!r}, expected {asked or 'one of ' + ', '.join(known)}")
    return name or asked
