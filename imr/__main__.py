"""The command line: ``python -m imr --help``."""

import json
import os
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from tqdm import tqdm

from imr import bench as benchmarks
from imr import data as images
from imr import figures, flow, interactive
from imr.experiment import distributed, report
from imr.experiment.evaluation import noisy
from imr.experiment.protocol import PRESETS, Protocol
from imr.experiment.run import RunError, begin, environment, run, trained
from imr.experiment.training import Case

app = typer.Typer(
    help="Attention is a gradient step of multinomial regression on the features.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DatasetName = StrEnum("DatasetName", {name: name for name in images.LOADERS})
Preset = StrEnum("Preset", {name: name for name in PRESETS})
Split = StrEnum("Split", {name: name for name in ("test", "validation")})
Device = StrEnum("Device", {name: name for name in ("auto", "cpu", "cuda")})
Precision = StrEnum("Precision", {name: name for name in ("float32", "bfloat16")})
Root = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Folder of Fashion-MNIST; read only. Default: $IMR_DATA, then a per-user cache.", metavar="DIR"
    ),
]


@app.command()
def experiment(
    preset: Annotated[
        Preset, typer.Option(help="How much to run. On two cores quick takes a minute or two, full about two hours.")
    ] = Preset.quick,
    dataset: Annotated[DatasetName, typer.Option(help="Which images.")] = DatasetName["fashion-mnist"],
    root: Root = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: runs/PRESET-DATASET-seedN.", metavar="DIR")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="The first seed; fixes initial weights, order of the batches, noise.", min=0, max=2**31)
    ] = 0,
    seeds: Annotated[int | None, typer.Option(help="How many seeds. Default: the preset's.", min=1)] = None,
    device: Annotated[Device, typer.Option(help="Where to compute. auto: cuda where there is one.")] = Device.auto,
    split: Annotated[
        Split | None, typer.Option(help="Evaluate on which images. To choose anything: validation. Default: the preset's.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Trainings side by side, each on one thread. Default: all cores; 1 on a GPU.", min=1)
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Of matrix products in training.")] = Precision.float32,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Train through torch.compile. Measure first: it may be slower on a CPU.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in the folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away the run that is in the folder.")] = False,
) -> None:
    """Train, evaluate on clean and noisy test images, and write records, tables, figures and a checkpoint.

    Under torchrun every training is shared by the processes.
    """
    if dataset.value == "digits" and root:
        _refuse("--data is for fashion-mnist: the digits are embedded in scikit-learn")
    if resume and overwrite:
        _refuse("--resume goes on with a run and --overwrite throws it away: say one of them")
    if distributed.launched() and jobs not in (None, 1):
        _refuse("--jobs is for trainings side by side; under torchrun all processes share one training at a time")
    folder = out or Path("runs", f"{preset}-{dataset}-seed{seed}")
    chosen = _device(device)
    protocol = replace(PRESETS[preset](dataset.value, seed), precision=precision.value, compiled=compiled)
    if seeds:
        protocol = replace(protocol, seeds=tuple(range(seed, seed + seeds)))
    if split:
        protocol = replace(protocol, evaluated_on=split.value)
    if split is Split.validation:
        protocol = replace(protocol, trained_on="train")
    _run(protocol, dataset, root, chosen, folder, jobs or _jobs(chosen), resume, overwrite)


