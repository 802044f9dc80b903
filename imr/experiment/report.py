"""Records to table, picture and files."""

import hashlib
import json
import os
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from imr import figures
from imr.data import Dataset
from imr.experiment.evaluation import noisy
from imr.experiment.models import MultinomialRegression


def table(results: dict) -> str:
    """Accuracy in percent as a Markdown table: a row for each model and iterate, a column for each test noise.

    Several seeds are shown as mean ± standard deviation. Beside it stand the parameters and the mean CPU seconds of
    training, so that nobody compares models of different cost unawares.
    """
    records = pd.DataFrame(results["records"])
    records["model"] = records["model"].where(records["train_noise"] == 0, records["model"] + ", trained with noise")
    cost = records.groupby(["model", "iterate"], sort=False)[["parameters", "seconds"]].mean()
    columns = ["model", "iterate", "test_noise"]
    grouped = (100 * records.set_index(columns)["accuracy"]).groupby(level=columns, sort=False)
    spread = grouped.std().map(lambda s: "" if pd.isna(s) else f" ± {s:.2f}")
    cells = (grouped.mean().map("{:.2f}".format) + spread).unstack("test_noise", sort=False)
    cells.columns = [f"σ = {sigma:g}" for sigma in cells.columns]
    cells["parameters"] = cost["parameters"].map("{:,.0f}".format)
    cells["CPU s"] = cost["seconds"].map("{:.1f}".format)
    return cells.reset_index().to_markdown(index=False, disable_numparse=True)


def picture(results: dict, model: MultinomialRegression, dataset: Dataset) -> Figure:
    """One figure for the run: iterates of two images, one of them also with noise, and accuracy against the iterate.

    The images are of the split that the run was evaluated on.
    """
    protocol = results["protocol"]
    split = getattr(dataset, protocol["evaluated_on"])
    sigma = max(s for s in protocol["test_noise"] if s <= 0.3)
    first = [int((split.y == c).nonzero()[0, 0]) for c in (0, 2)]  # the first image of classes 0 and 2
    starts = torch.cat([split.X[first], noisy(split.X, sigma, protocol["noise_seed"])[first[:1]]])
    with torch.no_grad():
        device = next(model.parameters()).device
        Z = torch.stack(model.features(starts.to(device)), dim=1).cpu()  # (images, L + 1, height, width)
    names = [dataset.classes[int(split.y[i])] for i in first]
    return figures.overview(Z, [*names, f"{names[0]}, σ = {sigma:g}"], pd.DataFrame(results["records"]))


def fingerprint(results: dict) -> str:
    """SHA-256 of the records; the picture carries it, so that picture and records can be matched."""
    return hashlib.sha256(json.dumps(results["records"], sort_keys=True).encode()).hexdigest()


def write(results: dict, figure: Figure, out: Path) -> None:
    """Write ``results.json``, ``table.md`` and ``iterates.png`` into a folder; ``results.json`` last and in one move."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(table(results) + "\n", encoding="utf-8")
    figure.savefig(out / "iterates.png", dpi=130, metadata={"Software": None, "Description": fingerprint(results)})
    part = out / "results.json.part"
    part.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, out / "results.json")
