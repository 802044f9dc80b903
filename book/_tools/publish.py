"""What the buttons for Colab and Binder open, in ``_build/launch``.

Published as the branch ``launch`` of the project's repository, this folder is all that either needs: the executed notebooks,
each with a first cell that sets a bare machine up, the records that they read, and what Binder installs.
"""

import os
import re
import shutil
from pathlib import Path

import nbformat

from _tools import ROOT

LAUNCH = ROOT / "_build" / "launch"
BRANCH = "launch"
SET_UP = """\
# Set-up for Colab: fetches this book and installs its package, which takes a few minutes.
# Where the package is installed already, on Binder or on your own machine, it does nothing.
import importlib.util, os, subprocess, sys

if importlib.util.find_spec("imr") is None:
    branch = ["--quiet", "--depth", "1", "--branch", "{branch}"]
    subprocess.run(["git", "clone", *branch, "{address}", "imr-book"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", "imr-book/requirements.txt"], check=True)
    os.chdir("imr-book/book/notebooks")
"""
FETCH = """\
from imr import data
if not data.is_present():
    data.download()  # Fashion-MNIST, 30 MB
"""


def repository() -> str | None:
    """Return OWNER/NAME of the project on GitHub, from IMR_REPOSITORY; None if it is not set.

    Raises:
        ValueError: it is set to something else.
    """
    name = os.environ.get("IMR_REPOSITORY")
    if name and not re.fullmatch(r"[\w-]+/[\w.-]+", name):
        raise ValueError(f"IMR_REPOSITORY is {name!r}, expected OWNER/NAME of a repository on GitHub")
    return name or None


def write(name: str, folder: Path) -> None:
    """Write the branch for the repository OWNER/NAME into a folder, which is made anew."""
    address = f"https://github.com/{name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "book" / "results", folder / "book" / "results")
    (folder / "requirements.txt").write_text(f"imr @ git+{address}\n", encoding="utf-8")
    (folder / "runtime.txt").write_text("python-3.12\n", encoding="utf-8")
    (folder / "book" / "notebooks").mkdir()
    for path in sorted((ROOT / "book" / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        source = SET_UP.format(branch=BRANCH, address=address)
        if notebook.metadata.imr.get("data") == "fashion-mnist":
            source += FETCH
        cell = nbformat.v4.new_code_cell(source.rstrip(), id="set-up")
        notebook.cells.insert(0, cell)
        nbformat.write(notebook, folder / "book" / "notebooks" / path.name)
