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


def made(accuracies):
    """Results of two models without training noise or test noise: accuracies by model, seed and iterate."""
    return {
        "records": [
            {"model": model, "train_noise": 0.0, "test_noise": 0.0, "iterate": iterate, "seed": seed, "accuracy": accuracy}
            for model, seeds in accuracies.items()
            for seed, iterates in seeds.items()
            for iterate, accuracy in enumerate(iterates)
        ]
    }


def test_the_interval_of_a_gain_is_that_of_the_paired_t_test():
    """Differences of 1, 2 and 6 points: mean 3, sd √7; with two degrees of freedom t is 4.303 at 97.5 %."""
    base, other = {0: [0.5], 1: [0.6], 2: [0.7]}, {0: [0.51], 1: [0.62], 2: [0.76]}
    results = made({"a": base, "b": other})
    gain = report.gains(results, over="a").loc[("b", 0.0, 0.0)]
    assert gain["mean"] == pytest.approx(3) and gain["std"] == pytest.approx(7**0.5)
    half = 4.30265 * 7**0.5 / 3**0.5
    assert (gain["low"], gain["high"]) == pytest.approx((3 - half, 3 + half), rel=1e-5)
    narrow = report.gains(results, over="a", level=0.5).loc[("b", 0.0, 0.0)]  # t is 0.8165 there
    assert narrow["high"] - 3 == pytest.approx(0.816497 * half / 4.30265, rel=1e-5)


def test_costs_are_those_of_the_last_iterate_with_the_interval_of_its_accuracy():
    results = made({"a": {0: [0.1, 0.5], 1: [0.1, 0.6], 2: [0.1, 0.7]}, "b": {0: [0.9]}})
    for record in results["records"]:
        record |= {"parameters": 7, "seconds": 10.0 * record["seed"]}
    costs = report.costs(results)
    half = 4.30265 * 10 / 3**0.5  # Student's t with two degrees of freedom, sd 10
    assert costs.loc["a", "mean"] == pytest.approx(60) and costs.loc["a", "seconds"] == pytest.approx(10)
    assert (costs.loc["a", "low"], costs.loc["a", "high"]) == pytest.approx((60 - half, 60 + half), rel=1e-5)
    assert costs.loc["b", ["low", "high"]].isna().all() and costs.loc["b", "parameters"] == 7


def test_a_gain_counts_only_the_seeds_that_both_models_have():
    base, other = {0: [0.5], 1: [0.5], 2: [0.5]}, {1: [0.51], 2: [0.53], 7: [0.99]}
    gain = report.gains(made({"a": base, "b": other}), over="a").loc[("b", 0.0, 0.0)]
    assert gain["mean"] == pytest.approx(2)
    assert gain["high"] - gain["mean"] == pytest.approx(12.7062, rel=1e-5)  # sd √2, two seeds, so t with one degree


def test_one_seed_decides_nothing():
    gain = report.gains(made({"a": {0: [0.5]}, "b": {0: [0.6]}}), over="a").loc[("b", 0.0, 0.0)]
    assert gain["mean"] == pytest.approx(10) and gain[["std", "low", "high"]].isna().all()


def test_the_gain_of_an_earlier_iterate_is_over_the_last_of_the_other_model():
    results = made({"a": {0: [0.1, 0.5], 1: [0.1, 0.5]}, "b": {0: [0.4, 0.6], 1: [0.4, 0.6]}})
    assert report.gains(results, over="a").loc[("b", 0.0, 0.0), "mean"] == pytest.approx(10)
    assert report.gains(results, over="a", iterate=0).loc[("b", 0.0, 0.0), "mean"] == pytest.approx(-10)


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
