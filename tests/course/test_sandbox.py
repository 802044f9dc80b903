"""A notebook that does harm gets a line that says so, and harms no other."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from _tools import grade
from _tools.sandbox import Limits
from course.notebooks import FIRST, answered, hand_in, lost, solution, student

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
    "keeps-files": ("import os, tempfile; assert tempfile.gettempdir() == os.getcwd(); 1 / 0", "ZeroDivisionError"),
    "installs": ("import os; assert os.environ['PIP_TARGET'] == os.getcwd(); 1 / 0", "ZeroDivisionError"),
    "exits": ("raise SystemExit", "SystemExit"),
    "awaits": ("import asyncio; await asyncio.sleep(10**6)", "interrupted after 4 s"),
    "awaits-and-loops": ("import asyncio; await asyncio.sleep(0)\nwhile True: pass", "interrupted after 4 s"),
    "raises-what-has-no-text": ("class E(Exception): __str__ = None\nraise E", "TypeError"),
}
CALM = {
    "quits": "exit()",
    "takes-names": "print = get_ipython = marks = job = None",
    "takes-the-output": "import sys; sys.stdout.close(); sys.stderr = None",
    "waits-for-a-child": "import os; os.system('sleep 600')",
    "finds-all-imported": "import sys; assert {'torch', 'sympy', 'imr.answers', 'matplotlib.pyplot'} <= set(sys.modules)",
}
LEAVING = 'def jacobian(s):\n    raise SystemExit("enough")'
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
    """Reports on notebooks that do harm, beside some that do not; the folder of the tables; the pid that one left."""
    folder, out = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("bad-grades")
    marker = folder.parent / f"{folder.name}-marker"
    orphan = f"(setsid sh -c 'echo $$ > {marker}; exec sleep 600' &)"  # in a session of its own
    cells = {name: code for name, (code, _) in (BAD | PARTLY).items()} | CALM
    for name, code in (cells | {"leaves-a-child": f"import os; os.system({orphan!r})"}).items():
        notebook = solution(dist, FIRST)
        notebook.cells.insert(4, nbformat.v4.new_code_cell(code))
        nbformat.write(notebook, folder / f"{name}.ipynb")
    write_odd_files(folder)
    write_folders(folder, dist)
    write_incomplete(folder, dist)
    nbformat.write(answered(dist, FIRST, {"q2_jacobian": LEAVING}), folder / "leaves-in-the-tests.ipynb")
    nbformat.write(solution(dist, FIRST), folder / "zz-last.ipynb")
    found = grade.grade(folder, out, jobs=2, limits=Limits(seconds=15, cell_seconds=4), dist=dist)
    assert len(found) == len(list(folder.iterdir()))
    return {report.student: report for report in found}, out, int(marker.read_text())


def write_odd_files(folder):
    for name, (content, _) in BROKEN.items():
        (folder / name).write_bytes(content)
    (folder / "gone.ipynb").symlink_to(folder / "nowhere.ipynb")
    with (folder / "huge.ipynb").open("wb") as huge:
        huge.truncate(51 * 2**20)


def write_folders(folder, dist):
    for name in ("good", "mueller.hans", "mueller.eva", "empty-handed", "twice"):
        (folder / name).mkdir()
    nbformat.write(solution(dist, FIRST), folder / "good" / "any name.ipynb")
    for name in ("mueller.hans", "mueller.eva"):
        nbformat.write(solution(dist, FIRST), folder / name / f"{FIRST}.ipynb")
    nbformat.write(student(dist, FIRST), folder / "twice" / "x.ipynb")
    nbformat.write(solution(dist, FIRST), folder / "twice.ipynb")


def write_incomplete(folder, dist):
    bare = json.loads(json.dumps(solution(dist, FIRST)))
    for cell in bare["cells"]:
        cell["metadata"] = None
    hand_in(bare, folder / "bare.ipynb")
    few = solution(dist, FIRST)
    few.cells = [cell for cell in few.cells if "q" not in cell.source or "def jacobian" in cell.source]
    nbformat.write(few, folder / "deleted.ipynb")


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


@pytest.mark.parametrize("name", CALM)
def test_a_strange_cell_costs_nothing(harmed, name):
    assert lost(harmed[0][name]) == {} and harmed[0][name].trouble == []


def test_tests_that_are_stopped_cost_their_question(harmed):
    report = harmed[0]["leaves-in-the-tests"]
    assert lost(report) == {"q2_jacobian": 2.0}
    assert report.failed == {"q2_jacobian": ["the tests were stopped: SystemExit: enough"]}


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


def test_deleted_cells_cost_their_own_points(harmed):
    report = harmed[0]["deleted"]
    assert report.points["q2_jacobian"] == (2, 2)
    assert sum(points for points, _ in report.points.values()) < 16


def test_a_process_left_behind_is_ended(harmed):
    assert lost(harmed[0]["leaves-a-child"]) == {}
    assert not psutil.pid_exists(harmed[2])


def test_a_kernel_ends_with_the_grader(tmp_path, tmp_path_factory):
    pid = tmp_path / "pid"
    cell = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    run = f"kernels.run([{{'source': {cell!r}}}], {{}}, '', Limits())"
    imports = "from _tools import kernels\nfrom _tools.sandbox import Limits\n"
    (tmp_path / "run.py").write_text(f"{imports}if __name__ == '__main__':\n    {run}\n")
    own = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path_factory.getbasetemp())}
    grader = subprocess.Popen([sys.executable, "run.py"], cwd=tmp_path, env=os.environ | own)
    while not (pid.exists() and pid.read_text()):
        assert grader.poll() is None
        time.sleep(0.1)
    kernel = psutil.Process(int(pid.read_text()))
    grader.kill()
    grader.wait()
    kernel.wait(60)
