"""Grade a folder of notebooks.

Each notebook runs in a process of its own, with limits on time, memory and output, and without the environment of whoever
grades. The tests are those of ``dist/NAME/autograder.zip``, run by Otter's own classes on what the notebook leaves, so
the points are those of Gradescope and ``otter run``. A notebook that breaks gets a line that says how, and harms no other.

This guards against accidents, not against malice: a notebook may read and write what the user who grades may, and reach the
network. The instructor's guide says what to do about that.
"""

import csv
import ctypes
import inspect
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from tqdm import tqdm

from _tools import ROOT

DIST = ROOT / "dist"
PRELOADED = [
    "torch",
    "torch._dynamo",
    "sympy",
    "matplotlib.pyplot",
    "scipy.special",
    "IPython.core.interactiveshell",
    "otter.test_files",
]
PRELOADED += ["imr.answers", "imr.attention", "imr.flow", "imr.data", "imr.figures"]
PR_SET_CHILD_SUBREAPER = 36  # of Linux's prctl
GET_DATA = "python -m imr data --download fetches it, IMR_DATA=DIR says where it is"
HEAD = ("student", "question", "points", "of", "what failed")


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Args:
        seconds: wall-clock time for the whole notebook and its tests; then it is killed.
        cell_seconds: for one cell, or the tests of one question; then that is interrupted and the rest goes on.
        memory: bytes beyond what the empty process has.
        printed: characters for one cell; then it is interrupted.
        file: bytes of a submission, and of a file that it writes.
    """

    seconds: float = 120
    cell_seconds: float = 30
    memory: int = 4 * 2**30
    printed: int = 1_000_000
    file: int = 50 * 2**20


@dataclass
class Report:
    """What grading a submission found.

    Args:
        student: name.
        assignment: its name, empty where it cannot be told.
        points: for each question the points it got and how many there are.
        failed: for each question what failed, as the student may read it.
        trouble: what happened outside of the tests: cells that raised, or why the whole could not be graded.
        graded: whether the tests were run.
    """

    student: str
    assignment: str = ""
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    graded: bool = False


class GradeError(RuntimeError):
    """Nothing can be graded; the message says why and what to do."""


class Interrupted(BaseException):
    """A cell took too long or printed too much. Not an ``Exception``, so that few notebooks catch it."""


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
    tests = Tests(dist, assignment)
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    reports: dict[str, Report] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        with tqdm(None, "grading", len(submissions), unit="notebook") as bar, tests:
            own = (assignment, tests, limits or Limits())
            for done in as_completed([pool.submit(_supervise, student, file, *own) for student, file in submissions]):
                report = done.result()
                reports[report.student] = report
                _write(out / "feedback" / f"{report.student}.md", _feedback(report))
                write(sorted(reports.values(), key=lambda r: r.student), out)
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C: what runs is waited for, what waits is not begun
    return list(reports.values())


def find(folder: Path) -> list[tuple[str, Path]]:
    """The submissions in a folder: (student, file), a student being a file or a folder of the folder, by its name."""
    if not folder.is_dir():
        raise GradeError(f"{folder} is no folder: name the one that holds the submissions")
    found: list[tuple[str, Path]] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if not path.is_dir():
            found.append((path.stem, path))
            continue
        own = sorted(p for p in path.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
        found += [(path.name if len(own) == 1 else f"{path.name}-{file.stem}", file) for file in own] or [(path.name, path)]
    if not found:
        raise GradeError(f"{folder} is empty: expected notebooks, or a folder with a notebook for each student")
    often = Counter(student for student, _ in found)
    names = [s if often[s] == 1 else "-".join(file.relative_to(folder).parts) for s, file in found]
    return [(name.encode("utf-8", "replace").decode(), file) for name, (_, file) in zip(names, found, strict=True)]


class Tests:
    """The tests of the assignments, unpacked from ``dist/NAME/autograder.zip`` as long as they are needed."""

    def __init__(self, dist: Path, assignment: str | None) -> None:
        """See that there are any, of this assignment if it is named; a GradeError says what to do if not."""
        self.archives = {path.parent.name: path for path in sorted(dist.glob("*/autograder.zip"))}
        if not self.archives or (assignment and assignment not in self.archives):
            known = f"; there are {', '.join(self.archives)}" if self.archives else ""
            raise GradeError(f"no autograder {f'of {assignment} ' if assignment else ''}in {dist}: make assign{known}")
        self.folder = Path(tempfile.mkdtemp(prefix="imr-tests-"))

    def __enter__(self) -> "Tests":
        """Unpack."""
        for name, archive in self.archives.items():
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(self.folder / name, [n for n in packed.namelist() if n.startswith("tests/")])
        return self

    def __exit__(self, *_: object) -> None:
        """Remove."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, assignment: str) -> list[Path]:
        """The test files of an assignment."""
        return sorted((self.folder / assignment / "tests").glob("*.py"))

    def needs_data(self, assignment: str) -> bool:
        """Whether its notebooks read Fashion-MNIST."""
        student = self.archives[assignment].parent / "student" / f"{assignment}.ipynb"
        return "data" in json.loads(student.read_text(encoding="utf-8"))["metadata"]["imr"]

    def worth(self, assignment: str) -> dict[str, float]:
        """The points of each question."""
        return {file.stem: float(re.search(r"^points = (.+)$", file.read_text(), re.M)[1]) for file in self.of(assignment)}


