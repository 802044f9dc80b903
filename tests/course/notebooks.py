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


def answered(dist, name, code):
    """The solution with other answers: code by question."""
    notebook, asked = solution(dist, name), list(assignments.questions(assignments.read(name)))
    answers = [cell for cell in notebook.cells if "otter_assign_solution_cell" in cell.metadata.get("tags", [])]
    assert len(answers) == len(asked) and set(code) <= set(asked)
    for question, cell in zip(asked, answers, strict=True):
        cell.source = code.get(question, cell.source)
    return notebook


def sheets():
    """The wrong answers on few sheets, by name; of two questions in a row one is answered right."""
    found = {}
    for wrong in WRONG:
        name, question = wrong["assignment"], wrong["question"]
        before = sum(question == w["question"] for sheet, wrongs in found.items() if name in sheet for w in wrongs)
        found.setdefault(f"{'even' if int(question[1]) % 2 == 0 else 'odd'}-{before}-{name}", []).append(wrong)
    return found


def hand_in(notebook, file):
    """Write a notebook as it is, with what copying cells by hand may do to it."""
    file.write_text(json.dumps(notebook), encoding="utf-8")


def lost(report):
    """The points that a report takes away, by question."""
    return {question: of - points for question, (points, of) in report.points.items() if points != of}
