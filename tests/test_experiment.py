import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from imr import data
from imr.__main__ import app
from imr.experiment import report
from imr.experiment.evaluation import evaluate, noisy
from imr.experiment.models import MODELS, IteratedBlock, MultinomialRegression, build, to_images, to_tokens
from imr.experiment.protocol import quick
from imr.experiment.run import run
from imr.experiment.training import train, weighted_loss

CPU = torch.device("cpu")
RESULTS = Path(__file__).resolve().parents[1] / "book" / "results" / "quick"
KEYS = ["model", "train_noise", "test_noise", "iterate", "seed", "accuracy", "loss", "parameters", "seconds"]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def short():
    return replace(quick("digits", seed=3), epochs=2)


@pytest.fixture(scope="module")
def outcome(digits, short):
    return run(short, digits, CPU)


def test_a_record_for_each_model_noise_and_iterate(outcome, short):
    results, _ = outcome
    assert list(results) == ["protocol", "environment", "records"]
    assert all(list(record) == KEYS for record in results["records"])
    cases = [(r["model"], r["test_noise"], r["iterate"]) for r in results["records"]]
    first, second = short.models
    assert cases == [(first, s, 0) for s in short.test_noise] + [(second, s, i) for s in short.test_noise for i in range(5)]
    assert {r["seed"] for r in results["records"]} == {3}


def test_the_environment_says_what_the_numbers_depend_on(outcome, digits):
    environment = outcome[0]["environment"]
    assert environment["torch"] == torch.__version__
    assert environment["data_md5"] == digits.md5
    assert {"python", "threads", "device", "git_revision", "imr", "torchvision"} <= set(environment)


def test_accuracy_and_loss_are_those_of_the_model(outcome, digits, short):
    results, model = outcome
    record = results["records"][-1]
    X = noisy(digits.test.X, record["test_noise"], short.noise_seed)
    with torch.no_grad():
        N = model(X)[record["iterate"]]
    assert record["accuracy"] == (N.argmax(-1) == digits.test.y).double().mean().item()
    expected = torch.nn.functional.cross_entropy(N.double(), digits.test.y).item()
    assert record["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(digits, short):
    def accuracies(seed):
        model, _ = train(short.models[1], digits.train, 10, short, seed, 0.2, CPU, progress=False)
        return [loss for _, loss in evaluate(model, digits.validation, CPU)]

    assert accuracies(0) == accuracies(0)
    assert accuracies(0) != accuracies(1)


def test_training_noise_reaches_the_model(digits, short):
    weights = [
        train(short.models[0], digits.train, 10, short, 0, sigma, CPU, progress=False)[0].read_out.weight
        for sigma in (0.0, 0.5)
    ]
    assert (weights[0] - weights[1]).abs().max() > 1e-3


def test_training_leaves_the_callers_generator_alone(digits, short):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(short.models[0], digits.train, 10, short, 0, 0.0, CPU, progress=False)
    assert torch.rand(1) == expected


def test_noise_has_the_stated_spread_and_a_fixed_generator(digits):
    noise = noisy(digits.test.X, 0.3, seed=1) - digits.test.X
    assert abs(noise.std() - 0.3) < 0.005
    assert abs(noise.mean()) < 0.005
    assert torch.equal(noisy(digits.test.X, 0.3, seed=1) - digits.test.X, noise)


def test_tokens_and_images_are_inverse():
    X = torch.arange(2 * 8 * 8.0).reshape(2, 8, 8)
    Z = to_tokens(X, patch=4)
    assert Z.shape == (2, 4, 16)
    assert torch.equal(Z[0, 1], X[0, :4, 4:].flatten())
    assert torch.equal(to_images(Z, 4, 8), X)


def test_the_block_is_iterated():
    model = IteratedBlock(8, 8, 10, patch=4, prototypes=6, iterates=3, linear_map=True)
    X = torch.rand(5, 8, 8)
    states = [to_tokens(Z, 4) for Z in model.features(X)]
    assert len(states) == 4
    for before, after in itertools.pairwise(states):
        assert torch.allclose(after, model.block(before))
    assert torch.equal(model(X)[0], model.read_out(X.flatten(1)))
    assert model(X).shape == (4, 5, 10)


def test_multinomial_regression_has_the_parameters_of_one():
    assert sum(p.numel() for p in MultinomialRegression(28, 28, 10).parameters()) == 7850


def test_weighted_loss_weighs_the_last_iterate_most():
    N, y = torch.randn(3, 7, 10), torch.arange(7)
    each = [torch.nn.functional.cross_entropy(M, y) for M in N]
    assert torch.allclose(weighted_loss(N, y), (each[0] + 2 * each[1] + 3 * each[2]) / 6)


def test_a_patch_must_divide_the_image():
    with pytest.raises(ValueError, match="patch is 3, expected a divisor"):
        IteratedBlock(8, 8, 10, patch=3, prototypes=6, iterates=3, linear_map=True)


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match=f"unknown model 'cnn', expected one of: {', '.join(MODELS)}"):
        build("cnn", 8, 8, 10)


