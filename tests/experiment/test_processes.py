"""What needs processes of its own: a run that is killed, workers that are killed, torchrun."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from experiment.small import ALONE, ON_DIGITS, numbers, read_results
from typer.testing import CliRunner

from imr.__main__ import app


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
