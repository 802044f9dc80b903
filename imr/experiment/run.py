"""The experiment from beginning to end: protocol in, records out; it can be killed and resumed at any moment."""

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

import imr
from imr.data import Dataset, Split
from imr.experiment import distributed
from imr.experiment.evaluation import evaluate, noisy
from imr.experiment.models import Model, build
from imr.experiment.protocol import Protocol
from imr.experiment.training import Case, train

WRITTEN = (
    *("run.json", "results.json", "table.md", "checkpoint.safetensors", "cases/*"),
    *(f"{figure}*.png" for figure in ("accuracy", "iterates", "changes", "descent", "confusion")),
)
"""What a run leaves in its folder, :func:`imr.experiment.report.write` included; everything else there is the user's."""


class RunError(RuntimeError):
    """A folder holds another run, or an unfinished one; the message says which and what to do."""


def begin(protocol: Protocol, setting: dict, folder: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Claim a folder for a run: write what is run and where, or see that it is the run to resume.

    Args:
        protocol: what is run.
        setting: of :func:`environment`.
        folder: for the results; made if it is not there.
        resume: go on with the run that the folder holds.
        overwrite: throw away the run that the folder holds.

    Raises:
        RunError: there is a run and neither was asked for; or none to resume; or one of another protocol or environment.
        OSError: the folder cannot be written.
    """
    file, now = folder / "run.json", json.loads(json.dumps({"protocol": asdict(protocol), "environment": setting}))
    if overwrite:
        for pattern in WRITTEN:
            for old in folder.glob(pattern):
                old.unlink()
    if not resume and ((folder / "results.json").exists() or file.exists()):
        state = "a finished run" if (folder / "results.json").exists() else "an unfinished run (--resume goes on with it)"
        raise RunError(f"{folder} holds {state} already: choose another --out, or say --overwrite to throw it away")
    if resume:
        if not file.exists():
            raise RunError(f"{folder} holds no run to resume (no run.json): leave --resume out to begin one")
        _require_same(json.loads(file.read_text(encoding="utf-8")), now, folder)
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    write_json(file, now)


def run(protocol: Protocol, dataset: Dataset, device: torch.device, folder: Path, jobs: int = 1) -> dict:
    """Run what of a protocol is not done yet, in a folder that :func:`begin` has claimed.

    On a CPU each training runs on one thread, ``jobs`` of them side by side, so the numbers do not depend on ``jobs``.

    Returns:
        The content of ``results.json``, ``{"protocol", "environment", "records"}``, with one record for each model,
        training noise, test noise, iterate and seed.

    Raises:
        RunError: a process was killed; what was done is kept.
    """
    cases = [Case(m, t, s) for s in protocol.seeds for t in protocol.train_noise for m in protocol.budgets]
    left = [case for case in cases if not _file(folder, case, ".json").exists()]
    label, done = f"experiment {protocol.preset}", len(cases) - len(left)
    setting = (protocol, dataset, device, folder)
    with tqdm(None, label, len(cases), initial=done, unit="model", disable=not distributed.is_first()) as bar:
        for _ in _side_by_side(left, setting, jobs) if jobs > 1 else (_one(case, *setting, line=1) for case in left):
            bar.update()
    records = [record for case in cases for record in json.loads(_file(folder, case, ".json").read_text("utf-8"))]
    return {**json.loads((folder / "run.json").read_text("utf-8")), "records": records}


def trained(case: Case, protocol: Protocol, folder: Path, dataset: Dataset) -> Model:
    """Load a model that :func:`run` trained."""
    model = build(protocol.budgets[case.model].model or case.model, *dataset.train.X.shape[1:], len(dataset.classes))
    model.load_state_dict(load_file(_file(folder, case, ".safetensors")))
    return model.eval()


def environment(dataset: Dataset, device: torch.device) -> dict:
    """What the numbers depend on besides the protocol: versions, threads, device, data checksums, git revision."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "imr": imr.__version__,
        "torch": torch.__version__,  # which, unlike the metadata of its wheel, always tells the build: 2.13.0+cu130, say
        **{name: version(name) for name in ("torchvision", "vit-pytorch", "numpy")},
        "threads": 1 if device.type == "cpu" else torch.get_num_threads(),
        "processes": distributed.size(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "data_md5": dataset.md5,
        "git_revision": _git_revision(),
    }


def _one(
    case: Case, protocol: Protocol, dataset: Dataset, device: torch.device, folder: Path, line: int | None = None
) -> None:
    """Train, evaluate, and leave weights and records; the records come last and say that the case is done."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    parts = [getattr(dataset, name) for name in protocol.trained_on.split("+")]
    split = Split(torch.cat([part.X for part in parts]), torch.cat([part.y for part in parts]))
    state_file = _file(folder, case, ".state")
    model, seconds = train(case, protocol, split, len(dataset.classes), device, state_file, line=line)
    if distributed.is_first():
        weights = _file(folder, case, ".safetensors")
        save_file({name: p.detach().cpu() for name, p in model.state_dict().items()}, weights.with_suffix(".part"))
        os.replace(weights.with_suffix(".part"), weights)
        write_json(_file(folder, case, ".json"), list(_records(case, protocol, dataset, model, seconds, device)))
        state_file.unlink()
    distributed.wait()
    torch.set_num_threads(threads)


def _records(
    case: Case, protocol: Protocol, dataset: Dataset, model: Model, seconds: float, device: torch.device
) -> Iterator[dict]:
    split: Split = getattr(dataset, protocol.evaluated_on)
    for sigma in protocol.test_noise:
        test = Split(noisy(split.X, sigma, protocol.noise_seed), split.y)
        for iterate, (accuracy, loss) in enumerate(evaluate(model, test, device)):
            yield {
                "model": case.model,
                "train_noise": case.train_noise,
                "test_noise": sigma,
                "iterate": iterate,
                "seed": case.seed,
                "accuracy": accuracy,
                "loss": loss,
                "parameters": sum(p.numel() for p in model.parameters()),
                "seconds": round(seconds, 2),
            }


def _side_by_side(cases: list[Case], setting: tuple, jobs: int) -> Iterator[None]:
    """Run cases in processes of their own, yielding as each is done."""
    context = torch.multiprocessing.get_context("spawn")
    tqdm.set_lock(context.RLock())  # the bars of all processes share the terminal
    shared = (*setting, tqdm.get_lock(), context.Value("i", 0))
    try:
        with ProcessPoolExecutor(jobs, context, _become_worker, shared) as pool:
            for done in as_completed([pool.submit(_work, case) for case in cases]):
                yield done.result()
    except BrokenProcessPool as error:
        raise RunError(
            "a training process was killed from outside, for want of memory perhaps; what was done is kept: "
            "go on with --resume, and with fewer --jobs if it was memory"
        ) from error


_worker: tuple = ()  # what a worker process keeps between cases: the arguments of _one but the case


def _become_worker(
    protocol: Protocol, dataset: Dataset, device: torch.device, folder: Path, lock: object, workers: Synchronized
) -> None:
    """Keep what every case needs, and take a line of the terminal for this process's bar."""
    global _worker
    tqdm.set_lock(lock)
    with workers.get_lock():
        workers.value += 1
        _worker = (protocol, dataset, device, folder, workers.value)


def _work(case: Case) -> None:
    _one(case, *_worker)


def _file(folder: Path, case: Case, suffix: str) -> Path:
    return folder / "cases" / f"{slug(case.model)}_{case.train_noise:g}_{case.seed}{suffix}"


def slug(name: str) -> str:
    """A model's name as part of a file name."""
    return name.replace(",", "").replace(" ", "-")


def write_json(file: Path, content: object) -> None:
    """Write JSON in one move, so that a kill leaves the old file or the new one."""
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, file)


def _require_same(then: dict, now: dict, folder: Path) -> None:
    for what in ("protocol", "environment"):
        differing = [key for key in now[what] if now[what][key] != then[what].get(key)]
        if differing:
            changes = "; ".join(f"{key} was {then[what].get(key)!r}, now {now[what][key]!r}" for key in differing)
            raise RunError(
                f"{folder} holds a run of another {what}, and the two must not be mixed ({changes}): "
                "resume it as it was begun, or choose another --out"
            )


def _git_revision() -> str | None:
    """Return the revision of the source tree with '-dirty' where files differ from it; None outside a git checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
