"""Good, blank, wrong, copied and reordered notebooks get the points that they deserve, in every table."""

import copy
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from _tools import ROOT, assignments, grade
from _tools import reports as tables
from _tools.__main__ import app
from _tools.sandbox import Limits
from course.notebooks import (
    FIRST,
    NAMES,
    NEEDS_DATA,
    WRONG,
    answered,
    hand_in,
    lost,
    marks,
    present,
    sheets,
    solution,
    student,
)
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def reports(dist, tmp_path_factory):
    """The reports on good, blank, wrong, copied and reordered notebooks, by student; and the folder of the tables."""
    folder, out = tmp_path_factory.mktemp("submissions"), tmp_path_factory.mktemp("grades")
    for name in present():
        whole = solution(dist, name)
        nbformat.write(whole, folder / f"solved-{name}.ipynb")
        nbformat.write(student(dist, name), folder / f"blank-{name}.ipynb")
        copied = copy.deepcopy(whole)
        copied.cells = [copy.deepcopy(cell) for cell in whole.cells for _ in range(2)]
        hand_in(copied, folder / f"copied-{name}.ipynb")
        shuffled = copy.deepcopy(whole)
        begin, rest = whole.cells[:3], whole.cells[3:]
        answers = [c for c in rest if "for-tests" in c.metadata.get("tags", [])] + rest[::-1]
        shuffled.cells = [*begin, *answers, *rest[::-1]]
        hand_in(shuffled, folder / f"shuffled-{name}.ipynb")
    for sheet, wrongs in sheets().items():
        name = wrongs[0]["assignment"]
        if name in present():
            notebook = answered(dist, name, {wrong["question"]: wrong["code"] for wrong in wrongs})
            nbformat.write(notebook, folder / f"{sheet}.ipynb")
    found = grade.grade(folder, out, jobs=2, dist=dist)
    return {report.student: report for report in found}, out


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["solved", "copied", "shuffled"])
def test_a_solution_gets_all_points_in_any_order(reports, kind, name):
    report = reports[0][f"{kind}-{name}"]
    assert report.points and lost(report) == {}, report.failed
    if kind != "shuffled":  # there the picture is drawn before what it needs
        assert report.trouble == []


@pytest.mark.parametrize("name", NAMES)
def test_the_untouched_blank_gets_nothing_and_says_so(reports, name):
    report = reports[0][f"blank-{name}"]
    assert {points for points, _ in report.points.values()} == {0}
    assert {what for failed in report.failed.values() for what in failed} == {"no answer"}
    assert all("NameError" in what for what in report.trouble)  # a cell that shows what was to be computed


@pytest.mark.parametrize(
    ("sheet", "wrong"),
    [pytest.param(s, w, marks=marks(w["assignment"])) for s, wrongs in sheets().items() for w in wrongs],
    ids=[f"{wrong['question']}: {wrong['mistake']}" for wrongs in sheets().values() for wrong in wrongs],
)
def test_a_wrong_answer_loses_its_points(reports, sheet, wrong):
    report = reports[0][sheet]
    assert lost(report)[wrong["question"]] == wrong["loses"], report.failed
    assert len(report.failed[wrong["question"]]) == wrong["loses"]


@pytest.mark.parametrize(
    ("sheet", "wrongs"), [pytest.param(s, w, marks=marks(w[0]["assignment"])) for s, w in sheets().items()], ids=sheets()
)
def test_wrong_answers_lose_no_points_of_others(reports, sheet, wrongs):
    report = reports[0][sheet]
    assert lost(report).keys() == {wrong["question"] for wrong in wrongs}, report.failed
    assert len(report.points) > len(wrongs)


def test_there_are_wrong_answers_to_each_assignment():
    assert len(WRONG) >= 20 and sum(map(len, sheets().values())) == len(WRONG)
    assert {wrong["assignment"] for wrong in WRONG} == set(assignments.names())


