"""What grading reads of an assignment: its tests and points, and what its notebooks import."""

import pytest
from _tools import assignments, marks
from course.notebooks import NAMES, NEEDS_DATA


@pytest.mark.parametrize("name", NAMES)
def test_otter_reads_the_points_of_the_source(dist, name):
    autograder = marks.autograders(dist, name)[name]
    asked = assignments.questions(assignments.read(name))
    assert autograder.worth == {question: asked[question].points for question in asked}
    assert autograder.needs_data == (name in NEEDS_DATA)
    assert {"torch", "imr.answers", "otter.test_files", "matplotlib.pyplot"} <= autograder.imports


def test_imports_are_read_from_their_statements():
    sources = ["import a.b, c", "def f():\n    from d import e", "from . import here", "%matplotlib inline"]
    assert marks.imports(sources) == {"a.b", "c", "d", "d.e"}