@cache
def _images() -> str | None:
    """The folder of Fashion-MNIST, as it is from any other; None if it is not there."""
    from imr import data  # here, since it imports torch

    return str(data.folder().resolve()) if data.is_present() else None


def _read_tests(files: list[Path]) -> dict[Path, Any]:
    from otter.test_files import ExceptionTestFile

    return {file: ExceptionTestFile.from_file(str(file)) for file in files}


@cache
def _server() -> multiprocessing.context.ForkServerContext:
    """Where processes come from: one that has imported what notebooks import, which takes seconds, and run nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _supervise(student: str, file: Path, assignment: str | None, tests: Tests, limits: Limits) -> Report:
    """Grade one submission; whatever is wrong with it stands in its report and harms no other."""
    report = Report(student)
    try:
        report.assignment = _assignment(_notebook(file, limits), assignment, list(tests.archives))
        worth = tests.worth(report.assignment)
        report.points = {question: (0.0, points) for question, points in worth.items()}
        images = _images() if tests.needs_data(report.assignment) else ""
        if images is None:
            raise GradeError(f"needs Fashion-MNIST, which is not here: {GET_DATA}")
        found = _run_apart(file, tests.of(report.assignment), images, limits)
        report.points |= {question: (points, worth[question]) for question, points in found["points"].items()}
        report.failed, report.trouble, report.graded = found["failed"], found["trouble"], True
    except GradeError as error:
        report.trouble.append(str(error))
    except Exception as error:
        report.trouble.append(f"could not be graded: {type(error).__name__}: {_short(error)}")
    return report


def _run_apart(file: Path, tests: list[Path], images: str, limits: Limits) -> dict:
    """What :func:`_run` finds in a process that is killed, with all its children, when its time is over."""
    receiver, sender = _server().Pipe(duplex=False)
    home = tempfile.mkdtemp(prefix="imr-grade-")
    process = _server().Process(target=_run, args=(file.resolve(), tests, home, images, limits, sender))
    process.start()
    sender.close()
    try:
        return _wait(process, receiver, limits)
    finally:
        _kill(process)
        shutil.rmtree(home, ignore_errors=True)


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
    if name is not None and name not in ([asked] if asked else known):
        raise GradeError(f"is of the assignment {name!r}, expected {asked or 'one of ' + ', '.join(known)}")
    return name or asked


def _wait(process: Any, receiver: Connection, limits: Limits) -> dict:
    """What the process found; a GradeError if it ended without, or went on too long."""
    try:
        if receiver.poll(limits.seconds):
            return receiver.recv()
    except (EOFError, OSError):
        process.join(5)
        code = process.exitcode
        killed = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"it ended itself, code {code}"
        raise GradeError(f"the notebook ended its process ({killed}); nothing was graded") from None
    raise GradeError(f"stopped after {limits.seconds:g} s: a loop that does not end? Nothing was graded")


def _kill(process: Any) -> None:
    """End a process and all that it has started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    for pid in [process.pid, *(child.pid for child in family)]:
        for kill in (os.killpg, os.kill):
            try:
                kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
    process.join()
    process.close()


def _run(file: Path, tests: list[Path], home: str, images: str, limits: Limits, sender: Connection) -> None:
    """Run a notebook and then its tests, in a process of its own."""
    os.setsid()
    _confine(home, images, limits)
    suite = _read_tests(tests)  # before anything of the notebook has run
    found = {"points": {}, "failed": {}, "trouble": []}
    names = _execute(json.loads(file.read_text(encoding="utf-8")), limits, found["trouble"])
    for path, test in suite.items():
        points, failed = _mark(test, names, limits)
        found["points"][path.stem] = points
        if failed:
            found["failed"][path.stem] = failed
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    sender.send(found)
    sender.close()
    os._exit(0)  # whatever threads or exit handlers the notebook has left


