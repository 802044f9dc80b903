"""What Colab and Binder open."""

import importlib.util
import subprocess
from pathlib import Path

import nbformat
import pytest
from _tools import ROOT, notebooks, publish
from _tools.__main__ import app
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from imr import data

STEMS = notebooks.stems()


def test_each_chapter_opens_on_colab_and_binder(html, tmp_path):
    publish.write("owner/name", tmp_path)
    for stem in STEMS:
        page = BeautifulSoup((html / "book" / "notebooks" / f"{stem}.html").read_text(), "html.parser")
        colab, binder = (page.select_one(f"a[href*='{host}']")["href"] for host in ("colab", "mybinder"))
        file = f"book/notebooks/{stem}.ipynb"
        assert colab.endswith(f"/github/owner/name/blob/launch/{file}")
        assert "/gh/owner/name/launch?" in binder and binder.endswith(file)
        first, *rest = nbformat.read(tmp_path / file, as_version=4).cells
        assert rest == nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
        assert ("data.download()" in first.source) == any("data.load(" in cell.source for cell in rest)
    for path in (notebooks.BOOK / "results").rglob("*.json"):
        assert (tmp_path / path.relative_to(ROOT)).read_bytes() == path.read_bytes()
    assert (tmp_path / "requirements.txt").read_text() == "imr @ git+https://github.com/owner/name\n"


def test_the_set_up_cell_installs_on_a_bare_machine_only(tmp_path, monkeypatch):
    publish.write("owner/name", tmp_path)
    source = nbformat.read(tmp_path / "book" / "notebooks" / f"{STEMS[-1]}.ipynb", as_version=4).cells[0].source
    ran = []
    (tmp_path / "content" / "imr-book" / "book" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "content")
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(" ".join(command)))
    monkeypatch.setattr(data, "is_present", lambda: False)
    monkeypatch.setattr(data, "download", lambda: ran.append("download"))
    exec(source, {})
    assert ran == ["download"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(source, {})
    clone, install, fetched = ran[1:]
    assert clone == "git clone --quiet --depth 1 --branch launch https://github.com/owner/name imr-book"
    assert install.endswith("-m pip install --quiet -r imr-book/requirements.txt") and fetched == "download"
    assert Path.cwd() == tmp_path / "content" / "imr-book" / "book" / "notebooks"


@pytest.mark.parametrize(("address", "says"), [("", "is not set, expected OWNER/NAME"), ("imr", "is 'imr', expected")])
def test_launch_needs_an_address(monkeypatch, address, says):
    monkeypatch.setenv("IMR_REPOSITORY", address)
    done = CliRunner().invoke(app, ["publish"])
    assert done.exit_code == 2 and says in done.stderr
