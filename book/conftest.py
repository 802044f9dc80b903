"""How nbval runs the notebooks: which need a data set that may not be there, and with how many threads."""

import os
from pathlib import Path

import nbformat
import pytest

from imr import data

os.environ["OMP_NUM_THREADS"] = "1"  # sums do not depend on the number of cores
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

NO_DATA = "Fashion-MNIST is not here. To have it run: IMR_DATA=DIR make test, or first: .venv/bin/python -m imr data --download"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and say why, the notebooks that need Fashion-MNIST where it is missing (IMR_REQUIRE_DATA=1: run and fail)."""
    if os.environ.get("IMR_REQUIRE_DATA") == "1" or data.is_present():
        return
    needs: dict[Path, bool] = {}
    for item in items:
        if item.path.suffix == ".ipynb":
            if item.path not in needs:
                needs[item.path] = nbformat.read(item.path, as_version=4).metadata.get("imr", {}).get("data") == "fashion-mnist"
            if needs[item.path]:
                item.add_marker(pytest.mark.skip(reason=NO_DATA))
