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
    check()


@app.command()
def check() -> None:
    """Say whether each chapter's text and its executed notebook agree."""
    from _tools import notebooks

    if found := notebooks.problems():
        _refuse("\n".join(found))
    print("text and notebooks agree")


@app.command()
def ledger(write: Annotated[bool, typer.Option("--write", help="Make the pages anew.")] = False) -> None:
    """Say whether every witness of every claim ran and passed in the last session of tests."""
    from _tools import claims

    if found := claims.settle(write):
        _refuse("\n".join(found))
    print(f"ledger: {len(claims.claims())} claims, every witness ran and passed")


@app.command()
def assign(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ASSIGNMENT]...", help="Such as 01-theorem-1. Default: all.")
    ] = None,
) -> None:
    """Make each assignment's student version, solution and autograder, in the folder dist."""
    from nbclient.exceptions import CellExecutionError

    from _tools import assign as assignments

    with tempfile.TemporaryDirectory() as folder:
        wheel = assignments.build_wheel(Path(folder))
        for name in _of("assignment", names, assignments.names()):
            try:
                print("wrote", assignments.assign(name, wheel).relative_to(ROOT), flush=True)
            except CellExecutionError as error:
                _refuse(f"{name}: the solution fails; dist stays as it was\n{error}")


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="A folder of notebooks, or of a folder for each student.")],
    assignment: Annotated[str | None, typer.Option(help="Which assignment. Default: what each notebook says.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("grades"),
    jobs: Annotated[int | None, typer.Option(help="Notebooks at a time. Default: all cores.", min=1)] = None,
    seconds: Annotated[float, typer.Option(help="For one notebook; a quarter of it for one cell.", min=1)] = 120,
    memory: Annotated[float, typer.Option(help="GiB for one notebook.", min=0.1)] = 4,
) -> None:
    """Grade a folder of notebooks: tables of points, and feedback for each student."""
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
