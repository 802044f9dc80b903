import itertools
import json
import re

import pytest
from experiment.small import CPU, RESULTS
from PIL import Image
from safetensors import safe_open

from imr import data
from imr.experiment import records, report
from imr.experiment.evaluation import evaluate, noisy


def test_a_checkpoint_gives_the_recorded_numbers_back(outcome, digits, short, written):
    results, _ = outcome
    again, loaded = records.read_checkpoint(written, digits)
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


@pytest.mark.parametrize("folder", sorted(RESULTS.iterdir()), ids=lambda folder: folder.name)
def test_what_is_committed_is_made_from_the_committed_records(folder):
    results = json.loads((folder / "results.json").read_text())
    assert (folder / "table.md").read_text() == f"{report.table(results)}\n\n{report.iterates_table(results)}\n"
    for file in folder.glob("*.png"):
        assert Image.open(file).text["Description"] == records.fingerprint(results)
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as checkpoint:
            assert checkpoint.metadata()["records"] == records.fingerprint(results)
        assert file.stat().st_size < 1_000_000
    assert results["environment"]["data_md5"]["t10k-labels-idx1-ubyte.gz"] == "bb300cfdad3c16e7a12a480ee83cd310"
    assert re.fullmatch("[0-9a-f]{7,40}", results["environment"]["git_revision"])
