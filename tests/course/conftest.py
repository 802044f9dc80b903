import os

import pytest
from _tools import assign
from course.notebooks import present
from filelock import FileLock


@pytest.fixture(scope="session")
def handed_out(tmp_path_factory):
    """The wheel, and what ``make assign`` writes of each assignment whose data are here; once, for all processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "course"
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            (folder / "wheel").mkdir(parents=True)
            wheel = assign.build_wheel(folder / "wheel")
            for name in present():
                assign.assign(name, wheel, folder / "dist")
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def wheel(handed_out):
    (file,) = (handed_out / "wheel").iterdir()
    return file


@pytest.fixture(scope="session")
def dist(handed_out):
    return handed_out / "dist"
