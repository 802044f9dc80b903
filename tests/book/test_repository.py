"""What holds between the book, the package, the README and the rest of the repository."""

import importlib
import re
import subprocess
from pathlib import Path

import yaml
from _tools import ROOT, notebooks


def test_every_chapter_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [Path(chapter["file"]) for part in toc["parts"] for chapter in part["chapters"]]
    assert sorted(file.name for file in files if file.parent.name == "notebooks") == notebooks.stems()


def test_equations_that_docstrings_name_are_in_the_book():
    chapters = "".join(p.read_text() for p in notebooks.CHAPTERS.glob("*.md"))
    labels = set(re.findall(r"^\$\$ \((eq-[\w-]+)\)", chapters, re.M)) | set(
        re.findall(r"^:label: ([\w-]+)", chapters, re.M)
    )
    package = "".join(p.read_text() for p in (ROOT / "imr").rglob("*.py"))
    named = set(re.findall(r":(?:eq|prf:ref):`([\w-]+)`", package))
    assert len(named) > 10
    assert named <= labels
    assert not re.search(r"\b(Eq|Prop|Chapter|Thm)\.? \d", package)  # numbers move, labels do not


def test_every_word_of_the_notation_table_is_in_the_package():
    named = re.findall(r"`imr\.(\w+)\.(\w+)\(", (ROOT / "book" / "notation.md").read_text())
    assert len(named) > 5
    for module, name in named:
        assert callable(getattr(importlib.import_module(f"imr.{module}"), name))


def test_what_a_reader_can_do_is_tested_in_a_browser():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "README.md").read_text()))
    assert len(named) >= 8
    assert named <= set(re.findall(r"^def (test_\w+)", (ROOT / "tests" / "book" / "test_browser.py").read_text(), re.M))


def test_every_file_speaks_of_no_machine():
    """No folder of somebody's machine in any text that git tracks, whatever its name; pictures and the like are not text."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    read = 0
    for path in (ROOT / name for name in tracked):
        if path == Path(__file__) or not path.exists() or b"\0" in (content := path.read_bytes()):
            continue
        assert not re.search(rb"/(home|root|Users|tmp|work)/", content), path
        read += 1
    assert read > len(tracked) / 2


def test_the_code_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S):
        exec(block, names)
    assert names["states"].shape == (5, 8, 5)
    assert len(names["results"]["records"]) == 24 and (tmp_path / "runs" / "digits" / "table.md").exists()
