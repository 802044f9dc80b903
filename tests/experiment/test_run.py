import shutil
from dataclasses import replace

import pytest
import torch
from experiment.small import CPU, KEYS, numbers

from imr.experiment import records, run, study
from imr.experiment.evaluation import noisy


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
    record = next(r for r in reversed(results["records"]) if r["seed"] == short.seeds[0])
    model = records.read_kept(short, folder, digits)[record["model"]][record["train_noise"]]
    X = noisy(digits.test.X, record["test_noise"], short.noise_seed)
    with torch.no_grad():
        N = model(X)[record["iterate"]]
    assert record["accuracy"] == (N.argmax(-1) == digits.test.y).double().mean().item()
    expected = torch.nn.functional.cross_entropy(N.double(), digits.test.y).item()
    assert record["loss"] == pytest.approx(expected, rel=1e-5)


def test_side_by_side_gives_the_same_numbers(outcome, digits, short, tmp_path):
    run.begin(short, run.environment(digits, CPU), tmp_path)
    assert numbers(run.train_left(short, digits, CPU, tmp_path, jobs=2)) == numbers(outcome[0])


def test_another_seed_gives_other_numbers(outcome):
    last = {r["seed"]: r["loss"] for r in outcome[0]["records"]}
    assert last[3] != last[4]


def test_overwriting_throws_away_the_run_and_nothing_else(digits, short, written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    run.begin(short, setting := run.environment(digits, CPU), folder, overwrite=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "cases" / "old.json").write_text("[]")
    run.begin(short, setting, folder, overwrite=True)
    assert sorted(file.name for file in folder.rglob("*")) == ["cases", "notes.txt", "run.json"]


def test_only_the_same_run_is_resumed(digits, short, tmp_path):
    setting = run.environment(digits, CPU)
    with pytest.raises(run.RunError, match="no run to resume"):
        run.begin(short, setting, tmp_path, resume=True)
    run.begin(short, setting, tmp_path)
    run.begin(short, setting, tmp_path, resume=True)
    with pytest.raises(run.RunError, match="unfinished run"):
        run.begin(short, setting, tmp_path)
    with pytest.raises(run.RunError, match=r"another protocol.*seeds was \[3, 4\], now \[5\]"):
        run.begin(replace(short, seeds=(5,)), setting, tmp_path, resume=True)
    with pytest.raises(run.RunError, match=r"another environment.*torch was"):
        run.begin(short, {**setting, "torch": "1.0"}, tmp_path, resume=True)


def test_one_call_goes_from_images_to_everything_that_a_run_leaves(outcome, written, digits, short, tmp_path):
    results = study(short, digits, tmp_path)
    assert numbers(results) == numbers(outcome[0])
    left = {file.name for file in tmp_path.iterdir()} - {"run.json", "cases"}
    assert left == {file.name for file in written.iterdir()}
    assert records.read(tmp_path) == results
    with pytest.raises(run.RunError, match="a finished run"):
        study(short, digits, tmp_path)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"resume": True, "overwrite": True}, "say one of them"),
        ({"jobs": 0}, "jobs is 0, expected at least 1"),
        ({"dataset": "fashion-mnist"}, "the protocol is for fashion-mnist, and the data set is digits"),
    ],
)
def test_a_call_that_contradicts_itself_is_refused_and_nothing_is_lost(given, says, written, digits, short):
    before = {file: file.read_bytes() for file in written.rglob("*") if file.is_file()}
    protocol = replace(short, dataset=given.pop("dataset", "digits"))
    with pytest.raises(ValueError, match=says):
        study(protocol, digits, written, **given)
    assert {file: file.read_bytes() for file in written.rglob("*") if file.is_file()} == before
