"""How all tests run, those of tests/ and the notebooks that nbval executes."""

import os
from functools import cache
from pathlib import Path

import nbformat
import pytest

from imr import data

os.environ["OMP_NUM_THREADS"] = "1"  # sums do not depend on the number of cores
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
if os.environ.get("IMR_DATA"):
    os.environ["IMR_DATA"] = str(Path(os.environ["IMR_DATA"]).resolve())  # notebooks run in a folder of their own

NO_DATA = (
    f"Fashion-MNIST is not in {data.folder()}. To have it run: IMR_DATA=DIR make test, "
    "or first .venv/bin/python -m imr data --download"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs Fashion-MNIST where it is missing, and say so; with IMR_REQUIRE_DATA=1 let it run and fail."""
    if os.environ.get("IMR_REQUIRE_DATA") == "1" or data.is_present():
        return
    for item in items:
        if item.get_closest_marker("fashion_mnist") or (item.path.suffix == ".ipynb" and _needs_data(item.path)):
            item.add_marker(pytest.mark.skip(reason=NO_DATA))


@cache
def _needs_data(notebook: Path) -> bool:
    return nbformat.read(notebook, as_version=4).metadata.get("imr", {}).get("data") == "fashion-mnist"
