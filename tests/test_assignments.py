"""The assignments: student version, solution and autograder of each come from one source and agree."""

import base64
import copy
import csv
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from _tools import assign, grade, reports as rep, sandbox
from nbclient.exceptions import CellExecutionError
from _tools.__main__ import app
from typer.testing import CliRunner

from imr import data

ROOT = Path(__file__).resolve().parents[1]

WRONG = yaml.safe_load((ROOT / "tests" / "wrong_answers.yml").read_text(encoding="utf-8"))
NEEDS_DATA = {name for name in assign.names() if assign.read(name).metadata.imr.get("data")}
NAMES = [pytest.param(name, marks=pytest.mark.fashion_mnist if name in NEEDS_DATA else ()) for name in assign.names()]
IDS = [f"{wrong['question']}: {wrong['mistake']}" for wrong in WRONG]
FIRST = "01-theorem-1"


def present(name):
    return name not in NEEDS_DATA or data.is_present()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return assign.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def dist(tmp_path_factory, wheel):
    """What ``make assign`` writes, of each assignment whose data are here."""
    folder = tmp_path_factory.mktemp("dist")
    for name in filter(present, assign.names()):
        assign.assign(name, wheel, folder)
    return folder


def solution(dist, name):
    return nbformat.read(dist / name / "solution" / f"{name}.ipynb", as_version=4)


def student(dist, name):
    return nbformat.read(dist / name / "student" / f"{name}.ipynb", as_version=4)


def hand_in(notebook, file):
    """Write a notebook as it is, with what copying cells by hand may do to it."""
    file.write_text(json.dumps(notebook), encoding="utf-8")


def answered(dist, name, question, code):
    """The solution with another answer to one question."""
    notebook, asked = solution(dist, name), list(assign.questions(assign.read(name)))
    answers = [cell for cell in notebook.cells if "otter_assign_solution_cell" in cell.metadata.get("tags", [])]
    assert len(answers) == len(asked)
    answers[asked.index(question)].source = code
    return notebook


@pytest.fixture(scope="module")
def reports(dist, tmp_path_factory):
    """The reports on good, blank, wrong, copied and reordered notebooks, by student; and the folder of the tables."""
    folder, out = tmp_path_factory.mktemp("submissions"), tmp_path_factory.mktemp("grades")
    for name in filter(present, assign.names()):
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
    for number, wrong in enumerate(WRONG):
        if present(wrong["assignment"]):
            notebook = answered(dist, wrong["assignment"], wrong["question"], wrong["code"])
            nbformat.write(notebook, folder / f"wrong-{number}.ipynb")
    found = grade.grade(folder, out, jobs=2, dist=dist)
    return {report.student: report for report in found}, out


def lost(report):
    return {question: of - points for question, (points, of) in report.points.items() if points != of}


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
    ("number", "wrong"),
    [
        pytest.param(n, w, marks=pytest.mark.fashion_mnist if w["assignment"] in NEEDS_DATA else ())
        for n, w in enumerate(WRONG)
    ],
    ids=IDS,
)
def test_a_wrong_answer_loses_its_points_and_no_others(reports, number, wrong):
    report = reports[0][f"wrong-{number}"]
    assert lost(report) == {wrong["question"]: wrong["loses"]}, report.failed
    assert len(report.failed[wrong["question"]]) == wrong["loses"]


def test_there_are_wrong_answers_to_each_assignment():
    assert len(WRONG) >= 20
    assert {wrong["assignment"] for wrong in WRONG} == set(assign.names())


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


