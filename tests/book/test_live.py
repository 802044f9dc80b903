"""Python for the browser."""

import re

from _tools import ROOT, live
from _tools.__main__ import app
from typer.testing import CliRunner


def test_python_for_the_browser_is_the_one_that_was_checked(tmp_path, monkeypatch):
    pinned = (ROOT / "requirements.txt").read_text()
    asked = set(re.findall(r'"([\w.-]+-none-any)\.zip"', (ROOT / "book" / "_static" / "live.js").read_text()))
    wheels = {name.removesuffix(".whl") for name in live.SHA256 if name != live.PYODIDE}
    assert asked == wheels
    assert all("{}=={}".format(*wheel.split("-")) in pinned for wheel in wheels)
    monkeypatch.setattr(live, "LIVE", tmp_path / "live")
    monkeypatch.setattr(live, "fetch", lambda folder: [(folder / name).write_bytes(b"other") for name in live.SHA256])
    done = CliRunner().invoke(app, ["live"])
    assert done.exit_code == 2 and "it is not used" in done.stderr
    assert not (tmp_path / "live").exists()

    def no_npm(folder):
        raise FileNotFoundError("npm")

    monkeypatch.setattr(live, "fetch", no_npm)
    done = CliRunner().invoke(app, ["live"])
    assert done.exit_code == 2 and "needs npm" in done.stderr
