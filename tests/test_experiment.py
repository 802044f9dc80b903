import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from imr import bench, data
from imr.__main__ import app
from imr.blocks import CrossAttentionBlock, MultiHeadCrossAttentionBlock, PerceptronBlock, SelfAttentionBlock
from imr.experiment import report, training
from imr.experiment.evaluation import confusion, evaluate, noisy
from imr.experiment.models import CENTRE, MODELS, Flow, IteratedBlock, MultinomialRegression, build, to_images, to_tokens
from imr.experiment.protocol import PRESETS, Budget, full, quick
from imr.experiment.run import RunError, begin, environment, run, trained
from imr.experiment.training import Case, roughness, train, weighted_loss

CPU = torch.device("cpu")
RESULTS = Path(__file__).resolve().parents[1] / "book" / "results" / "quick"
KEYS = ["model", "train_noise", "test_noise", "iterate", "seed", "accuracy", "loss", "parameters", "seconds"]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def short():
    """Three rows, two regimes, two seeds, two epochs: seconds."""
    budget = Budget(epochs=2, learning_rate=3e-3, weight_decay=1e-4, batch_size=64)
    block = replace(budget, warm_start="multinomial regression")
    smooth = replace(budget, model="one block iterated", smoothness=1e-3)
    budgets = {"multinomial regression": budget, "one block iterated": block, "block, smooth": smooth}
    kept = ("one block iterated", "block, smooth")
    return replace(quick("digits", seed=3), budgets=budgets, seeds=(3, 4), train_noise=(0.0, 0.4), kept=kept)


