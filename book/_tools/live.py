"""Fetch what lets readers run the SymPy cells in their browser.

Pyodide comes from npm, SymPy and mpmath from the Python package index; each file is compared with its checksum. They go to
``_build/live``, and the build of the book puts them beside the pages, which load them only when asked to.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from _tools import ROOT

LIVE = ROOT / "_build" / "live"
PYODIDE = "pyodide-314.0.7.tgz"
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip")
SHA256 = {
    PYODIDE: "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0",
    "sympy-1.14.0-py3-none-any.whl": "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5",
    "mpmath-1.3.0-py3-none-any.whl": "a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c",
}
"""The files by name. SymPy is the version that the book is written with."""


class LiveError(RuntimeError):
    """A file is not the one that was checked; the message says which."""


def put(target: Path) -> int:
    """Fetch, verify, and replace a folder; return its size in bytes.

    Raises:
        LiveError: a file has another checksum; the folder stays as it was.
        OSError, CalledProcessError: npm or pip is missing or failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder)
        fetch(fetched)
        for name, expected in SHA256.items():
            found = hashlib.sha256((fetched / name).read_bytes()).hexdigest()
            if found != expected:
                raise LiveError(f"{name} has the SHA-256 {found}, expected {expected}: it is not used")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        with tarfile.open(fetched / PYODIDE) as archive:
            for name in RUNTIME:
                (target / name).write_bytes(archive.extractfile(f"package/{name}").read())
        for name in SHA256:
            if name != PYODIDE:
                shutil.copyfile(fetched / name, target / name.replace(".whl", ".zip"))
    return sum(file.stat().st_size for file in target.iterdir())


def fetch(folder: Path) -> None:
    """Download the three files; a CalledProcessError or an OSError says what went wrong."""
    package = PYODIDE.removesuffix(".tgz").replace("-", "@")
    subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "sympy==1.14.0", "mpmath==1.3.0"], cwd=folder, check=True)
