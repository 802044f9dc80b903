"""The command line: ``python -m imr --help``."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import torch
import typer

from imr import data as datasets
from imr import figures, interactive
from imr.experiment import distributed, records, report, study
from imr.experiment.evaluation import noisy
from imr.experiment.models import IteratedBlock
from imr.experiment.protocol import PRESETS, Protocol
from imr.experiment.run import RunError
from imr.files import replacing, write_text

app = typer.Typer(
    help="Attention is a gradient step of multinomial regression on the features.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Root = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder of Fashion-MNIST; read only. Default: $IMR_DATA, then a per-user cache.", metavar="DIR"
    ),
]


Preset = Annotated[
    Literal[*PRESETS], typer.Option(help="How much to run. On two cores quick takes a minute or two, full about two hours.")
]
Images = Annotated[Literal[*datasets.LOADERS], typer.Option(help="Which images.")]
Results = Annotated[
    Path | None, typer.Option(help="Folder for the results. Default: runs/PRESET-DATASET-seedN.", metavar="DIR")
]
Seed = Annotated[
    int, typer.Option(help="The first seed; fixes initial weights, order of the batches, noise.", min=0, max=2**31)
]
Seeds = Annotated[int | None, typer.Option(help="How many seeds. Default: the preset's.", min=1)]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute. auto: cuda where there is one.")]
Evaluated = Annotated[
    Literal["test", "validation"] | None,
    typer.Option(help="Evaluate on which images. To choose anything: validation. Default: the preset's."),
]
Jobs = Annotated[
    int | None, typer.Option(help="Trainings side by side, each on one thread. Default: all cores; 1 on a GPU.", min=1)
]
Precision = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(help="Of products of matrices in training. Default: the preset's, slow where a CPU has no bfloat16."),
]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Train through torch.compile. Measure first: it may be slower on a CPU.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in the folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away the run that is in the folder.")]


@app.command()
def experiment(
    preset: Preset = "quick",
    dataset: Images = "fashion-mnist",
    root: Root = None,
    out: Results = None,
    seed: Seed = 0,
    seeds: Seeds = None,
    device: Device = "auto",
    split: Evaluated = None,
    jobs: Jobs = None,
    precision: Precision = None,
    compiled: Compiled = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train, evaluate on clean and noisy test images, and write records, tables, figures and a checkpoint.

    Under torchrun every training is shared by the processes.
    """
    if dataset == "digits" and root:
        _refuse("--data is for fashion-mnist: the digits are embedded in scikit-learn")
    if resume and overwrite:
        _refuse("--resume goes on with a run and --overwrite throws it away: say one of them")
    protocol = replace(_protocol(preset, dataset, seed, seeds, split, precision), compiled=compiled)
    folder, where = out or Path("runs", f"{preset}-{dataset}-seed{seed}"), _device(device)
    images = _load(dataset, root)
    try:
        results = study(protocol, images, folder, where, _jobs(jobs, where), resume, overwrite)
    except RunError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"--out {folder} cannot be written ({error.strerror}): name another folder")
    if distributed.is_first():
        print(f"{report.table(results)}\n\nwritten to {folder}")


def _protocol(preset: str, dataset: str, seed: int, seeds: int | None, split: str | None, precision: str | None) -> Protocol:
    """The preset, with what was asked for in the place of its own."""
    protocol = PRESETS[preset](dataset, seed)
    if seeds:
        protocol = replace(protocol, seeds=tuple(range(seed, seed + seeds)))
    if split:
        protocol = replace(protocol, evaluated_on=split)
    if precision:
        budgets = {name: replace(budget, precision=precision) for name, budget in protocol.budgets.items()}
        protocol = replace(protocol, budgets=budgets)
    return replace(protocol, trained_on="train") if split == "validation" else protocol


Run = Annotated[Path, typer.Argument(help="Folder of a finished run, with its checkpoint.", metavar="RUN")]
Numbers = Annotated[list[int] | None, typer.Option(help="Number of a test image; may be repeated.", min=0)]
Classes = Annotated[
    list[str] | None, typer.Option("--class", help="Name of a class, for its first test image; may be repeated.")
]
Noise = Annotated[float, typer.Option(help="σ of Gaussian noise on the images.", min=0)]
Name = Annotated[str | None, typer.Option(help="Which of the run's kept models. Default: the last.")]
TrainNoise = Annotated[float | None, typer.Option(help="Its training noise. Default: the first of the run.")]
Drawing = Annotated[Path, typer.Option(help="A .png, or an .html with a slider over the iterates.")]


