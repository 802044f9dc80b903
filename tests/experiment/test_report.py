import pytest
from typer.testing import CliRunner

from imr.__main__ import app
from imr.experiment import records, report


def test_table_has_percent_and_spread_over_seeds(outcome):
    results, _ = outcome
    assert "±" in report.table(results)
    one = {**results, "records": [r for r in results["records"] if r["seed"] == 3]}
    last = next(r for r in one["records"] if r["model"] == "one block iterated" and r["iterate"] == 4)
    assert f"{100 * last['accuracy']:.2f}" in report.table(one) and "±" not in report.table(one)
    first = next(r for r in one["records"] if r["model"] == "one block iterated" and r["iterate"] == 0)
    assert f"{100 * first['accuracy']:.2f}" in report.iterates_table(one)
    moved = [{**r, "seed": 4, "accuracy": r["accuracy"] - 0.01} for r in one["records"]]
    both = report.table({**one, "records": one["records"] + moved})
    assert f"{100 * last['accuracy'] - 0.5:.2f} ± 0.71" in both


def test_gains_are_paired_by_seed_regime_and_noise(outcome):
    results, _ = outcome
    accuracy = {
        (r["model"], r["seed"]): r["accuracy"]
        for r in results["records"]
        if r["train_noise"] == 0.4 and r["test_noise"] == 0.3 and r["iterate"] in (0, 4)
    }
    points = [100 * (accuracy["one block iterated", s] - accuracy["multinomial regression", s]) for s in (3, 4)]
    gain = report.gains(results).loc[("one block iterated", 0.4, 0.3)]
    assert gain["mean"] == pytest.approx(sum(points) / 2)
    assert gain["std"] == pytest.approx(abs(points[0] - points[1]) / 2**0.5)


def test_every_kept_model_and_regime_is_drawn(written):
    kinds = ("iterates", "changes", "descent", "confusion")
    models = ("-one-block-iterated", "-block-smooth")
    regimes = ("", "-noise-0.4")
    drawn = {f"{kind}{model}{regime}.png" for kind in kinds for model in models for regime in regimes}
    assert {file.name for file in written.glob("*.png")} == drawn | {f"accuracy{model}.png" for model in models}


def test_a_run_that_keeps_no_model_draws_nothing(outcome, digits, tmp_path):
    results = outcome[0]
    results = {**results, "protocol": {**results["protocol"], "kept": []}}
    report.write(results, {}, digits, tmp_path)
    assert records.read_checkpoint(tmp_path, digits) == (results, {})
    done = CliRunner().invoke(app, ["picture", str(tmp_path), "--out", str(tmp_path / "a.png")])
    assert done.exit_code == 2 and "the run keeps no model" in done.stderr
