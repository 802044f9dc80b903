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
from _tools.notebooks import set_up_cell

LAUNCH = ROOT / "_build" / "launch"
BRANCH = "launch"
INSTALL = """\
branch = ["--quiet", "--depth", "1", "--branch", "{branch}"]
subprocess.run(["git", "clone", *branch, "{address}", "imr-book"], check=True)
subprocess.run([*pip, "-r", "imr-book/requirements.txt"], check=True)
os.chdir("imr-book/book/notebooks")
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
        install = INSTALL.format(branch=BRANCH, address=address)
        notebook.cells.insert(0, set_up_cell(install, notebook))
        nbformat.write(notebook, folder / "book" / "notebooks" / path.name)
