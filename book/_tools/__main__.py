"""The command of whoever writes, teaches from, or publishes the book: ``python -m _tools --help``."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from _tools import ROOT

app = typer.Typer(
    help="Make, check and hand out the book and its assignments.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.command()
def refresh(
    chapters: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAPTER]...", help="Such as 03-theorem-1. Default: all.")
    ] = None,
) -> None:
    """Execute chapters anew and write their notebooks, which the book shows and the tests compare."""
    from nbclient.exceptions import CellExecutionError

    from _tools import notebooks

    os.environ["OMP_NUM_THREADS"] = "1"
    for stem in _of("chapter", chapters, notebooks.stems()):
        try:
            print("wrote", notebooks.refresh(stem).relative_to(ROOT), flush=True)
        except CellExecutionError as error:
            _refuse(f"{stem}: a cell failed, the notebook stays as it was\n{error}")
        if found := notebooks.problems([stem]):
            _refuse("\n".join(found))


@app.command()
def chapter(
    name: Annotated[str, typer.Argument(help="Of the file: number and topic, such as 13-my-topic.")],
    title: Annotated[str, typer.Argument(help="Of the chapter.")],
) -> None:
    """Begin a chapter: a small text that runs and passes the tests, listed in the table of contents."""
    from _tools.chapter import ChapterError, begin

    try:
        print(f"wrote {begin(name, title).relative_to(ROOT)}; now: make refresh CHAPTERS={name}")
    except ChapterError as error:
        _refuse(str(error))


@app.command()
def check() -> None:
    """Say whether each chapter's text and its executed notebook agree."""
    from _tools import notebooks

    if found := notebooks.problems():
        _refuse("\n".join(found))
    print("text and notebooks agree")


@app.command()
def assign(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ASSIGNMENT]...", help="Such as 01-theorem-1. Default: all.")
    ] = None,
) -> None:
    """Make what is handed out and what grades, in the folder dist, from the texts in book/exercises.

    - dist/ASSIGNMENT/student is for the students: the notebook with blanks, and beside it the package that it needs.
    - dist/ASSIGNMENT/solution has the same notebook solved and run.
    - dist/ASSIGNMENT/autograder.zip is for Gradescope, for Otter, and for the command grade.

    An assignment whose solution fails one of its own tests is not written.
    With the environment variable IMR_REPOSITORY=OWNER/NAME the students' notebook fetches the package from GitHub.

    Example: python -m _tools assign 01-theorem-1
    """
    from nbclient.exceptions import CellExecutionError

    from _tools import assign as making
    from _tools import assignments

    with tempfile.TemporaryDirectory() as folder:
        wheel = making.build_wheel(Path(folder))
        for name in _of("assignment", names, assignments.names()):
            try:
                print("wrote", making.assign(name, wheel).relative_to(ROOT), flush=True)
            except CellExecutionError as error:
                _refuse(f"{name}: the solution fails; dist stays as it was\n{error}")


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="The folder with what the students returned.")],
    assignment: Annotated[
        str | None,
        typer.Option(help="Which assignment it is; notebooks of another are refused. Default: each notebook says."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; files of a former run are replaced.")] = Path("grades"),
    jobs: Annotated[int | None, typer.Option(help="How many notebooks at a time. Default: one a core.", min=1)] = None,
    seconds: Annotated[
        float, typer.Option(help="Time for one notebook with its tests; a quarter of it for one cell.", min=1)
    ] = 120,
    memory: Annotated[float, typer.Option(help="GiB of memory for one notebook (on Linux).", min=0.1)] = 4,
) -> None:
    """Grade a folder of notebooks: tables of points, and feedback for each student.

    The folder SUBMISSIONS holds a notebook for each student (anna.ipynb), or a folder with one (bert/anything.ipynb);
    the name of either is the student's. Run the command assign first: the tests are those in dist.

    Out come

    - grades.csv: a line for each student and question, with the points and what failed;
    - totals.csv: a line for each student;
    - feedback/STUDENT.md: the same for the student, who is told of a hidden test only its hint.

    Each notebook runs on its own, from top to bottom. A cell that takes too long, or prints more than a million
    characters, is interrupted, and the rest is graded; a notebook that cannot be graded gets no points and a line that
    says why. The limits guard against accidents, not against malice: a notebook runs as you.

    Example: python -m _tools grade returned --assignment 01-theorem-1 --out grades-1
    """
    from _tools import grade as grading
    from _tools.sandbox import Limits

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    limits = Limits(seconds=seconds, cell_seconds=seconds / 4, memory=int(memory * 2**30))
    started = time.perf_counter()
    try:
        reports = grading.grade(submissions, out, assignment, jobs or os.cpu_count() or 1, limits)
    except grading.GradeError as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        typer.echo(f"stopped; what has been graded is in {out}", err=True)
        raise typer.Exit(130) from None
    broken = sum(not report.graded for report in reports)
    print(f"{len(reports)} notebooks in {time.perf_counter() - started:.0f} s, {broken} of them not graded: {out}")


@app.command()
def publish() -> None:
    """Write what Colab and Binder open, for the repository that IMR_REPOSITORY names, to _build/launch."""
    from _tools import publish as publishing

    try:
        name = publishing.repository()
    except ValueError as error:
        _refuse(str(error))
    if name is None:
        _refuse("IMR_REPOSITORY is not set, expected OWNER/NAME of the project's repository on GitHub")
    publishing.write(name, publishing.LAUNCH)
    print(f"{publishing.LAUNCH}: publish it as the branch {publishing.BRANCH} of {name}")


@app.command()
def live() -> None:
    """Fetch Python for the browser (20 MB, needs npm), so that readers run the SymPy cells in the page."""
    from _tools import live as python

    try:
        size = python.put(python.LIVE)
    except (OSError, subprocess.CalledProcessError) as error:
        _refuse(f"not fetched: {error}\nThis needs npm (of Node) and a network, once.")
    except python.LiveError as error:
        _refuse(str(error))
    print(f"{size / 2**20:.0f} MiB in {python.LIVE}; now: make serve")


@app.command()
def pdf() -> None:
    """Print the built book to _build/imr.pdf; needs Chromium."""
    from _tools import pdf as printing

    try:
        printing.write(printing.OUT)
    except FileNotFoundError as error:
        _refuse(str(error))
    print(f"{printing.OUT.stat().st_size / 2**20:.1f} MiB in {printing.OUT}")


def _of(kind: str, asked: list[str] | None, known: list[str]) -> list[str]:
    """What was asked for, or all; refuses what there is not."""
    if unknown := sorted(set(asked or []) - set(known)):
        _refuse(f"no such {kind}: {', '.join(unknown)}. There are: {', '.join(known)}")
    return asked or known


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app(prog_name="python -m _tools")