def _confine(home: str, images: str, limits: Limits) -> None:
    """Set the limits, a folder of its own, an empty environment, and no terminal."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=home, TMPDIR=home, IMR_DATA=images, MPLBACKEND="agg", OMP_NUM_THREADS="1")
    os.environ.update(PIP_NO_INDEX="1", PIP_TARGET=home)  # %pip install in a notebook changes nothing for others
    os.chdir(home)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    cpu = int(limits.seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file, limits.file))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        memory = psutil.Process().memory_info().vms + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # grandchildren that lose their parent remain its own


def _execute(notebook: dict, limits: Limits, trouble: list[str]) -> dict[str, Any]:
    """Run the cells in their order, those that Otter ignores left out, and return the names that they leave behind."""
    import matplotlib.pyplot as plt
    import torch
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    torch.set_num_threads(1)
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}, InteractiveShell={"cache_size": 0}))
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None
    code = [cell for cell in notebook["cells"] if isinstance(cell, dict) and cell.get("cell_type") == "code"]
    for number, cell in enumerate(code, 1):
        if "otter_ignore" in ((cell.get("metadata") or {}).get("tags") or []):
            continue
        error = _within(partial(_run_cell, shell, _source(cell)), limits)
        plt.close("all")
        if error and not isinstance(error, NotImplementedError):
            trouble.append(f"code cell {number}: {type(error).__name__}: {_short(error)}")
    return shell.user_ns


def _source(cell: dict) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _run_cell(shell: Any, source: str) -> None:
    result = shell.run_cell(source, store_history=False)
    if error := result.error_before_exec or result.error_in_exec:
        raise error


def _mark(test: Any, names: dict[str, Any], limits: Limits) -> tuple[float, list[str]]:
    """Run the tests of a question on what a notebook has left; its points, and what failed."""
    if error := _within(lambda: test.run(names), limits):
        return 0.0, [f"the tests were stopped: {_short(error)}"]
    wrong = [result for result in test.test_case_results if not result.passed]
    if wrong and all(_is_unanswered(result, names) for result in wrong):
        return test.score, ["no answer"]
    failed = []
    for result in wrong:
        name = result.test_case.body.test_func.__name__.removeprefix("test_").replace("_", " ")
        if result.test_case.hidden:
            failed.append(f"a hidden test: {result.test_case.failure_message or name}")
        else:
            failed.append(f"{name}: {result.message.strip().splitlines()[-1][:300]}")
    return test.score, failed


def _is_unanswered(result: Any, names: dict[str, Any]) -> bool:
    """Whether a test failed because there is nothing to test: a blank, or a name that the notebook does not have."""
    asked = inspect.signature(result.test_case.body.test_func).parameters
    return "\nNotImplementedError:" in result.message or not set(asked) <= set(names)


def _within(act: Callable[[], None], limits: Limits) -> BaseException | None:
    """Do something within the limits of a cell; what it raised."""
    try:
        with _alarm(limits.cell_seconds), _paper(limits.printed):
            act()
    except BaseException as error:
        return error
    return None


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise Interrupted after so many seconds, and again each second, for code that catches it."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(f"interrupted after {seconds:g} s")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _paper(length: int) -> Iterator[None]:
    """Throw away what is printed, and raise Interrupted when it is too much."""

    class Paper:
        encoding, errors, left = "utf-8", "strict", length

        def write(self, text: str) -> int:
            self.left -= len(text)
            if self.left < 0:
                raise Interrupted(f"printed more than {length:,} characters")
            return len(text)

        def flush(self) -> None:
            pass

        def isatty(self) -> bool:
            return False

    kept = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = Paper()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = kept


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def write(reports: list[Report], out: Path) -> None:
    """Write the tables of what has been graded so far, each in one move."""
    rows, totals = [], []
    for r in reports:
        remark, (got, there) = "; ".join(r.trouble), _sums(r)
        if not r.graded:
            rows.append((r.student, "", 0, f"{there:g}", remark))
        rows += [(r.student, q, f"{p:g}", f"{of:g}", "; ".join(r.failed.get(q, []))) for q, (p, of) in r.points.items()]
        totals.append((r.student, r.assignment, f"{got:g}", f"{there:g}", remark))
    for name, table in (
        ("grades.csv", [HEAD, *rows]),
        ("totals.csv", [("student", "assignment", "points", "of", "remark"), *totals]),
    ):
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows([[_plain(str(cell)) for cell in row] for row in table])
        _write(out / name, lines.getvalue())


def _plain(cell: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def _sums(r: Report) -> tuple[float, float]:
    return sum(points for points, _ in r.points.values()), sum(of for _, of in r.points.values())


def _feedback(r: Report) -> str:
    got, there = _sums(r)
    lines = [f"# {r.assignment or 'Not graded'}: {r.student}", "", f"{got:g} of {there:g} points.", ""]
    for question, (points, of) in r.points.items():
        lines.append(f"- {question}: {points:g} of {of:g}")
        lines += [f"  - {what}" for what in r.failed.get(question, [])]
    if r.trouble:
        begin = "When the notebook was run from top to bottom:" if r.graded else "It was not graded:"
        lines += ["", begin, "", *(f"- {what}" for what in r.trouble)]
    return "\n".join(lines) + "\n"


def _write(file: Path, text: str) -> None:
    """Write in one move; what cannot be written in UTF-8 is shown by its number."""
    part = file.with_name(f"{file.name}.part")
    part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    os.replace(part, file)
