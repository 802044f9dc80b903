"""How all tests run, those of tests/ and the notebooks that nbval executes."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from _tools import claims
from filelock import FileLock
from hypothesis import settings

from imr import data

pytest_plugins = ["claims.record"]  # what the witnesses of the claims said

settings.register_profile("imr", deadline=None)  # no test asserts a time, and machines are busy
settings.load_profile("imr")
os.environ["OMP_NUM_THREADS"] = "1"  # sums do not depend on the number of cores
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
if os.environ.get("IMR_DATA"):
    os.environ["IMR_DATA"] = str(Path(os.environ["IMR_DATA"]).resolve())  # notebooks run in a folder of their own

NO_DATA = (
    f"Fashion-MNIST is not in {data.folder()}. To have it run: IMR_DATA=DIR make test, "
    "or first .venv/bin/python -m imr data --download"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and say so, what needs Fashion-MNIST where it is missing.

    With IMR_REQUIRE_DATA=1 nothing is skipped: what needs the data runs and fails.
    """
    if os.environ.get("IMR_REQUIRE_DATA") == "1" or data.is_present():
        return
    for item in items:
        if item.get_closest_marker("fashion_mnist") or (item.path.suffix == ".ipynb" and _needs_data(item.path)):
            item.add_marker(pytest.mark.skip(reason=NO_DATA))


@cache
def _needs_data(notebook: Path) -> bool:
    return nbformat.read(notebook, as_version=4).metadata.get("imr", {}).get("data") == "fashion-mnist"


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book, built from nothing with warnings as errors, as if published; once, whatever the number of processes."""
    try:
        claims.read_results(Path(__file__).parent)
    except claims.ClaimsError as error:
        pytest.fail(f"{error} first")
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "book"
    tool = Path(sys.executable).with_name("jupyter-book")
    command = [str(tool), "build", ".", "--all", "-W", "-n", "--keep-going", "--path-output", str(out)]
    with FileLock(f"{out}.lock"):
        if not (out / "built").exists():
            env = os.environ | {"IMR_REPOSITORY": "owner/name"}
            built = subprocess.run(command, cwd=Path(__file__).parent, env=env, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
            (out / "built").touch()
    return out / "_build" / "html"
