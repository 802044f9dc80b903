"""What grading found, for the instructor as tables and for each student as text."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from imr.files import write_text

HEAD = ("student", "question", "points", "of", "what failed")
TOTALS = ("student", "assignment", "points", "of", "remark")


class GradeError(RuntimeError):
    """Something cannot be graded; the message says why and what to do."""


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

    @property
    def total(self) -> tuple[float, float]:
        """The points it got in all, and how many there are."""
        return sum(got for got, _ in self.points.values()), sum(of for _, of in self.points.values())


def short(text: object) -> str:
    """One line of at most 300 characters; what cannot be written in UTF-8 is shown by its number."""
    return " ".join(str(text).split())[:300].encode("utf-8", "backslashreplace").decode()


def write(reports: Iterable[Report], out: Path) -> None:
    """Write the tables of what has been graded so far, ordered by student.

    Args:
        reports: in any order.
        out: an existing folder; gets ``grades.csv``, a line a question, and ``totals.csv``, a line a student.
    """
    ordered = sorted(reports, key=lambda report: report.student)
    _write_table(out / "grades.csv", HEAD, (row for report in ordered for row in _rows(report)))
    _write_table(out / "totals.csv", TOTALS, map(_totals, ordered))


def write_feedback(report: Report, out: Path) -> None:
    """Write ``feedback/STUDENT.md`` in an existing folder: the points of a student, and the hints of what failed."""
    (out / "feedback").mkdir(exist_ok=True)
    write_text(out / "feedback" / f"{report.student}.md", _feedback(report))


def _rows(report: Report) -> list[tuple]:
    rows = [] if report.graded else [(report.student, "", 0, f"{report.total[1]:g}", _remark(report))]
    for question, (got, of) in report.points.items():
        rows.append((report.student, question, f"{got:g}", f"{of:g}", "; ".join(report.failed.get(question, []))))
    return rows


def _totals(report: Report) -> tuple:
    got, of = report.total
    return report.student, report.assignment, f"{got:g}", f"{of:g}", _remark(report)


def _remark(report: Report) -> str:
    return "; ".join(report.trouble)


def _write_table(file: Path, head: tuple[str, ...], rows: Iterable[tuple]) -> None:
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows([_plain(str(cell)) for cell in row] for row in (head, *rows))
    write_text(file, lines.getvalue())


def _plain(cell: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def _feedback(report: Report) -> str:
    got, of = report.total
    lines = [f"# {report.assignment or 'Not graded'}: {report.student}", "", f"{got:g} of {of:g} points.", ""]
    for question, (got, of) in report.points.items():
        lines.append(f"- {question}: {got:g} of {of:g}")
        lines += [f"  - {what}" for what in report.failed.get(question, [])]
    if report.trouble:
        begin = "When the notebook was run from top to bottom:" if report.graded else "It was not graded:"
        lines += ["", begin, "", *(f"- {what}" for what in report.trouble)]
    return "\n".join(lines) + "\n"
