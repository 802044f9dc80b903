"""The plugin that misses no witness of a claim, tried on a tiny project, and what witnesses say."""

from pathlib import Path

import nbformat
import pytest
import yaml
from _tools import claims
from claims import witnesses
from strategies import Problem

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
INI = f"""\
[pytest]
pythonpath = {ROOT / "book"} {ROOT / "tests"}
markers = witness(label, kind, name): of a claim
"""
TESTS = """\
import pytest

witness = pytest.mark.witness

@witness("thm-a", "proof")
def test_a_proof():
    pass

@pytest.mark.parametrize("said", [
    pytest.param({"random": 3, "fixed": 2, "errors": [[1e-11, 2e-16]]}, marks=witness("thm-a", "check", "right")),
    pytest.param({"problems": 1, "error": 0.5}, marks=witness("thm-a", "control", "minus")),
])
def test_a_check(said, record_property):
    record_property("said", said)

def test_something_else():
    pass
"""
PASSED = {
    "proof": {"file": "tests/claims/test_a.py", "function": "test_a_proof"},
    "check": {
        **{"file": "tests/claims/test_a.py", "function": "test_a_check"},
        **{"random": 3, "fixed": 2, "errors": [[1e-11, 2e-16]]},
    },
    "wrong": {"minus": {"problems": 1, "error": 0.5}},
}
LISTED = {"thm-a": {"source": "own"}}


@pytest.fixture
def project(pytester):
    """Run pytest in a project with these tests, claims and cells; what it gives back and what it left."""
    pytester.makeini(INI)
    pytester.makeconftest('pytest_plugins = ["claims.record"]')

    def run(*arguments, tests=TESTS, listed=LISTED, tags=()):
        files = {
            "tests/claims/test_a.py": tests,
            "tests/test_other.py": "def test_other(): pass",
            "book/claims.yml": yaml.safe_dump({"claims": listed, "left_out": []}, sort_keys=False),
            "book/notebooks/one.ipynb": nbformat.writes(notebook(tags)),
        }
        for name, text in files.items():
            (pytester.path / name).parent.mkdir(parents=True, exist_ok=True)
            (pytester.path / name).write_text(text)
        apart = {"-n2", "--nbval"} & set(arguments)  # what starts processes needs one of its own
        start = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        done = start("-p", "no:cacheprovider", *arguments)
        left = pytester.path / claims.RESULTS
        return done, claims.read_results(pytester.path) if left.exists() else None

    return run


def notebook(tags):
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=1, metadata={"tags": list(tags)})
    cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=1)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})


def misses(done, *lines):
    """Whether a session failed for just these reasons."""
    text = done.stdout.str().partition("claims without their witnesses")[2]
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert len([line for line in text.splitlines() if ": " in line and not line.startswith("FAILED")]) == len(lines), text
    for line in lines:
        assert line in text


@pytest.mark.parametrize("arguments", [("tests/claims",), ("tests",), ("tests/claims", "-n2", "--dist=load")])
def test_what_the_witnesses_said_is_left_by_a_session_in_which_all_passed(project, arguments):
    done, left = project(*arguments)
    assert done.ret == 0
    assert left == {"thm-a": PASSED}


@pytest.mark.parametrize(
    "arguments",
    [
        ("tests/claims", "-k", "proof"),
        ("tests/claims", "-m", "witness"),
        ("tests/claims", "--deselect", "tests/claims/test_a.py::test_a_check"),
        ("tests/claims/test_a.py",),
        ("tests/claims/test_a.py::test_a_proof",),
        ("tests", "--ignore=tests/claims"),
        ("tests", "--ignore=tests/claims/test_a.py"),
        ("tests/claims", "--collect-only"),
        ("tests/test_other.py",),
    ],
)
def test_a_session_that_runs_a_part_misses_nothing_and_leaves_nothing(project, arguments):
    done, left = project(*arguments, listed=LISTED | {"thm-b": {"source": "own"}})
    assert done.ret == 0 and left is None


FAILS = TESTS.replace("_proof():\n    pass", "_proof():\n    assert 0")
SKIPPED = TESTS.replace("_proof():\n    pass", "_proof():\n    pytest.skip('so')")
NOT_SET_UP = TESTS.replace("_proof():", "_proof(nothing):")
UNMARKED = TESTS.replace('@witness("thm-a", "proof")', "")
TWICE = TESTS + '\n@witness("thm-a", "proof")\ndef test_again():\n    pass\n'


