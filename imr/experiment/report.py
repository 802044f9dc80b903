"""Records to tables and figures, and everything that a finished run leaves."""

from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from imr import figures
from imr.data import Dataset, Split
from imr.experiment.evaluation import class_changes, confusion, descent, noisy
from imr.experiment.fixed import REGRESSION
from imr.experiment.models import IteratedBlock
from imr.experiment.records import Kept, fingerprint, slug, write_checkpoint
from imr.files import replacing, write_json, write_text


def table(results: dict) -> str:
    """Accuracy of the last iterate in percent as a Markdown table: a row for each model and regime, a column for each σ.

    Several seeds are shown as mean ± standard deviation. Beside it stand iterates, parameters, epochs and the mean CPU
    seconds of training, so that nobody compares models of different cost unawares.
    """
    last = _last(_frame(results))
    cells = _accuracies(last, ["trained on", "model"])
    rows = last.groupby(["trained on", "model"], sort=False)[["iterate", "parameters", "seconds"]].mean()
    cells["iterates"] = rows["iterate"].map("{:.0f}".format)
    cells["parameters"] = rows["parameters"].map("{:,.0f}".format)
    budgets = results["protocol"]["budgets"]
    cells["epochs"] = [str(budgets[model]["epochs"]) for _, model in cells.index]
    cells["CPU s"] = rows["seconds"].map("{:.0f}".format)
    return cells.reset_index().to_markdown(index=False, disable_numparse=True)


def iterates_table(results: dict) -> str:
    """Accuracy in percent of each iterate of the kept models, as a Markdown table."""
    records = _frame(results)
    kept = records[records["model"].isin(results["protocol"]["kept"])]
    cells = _accuracies(kept, ["trained on", "model", "iterate"])
    return cells.reset_index().to_markdown(index=False, disable_numparse=True)


def gains(results: dict, over: str = REGRESSION, iterate: int | None = None, level: float = 0.95) -> pd.DataFrame:
    """Points of accuracy that each model gains over another, paired: same regime, σ and seed.

    Args:
        results: of a run.
        over: the other model, of which the last iterate counts, on the seeds that both have.
        iterate: of each model; by default its last.
        level: confidence of the interval, that of Student's t for the mean of paired differences. It says what other seeds
            may do, with the same images, and for one comparison by itself.

    Returns:
        ``mean`` and ``std`` over the seeds, ``low`` and ``high`` of the interval, by model, training noise and test noise;
        all but the mean are NaN where there is one seed.
    """
    records, keys = _frame(results), ["train_noise", "test_noise", "seed"]
    last = _last(records)
    mine = last if iterate is None else records[records["iterate"] == iterate]
    base = last[last["model"] == over].set_index(keys)["accuracy"]
    paired = mine.join(base.rename("base"), on=keys).dropna(subset="base")
    points = 100 * (paired["accuracy"] - paired["base"])
    grouped = points.groupby([paired[key] for key in ("model", "train_noise", "test_noise")], sort=False)
    found, seeds = grouped.agg(["mean", "std"]), grouped.count()
    half = _half_width(found["std"], seeds, level)
    return found.assign(low=found["mean"] - half, high=found["mean"] + half)


def costs(results: dict, train_noise: float = 0.0, test_noise: float = 0.0, level: float = 0.95) -> pd.DataFrame:
    """What the last iterate of each model reaches, and what it costs.

    Args:
        results: of a run.
        train_noise, test_noise: the regime, and the σ of the test.
        level: confidence of the interval, Student's t for the mean over the seeds.

    Returns:
        ``mean``, ``low`` and ``high`` of the accuracy in percent, ``parameters`` and mean CPU ``seconds``, by model.
    """
    last = _last(_frame(results))
    last = last[(last["train_noise"] == train_noise) & (last["test_noise"] == test_noise)]
    grouped = last.groupby("model", sort=False)
    percent = (100 * last["accuracy"]).groupby(last["model"], sort=False)
    found = grouped[["parameters", "seconds"]].mean().assign(mean=percent.mean())
    half = _half_width(percent.std(), percent.count(), level)
    return found.assign(low=found["mean"] - half, high=found["mean"] + half)


def means(results: dict) -> pd.Series:
    """Mean accuracy of the last iterate in percent, by model, training noise and test noise."""
    last = _last(_frame(results))
    return 100 * last.groupby(["model", "train_noise", "test_noise"])["accuracy"].mean()