@pytest.mark.parametrize("which", [f"solved-{FIRST}", "wrong-0", "wrong-9"])
def test_otter_finds_the_same_points(dist, reports, tmp_path, which):
    folder = tmp_path / "submission"
    folder.mkdir()
    number = which.partition("-")[2]
    wrong = WRONG[int(number)] if number.isdigit() else None
    notebook = answered(dist, FIRST, wrong["question"], wrong["code"]) if wrong else solution(dist, FIRST)
    nbformat.write(notebook, folder / f"{FIRST}.ipynb")
    command = [
        str(Path(sys.executable).with_name("otter")),
        "run",
        f"{FIRST}.ipynb",
        "-a",
        str(dist / FIRST / "autograder.zip"),
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["tests"]
    scores = {test["name"]: (test["score"], test["max_score"]) for test in found if "score" in test}
    assert scores == reports[0][which].points


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_solution_or_a_hidden_test_is_with_the_student(dist, name):
    source = assign.read(name)
    secret, inside = set(), False
    for cell in source.cells:
        for line in map(str.strip, cell.source.splitlines()):
            inside = (inside or line.startswith("# BEGIN SOLUTION")) and not line.startswith("# END SOLUTION")
            if inside and cell.cell_type == "code":
                secret.add(line)
    hidden = [test for question in assign.questions(source).values() for test in question.tests if test.hidden]
    secret |= {line.strip() for test in hidden for line in test.source.splitlines()} | {test.message for test in hidden}
    public = {line.strip() for line in _visible(source).splitlines()}
    secret = {line for line in secret if len(line) > 12} - public
    assert len(secret) > 20
    raw = [file.read_bytes() for file in (dist / name / "student").rglob("*") if file.is_file() and file.suffix != ".whl"]
    raw += [s.encode() for s in _strings(json.loads(raw[0]))]
    raw += [base64.b64decode(s) for s in _pictures(json.loads(raw[0]))]
    for line in secret:
        forms = {line.encode(), json.dumps(line)[1:-1].encode(), json.dumps(line, ensure_ascii=False)[1:-1].encode()}
        assert not any(form in text for form in forms for text in raw), line


def _visible(source):
    """What a source shows to students: all but solutions and hidden tests."""
    parts = []
    for cell in source.cells:
        if cell.cell_type != "raw" and "hidden: true" not in cell.source:
            parts.append(re.sub(r"# BEGIN SOLUTION.*?# END SOLUTION", "", cell.source, flags=re.S))
    return "\n".join(parts)


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (s for pair in value.items() for part in pair for s in _strings(part))
    elif isinstance(value, list):
        yield "".join(part for part in value if isinstance(part, str))
        yield from (s for part in value for s in _strings(part))


def _pictures(notebook):
    return [image for cell in notebook["cells"] for file in cell.get("attachments", {}).values() for image in file.values()]


@pytest.mark.parametrize("name", NAMES)
def test_a_student_sees_blanks_the_expected_picture_and_no_output(dist, name):
    notebook = student(dist, name)
    blanks = sum(cell.source.count(assign.BLANK) for cell in notebook.cells)
    assert blanks >= len(assign.questions(assign.read(name)))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    pictures = [base64.b64decode(image) for image in _pictures(notebook)]
    assert pictures and all(picture.startswith(b"\x89PNG") for picture in pictures)
    for cell in notebook.cells:
        for file in cell.get("attachments", {}):
            alt = re.search(rf"!\[(.+)\]\(attachment:{file}\)", cell.source, re.S)[1]
            assert len(alt.split()) > 8
    assert [file.suffix for file in (dist / name / "student").iterdir() if file.suffix != ".ipynb"] == [".whl"]


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.partition("/")[0] for name in archive.namelist()}
    assert {name.partition("-")[0] for name in inside} == {"imr"}


@pytest.mark.parametrize("name", assign.names())
def test_titles_say_the_points_and_minutes(name):
    source = assign.read(name)
    titles = re.findall(r"^## \d\. .* \((\d+) points?, (\d+) minutes\)$", assign.text(source), re.M)
    said = [(int(points), int(minutes)) for points, minutes in titles]
    asked = assign.questions(source).values()
    assert [points for points, _ in said] == [question.points for question in asked]
    assert [question.points for question in asked] == [len(question.tests) for question in asked]
    assert 75 <= sum(minutes for _, minutes in said) <= source.metadata.imr.minutes == 90
    assert sum(test.hidden for question in asked for test in question.tests) >= len(asked)
    for question in asked:
        assert any(not test.hidden for test in question.tests), f"{question.name}: a student is told nothing"
        assert all(test.message for test in question.tests if test.hidden)