@pytest.mark.parametrize(
    ("tests", "listed", "says"),
    [
        (TESTS, LISTED | {"x": {"source": "own"}}, ["x: it has no proof", "x: it has no check", "x: it has no control"]),
        (TESTS, {}, 3 * ["thm-a: book/claims.yml has no such claim; see tests/claims/test_a.py::"]),
        (UNMARKED, LISTED, ["thm-a: it has no proof"]),
        (FAILS, LISTED, ["thm-a: its proof failed; see tests/claims/test_a.py::test_a_proof"]),
        (SKIPPED, LISTED, ["thm-a: its proof skipped"]),
        (NOT_SET_UP, LISTED, ["thm-a: its proof failed"]),
        (TWICE, LISTED, ["thm-a: its proof is there 2 times"]),
        (TESTS, {"thm-a": {"source": "own", "by_hand": "so"}}, ["thm-a: book/claims.yml says by hand, but see"]),
        (TESTS, {"thm-a": {"source": "hearsay"}}, ["book/claims.yml: thm-a has the source 'hearsay'"]),
        ("", LISTED, ["thm-a: it has no proof", "thm-a: it has no check", "thm-a: it has no control"]),
    ],
)
def test_a_session_that_misses_a_witness_fails_and_says_which(project, tests, listed, says):
    done, left = project("tests/claims", tests=tests, listed=listed)
    misses(done, *says)
    assert left is None


def test_a_claim_proved_by_hand_needs_no_proof_by_machine(project):
    done, left = project(
        *("tests/claims",),
        tests=UNMARKED,
        listed={"thm-a": {"source": "own", "by_hand": "so"}},
    )
    assert done.ret == 0 and "proof" not in left["thm-a"]


def test_a_session_that_misses_a_witness_leaves_no_older_results(project):
    assert project("tests/claims")[1]
    done, left = project("tests/claims", tests=FAILS)
    misses(done, "thm-a: its proof failed")
    assert left is None


def test_a_session_that_stops_at_a_failure_has_run_in_part(project):
    done, left = project("tests/claims", "-x", tests=FAILS)
    assert done.ret == pytest.ExitCode.TESTS_FAILED and "without their witnesses" not in done.stdout.str()
    assert left is None


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        (["claim-thm-a"], []),
        ([], ["thm-a: it has no cell"]),
        (["claim-thm-a", "claim-thm-b"], ["thm-b: book/claims.yml has no such claim; see book/notebooks/one.ipynb::"]),
    ],
)
def test_where_all_notebooks_ran_each_claim_has_its_cell(project, tags, says):
    done, left = project("--nbval", "--nbval-current-env", "book/notebooks", tags=tags)
    misses(done, *says) if says else None
    assert done.ret == bool(says) and left is None


def test_results_of_other_sources_are_refused(project, pytester):
    project("tests/claims")
    (pytester.path / "book/claims.yml").write_text("claims: {}")
    with pytest.raises(claims.ClaimsError, match=r"older than book/claims\.yml"):
        claims.read_results(pytester.path)
    (pytester.path / claims.RESULTS).unlink()
    with pytest.raises(claims.ClaimsError, match="is not there"):
        claims.read_results(pytester.path)


def test_a_check_says_on_how_many_problems_it_held_and_its_largest_error():
    off = lambda p, formula: p.close(formula(p), p.Z, floor=1.0) and p.close(p.theta, p.theta, 1e-3)
    said = witnesses.accepts(off, lambda p: p.Z + 1e-13, examples=7)
    assert said["random"] == 7 and said["fixed"] == len(witnesses.fixed())
    (tight, error), (loose, none) = said["errors"]
    assert tight == 1e-11 and error == pytest.approx(1e-13, rel=0.05)
    assert loose == 1e-3 and none == 0
    assert said["counts"] == {}


def test_what_a_check_counts_is_added_up():
    def counting(p, formula):
        p.counts["hard" if p.hard else "soft"] += formula
        return True

    said = witnesses.accepts(counting, 2, examples=7)
    assert sum(said["counts"].values()) == 2 * (7 + len(witnesses.fixed())) and set(said["counts"]) == {"hard", "soft"}


def test_a_check_that_fails_somewhere_names_the_problem():
    with pytest.raises(AssertionError, match=r"fails for Problem\(n="):
        witnesses.accepts(lambda p, formula: p.n < 8, None, examples=40)


def test_a_wrong_formula_is_rejected_by_the_first_problem_that_tells():
    check = lambda p, formula: not p.hard or p.close(formula(p), p.Z)
    assert witnesses.rejects(check, lambda p: 1.5 * p.Z) == {"problems": 4, "error": pytest.approx(0.5)}
    assert witnesses.rejects(lambda p, formula: not p.hard, None) == {"problems": 4, "error": None}
    with pytest.raises(AssertionError, match="accepts this wrong formula"):
        witnesses.rejects(check, lambda p: p.Z)


def test_what_is_no_number_is_close_to_nothing():
    p = Problem()
    assert not p.close(p.Z * float("nan"), p.Z) and p.errors == {1e-11: float("inf")}