def pictures(results: dict, models: Kept, dataset: Dataset) -> dict[str, Figure]:
    """Draw a run, on images of the split that it was evaluated on.

    Args:
        results: of the run.
        models: the kept models, by name and training regime.
        dataset: its images.

    Returns:
        By file name: for each kept model accuracy against iterate and noise; and for each regime the confusion before and
        after, and where iterates are pictures those of a few images, what moves where in each class, and what each step
        does to its potential.
    """
    protocol, records = results["protocol"], pd.DataFrame(results["records"])
    split = getattr(dataset, protocol["evaluated_on"])
    sigma = max(s for s in protocol["test_noise"] if s <= 0.3)
    drawn: dict[str, Figure] = {}
    for name, regime, model in ((name, regime, model) for name, kept in models.items() for regime, model in kept.items()):
        mine = records[records["model"].isin([REGRESSION, name])]
        counts = confusion(model, split)
        matrices = {f"iterate {i}": counts[i] for i in (0, len(counts) - 1)}
        suffix = f"-{slug(name)}" if len(models) > 1 else ""
        drawn["accuracy" + suffix] = figures.accuracy(mine)
        suffix += f"-noise-{regime:g}" if regime else ""
        drawn["confusion" + suffix] = figures.confusion(matrices, dataset.classes)
        if not isinstance(model, IteratedBlock):
            continue
        Z, names = _examples(model, split, dataset.classes, sigma, protocol)
        drawn["iterates" + suffix] = figures.overview(Z, names, mine[mine["train_noise"] == regime])
        drawn["changes" + suffix] = figures.class_changes(class_changes(model, split), dataset.classes)
        drawn["descent" + suffix] = figures.descent(descent(model, split.X[:2_000]))
    return drawn


def _examples(
    model: IteratedBlock, split: Split, classes: tuple[str, ...], sigma: float, protocol: dict
) -> tuple[Tensor, list[str]]:
    """Iterates (images, L + 1, height, width) of the first images of two classes, and of one of them with noise."""
    first = [int((split.y == c).nonzero()[0, 0]) for c in (0, 2)]
    names = [classes[int(split.y[i])] for i in first]
    starts = torch.cat([split.X[first], noisy(split.X, sigma, protocol["noise_seed"])[first[:1]]])
    with torch.no_grad():
        return torch.stack(model.features(starts), dim=1), [*names, f"{names[0]}, σ = {sigma:g}"]


def write(results: dict, models: Kept, dataset: Dataset, folder: Path) -> None:
    """Write ``table.md``, the figures, ``checkpoint.safetensors`` and, last, ``results.json``, each in one move."""
    write_text(folder / "table.md", f"{table(results)}\n\n{iterates_table(results)}\n")
    about = {"Software": None, "Description": fingerprint(results)}
    for name, figure in pictures(results, models, dataset).items():
        with replacing(folder / f"{name}.png") as part:
            figure.savefig(part, format="png", dpi=130, metadata=about)
    write_checkpoint(models, results, folder)
    write_json(folder / "results.json", results)


def _frame(results: dict) -> pd.DataFrame:
    records = pd.DataFrame(results["records"])
    records["trained on"] = records["train_noise"].map(lambda s: f"noise, σ ≤ {s:g}" if s else "clean images")
    return records.sort_values("train_noise", kind="stable")


def _half_width(spread: pd.Series, seeds: pd.Series, level: float) -> pd.Series:
    """Half of Student's interval for a mean over seeds; NaN where there is one."""
    return stats.t.ppf((1 + level) / 2, seeds - 1) * spread / seeds**0.5


def _last(records: pd.DataFrame) -> pd.DataFrame:
    """The records of each model's last iterate."""
    return records[records["iterate"] == records.groupby("model")["iterate"].transform("max")]


def _accuracies(records: pd.DataFrame, rows: list[str]) -> pd.DataFrame:
    """Mean ± standard deviation in percent, a column for each test noise."""
    columns = [*rows, "test_noise"]
    grouped = (100 * records.set_index(columns)["accuracy"]).groupby(level=columns, sort=False)
    spread = grouped.std().map(lambda s: "" if pd.isna(s) else f" ± {s:.2f}")
    cells = (grouped.mean().map("{:.2f}".format) + spread).unstack("test_noise", sort=False)
    cells.columns = [f"σ = {sigma:g}" for sigma in cells.columns]
    return cells