@pytest.fixture(scope="module")
def outcome(digits, short, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    begin(short, environment(digits, CPU), folder)
    return run(short, digits, CPU, folder), folder


def numbers(results):
    """The records without the seconds, which no two runs share."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in results["records"]]


def fit(name, digits, protocol, seed=0, train_noise=0.0, **options):
    return train(Case(name, train_noise, seed), protocol, digits.train, 10, CPU, progress=False, **options)[0]


def test_a_record_for_each_model_regime_noise_iterate_and_seed(outcome, short):
    results, _ = outcome
    assert list(results) == ["protocol", "environment", "records"]
    assert all(list(record) == KEYS for record in results["records"])
    iterates = {"multinomial regression": 1, "one block iterated": 5, "block, smooth": 5}
    assert [
        tuple(r[key] for key in ("seed", "train_noise", "model", "test_noise", "iterate")) for r in results["records"]
    ] == [
        (seed, regime, model, sigma, iterate)
        for seed in short.seeds
        for regime in short.train_noise
        for model in short.budgets
        for sigma in short.test_noise
        for iterate in range(iterates[model])
    ]


def test_the_environment_says_what_the_numbers_depend_on(outcome, digits):
    environment = outcome[0]["environment"]
    assert environment["torch"] == torch.__version__
    assert environment["data_md5"] == digits.md5
    assert environment["threads"] == environment["processes"] == 1
    assert {"python", "device", "git_revision", "imr", "torchvision", "vit-pytorch"} <= set(environment)


def test_accuracy_and_loss_are_those_of_the_model(outcome, digits, short):
    results, folder = outcome
    record = results["records"][-1]
    model = trained(Case(record["model"], record["train_noise"], record["seed"]), short, folder, digits)
    X = noisy(digits.test.X, record["test_noise"], short.noise_seed)
    with torch.no_grad():
        N = model(X)[record["iterate"]]
    assert record["accuracy"] == (N.argmax(-1) == digits.test.y).double().mean().item()
    expected = torch.nn.functional.cross_entropy(N.double(), digits.test.y).item()
    assert record["loss"] == pytest.approx(expected, rel=1e-5)


def test_confusion_counts_true_classes_against_read_ones(digits):
    model = build("one block iterated", 8, 8, 10)
    counts, N = confusion(model, digits.test), model(digits.test.X)
    assert counts.shape == (5, 10, 10)
    assert (counts.sum(-1) == digits.test.y.bincount()).all()
    assert counts[4, 3, 5] == ((digits.test.y == 3) & (N[4].argmax(-1) == 5)).sum()
    assert not torch.equal(counts[4], counts[4].mT)


def test_side_by_side_gives_the_same_numbers(outcome, digits, short, tmp_path):
    begin(short, environment(digits, CPU), tmp_path)
    assert numbers(run(short, digits, CPU, tmp_path, jobs=2)) == numbers(outcome[0])


def test_another_seed_gives_other_numbers(outcome):
    last = {r["seed"]: r["loss"] for r in outcome[0]["records"]}
    assert last[3] != last[4]


def test_each_image_gets_noise_of_its_own_strength(digits, short):
    split = data.Split(torch.zeros(2_000, 8, 8), torch.zeros(2_000, dtype=torch.int64))
    generators = {name: torch.Generator().manual_seed(i) for i, name in enumerate(("order", "noise", "flips"))}
    X = torch.cat([X for X, _, _, _ in training._batches(split, short.budgets["multinomial regression"], 0.4, generators)])
    strengths = X.flatten(1).std(1)
    assert strengths.max() < 0.6
    assert abs(strengths.mean() - 0.2) < 0.02
    assert abs(strengths.std() - 0.4 / 12**0.5) < 0.02


def test_half_of_the_images_are_mirrored(short):
    ramp = torch.arange(8.0).expand(2_000, 8, 8)
    generators = {name: torch.Generator().manual_seed(i) for i, name in enumerate(("order", "noise", "flips"))}
    for flips, expected in ((True, 0.5), (False, 0.0)):
        budget = replace(short.budgets["multinomial regression"], flips=flips)
        batches = training._batches(data.Split(ramp, torch.zeros(2_000, dtype=torch.int64)), budget, 0.0, generators)
        assert abs(torch.cat([X[:, 0, 0] > 0 for X, _, _, _ in batches]).double().mean() - expected) < 0.05


def test_training_noise_reaches_the_model(digits, short):
    weights = [fit("multinomial regression", digits, short, train_noise=sigma).read_out.weight for sigma in (0.0, 0.5)]
    assert (weights[0] - weights[1]).abs().max() > 1e-3


def test_training_leaves_the_callers_generator_alone(digits, short):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit("multinomial regression", digits, short)
    assert torch.rand(1) == expected


def test_a_warm_start_begins_with_the_regression(digits, short):
    regression = fit("multinomial regression", digits, short).read_out.weight
    still = {"one block iterated": replace(short.budgets["one block iterated"], learning_rate=0.0)}
    protocol = replace(short, budgets={**short.budgets, **still})
    assert torch.equal(fit("one block iterated", digits, protocol).read_out.weight, regression)


def test_bfloat16_is_close_to_float32_and_not_the_same(digits, short):
    single = fit("one block iterated", digits, short).read_out.weight
    half = fit("one block iterated", digits, replace(short, precision="bfloat16")).read_out.weight
    assert half.dtype == torch.float32
    assert 0 < (single - half).abs().max() < 0.02


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
    moved = to_tokens(X, patch=4, shift=2)
    assert torch.equal(moved[0, 0], X[0, 2:6, 2:6].flatten())
    assert torch.equal(to_images(moved, 4, 8, shift=2), X)


@pytest.mark.parametrize("shared", [True, False])
def test_the_block_is_iterated_each_time_on_another_grid(shared):
    model = IteratedBlock(14, 14, 10, Flow(grid=2, shared=shared, iterates=3, cross_heads=2, prototypes=3))
    X = torch.rand(5, 14, 14)
    pictures = model.features(X)
    assert len(pictures) == 4
    assert len(model.blocks) == (1 if shared else 3)
    for iterate, (before, after) in enumerate(itertools.pairwise(pictures)):
        shift, block = (0, 3, 6)[iterate], model.blocks[0 if shared else iterate]
        expected = to_images(block(to_tokens(before - CENTRE, 7, shift)), 7, 14, shift) + CENTRE
        assert torch.allclose(after, expected, atol=1e-6)
    assert torch.equal(model(X)[0], model.read_out(X.flatten(1) - CENTRE))
    assert model(X).shape == (4, 5, 10)


def test_every_switch_of_the_flow_reaches_its_block():
    def parts(**options):
        return list(Flow(**options).block(49).parts)

    attention, unit = parts(self_heads=2, rank=4, hidden=5, linear_map=True, both_reads=False, tied=False, sign=1)
    assert isinstance(attention, SelfAttentionBlock) and isinstance(unit, PerceptronBlock)
    assert attention.phi.shape == (2, 49, 4) and attention.C.shape == (2, 16, 16) and attention.W.shape == (49, 49)
    assert attention.scale == 0.5 and attention.weights.tolist() == [-1, -1] and not attention.both_reads
    assert attention.value is not None
    first, second = parts(self_heads=1, labels=False, cross_heads=3, prototypes=5, linear_map=True)
    assert first.C is None and isinstance(second, MultiHeadCrossAttentionBlock)
    assert second.theta.shape == (3, 5, 49) and second.W is None and second.values is None
    (plain,) = parts(cross_heads=1, prototypes=5, intercepts=False)
    assert isinstance(plain, CrossAttentionBlock) and plain.theta.shape == (5, 49)
    with pytest.raises(ValueError, match="without intercepts is plain, expected cross_heads=1, tied=True, sign=-1"):
        Flow(cross_heads=2, intercepts=False)
    assert Flow(cross_heads=2, splitting="strang", normalise=True).block(49).scheme == "strang"
    assert Flow(cross_heads=2, normalise=True).block(49).normalise


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", [8, 28])
def test_every_model_reads_images_at_every_iterate(name, side):
    model = build(name, side, side, 10)
    logits = model(torch.rand(3, side, side))
    assert logits.shape[1:] == (3, 10)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_limits_of_the_comparison():
    """At most 50,000 parameters and 4 iterates for the block; the transformers have at least as many parameters."""
    size = {
        name: sum(p.numel() for p in build(name, 28, 28, 10).parameters())
        for name in full("fashion-mnist", 0).budgets
        if name in MODELS
    }
    assert size["block"] <= 50_000
    assert len(build("block", 28, 28, 10)(torch.rand(1, 28, 28))) == 5
    for name in ("TransformerEncoder", "SimpleViT"):
        assert size["block"] <= size[name] <= 50_000


def test_multinomial_regression_has_the_parameters_of_one():
    assert sum(p.numel() for p in MultinomialRegression(28, 28, 10).parameters()) == 7850


@pytest.mark.fashion_mnist
def test_pixels_are_centred_by_the_mean_of_the_training_images():
    assert abs(data.load("fashion-mnist").train.X.mean() - CENTRE) < 0.002


def test_weighted_loss_weighs_the_last_iterate_most():
    N, y = torch.randn(3, 7, 10), torch.arange(7)
    each = [torch.nn.functional.cross_entropy(M, y, reduction="sum") for M in N]
    assert torch.allclose(weighted_loss(N, y, 0.1), 0.1 * each[0] + 0.1 * each[1] + each[2])


def test_roughness_is_that_of_the_change_at_later_iterates():
    X = torch.rand(2, 4, 3)
    spike = torch.zeros(2, 4, 3)
    spike[:, 1, 1] = 3.0  # four neighbours
    assert roughness([spike, X + 0.7, X], X) == pytest.approx(0.0, abs=1e-6)  # lighter everywhere is free
    assert roughness([X, X + spike, X + 2 * spike], X) == pytest.approx(2 * 4 * 9 * (1 + 4), rel=1e-5)
    assert roughness([X], X + spike) == 0


def test_smoothness_keeps_changes_smooth(digits, short):
    def rough(price):
        budgets = {name: replace(budget, smoothness=price) for name, budget in short.budgets.items()}
        model = fit("one block iterated", digits, replace(short, budgets=budgets))
        with torch.no_grad():
            return roughness(model.iterates(digits.test.X), digits.test.X - CENTRE).item()

    assert rough(0.1) < 0.7 * rough(0.0)


def test_smoothness_adds_the_roughness_against_the_image_without_noise(digits, short):
    model, budget = build("one block iterated", 8, 8, 10), short.budgets["one block iterated"]
    clean, y = digits.test.X[:5], digits.test.y[:5]
    X = noisy(clean, 0.4, 0)
    with torch.no_grad():
        losses = [training._Objective(model, replace(budget, smoothness=s))(X, clean, y) for s in (0.0, 0.1)]
    assert losses[0] == weighted_loss(model(X), y, budget.earlier)
    assert losses[1] - losses[0] == pytest.approx(0.1 * roughness(model.iterates(X), clean - CENTRE).item(), rel=1e-4)


def test_batches_bring_the_images_with_noise_and_without(digits, short):
    generators = {name: torch.Generator().manual_seed(i) for i, name in enumerate(("order", "noise", "flips"))}
    batches = training._batches(digits.train, short.budgets["one block iterated"], 0.4, generators)
    X, clean, _, size = next(batches)
    assert size == len(X) == 64
    assert 0.05 < (X - clean).std() < 0.4
    originals = {image.numpy().tobytes() for image in digits.train.X}
    assert all(image.numpy().tobytes() in originals for image in clean)


def test_the_grid_must_divide_the_image():
    with pytest.raises(ValueError, match="grid is 3, expected a divisor of the side of a square image, 8×8"):
        IteratedBlock(8, 8, 10, Flow(grid=3, cross_heads=1))


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match=f"unknown model 'cnn', expected one of: {', '.join(MODELS)}"):
        build("cnn", 8, 8, 10)


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


ON_DIGITS = ["experiment", "--dataset", "digits", "--device", "cpu", "--seed", "1", "--out"]
ALONE = ["--jobs", "1"]


@pytest.fixture(scope="module")
def command_line(tmp_path_factory):
    """One run by the command: what it said, and its folder."""
    folder = tmp_path_factory.mktemp("command") / "run"
    return CliRunner().invoke(app, [*ON_DIGITS, str(folder), *ALONE]), folder


def read_results(folder):
    return json.loads((folder / "results.json").read_text())


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


def test_overwriting_throws_away_the_run_and_nothing_else(digits, short, written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    begin(short, setting := environment(digits, CPU), folder, overwrite=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "cases" / "old.json").write_text("[]")
    begin(short, setting, folder, overwrite=True)
    assert sorted(file.name for file in folder.rglob("*")) == ["cases", "notes.txt", "run.json"]


@pytest.fixture(scope="module")
def written(outcome, digits, short, tmp_path_factory):
    """A folder with everything that a finished run writes."""
    results, folder = outcome
    kept = {m: {t: trained(Case(m, t, 3), short, folder, digits) for t in short.train_noise} for m in short.kept}
    report.write(results, kept, digits, out := tmp_path_factory.mktemp("written"))
    return out


def test_every_kept_model_and_regime_is_drawn(written):
    kinds = ("iterates", "changes", "descent", "confusion")
    models = ("-one-block-iterated", "-block-smooth")
    regimes = ("", "-noise-0.4")
    drawn = {f"{kind}{model}{regime}.png" for kind in kinds for model in models for regime in regimes}
    assert {file.name for file in written.glob("*.png")} == drawn | {f"accuracy{model}.png" for model in models}


def test_a_checkpoint_gives_the_recorded_numbers_back(outcome, digits, short, written):
    results, _ = outcome
    again, loaded = report.load_checkpoint(written, digits)
    assert again == results
    assert list(loaded) == list(short.kept)
    for name, regime in itertools.product(short.kept, short.train_noise):
        expected = [
            r["accuracy"]
            for r in results["records"]
            if (r["model"], r["train_noise"], r["test_noise"], r["seed"]) == (name, regime, 0.1, 3)
        ]
        test = data.Split(noisy(digits.test.X, 0.1, short.noise_seed), digits.test.y)
        assert [accuracy for accuracy, _ in evaluate(loaded[name][regime], test, CPU)] == expected


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


def test_a_run_that_keeps_no_model_draws_nothing(outcome, digits, tmp_path):
    results = outcome[0]
    results = {**results, "protocol": {**results["protocol"], "kept": []}}
    report.write(results, {}, digits, tmp_path)
    assert report.load_checkpoint(tmp_path, digits) == (results, {})
    done = CliRunner().invoke(app, ["picture", str(tmp_path), "--out", str(tmp_path / "a.png")])
    assert done.exit_code == 2 and "the run keeps no model" in done.stderr


def test_a_training_that_is_stopped_goes_on_to_the_same_model(digits, short, tmp_path):
    whole = fit("one block iterated", digits, short, train_noise=0.4).state_dict()
    file, original = tmp_path / "state", training._State.save

    def save_and_die(state, path):
        original(state, path)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training._State, "save", save_and_die)
        fit("one block iterated", digits, short, train_noise=0.4, state_file=file)
    epochs, one = [], training._epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_epoch", lambda *arguments: epochs.append(one(*arguments)))
        resumed = fit("one block iterated", digits, short, train_noise=0.4, state_file=file).state_dict()
    assert len(epochs) == 1  # of two: the first was not trained again
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_run_that_is_killed_resumes_to_the_same_numbers(command_line, tmp_path):
    """The real command, killed with SIGKILL in the middle of a training."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "imr", *ON_DIGITS, str(tmp_path), *ALONE]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    state = tmp_path / "cases" / "one-block-iterated_0_1.state"
    while not state.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.exists() and not (tmp_path / "results.json").exists()
    resumed = CliRunner().invoke(app, [*ON_DIGITS, str(tmp_path), *ALONE, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert numbers(read_results(tmp_path)) == numbers(read_results(command_line[1]))


def test_a_killed_worker_ends_the_run_with_a_clear_line(tmp_path):
    command = [sys.executable, "-m", "imr", *ON_DIGITS, str(tmp_path), "--jobs", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        while not list(tmp_path.glob("cases/one*.state")):
            assert process.poll() is None
            time.sleep(0.01)
        for child in psutil.Process(process.pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
        _, stderr = process.communicate()
    assert process.returncode == 2
    assert "was killed from outside" in stderr and "--resume" in stderr and "Traceback" not in stderr


def test_only_the_same_run_is_resumed(digits, short, tmp_path):
    setting = environment(digits, CPU)
    with pytest.raises(RunError, match="no run to resume"):
        begin(short, setting, tmp_path, resume=True)
    begin(short, setting, tmp_path)
    begin(short, setting, tmp_path, resume=True)
    with pytest.raises(RunError, match="unfinished run"):
        begin(short, setting, tmp_path)
    with pytest.raises(RunError, match=r"another protocol.*seeds was \[3, 4\], now \[5\]"):
        begin(replace(short, seeds=(5,)), setting, tmp_path, resume=True)
    with pytest.raises(RunError, match=r"another environment.*torch was"):
        begin(short, {**setting, "torch": "1.0"}, tmp_path, resume=True)


def test_two_processes_train_as_one(command_line, tmp_path):
    """Under torchrun, on two CPU processes: the same accuracies up to one image in 300, the same losses to 1e-3."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "imr"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*torchrun, *ON_DIGITS, str(tmp_path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = read_results(command_line[1]), read_results(tmp_path)
    assert (one["environment"]["processes"], two["environment"]["processes"]) == (1, 2)
    for a, b in zip(numbers(one), numbers(two), strict=True):
        assert abs(a["accuracy"] - b["accuracy"]) < 1.01 / 300
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-3)
    assert any(a["loss"] != b["loss"] for a, b in zip(numbers(one), numbers(two), strict=True))


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
    kept = report.load_checkpoint(tmp_path, digits)[1]
    shown = report.pictures(results, kept, digits)["iterates"].axes[0].get_images()[0].get_array()
    assert (shown == digits.validation.X[digits.validation.y == 0][0].numpy()).all()


def test_every_way_of_training_is_timed_beside_plain_float32(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)  # compiling takes minutes
    rows = bench.training("attention alone", seeds=2, rounds=1)
    assert [row["way"] for row in rows] == ["float32", "torch.compile", "bfloat16", "2 seeds at once"]
    assert rows[0]["times as fast as float32"] == 1
    assert all(row["ms a step"] > 0 and row["times as fast as float32"] > 0 for row in rows)


@pytest.mark.parametrize("preset", PRESETS)
def test_no_protocol_tests_on_what_it_trains_on(preset):
    protocol = PRESETS[preset]("fashion-mnist", 0)
    assert protocol.evaluated_on not in protocol.trained_on
    assert set(protocol.kept) <= set(protocol.budgets)


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
    recorded = json.loads((RESULTS / "results.json").read_text())["records"]
    for now, then in zip(records, recorded, strict=True):
        assert [now[key] for key in KEYS[:5]] == [then[key] for key in KEYS[:5]]
        assert abs(now["accuracy"] - then["accuracy"]) < 0.01  # another machine adds in another order
        assert abs(now["loss"] - then["loss"]) < 0.02 * then["loss"]
        assert now["parameters"] == then["parameters"]


@pytest.mark.parametrize("folder", sorted(RESULTS.parent.iterdir()), ids=lambda folder: folder.name)
def test_what_is_committed_is_made_from_the_committed_records(folder):
    results = json.loads((folder / "results.json").read_text())
    assert (folder / "table.md").read_text() == f"{report.table(results)}\n\n{report.iterates_table(results)}\n"
    for file in folder.glob("*.png"):
        assert Image.open(file).text["Description"] == report.fingerprint(results)
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as checkpoint:
            assert checkpoint.metadata()["records"] == report.fingerprint(results)
        assert file.stat().st_size < 1_000_000
    assert results["environment"]["data_md5"]["t10k-labels-idx1-ubyte.gz"] == "bb300cfdad3c16e7a12a480ee83cd310"
    assert re.fullmatch("[0-9a-f]{7,40}", results["environment"]["git_revision"])
