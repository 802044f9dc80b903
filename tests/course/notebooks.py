"""Notebooks as students return them, made from what ``make assign`` writes."""

import json
from pathlib import Path

import nbformat
import pytest
import yaml
from _tools import assignments

from imr import data

WRONG = yaml.safe_load((Path(__file__).parent / "wrong_answers.yml").read_text(encoding="utf-8"))
NEEDS_DATA = {name for name in assignments.names() if assignments.read(name).metadata.imr.get("data")}
FIRST = "01-theorem-1"


def marks(name):
    """What makes a test of an assignment wait for its data."""
    return pytest.mark.fashion_mnist if name in NEEDS_DATA else ()


NAMES = [pytest.param(name, marks=marks(name)) for name in assignments.names()]


def present():
    """The assignments whose data are here."""
    return [name for name in assignments.names() if name not in NEEDS_DATA or data.is_present()]


def solution(dist, name):
    return nbformat.read(dist / name / "solution" / f"{name}.ipynb", as_version=4)


def student(dist, name):
    return nbformat.read(dist / name / "student" / f"{name}.ipynb", as_version=4)


def answered(dist, name, question, code):
    """The solution with another answer to one question."""
    notebook, asked = solution(dist, name), list(assignments.questions(assignments.read(name)))
    answers = [cell for cell in notebook.cells if "otter_assign_solution_cell" in cell.metadata.get("tags", [])]
    assert len(answers) == len(asked)
    answers[asked.index(question)].source = code
    return notebook


def hand_in(notebook, file):
    """Write a notebook as it is, with what copying cells by hand may do to it."""
    file.write_text(json.dumps(notebook), encoding="utf-8")


def lost(report):
    """The points that a report takes away, by question."""
    return {question: of - points for question, (points, of) in report.points.items() if points != of}
