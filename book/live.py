"""Fetch what lets readers run the SymPy cells in their browser: ``python book/live.py``.

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

LIVE = Path(__file__).resolve().parents[1] / "_build" / "live"
PYODIDE = "pyodide-314.0.7.tgz"
RUNTIME = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip")
SHA256 = {
    PYODIDE: "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0",
    "sympy-1.14.0-py3-none-any.whl": "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5",
    "mpmath-1.3.0-py3-none-any.whl": "a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c",
}
"""The files by name. SymPy is the version that the book is written with."""


def main() -> int:
    """Fetch, verify, and replace ``_build/live``."""
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder)
        try:
            fetch(fetched)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"not fetched: {error}\nThis needs npm (of Node) and a network, once.", file=sys.stderr)
            return 1
        for name, expected in SHA256.items():
            found = hashlib.sha256((fetched / name).read_bytes()).hexdigest()
            if found != expected:
                print(f"{name} has the SHA-256 {found}, expected {expected}: it is not used", file=sys.stderr)
                return 1
        shutil.rmtree(LIVE, ignore_errors=True)
        LIVE.mkdir(parents=True)
        with tarfile.open(fetched / PYODIDE) as archive:
            for name in RUNTIME:
                (LIVE / name).write_bytes(archive.extractfile(f"package/{name}").read())
        for name in SHA256:
            if name != PYODIDE:
                shutil.copyfile(fetched / name, LIVE / name.replace(".whl", ".zip"))
    size = sum(file.stat().st_size for file in LIVE.iterdir()) / 2**20
    print(f"{size:.0f} MiB in {LIVE}; now: make serve")
    return 0


def fetch(folder: Path) -> None:
    """Download the three files; a CalledProcessError or an OSError says what went wrong."""
    package = PYODIDE.removesuffix(".tgz").replace("-", "@")
    subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "sympy==1.14.0", "mpmath==1.3.0"], cwd=folder, check=True)


if __name__ == "__main__":
    sys.exit(main())
