from dataclasses import replace

import pytest
from experiment.small import ALONE, CPU, ON_DIGITS
from typer.testing import CliRunner

from imr import data
from imr.__main__ import app
from imr.experiment import records, report, run
from imr.experiment.protocol import Budget, quick


@pytest.fixture(scope="session")
def digits():
    return data.load("digits")


@pytest.fixture(scope="session")
def short():
    """Three rows, two regimes, two seeds, two epochs: seconds."""
    budget = Budget(epochs=2, learning_rate=3e-3, weight_decay=1e-4, batch_size=64)
    block = replace(budget, warm_start="multinomial regression")
    smooth = replace(budget, model="one block iterated", smoothness=1e-3)
    budgets = {"multinomial regression": budget, "one block iterated": block, "block, smooth": smooth}
    kept = ("one block iterated", "block, smooth")
    return replace(quick("digits", seed=3), budgets=budgets, seeds=(3, 4), train_noise=(0.0, 0.4), kept=kept)


@pytest.fixture(scope="session")
def outcome(digits, short, tmp_path_factory):
    """The results of the short run, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    run.begin(short, run.environment(digits, CPU), folder)
    return run.train_left(short, digits, CPU, folder), folder


@pytest.fixture(scope="session")
def written(outcome, digits, short, tmp_path_factory):
    """A folder with everything that a finished run writes."""
    results, folder = outcome
    report.write(results, records.read_kept(short, folder, digits), digits, out := tmp_path_factory.mktemp("written"))
    return out


@pytest.fixture(scope="session")
def command_line(tmp_path_factory):
    """One run by the command: what it said, and its folder."""
    folder = tmp_path_factory.mktemp("command") / "run"
    return CliRunner().invoke(app, [*ON_DIGITS, str(folder), *ALONE]), folder
