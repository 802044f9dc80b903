"""Student version, solution and autograder of an assignment come from one source, and agree."""

import base64
import json
import re
import zipfile

import pytest
from _tools import assign, assignments
from course.notebooks import FIRST, NAMES, student
from nbclient.exceptions import CellExecutionError


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_solution_or_a_hidden_test_is_with_the_student(dist, name):
    source = assignments.read(name)
    secret, inside = set(), False
    for cell in source.cells:
        for line in map(str.strip, cell.source.splitlines()):
            inside = (inside or line.startswith("# BEGIN SOLUTION")) and not line.startswith("# END SOLUTION")
            if inside and cell.cell_type == "code":
                secret.add(line)
    hidden = [test for question in assignments.questions(source).values() for test in question.tests if test.hidden]
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
    assert blanks >= len(assignments.questions(assignments.read(name)))
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


@pytest.mark.parametrize("name", assignments.names())
def test_titles_say_the_points_and_minutes(name):
    source = assignments.read(name)
    titles = re.findall(r"^## \d\. .* \((\d+) points?, (\d+) minutes\)$", assignments.text(source), re.M)
    said = [(int(points), int(minutes)) for points, minutes in titles]
    asked = assignments.questions(source).values()
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
    assert len(files) == 4
    for file in files:
        assert (again / file).read_bytes() == (dist / FIRST / file).read_bytes(), file


def test_a_solution_that_fails_a_test_is_not_handed_out(wheel, tmp_path, monkeypatch):
    text = (assignments.EXERCISES / f"{FIRST}.md").read_text(encoding="utf-8")
    right = "return torch.diag(s) - torch.outer(s, s)"
    assert right in text
    (tmp_path / f"{FIRST}.md").write_text(text.replace(right, "return torch.diag(s * (1 - s))"), encoding="utf-8")
    monkeypatch.setattr(assignments, "EXERCISES", tmp_path)
    (tmp_path / "dist" / FIRST).mkdir(parents=True)
    (tmp_path / "dist" / FIRST / "kept").touch()
    with pytest.raises(CellExecutionError, match="4 of 4 numbers are wrong"):
        assign.assign(FIRST, wheel, tmp_path / "dist")
    assert [path.name for path in (tmp_path / "dist" / FIRST).iterdir()] == ["kept"]
