"""The house's own rules: small files, small functions, and imports that lead one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "imr").rglob("*.py"), *(ROOT / "book" / "_tools").rglob("*.py")])
FLOORS = [
    {"inputs", "symbolic", "figures", "interactive", "files", "vision", "check"},
    {"potentials", "answers", "data"},
    {"attention"},
    {"flow", "blocks"},
    {"splitting", "convolution"},
    {"experiment"},
    {"__main__"},
]
"""The rooms of imr from the ground up: each imports only from floors below its own, as its first page says."""
STUDY = [
    {"variants", "baselines", "distributed"},
    {"models", "protocol"},
    {"records", "evaluation"},
    {"training", "report"},
    {"run"},
    {"__init__"},
]
"""The same of imr.experiment."""

CALCULUS = [
    {"language", "factors", "arithmetic"},
    {"normal", "oracle", "show"},
    {"calculus", "proof"},
    {"__init__"},
]
"""The same of imr.symbolic."""

TOOLS = [
    {"notebooks", "assignments", "claims", "statements", "reports", "live", "pdf", "chapter"},
    {"publish", "marks", "leaning", "ledger"},
    {"assign", "facts", "sandbox"},
    {"pages", "slides", "kernels"},
    {"grade"},
    {"__main__"},
]
"""The same of book/_tools, which may import from imr; imr knows nothing of it."""


def code_lines(function: ast.FunctionDef, lines: list[str]) -> int:
    """Count the lines of a function without blank ones and its docstring."""
    start = function.lineno - 1
    said = function.body[0] if ast.get_docstring(function) else None
    docstring = range(said.lineno - 1, said.end_lineno) if said else ()
    return sum(bool(lines[i].strip()) for i in range(start, function.end_lineno) if i not in docstring)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_small(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 250
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert code_lines(node, lines) <= 30, node.name


def imported(file: Path, package: str) -> set[str]:
    """The rooms of a package that a file imports from, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and f"{node.module}.".startswith(f"{package}."):
            rest = node.module.removeprefix(package).lstrip(".")
            found |= {rest.partition(".")[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[package.count(".") + 1] for alias in node.names if alias.name.startswith(f"{package}.")
            }
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_name_the_whole_way_and_imr_knows_no_tools(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and node.level), "a relative import"
    assert "_tools" in file.parts or not imported(file, "_tools")


@pytest.mark.parametrize(
    ("package", "folder", "floors"),
    [
        ("imr", "imr", FLOORS),
        ("imr.experiment", "imr/experiment", STUDY),
        ("imr.symbolic", "imr/symbolic", CALCULUS),
        ("_tools", "book/_tools", TOOLS),
    ],
)
def test_imports_lead_down(package, folder, floors):
    rooms = set().union(*floors)
    files = {path.stem: [path] for path in (ROOT / folder).glob("*.py") if path.stem in rooms | {"__init__"}}
    assert {path.stem for path in (ROOT / folder).glob("*.py")} == set(files)
    if package == "imr":
        files |= {room: list((ROOT / folder / room).glob("*.py")) for room in ("experiment", "symbolic")}
    if "__init__" not in rooms:
        del files["__init__"]
    assert set(files) == rooms
    for number, floor in enumerate(floors):
        below = set().union(*floors[:number])
        for room in floor:
            for file in files[room]:
                assert (imported(file, package) & rooms) - {room} <= below, file
