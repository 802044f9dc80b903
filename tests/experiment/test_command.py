import json
import subprocess
import sys

import pytest
import torch
from experiment.small import CPU, KEYS, ON_DIGITS, RESULTS, fit, read_results
from PIL import Image
from typer.testing import CliRunner

from imr.__main__ import app
from imr.experiment import records, report
from imr.experiment.evaluation import evaluate
from imr.experiment.protocol import quick


def test_command_line_writes_results_and_refuses_to_overwrite(command_line):
    done, folder = command_line
    assert done.exit_code == 0, done.output
    assert "multinomial regression" in done.output
    results = read_results(folder)
    assert results["protocol"]["seeds"] == [1]
    figures = {f"{name}.png" for name in ("accuracy", "iterates", "changes", "descent", "confusion")}
    written = figures | {"results.json", "table.md", "checkpoint.safetensors", "run.json", "cases"}
    assert {path.name for path in folder.iterdir()} == written
    again = CliRunner().invoke(app, [*ON_DIGITS, str(folder)])
    assert again.exit_code == 2
    assert "a finished run" in again.stderr and "--overwrite" in again.stderr
    assert read_results(folder) == results
    resumed = CliRunner().invoke(app, [*ON_DIGITS, str(folder), "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert read_results(folder) == results


def test_any_test_image_and_class_is_drawn_from_a_checkpoint(written, digits, tmp_path):
    def picture(*arguments, suffix="html"):
        out = tmp_path / f"drawn.{suffix}"
        done = CliRunner().invoke(app, ["picture", str(written), *arguments, "--out", str(out)])
        return done, out

    done, out = picture("--image", "7", "--class", "3", "--noise", "0.2", "--train-noise", "0.4")
    assert done.exit_code == 0, done.output
    three = int((digits.test.y == 3).nonzero()[0, 0])
    page = out.read_text()
    assert (
        f"{int(digits.test.y[7])}, test image 7, iterate 4 of 4" in page and f"3, test image {three}, iterate 0 of 4" in page
    )
    assert page.startswith("<!doctype html>") and "http" not in page
    first = ["--image", "7", "--class", "3", "--noise", "0.2", "--train-noise", "0.4", "--model", "one block iterated"]
    assert picture(*first)[1].read_text() != page
    done, out = picture("--image", "7", suffix="png")
    assert done.exit_code == 0, done.output
    with Image.open(out) as drawn:
        assert drawn.width > 500
    for arguments, says in {
        ("--image", "300"): "has images 0 to 299",
        ("--class", "shoe"): "expected one of 0, 1",
        ("--train-noise", "0.1"): "models for 0, 0.4",
        ("--model", "shoe"): "the run keeps 'one block iterated', 'block, smooth'",
    }.items():
        done, _ = picture(*arguments)
        assert done.exit_code == 2 and says in done.stderr
    assert picture(suffix="gif")[0].exit_code == 2
    nowhere = CliRunner().invoke(app, ["picture", str(tmp_path)])
    assert nowhere.exit_code == 2 and "no finished run" in nowhere.stderr


def test_choices_can_be_made_on_the_validation_split(tmp_path, digits):
    command = ["experiment", "--dataset", "digits", "--device", "cpu", "--split", "validation", "--seeds", "2"]
    command += ["--out", str(tmp_path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["protocol"]["evaluated_on"] == "validation"
    assert results["protocol"]["seeds"] == [0, 1]
    model = fit("multinomial regression", digits, quick("digits", 0))
    ((accuracy, _),) = evaluate(model, digits.validation, CPU)
    assert results["records"][0]["accuracy"] == accuracy
    kept = records.read_checkpoint(tmp_path, digits)[1]
    shown = report.pictures(results, kept, digits)["iterates"].axes[0].get_images()[0].get_array()
    assert (shown == digits.validation.X[digits.validation.y == 0][0].numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dataset", "mnist"], "mnist"),
        (["--preset", "huge"], "huge"),
        (["--seed", "-1"], "--seed"),
        (["--data", "/nowhere"], "is missing"),
        (["--out", __file__, "--dataset", "digits"], "cannot be written"),
        (["--device", "cuda", "--dataset", "digits"], "no CUDA device here"),
        (["--out", "/dev/null/run", "--dataset", "digits"], "cannot be written"),
        (["--seed", "99999999999999999999", "--dataset", "digits"], "--seed"),
        (["--dataset", "digits", "--data", "somewhere"], "embedded"),
        (["--dataset", "digits", "--resume", "--overwrite"], "say one of them"),
        (["--dataset", "digits", "--resume", "--out", "nowhere"], "no run to resume"),
        (["--jobs", "0"], "--jobs"),
        (["--precision", "float8"], "float8"),
    ],
)
def test_bad_input_ends_with_2_and_a_clear_line(arguments, says, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(app, ["experiment", *arguments])
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_help_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "imr", "experiment", "--help"], capture_output=True, text=True, check=True)
    assert "--preset" in done.stdout and "--dataset" in done.stdout


def test_data_command_says_what_is_missing(tmp_path):
    done = CliRunner().invoke(app, ["data", "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "train-images-idx3-ubyte.gz of Fashion-MNIST" in done.stderr


@pytest.mark.fashion_mnist
def test_data_command_verifies():
    done = CliRunner().invoke(app, ["data"])
    assert done.exit_code == 0
    assert done.output.count("verified") == 4


@pytest.mark.fashion_mnist
def test_quick_on_the_real_fashion_mnist(tmp_path):
    done = CliRunner().invoke(app, ["experiment", "--device", "cpu", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    regression, block = quick("fashion-mnist", 0).budgets
    final = {(r["model"], r["test_noise"]): r["accuracy"] for r in records if r["iterate"] in (0, 4)}
    assert 0.83 < final[regression, 0.0] < 0.85
    assert final[block, 0.0] > final[regression, 0.0] + 0.02
    for sigma in (0.1, 0.3, 0.5):
        assert final[block, sigma] > final[regression, sigma]
    recorded = json.loads((RESULTS / "quick" / "results.json").read_text())["records"]
    for now, then in zip(records, recorded, strict=True):
        assert [now[key] for key in KEYS[:5]] == [then[key] for key in KEYS[:5]]
        assert abs(now["accuracy"] - then["accuracy"]) < 0.01  # another machine adds in another order
        assert abs(now["loss"] - then["loss"]) < 0.02 * then["loss"]
        assert now["parameters"] == then["parameters"]
