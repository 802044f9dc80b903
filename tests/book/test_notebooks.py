"""Chapters and their executed twins."""

import copy
import platform
import re
from datetime import date

import jupytext
import nbformat
import pytest
from _tools import notebooks
from _tools.__main__ import app
from typer.testing import CliRunner

STEMS = notebooks.stems()


def test_text_and_notebooks_agree():
    assert STEMS
    assert notebooks.problems() == []


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """A good pair in a folder of its own, to be damaged."""
    stem = STEMS[0]
    (tmp_path / "text").mkdir()
    (tmp_path / "twins").mkdir()
    (tmp_path / "text" / f"{stem}.md").write_text((notebooks.CHAPTERS / f"{stem}.md").read_text())
    notebook = nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    monkeypatch.setattr(notebooks, "CHAPTERS", tmp_path / "text")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "twins")

    def problems(change=lambda nb: None, stem=stem):
        damaged = copy.deepcopy(notebook)
        change(damaged)
        nbformat.write(damaged, tmp_path / "twins" / f"{stem}.ipynb")
        return "\n".join(notebooks.problems())

    return problems


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_a_good_pair_has_no_problem(pair):
    assert pair() == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda nb: _code(nb)[1].update(source="1 + 1"), "text and twin differ (Cell content differ on code cell #4"),
        (lambda nb: nb.cells[0].update(source="# Another"), "text and twin differ (Cell content differ on markdown cell #1"),
        (lambda nb: nb.cells.pop(), "text and twin differ (No cell corresponding to code cell #"),
        (lambda nb: _code(nb)[3].metadata.update(tags=["hide-input"]), "text and twin differ (Metadata differ"),
        (lambda nb: _code(nb)[3].metadata.update(tags=["nbval-ignore-output"]), "a tag exempts"),
        (lambda nb: _code(nb)[3].metadata.update(tags=["raises-exception"]), "a tag exempts"),
        (lambda nb: nb.metadata.pop("refreshed"), "does not say when it was refreshed"),
        (lambda nb: _code(nb)[2].update(execution_count=None), "not executed from top to bottom"),
        (lambda nb: _code(nb)[0].update(execution_count=7), "not executed from top to bottom"),
        (lambda nb: [cell.update(outputs=[]) for cell in _code(nb)], "0 cells have an output that nbval compares"),
        (lambda nb: nb.metadata.update(imr={"data": "other"}), "differ in their metadata"),
    ],
)
def test_a_damaged_pair_is_found(pair, change, says):
    assert says in pair(change)


def test_a_twin_without_text_is_found(pair):
    assert "a twin without text" in pair(stem="99-no-text")
    assert "no executed twin" in pair(stem="99-no-text")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder of chapters that holds one, and a folder for twins."""
    for name in ("CHAPTERS", "NOTEBOOKS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(notebooks, name, tmp_path / name)
    monkeypatch.setattr(notebooks, "COMPARED_LEAST", 1)

    def write(code):
        (notebooks.CHAPTERS / "01-tiny.md").write_text(f"# Tiny\n\n```{{code-cell}} ipython3\n{code}\n```\n")

    return write


def test_a_refreshed_twin_is_whole_and_says_with_what_it_was_made(tiny):
    tiny("print(6 * 7)")
    twin = notebooks.refresh("01-tiny")
    assert notebooks.problems() == notebooks.problems(["01-tiny"]) == []
    noted = notebooks.refreshed(twin)
    assert date.fromisoformat(noted["date"]) and 0 < noted["seconds"] < 100
    assert noted["versions"][0] == f"python {platform.python_version()}"
    assert [line.split()[0] for line in noted["versions"][1:]] == list(notebooks.PACKAGES)
    assert nbformat.read(twin, as_version=4).cells[1].outputs[0].text == "42\n"


def test_a_twin_stays_as_it_was_if_a_cell_fails(tiny):
    tiny("1 / 0")
    (notebooks.NOTEBOOKS / "01-tiny.ipynb").write_text("before")
    done = CliRunner().invoke(app, ["refresh", "01-tiny"])
    assert done.exit_code == 2 and "ZeroDivisionError" in done.stderr
    assert (notebooks.NOTEBOOKS / "01-tiny.ipynb").read_text() == "before"


@pytest.mark.parametrize("stem", STEMS)
def test_text_survives_a_round_trip(stem):
    notebook = jupytext.read(notebooks.CHAPTERS / f"{stem}.md", fmt="md:myst")
    again = jupytext.reads(jupytext.writes(notebook, fmt="md:myst"), fmt="md:myst")
    assert [cell.source for cell in again.cells] == [cell.source for cell in notebook.cells]


def test_code_fits_the_page():
    for stem in STEMS:
        for cell in _code(jupytext.read(notebooks.CHAPTERS / f"{stem}.md", fmt="md:myst")):
            assert max(map(len, cell.source.splitlines())) <= 84, f"{stem}: {cell.source}"


@pytest.mark.parametrize("stem", STEMS)
def test_every_exercise_waits_for_an_answer_and_judges_its_solution(stem):
    """An exercise is followed by a cell that waits for an answer, its solution by one that the same judge finds right."""
    cells = nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4).cells
    exercises = [label for cell in cells for label in re.findall(r"{exercise}\n:label: (\S+)", cell.source)]
    assert len(exercises) >= 3
    for label in exercises:
        for directive, says in (("{exercise}\n:label: " + label, "No answer yet"), ("{solution} " + label, "Right")):
            (place,) = (i for i, cell in enumerate(cells) if directive in cell.source)
            printed = "".join(output.get("text", "") for output in cells[place + 1].outputs)
            assert says in printed, f"{label}: the cell after {directive!r}"


def test_every_picture_of_a_chapter_has_its_data_compared():
    for stem in STEMS:
        for cell in _code(nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4)):
            kinds = [set(output.get("data", {})) for output in cell.outputs]
            if any("image/png" in kind for kind in kinds):
                assert any(output.output_type == "stream" for output in cell.outputs), f"{stem}: {cell.source[:60]}"


@pytest.mark.parametrize("stem", STEMS)
def test_a_cell_that_announces_a_picture_shows_one(stem):
    for cell in _code(nbformat.read(notebooks.NOTEBOOKS / f"{stem}.ipynb", as_version=4)):
        if "image" in cell.metadata.get("mystnb", {}):
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
