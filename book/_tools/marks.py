"""The tests of an assignment, and the points that they give; read, run and counted by Otter's own classes."""

import ast
import inspect
import json
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from otter.test_files import ExceptionTestFile
from otter.test_files.abstract_test import TestCaseResult

from _tools.reports import GradeError, short


@dataclass(frozen=True)
class Autograder:
    """What grading needs of an assignment in ``dist``.

    Args:
        tests: the source of the tests of each question, as ``autograder.zip`` has them.
        notebook: the student version.
    """

    tests: dict[str, str]
    notebook: dict

    @cached_property
    def worth(self) -> dict[str, float]:
        """The points of each question."""
        return {question: float(test.possible) for question, test in read(self.tests).items()}

    @property
    def needs_data(self) -> bool:
        """Whether its notebooks read Fashion-MNIST."""
        return "data" in self.notebook["metadata"]["imr"]

    @property
    def imports(self) -> set[str]:
        """The modules that its notebooks and tests import."""
        cells = [source(cell) for cell in self.notebook["cells"] if cell["cell_type"] == "code"]
        return imports([*cells, *self.tests.values()])


def autograders(dist: Path, asked: str | None) -> dict[str, Autograder]:
    """The assignments in a folder, by name.

    Args:
        dist: where ``make assign`` has put them.
        asked: the only one that shall be graded, if any.

    Raises:
        GradeError: there is none, or not the one that is asked for.
    """
    archives = {path.parent.name: path for path in sorted(dist.glob("*/autograder.zip"))}
    if not archives or (asked and asked not in archives):
        known = f"; there are {', '.join(archives)}" if archives else ""
        raise GradeError(f"no autograder {f'of {asked} ' if asked else ''}in {dist}: make assign{known}")
    return {name: _autograder(name, path) for name, path in archives.items() if asked in (None, name)}


def _autograder(name: str, archive: Path) -> Autograder:
    with zipfile.ZipFile(archive) as packed:
        files = sorted(Path(inside) for inside in packed.namelist() if inside.startswith("tests/"))
        tests = {file.stem: packed.read(file.as_posix()).decode() for file in files if file.suffix == ".py"}
    student = archive.parent / "student" / f"{name}.ipynb"
    return Autograder(tests, json.loads(student.read_text(encoding="utf-8")))


def imports(sources: Iterable[str]) -> set[str]:
    """The modules that Python sources import; ``from a import b`` counts as a and as a.b, which may be no module."""
    found = set()
    for text in sources:
        with suppress(SyntaxError):  # a cell with magics
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def source(cell: Mapping[str, Any]) -> str:
    """The text of a cell of a notebook as it is in the file, where it may be a list of lines."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def read(tests: Mapping[str, str]) -> dict[str, ExceptionTestFile]:
    """Read the tests of each question from their source; what they import is imported."""
    return {question: ExceptionTestFile.from_string(text, question) for question, text in tests.items()}


def mark(test: ExceptionTestFile, names: Mapping[str, Any]) -> tuple[float, list[str]]:
    """Run the tests of a question.

    Args:
        test: those of the question.
        names: what a notebook has left.

    Returns:
        The points, and what failed, as the student may read it: of a hidden test only its hint.

    Raises:
        BaseException: whatever interrupts the tests, and is no ``Exception``.
    """
    test.run(names)
    wrong = [result for result in test.test_case_results if not result.passed]
    if wrong and all(_is_unanswered(result, names) for result in wrong):
        return float(test.score), ["no answer"]
    return float(test.score), [_failure(result) for result in wrong]


def _is_unanswered(result: TestCaseResult, names: Mapping[str, Any]) -> bool:
    """Whether a test failed because there is nothing to test: a blank, or a name that the notebook does not have."""
    asked = inspect.signature(result.test_case.body.test_func).parameters
    return "\nNotImplementedError:" in result.message or not set(asked) <= set(names)


def _failure(result: TestCaseResult) -> str:
    name = result.test_case.body.test_func.__name__.removeprefix("test_").replace("_", " ")
    if result.test_case.hidden:
        return f"a hidden test: {result.test_case.failure_message or name}"
    return f"{name}: {short(result.message.strip().splitlines()[-1])}"