@app.command()
def picture(
    run: Run,
    image: Numbers = None,
    kind: Classes = None,
    noise: Noise = 0.0,
    model: Name = None,
    train_noise: TrainNoise = None,
    root: Root = None,
    out: Drawing = Path("iterates.png"),
) -> None:
    """Draw the iterates of any test images under a trained model, and what each iterate changes."""
    if out.suffix not in (".png", ".html"):
        _refuse(f"--out {out}: expected a name that ends in .png or .html")
    if not (run / "results.json").exists():
        _refuse(f"{run} holds no finished run (no results.json): name the --out of a finished 'python -m imr experiment'")
    loaded = _load(records.read(run)["protocol"]["dataset"], root)
    results, kept = records.read_checkpoint(run, loaded)
    chosen = _images(loaded, image or [], kind or [])
    X = noisy(loaded.test.X, noise, results["protocol"]["noise_seed"])[chosen]
    with torch.no_grad():
        Z = torch.stack(_choose(kept, model, train_noise).features(X), dim=1)
    names = [f"{loaded.classes[int(loaded.test.y[i])]}, test image {i}" for i in chosen]
    if out.suffix == ".html":
        write_text(out, interactive.page(interactive.iterates(Z[None], names), "Iterates"))
    else:
        with replacing(out) as part:
            figures.iterates(Z, names).savefig(part, format="png", dpi=130)
    print(f"written: {out}")


def _images(dataset: datasets.Dataset, numbers: list[int], classes: list[str]) -> list[int]:
    """The numbers of the test images that were asked for; without any, the first of each class."""
    chosen = [*numbers, *(_first_of(name, dataset) for name in classes)] or [_first_of(c, dataset) for c in dataset.classes]
    if max(chosen) >= len(dataset.test):
        _refuse(f"--image {max(chosen)}: the test split has images 0 to {len(dataset.test) - 1}")
    return chosen


def _choose(kept: records.Kept, model: str | None, train_noise: float | None) -> IteratedBlock:
    """The model that was asked for; the last that the run keeps, and its first training noise, if none was."""
    if not kept or (model or next(iter(kept))) not in kept:
        _refuse(f"--model {model or ''}: the run keeps {', '.join(map(repr, kept)) or 'no model'}")
    models = kept[model or next(reversed(kept))]
    regime = next(iter(models)) if train_noise is None else train_noise
    if regime not in models:
        _refuse(f"--train-noise {regime:g}: the run has models for {', '.join(f'{t:g}' for t in models)}")
    if not isinstance(models[regime], IteratedBlock):
        _refuse(f"--model {model}: its iterates are channels and no pictures; name another of those that the run keeps")
    return models[regime]


def _first_of(name: str, dataset: datasets.Dataset) -> int:
    """The number of the first test image of a class."""
    if name not in dataset.classes:
        _refuse(f"--class {name!r}: expected one of {', '.join(dataset.classes)}")
    return int((dataset.test.y == dataset.classes.index(name)).nonzero()[0, 0])


@app.command()
def data(
    root: Root = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch Fashion-MNIST (30 MB) into the per-user cache.")
    ] = False,
) -> None:
    """Say which data sets are there, and verify them by their checksums."""
    try:
        where = datasets.download() if download else datasets.folder(root)
        sums = datasets.verify(where)
    except datasets.DataError as error:
        print("digits         embedded in scikit-learn, nothing to fetch")
        _refuse(str(error))
    print("digits         embedded in scikit-learn, nothing to fetch")
    print(f"fashion-mnist  {where}")
    for name, md5 in sums.items():
        print(f"  {md5}  {name}  verified")


def _load(dataset: str, root: Path | None) -> datasets.Dataset:
    try:
        return datasets.load(dataset, root)
    except datasets.DataError as error:
        _refuse(str(error))


def _device(name: str) -> torch.device:
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        _refuse("--device cuda: torch finds no CUDA device here; use --device cpu, or auto")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def _jobs(asked: int | None, device: torch.device) -> int:
    """What was asked for, or as many trainings side by side as there are cores; one on a GPU and under torchrun."""
    if distributed.launched() and asked not in (None, 1):
        _refuse("--jobs is for trainings side by side; under torchrun all processes share one training at a time")
    return asked or (1 if device.type == "cuda" or distributed.launched() else os.cpu_count() or 1)


def _refuse(message: str) -> NoReturn:
    typer.echo(f"imr: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app(prog_name="python -m imr")