def test_table_has_percent_and_spread_over_seeds(outcome, short):
    results, _ = outcome
    one = report.table(results)
    record = results["records"][0]
    assert f"{100 * record['accuracy']:.2f}" in one and "±" not in one
    moved = [{**r, "seed": 4, "accuracy": r["accuracy"] - 0.01} for r in results["records"]]
    both = report.table({**results, "records": results["records"] + moved})
    assert f"{100 * record['accuracy'] - 0.5:.2f} ± 0.71" in both


def test_command_line_writes_results_and_refuses_to_overwrite(tmp_path):
    command = ["experiment", "--dataset", "digits", "--device", "cpu", "--seed", "1", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "multinomial regression" in done.output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["protocol"]["seeds"] == [1]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"results.json", "table.md", "iterates.png"}
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "exists already" in again.stderr and "--overwrite" in again.stderr
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == results


def test_choices_can_be_made_on_the_validation_split(tmp_path, digits):
    command = ["experiment", "--dataset", "digits", "--device", "cpu", "--split", "validation", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["protocol"]["evaluated_on"] == "validation"
    model, _ = train("multinomial regression", digits.train, 10, quick("digits", 0), 0, 0.0, CPU, progress=False)
    ((accuracy, _),) = evaluate(model, digits.validation, CPU)
    assert results["records"][0]["accuracy"] == accuracy
    shown = report.picture(results, model, digits).axes[0].get_images()[0].get_array()
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
    regression, block = quick("fashion-mnist", 0).models
    final = {(r["model"], r["test_noise"]): r["accuracy"] for r in records if r["iterate"] in (0, 4)}
    assert 0.83 < final[regression, 0.0] < 0.85
    assert final[block, 0.0] > final[regression, 0.0] + 0.02
    for sigma in (0.1, 0.3, 0.5):
        assert final[block, sigma] > final[regression, sigma]
    recorded = json.loads((RESULTS / "results.json").read_text())["records"]
    for now, then in zip(records, recorded, strict=True):
        assert [now[key] for key in KEYS[:5]] == [then[key] for key in KEYS[:5]]
        assert abs(now["accuracy"] - then["accuracy"]) < 0.01  # another machine adds in another order
        assert abs(now["loss"] - then["loss"]) < 0.02 * then["loss"]
        assert now["parameters"] == then["parameters"]


def test_the_committed_table_is_made_from_the_committed_records():
    results = json.loads((RESULTS / "results.json").read_text())
    assert (RESULTS / "table.md").read_text() == report.table(results) + "\n"
    assert Image.open(RESULTS / "iterates.png").text["Description"] == report.fingerprint(results)
    assert results["environment"]["data_md5"]["t10k-labels-idx1-ubyte.gz"] == "bb300cfdad3c16e7a12a480ee83cd310"
    assert re.fullmatch("[0-9a-f]{7,40}", results["environment"]["git_revision"])
