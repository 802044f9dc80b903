"""Small runs on the digits, and what the tests of the experiment say about them."""

import json
from pathlib import Path

import torch

from imr.data import Dataset
from imr.experiment.interface import Model
from imr.experiment.protocol import Protocol
from imr.experiment.records import Case
from imr.experiment.training import train

CPU = torch.device("cpu")
RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
KEYS = ["model", "train_noise", "test_noise", "iterate", "seed", "accuracy", "loss", "parameters", "seconds"]
ALONE = ["--jobs", "1"]
ON_DIGITS = ["experiment", "--dataset", "digits", "--device", "cpu", "--seed", "1", "--out"]


def numbers(results: dict) -> list[dict]:
    """The records without the seconds, which no two runs share."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in results["records"]]


def fit(name: str, digits: Dataset, protocol: Protocol, seed: int = 0, train_noise: float = 0.0, **options) -> Model:
    return train(Case(name, train_noise, seed), protocol, digits.train, 10, CPU, progress=False, **options)[0]


def read_results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())
