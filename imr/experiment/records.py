"""What a run leaves in its folder: names, and how each file is written and read back.

``run.json`` (what is run and where), ``cases/`` (weights and records of each training, and the state of one that is going
on), and at the end ``table.md``, figures, ``checkpoint.safetensors`` and, last, ``results.json``.
"""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from imr.data import Dataset
from imr.experiment.interface import Model
from imr.experiment.models import build
from imr.experiment.protocol import Protocol
from imr.files import replacing, write_json

Kept = dict[str, dict[float, Model]]
"""The kept models of the first seed, by name and training noise."""

WRITTEN = (
    *("run.json", "results.json", "table.md", "checkpoint.safetensors", "cases/*"),
    *(f"{figure}*.png" for figure in ("accuracy", "iterates", "changes", "descent", "confusion")),
)
"""What a run writes; everything else in its folder is the user's."""


@dataclass(frozen=True)
class Case:
    """One training: a row of the protocol, the largest σ of its noise, and the seed of weights, batches, flips and noise."""

    model: str
    train_noise: float
    seed: int

    def file(self, folder: Path, suffix: str) -> Path:
        """Where a run in a folder keeps this case's ".json" (records), ".safetensors" (weights) or ".state"."""
        return folder / "cases" / f"{slug(self.model)}_{self.train_noise:g}_{self.seed}{suffix}"


def cases(protocol: Protocol) -> list[Case]:
    """The trainings of a protocol, in the order of the records."""
    return [Case(m, t, s) for s in protocol.seeds for t in protocol.train_noise for m in protocol.budgets]


def slug(name: str) -> str:
    """A model's name as part of a file name."""
    return name.replace(",", "").replace(" ", "-")


def write_case(case: Case, folder: Path, model: Model, records: list[dict]) -> None:
    """Leave a trained model and its records; the records come last and say that the case is done."""
    with replacing(case.file(folder, ".safetensors")) as part:
        save_file({name: p.detach().cpu() for name, p in model.state_dict().items()}, part)
    write_json(case.file(folder, ".json"), records)
    case.file(folder, ".state").unlink(missing_ok=True)


def read_case(case: Case, folder: Path) -> list[dict]:
    """The records of a case that is done; a FileNotFoundError says that it is not."""
    return json.loads(case.file(folder, ".json").read_text(encoding="utf-8"))


def read_kept(protocol: Protocol, folder: Path, dataset: Dataset) -> Kept:
    """Load the models of the first seed that the protocol keeps, from their cases."""
    models: Kept = {name: {} for name in protocol.kept}
    for name, regime in itertools.product(protocol.kept, protocol.train_noise):
        weights = load_file(Case(name, regime, protocol.seeds[0]).file(folder, ".safetensors"))
        models[name][regime] = _filled(protocol.budgets[name].model or name, dataset, weights)
    return models


def fingerprint(results: dict) -> str:
    """SHA-256 of the records; pictures and checkpoint carry it, so that they can be matched with the records."""
    return hashlib.sha256(json.dumps(results["records"], sort_keys=True).encode()).hexdigest()


def write_checkpoint(models: Kept, results: dict, folder: Path) -> None:
    """Write the kept models to ``checkpoint.safetensors``, with the fingerprint of the records."""
    tensors = {
        f"{name}/{regime:g}/{key}": parameter
        for name, own in models.items()
        for regime, model in own.items()
        for key, parameter in model.state_dict().items()
    }
    with replacing(folder / "checkpoint.safetensors") as part:
        save_file(tensors, part, metadata={"records": fingerprint(results)})


def read(folder: Path) -> dict:
    """Read ``results.json``; a FileNotFoundError says that the folder holds no finished run."""
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def read_checkpoint(folder: Path, dataset: Dataset) -> tuple[dict, Kept]:
    """Read a finished run back: ``results.json``, and the kept models.

    Raises:
        FileNotFoundError: the folder holds no finished run.
    """
    results = read(folder)
    protocol, tensors = results["protocol"], load_file(folder / "checkpoint.safetensors")
    models: Kept = {name: {} for name in protocol["kept"]}
    for name, regime in itertools.product(protocol["kept"], protocol["train_noise"]):
        prefix = f"{name}/{regime:g}/"
        weights = {key.removeprefix(prefix): p for key, p in tensors.items() if key.startswith(prefix)}
        models[name][regime] = _filled(protocol["budgets"][name]["model"] or name, dataset, weights)
    return results, models


def _filled(name: str, dataset: Dataset, weights: dict[str, torch.Tensor]) -> Model:
    model = build(name, *dataset.test.X.shape[1:], len(dataset.classes))
    model.load_state_dict(weights)
    return model.eval()
