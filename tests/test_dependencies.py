"""What the code imports, what pyproject.toml declares and what requirements.txt pins are the same thing."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import jupytext
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")

SOURCES = {
    "imr": ["imr/**/*.py"],
    "book": ["book/_tools/**/*.py", "book/chapters/*.md", "book/exercises/*.md"],
    "tests": ["tests/**/*.py", "conftest.py"],
}
MAY_IMPORT = {"imr": [], "book": ["book", "course"], "tests": ["book", "course", "test"]}
"""The groups that each may import from, beside what the package itself needs."""

USED_WITHOUT_IMPORT = {
    "jupyter-book": "make book",
    "nbval": "plugin of pytest",
    "pytest-timeout": "plugin of pytest",
    "pytest-xdist": "plugin of pytest",
    "ruff": "make lint",
    "tabulate": "pandas writes Markdown with it",
}


def direct(*groups):
    """What pyproject.toml asks for by itself: for the package, and for some of the groups."""
    asked = [*PYPROJECT["project"]["dependencies"]]
    for group in groups:
        asked += PYPROJECT["dependency-groups"][group]
    return [Requirement(text) for text in asked]


LOCKED_GROUPS = [group for group in PYPROJECT["dependency-groups"] if group != "mutants"]


def names(requirements):
    return [canonicalize_name(requirement.name) for requirement in requirements]


def pins():
    """The pinned requirements that concern this machine, by name."""
    found = [Requirement(line) for line in re.findall(r"^(\w[^\s=]*==.*?) *\\?$", LOCK, re.M)]
    return {canonicalize_name(pin.name): pin for pin in found if not pin.marker or pin.marker.evaluate()}


def sources(part):
    for pattern in SOURCES[part]:
        for path in ROOT.glob(pattern):
            if path.suffix == ".py":
                yield path.read_text(encoding="utf-8")
            else:
                yield from (cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code")


def imported(part):
    """The distributions that a part of the project imports, its own modules and Python's left out."""
    modules = set()
    for source in sources(part):
        for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.M))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.partition(".")[0])
    own = {path.stem for folder in (".", "book", "tests") for path in (ROOT / folder).iterdir()}
    own |= {path.stem for path in (ROOT / "tests").rglob("*.py")}
    known = metadata.packages_distributions()
    return {canonicalize_name(known[module][0]) for module in modules - own - set(sys.stdlib_module_names)}


def reached(requirements):
    """All that the requirements need on this machine, by what the installed packages say; torch's own needs apart."""
    found, waiting = {}, [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, wanted_by = waiting.pop()
        name = canonicalize_name(requirement.name)
        new = {"", *requirement.extras} - found.setdefault(name, {"extras": set(), "by": set()})["extras"]
        found[name]["extras"] |= new
        found[name]["by"].add(wanted_by)
        for need in map(Requirement, metadata.requires(name) or []) if new else ():
            if not need.marker or any(need.marker.evaluate({"extra": extra}) for extra in new):
                waiting.append((need, name))
    return found


@pytest.mark.parametrize("part", SOURCES)
def test_what_is_imported_is_declared_where_it_is_needed(part):
    assert imported(part) <= set(names(direct(*MAY_IMPORT[part])))


def test_everything_is_declared_once_and_used():
    declared = names(direct(*PYPROJECT["dependency-groups"]))
    assert len(declared) == len(set(declared))
    used = set().union(*map(imported, SOURCES))
    assert used.isdisjoint(USED_WITHOUT_IMPORT)
    assert set(names(direct(*LOCKED_GROUPS))) == used | set(USED_WITHOUT_IMPORT)


def test_the_lock_pins_what_is_declared():
    pinned = pins()
    for requirement in direct(*LOCKED_GROUPS):
        (pin,) = pinned[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), f"{requirement}, but {pin.version} is pinned: make lock"


def test_the_lock_is_all_that_is_needed_and_nothing_else():
    """What one build of torch needs and another does not is not locked, and pyproject.toml says so."""
    needed = reached(direct(*LOCKED_GROUPS))
    unlocked = {canonicalize_name(name) for name in PYPROJECT["tool"]["uv"]["pip"]["no-emit-package"]}
    assert set(needed) - unlocked == set(pins())
    assert all(needed[name]["by"] <= unlocked | {"torch"} for name in unlocked & set(needed))


def test_what_is_installed_is_what_is_pinned():
    for name, pin in pins().items():
        version = metadata.version(name).partition("+")[0]  # any build of torch serves
        assert pin.specifier.contains(version), f"{name} {version} is installed, {pin} is pinned: make .venv/installed"


def test_everything_pinned_has_a_hash_and_no_host_or_folder_is_named():
    for block in re.findall(r"^\w.*?(?=^\S|\Z)", LOCK, re.M | re.S):
        assert re.match(r"\w[^\s=]*==.*\\\n +--hash=sha256:[0-9a-f]{64}", block), block.partition("\n")[0]
    assert "://" not in LOCK and "--find-links" not in LOCK and "@ file" not in LOCK