def _run(
    protocol: Protocol,
    dataset: DatasetName,
    root: Path | None,
    device: torch.device,
    folder: Path,
    jobs: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Run a protocol, in all processes of torchrun or in this one, and report it."""
    with distributed.group(device) as device:
        loaded = _load(dataset, root)
        try:
            if distributed.is_first():
                begin(protocol, environment(loaded, device), folder, resume, overwrite)
            distributed.wait()
            results = run(protocol, loaded, device, folder, jobs)
        except RunError as error:
            _refuse(str(error))
        except OSError as error:
            _refuse(f"--out {folder} cannot be written ({error.strerror}): name another folder")
        if distributed.is_first():
            cases = {m: {t: Case(m, t, protocol.seeds[0]) for t in protocol.train_noise} for m in protocol.kept}
            kept = {m: {t: trained(c, protocol, folder, loaded) for t, c in own.items()} for m, own in cases.items()}
            files = report.write(results, kept, loaded, folder)
            print(report.table(results))
            print(f"\nwritten to {folder}: {', '.join(file.name for file in files)}")


@app.command()
def picture(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run, with its checkpoint.", metavar="RUN")],
    image: Annotated[list[int] | None, typer.Option(help="Number of a test image; may be repeated.", min=0)] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--class", help="Name of a class, for its first test image; may be repeated.")
    ] = None,
    noise: Annotated[float, typer.Option(help="σ of Gaussian noise on the images.", min=0)] = 0.0,
    model: Annotated[str | None, typer.Option(help="Which of the run's kept models. Default: the last.")] = None,
    train_noise: Annotated[float | None, typer.Option(help="Its training noise. Default: the first of the run.")] = None,
    root: Root = None,
    out: Annotated[Path, typer.Option(help="A .png, or an .html with a slider over the iterates.")] = Path("iterates.png"),
) -> None:
    """Draw the iterates of any test images under a trained model, and what each iterate changes."""
    if out.suffix not in (".png", ".html"):
        _refuse(f"--out {out}: expected a name that ends in .png or .html")
    if not (run / "results.json").exists():
        _refuse(f"{run} holds no finished run (no results.json): name the --out of a finished 'python -m imr experiment'")
    loaded = _load(DatasetName[report.read(run)["protocol"]["dataset"]], root)
    results, kept = report.load_checkpoint(run, loaded)
    if not kept or (model or next(iter(kept))) not in kept:
        _refuse(f"--model {model or ''}: the run keeps {', '.join(map(repr, kept)) or 'no model'}")
    models = kept[model or next(reversed(kept))]
    regime = next(iter(models)) if train_noise is None else train_noise
    if regime not in models:
        _refuse(f"--train-noise {regime:g}: the run has models for {', '.join(f'{t:g}' for t in models)}")
    chosen = [*(image or []), *(_first_of(name, loaded) for name in kind or [])] or [
        _first_of(c, loaded) for c in loaded.classes
    ]
    if max(chosen) >= len(loaded.test):
        _refuse(f"--image {max(chosen)}: the test split has images 0 to {len(loaded.test) - 1}")
    X = noisy(loaded.test.X, noise, results["protocol"]["noise_seed"])[chosen]
    with torch.no_grad():
        Z = torch.stack(models[regime].features(X), dim=1)
    names = [f"{loaded.classes[int(loaded.test.y[i])]}, test image {i}" for i in chosen]
    if out.suffix == ".html":
        out.write_text(interactive.page(interactive.iterates(Z[None], names), "Iterates"), encoding="utf-8")
    else:
        figures.iterates(Z, names).savefig(out, dpi=130)
    print(f"written: {out}")


def _first_of(name: str, dataset: images.Dataset) -> int:
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
        where = images.download() if download else images.folder(root)
        sums = images.verify(where)
    except images.DataError as error:
        print("digits         embedded in scikit-learn, nothing to fetch")
        _refuse(str(error))
    print("digits         embedded in scikit-learn, nothing to fetch")
    print(f"fashion-mnist  {where}")
    for name, md5 in sums.items():
        print(f"  {md5}  {name}  verified")


@app.command()
def bench(
    device: Annotated[Device, typer.Option(help="Where to compute. auto: cuda where there is one.")] = Device.auto,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file too.", metavar="FILE")] = None,
    training: Annotated[
        bool, typer.Option("--training", help="Instead: does torch.compile, bfloat16, or several seeds at once pay here?")
    ] = False,
) -> None:
    """Time the closed forms against automatic differentiation, side by side, and measure peak memory."""
    chosen = _device(device)
    settings = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": str(chosen)}
    if training:
        rows = benchmarks.training(device=chosen.type)
        print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=("", ".1f", ".2f")))
        _keep(out, {"environment": settings, "training": rows})
        return
    rows = [benchmarks.compare(case) for case in tqdm(benchmarks.cases(device=chosen.type), unit="case")]
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=("", ".1f", ".1f", ".2f", ".0e")))
    n, d = 16_384, 64
    Z, form = torch.randn(n, d, device=chosen), torch.randn(d, d, device=chosen) / d
    peak = benchmarks.peak_memory(flow.quadratic_field(form, torch.arange(n, device=chosen)), Z)
    resident = benchmarks.resident_growth(partial(benchmarks.quadratic_flow, n, d))
    print(f"\nquadratic flow, n={n} d={d}, float32; one n×n matrix has {4 * n * n >> 20} MiB")
    print(f"  allocated at most {peak >> 20} MiB; resident memory of a CPU process grew by {resident >> 20} MiB")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {chosen}")
    _keep(out, {"environment": settings, "cases": rows, "peak_bytes": peak, "resident_bytes": resident})


def _keep(out: Path | None, content: dict) -> None:
    if out:
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _load(dataset: DatasetName, root: Path | None) -> images.Dataset:
    try:
        return images.load(dataset.value, root)
    except images.DataError as error:
        _refuse(str(error))


def _device(name: Device) -> torch.device:
    if name is Device.cuda and not torch.cuda.is_available():
        _refuse("--device cuda: torch finds no CUDA device here; use --device cpu, or auto")
    return torch.device("cuda" if name is Device.auto and torch.cuda.is_available() else name.value.replace("auto", "cpu"))


def _jobs(device: torch.device) -> int:
    """As many trainings side by side as there are cores to this process; one on a GPU and under torchrun."""
    return 1 if device.type == "cuda" or distributed.launched() else os.cpu_count() or 1


def _refuse(message: str) -> None:
    typer.echo(f"imr: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app(prog_name="python -m imr")