def test_twice_gives_the_same_bytes(dist, wheel, tmp_path):
    assert assign.build_wheel(tmp_path).read_bytes() == wheel.read_bytes()
    again = assign.assign(FIRST, wheel, tmp_path / "dist")
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(files) == 6
    for file in files:
        assert (again / file).read_bytes() == (dist / FIRST / file).read_bytes(), file


def test_a_solution_that_fails_a_test_is_not_handed_out(wheel, tmp_path, monkeypatch):
    text = (assign.EXERCISES / f"{FIRST}.md").read_text(encoding="utf-8")
    right = "return torch.diag(s) - torch.outer(s, s)"
    assert right in text
    (tmp_path / f"{FIRST}.md").write_text(text.replace(right, "return torch.diag(s * (1 - s))"), encoding="utf-8")
    monkeypatch.setattr(assign, "EXERCISES", tmp_path)
    (tmp_path / "dist" / FIRST).mkdir(parents=True)
    (tmp_path / "dist" / FIRST / "kept").touch()
    with pytest.raises(CellExecutionError, match="4 of 4 numbers are wrong"):
        assign.assign(FIRST, wheel, tmp_path / "dist")
    assert [path.name for path in (tmp_path / "dist" / FIRST).iterdir()] == ["kept"]


@pytest.mark.parametrize("name", NAMES)
def test_nbgrader_gets_the_same_points(dist, name):
    notebook = nbformat.read(dist / name / "nbgrader" / f"{name}.ipynb", as_version=4)
    marks = [cell.metadata.nbgrader for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len({mark.grade_id for mark in marks}) == len(marks)
    asked = assign.questions(assign.read(name)).values()
    assert sum(mark.get("points", 0) for mark in marks) == sum(question.points for question in asked)
    text = "\n".join(cell.source for cell in notebook.cells)
    written = "\n".join(cell.source for cell in assign.read(name).cells if cell.cell_type == "code")
    for kind, number in (
        ("SOLUTION", written.count("# BEGIN SOLUTION")),
        ("HIDDEN TESTS", sum(test.hidden for question in asked for test in question.tests)),
    ):
        assert text.count(f"### BEGIN {kind}") == text.count(f"### END {kind}") == number


BAD = {
    "leaves": ("import os; os._exit(0)", "ended its process (it ended itself, code 0)"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"),
    "will-not-stop": ("sum(range(10**15))", "stopped after 15 s"),  # a loop in C sees no signal
}
PARTLY = {
    "loops": ("while True: pass", "interrupted after 4 s"),
    "prints": ("while True: print('x' * 10**6)", "printed more than 1,000,000 characters"),
    "shows": ("'x' * 10**7", "printed more than 1,000,000 characters"),
    "eats": ("hog = bytearray(16 * 2**30)", "MemoryError"),
    "eats-tensors": ("hog = torch.ones(2**32)", "RuntimeError"),
    "writes": ("open('big', 'wb').write(bytes(60 * 2**20))", "File too large"),
    "asks": ("input('name? ')", "StdinNotImplementedError"),
    "raises": ("1 / 0", "ZeroDivisionError"),
    "is-no-python": ("this is no Python", "SyntaxError"),
    "says-what-no-file-can-hold": (r"raise ValueError('\ud800')", "ValueError"),
    "looks-around": (
        "import os; assert not any('PYTEST' in name for name in os.environ), 'yours'; 1 / 0",
        "ZeroDivisionError",
    ),
    "installs": ("import os; assert os.environ['PIP_TARGET'] == os.getcwd(); 1 / 0", "ZeroDivisionError"),
    "exits": ("raise SystemExit", "SystemExit"),
}
BROKEN = {
    "empty.ipynb": (b"", "cannot be read"),
    "essay.ipynb": (b"My solution: I could not do it.", "cannot be read"),
    "list.ipynb": (b"[1, 2]", "cannot be read"),
    "binary.ipynb": (bytes(range(256)), "cannot be read"),
    "scan.pdf": (b"%PDF-1.7", "not a notebook: a file .pdf"),
    "number.ipynb": (b'{"cells": 5, "metadata": {}}', "no list of cells"),
    "many-names.ipynb": (b'{"cells": [], "metadata": {"otter": {"assignment_name": ["a"]}}}', "expected one of"),
    "odd-cells.ipynb": (b'{"cells": [], "metadata": {"otter": "x"}}', "does not say which assignment"),
    "other.ipynb": (b'{"cells": [], "metadata": {}}', "does not say which assignment"),
    "foreign.ipynb": (b'{"cells": [], "metadata": {"otter": {"assignment_name": "hw9"}}}', "'hw9', expected one of"),
}


@pytest.fixture(scope="module")
def harmed(dist, tmp_path_factory):
    """Reports on notebooks that do harm, beside two that do not."""
    folder, out = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("bad-grades")
    (folder / "good").mkdir()
    nbformat.write(solution(dist, FIRST), folder / "good" / "any name.ipynb")
    for name, (code, _) in (BAD | PARTLY).items():
        notebook = solution(dist, FIRST)
        notebook.cells.insert(4, nbformat.v4.new_code_cell(code))
        nbformat.write(notebook, folder / f"{name}.ipynb")
    for name, (content, _) in BROKEN.items():
        (folder / name).write_bytes(content)
    (folder / "gone.ipynb").symlink_to(folder / "nowhere.ipynb")
    with (folder / "huge.ipynb").open("wb") as huge:
        huge.truncate(51 * 2**20)
    for name in ("mueller.hans", "mueller.eva"):
        (folder / name).mkdir()
        nbformat.write(solution(dist, FIRST), folder / name / f"{FIRST}.ipynb")
    (folder / "empty-handed").mkdir()
    (folder / "twice").mkdir()
    nbformat.write(student(dist, FIRST), folder / "twice" / "x.ipynb")
    nbformat.write(solution(dist, FIRST), folder / "twice.ipynb")
    bare = json.loads(json.dumps(solution(dist, FIRST)))
    for cell in bare["cells"]:
        cell["metadata"] = None
    hand_in(bare, folder / "bare.ipynb")
    few = solution(dist, FIRST)
    few.cells = [cell for cell in few.cells if "q" not in cell.source or "def jacobian" in cell.source]
    nbformat.write(few, folder / "deleted.ipynb")
    child = solution(dist, FIRST)
    marker = folder.parent / f"{folder.name}-marker"
    orphan = f"(setsid sh -c 'echo $$ > {marker}; exec sleep 600' &)"  # in a session of its own
    code = f"import os; os.system({orphan!r})"
    child.cells.append(nbformat.v4.new_code_cell(code))
    nbformat.write(child, folder / "leaves-a-child.ipynb")
    nbformat.write(solution(dist, FIRST), folder / "zz-last.ipynb")
    limits = sandbox.Limits(seconds=15, cell_seconds=4)
    found = grade.grade(folder, out, jobs=2, limits=limits, dist=dist)
    assert len(found) == len(list(folder.iterdir()))
    return {report.student: report for report in found}, out, marker


@pytest.mark.parametrize("name", ["good", "zz-last", "mueller.hans", "mueller.eva", "twice.ipynb"])
def test_harm_does_not_spread(harmed, name):
    assert lost(harmed[0][name]) == {} and harmed[0][name].trouble == []


@pytest.mark.parametrize("name", BAD)
def test_a_notebook_that_cannot_be_graded_gets_a_line(harmed, name):
    report = harmed[0][name]
    assert {points for points, _ in report.points.values()} == {0}
    assert len(report.trouble) == 1 and BAD[name][1] in report.trouble[0]
    with (harmed[1] / "grades.csv").open(encoding="utf-8") as file:
        (row,) = (row for row in csv.DictReader(file) if row["student"] == name and not row["question"])
    assert row["what failed"] == report.trouble[0]


@pytest.mark.parametrize("name", PARTLY)
def test_a_bad_cell_costs_nothing_but_itself(harmed, name):
    report = harmed[0][name]
    assert lost(report) == {}
    assert len(report.trouble) == 1 and PARTLY[name][1] in report.trouble[0], report.trouble


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_notebook_gets_a_line(harmed, name):
    report = harmed[0][Path(name).stem]
    assert not report.points and len(report.trouble) == 1 and BROKEN[name][1] in report.trouble[0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gone", "cannot be read (FileNotFoundError)"),
        ("huge", "51 MiB, more than 50"),
        ("empty-handed", "a folder without a notebook"),
    ],
)
def test_what_cannot_be_opened_gets_a_line(harmed, name, says):
    assert not harmed[0][name].graded and says in harmed[0][name].trouble[0]


def test_cells_without_metadata_are_graded(harmed):
    assert lost(harmed[0]["bare"]) == {}


def test_the_assignment_can_be_named_and_another_is_refused(dist, tmp_path):
    (tmp_path / "in").mkdir()
    unnamed = solution(dist, FIRST)
    del unnamed.metadata["otter"]
    nbformat.write(unnamed, tmp_path / "in" / "unnamed.ipynb")
    nbformat.write(solution(dist, "02-the-flow"), tmp_path / "in" / "other.ipynb")
    found = {r.student: r for r in grade.grade(tmp_path / "in", tmp_path / "out", FIRST, dist=dist)}
    assert found["unnamed"].graded and lost(found["unnamed"]) == {}
    assert not found["other"].graded and f"expected {FIRST}" in found["other"].trouble[0]


def test_no_spreadsheet_takes_a_name_for_a_formula(tmp_path):
    rep.write([rep.Report("=SUM(1)", trouble=["-"])], tmp_path)
    with (tmp_path / "totals.csv").open(encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1] == "'=SUM(1)"


def test_feedback_says_of_a_hidden_test_only_its_hint(reports):
    hints = {t.message for name in assign.names() for q in assign.questions(assign.read(name)).values() for t in q.tests}
    said = [what for report in reports[0].values() for failed in report.failed.values() for what in failed]
    hidden = [what.removeprefix("a hidden test: ") for what in said if what.startswith("a hidden test: ")]
    public = [what for what in said if not what.startswith("a hidden test: ") and what != "no answer"]
    assert len(hidden) > 20 and set(hidden) <= hints
    names = {
        re.search(r"def test_(\w+)", test.source)[1].replace("_", " ")
        for name in assign.names()
        for question in assign.questions(assign.read(name)).values()
        for test in question.tests
        if not test.hidden
    }
    assert public and all(what.partition(":")[0] in names for what in public)


def test_the_guide_names_the_limits_that_hold():
    guide, limits = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8"), sandbox.Limits()
    assert f"{limits.seconds:g} seconds in all, a quarter of that" in guide and limits.cell_seconds == limits.seconds / 4
    assert f"{limits.memory >> 30} GiB" in guide and f"files of {limits.file >> 20} MiB" in guide
    assert limits.printed == 1_000_000 and "a million printed characters" in guide


def test_deleted_cells_cost_their_own_points(harmed):
    report = harmed[0]["deleted"]
    assert report.points["q2_jacobian"] == (2, 2)
    assert sum(points for points, _ in report.points.values()) < 16


def test_a_process_left_behind_is_ended(harmed):
    assert lost(harmed[0]["leaves-a-child"]) == {}
    assert not psutil.pid_exists(int(harmed[2].read_text()))


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