def test_the_tables_hold_what_the_reports_say(reports):
    found, out = reports
    with (out / "grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(report.points) for report in found.values())
    for row in rows:
        points, of = found[row["student"]].points[row["question"]]
        assert (float(row["points"]), float(row["of"])) == (points, of)
        assert bool(row["what failed"]) == (points < of)
    with (out / "totals.csv").open(encoding="utf-8") as file:
        totals = {row["student"]: float(row["points"]) for row in csv.DictReader(file)}
    assert totals == {name: sum(points for points, _ in report.points.values()) for name, report in found.items()}
    feedback = (out / "feedback" / f"blank-{FIRST}.md").read_text(encoding="utf-8")
    assert "0 of 16 points" in feedback and "no answer" in feedback


def test_feedback_says_of_a_hidden_test_only_its_hint(reports):
    asked = [q for name in assignments.names() for q in assignments.questions(assignments.read(name)).values()]
    tests = [test for question in asked for test in question.tests]
    said = [what for report in reports[0].values() for failed in report.failed.values() for what in failed]
    hidden = [what.removeprefix("a hidden test: ") for what in said if what.startswith("a hidden test: ")]
    public = [what for what in said if not what.startswith("a hidden test: ") and what != "no answer"]
    assert len(hidden) > 20 and set(hidden) <= {test.message for test in tests}
    names = {re.search(r"def test_(\w+)", t.source)[1].replace("_", " ") for t in tests if not t.hidden}
    assert public and all(what.partition(":")[0] in names for what in public)


@pytest.mark.parametrize("which", [f"solved-{FIRST}", f"odd-0-{FIRST}", f"even-1-{FIRST}"])
def test_otter_finds_the_same_points(dist, reports, tmp_path, which):
    folder = tmp_path / "submission"
    folder.mkdir()
    code = {wrong["question"]: wrong["code"] for wrong in sheets().get(which, [])}
    nbformat.write(answered(dist, FIRST, code), folder / f"{FIRST}.ipynb")
    otter = str(Path(sys.executable).with_name("otter"))
    command = [otter, "run", f"{FIRST}.ipynb", "-a", str(dist / FIRST / "autograder.zip")]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["tests"]
    scores = {test["name"]: (test["score"], test["max_score"]) for test in found if "score" in test}
    assert scores == reports[0][which].points


def test_the_assignment_can_be_named_and_another_is_refused(dist, tmp_path):
    (tmp_path / "in").mkdir()
    unnamed = solution(dist, FIRST)
    del unnamed.metadata["otter"]
    nbformat.write(unnamed, tmp_path / "in" / "unnamed.ipynb")
    nbformat.write(solution(dist, "02-the-flow"), tmp_path / "in" / "other.ipynb")
    found = {r.student: r for r in grade.grade(tmp_path / "in", tmp_path / "out", FIRST, dist=dist)}
    assert found["unnamed"].graded and lost(found["unnamed"]) == {}
    assert not found["other"].graded and f"expected {FIRST}" in found["other"].trouble[0]


@pytest.mark.fashion_mnist
def test_where_the_images_are_missing_the_line_says_so(dist, tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "_images", lambda: None)
    (tmp_path / "in").mkdir()
    for name in NEEDS_DATA:
        nbformat.write(solution(dist, name), tmp_path / "in" / f"{name}.ipynb")
    for report in grade.grade(tmp_path / "in", tmp_path / "out", dist=dist):
        assert not report.graded and "needs Fashion-MNIST" in report.trouble[0]


@pytest.mark.parametrize(
    ("given", "says"),
    [(["nowhere"], "is no folder"), (["empty"], "is empty"), (["full", "--assignment", "05-x"], "no autograder of 05-x")],
)
def test_grading_nothing_says_why(tmp_path, monkeypatch, given, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.ipynb").touch()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["grade", *given])
    assert done.exit_code == 2 and says in done.stderr


def test_the_guide_names_the_limits_that_hold():
    guide, limits = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8"), Limits()
    assert f"{limits.seconds:g} seconds in all, a quarter of that" in guide and limits.cell_seconds == limits.seconds / 4
    assert f"{limits.memory >> 30} GiB" in guide and f"files of {limits.file >> 20} MiB" in guide
    assert limits.printed == 1_000_000 and "a million printed characters" in guide


def test_no_spreadsheet_takes_a_name_for_a_formula(tmp_path):
    tables.write([tables.Report("=SUM(1)", trouble=["-"])], tmp_path)
    with (tmp_path / "totals.csv").open(encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1] == "'=SUM(1)"
