"""What CONTRIBUTING.md tells a newcomer to do, done."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from _tools import chapter, notebooks
from _tools.__main__ import app
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path):
    """What a new chapter touches, in a folder of its own."""
    for folder in ("chapters", "notebooks"):
        (tmp_path / "book" / folder).mkdir(parents=True)
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    return tmp_path


def test_a_first_chapter_runs_and_is_fit_to_be_compared(project, monkeypatch):
    name, title = re.search(r'make chapter NAME=(\S+) TITLE="(.+)"', TEXT).groups()
    text = chapter.begin(name, title, project)
    assert f"# {title}\n" in text.read_text()
    monkeypatch.setattr(notebooks, "CHAPTERS", text.parent)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", project / "book" / "notebooks")
    twin = notebooks.refresh(name)
    assert notebooks.problems() == []
    cells = nbformat.read(twin, as_version=4).cells
    printed = "".join(o.get("text", "") for cell in cells if cell.cell_type == "code" for o in cell.outputs)
    assert (printed.count("No answer yet"), printed.count("Right")) == (3, 3)
    assert any("image/png" in o.get("data", {}) for cell in cells if cell.cell_type == "code" for o in cell.outputs)


def test_a_chapter_is_listed_after_the_last_one(project):
    chapter.begin("98-one", "One", project)
    chapter.begin("99-two", "Two", project)
    before = (ROOT / "_toc.yml").read_text().splitlines()
    after = (project / "_toc.yml").read_text().splitlines()
    new = [f"      - file: book/notebooks/{name}" for name in ("98-one", "99-two")]
    assert [line for line in after if line not in before] == new
    assert [line for line in after if line not in new] == before
    assert "book/notebooks/" in after[after.index(new[0]) - 1]


@pytest.mark.parametrize(
    ("name", "title", "says"),
    [
        ("my-topic", "My topic", "expected NN-topic"),
        ("13-My Topic", "My topic", "expected NN-topic"),
        ("13-my-topic", " ", "the title is empty"),
        ("13-other", "Other", "there is a chapter 13 already, 13-my-topic.md"),
    ],
)
def test_a_chapter_that_cannot_be_begun_says_why(project, name, title, says):
    (project / "book" / "chapters" / "13-my-topic.md").touch()
    toc = (project / "_toc.yml").read_text()
    with pytest.raises(chapter.ChapterError, match=says):
        chapter.begin(name if "other" in name or says != "the title is empty" else "13-my-topic", title, project)
    assert (project / "_toc.yml").read_text() == toc


def test_the_command_refuses_with_one_line():
    done = CliRunner().invoke(app, ["chapter", "Theorem 1", "Theorem 1"])
    assert done.exit_code == 2 and "expected NN-topic" in done.stderr and "Traceback" not in done.output


def test_files_and_targets_that_it_names_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make ([a-z]+)", TEXT)) <= targets
    for path in re.findall(r"`((?:book|imr|tests)/[\w/.-]+)`", TEXT):
        if "NN-" not in path and "13-" not in path:
            assert (ROOT / path).exists(), path
