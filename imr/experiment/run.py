"""The experiment from beginning to end: protocol in, records out."""

import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from tqdm import tqdm

import imr
from imr.data import Dataset, Split
from imr.experiment.evaluation import evaluate, noisy
from imr.experiment.models import MultinomialRegression
from imr.experiment.protocol import Protocol
from imr.experiment.training import train


def run(protocol: Protocol, dataset: Dataset, device: torch.device) -> tuple[dict, MultinomialRegression]:
    """Run a protocol.

    Returns:
        The content of ``results.json``, ``{"protocol", "environment", "records"}``, with one record for each model,
        training noise, test noise, iterate and seed; and the last model trained.
    """
    setting = environment(dataset, device)
    split: Split = getattr(dataset, protocol.evaluated_on)
    tests = {sigma: Split(noisy(split.X, sigma, protocol.noise_seed), split.y) for sigma in protocol.test_noise}
    runs = [(m, t, s) for m in protocol.models for t in protocol.train_noise for s in protocol.seeds]
    records = []
    for name, train_noise, seed in tqdm(runs, desc=f"experiment {protocol.preset}", unit="model"):
        model, seconds = train(name, dataset.train, len(dataset.classes), protocol, seed, train_noise, device)
        parameters = sum(p.numel() for p in model.parameters())
        for sigma, noisy_split in tests.items():
            for iterate, (accuracy, loss) in enumerate(evaluate(model, noisy_split, device)):
                records.append(
                    {
                        "model": name,
                        "train_noise": train_noise,
                        "test_noise": sigma,
                        "iterate": iterate,
                        "seed": seed,
                        "accuracy": accuracy,
                        "loss": loss,
                        "parameters": parameters,
                        "seconds": round(seconds, 2),
                    }
                )
    return {"protocol": asdict(protocol), "environment": setting, "records": records}, model


def environment(dataset: Dataset, device: torch.device) -> dict:
    """What the numbers depend on besides the protocol: versions, threads, device, data checksums, git revision."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "imr": imr.__version__,
        **{name: version(name) for name in ("torch", "torchvision", "numpy")},
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "data_md5": dataset.md5,
        "git_revision": _git_revision(),
    }


def _git_revision() -> str | None:
    """Return the revision of the source tree with '-dirty' where files differ from it; None outside a git checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
