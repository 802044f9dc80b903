"""The trainings of an experiment: protocol in, records out; it can be killed and resumed at any moment."""

import json
import platform
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import torch
from tqdm import tqdm

import imr
from imr.data import Dataset, Split
from imr.experiment import distributed
from imr.experiment.evaluation import evaluate, noisy
from imr.experiment.interface import Model
from imr.experiment.protocol import Protocol
from imr.experiment.records import WRITTEN, Case, cases, read_case, write_case
from imr.experiment.training import train
from imr.files import write_json


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
        ValueError: both were asked for; nothing is thrown away.
        OSError: the folder cannot be written.
    """
    if resume and overwrite:
        raise ValueError("resume goes on with a run and overwrite throws it away: say one of them")
    file, now = folder / "run.json", json.loads(json.dumps({"protocol": asdict(protocol), "environment": setting}))
    if overwrite:
        for pattern in WRITTEN:
            for old in folder.glob(pattern):
                old.unlink()
    if not resume and ((folder / "results.json").exists() or file.exists()):
        state = (
            "a finished run"
            if (folder / "results.json").exists()
            else "an unfinished run (resume goes on with it: --resume)"
        )
        raise RunError(f"{folder} holds {state} already: choose another folder (--out), or overwrite it (--overwrite)")
    if resume:
        if not file.exists():
            raise RunError(f"{folder} holds no run to resume (no run.json): leave resume (--resume) out to begin one")
        _require_same(json.loads(file.read_text(encoding="utf-8")), now, folder)
    (folder / "cases").mkdir(parents=True, exist_ok=True)
    write_json(file, now)


def train_left(
    protocol: Protocol, dataset: Dataset, device: torch.device, folder: Path, jobs: int = 1, progress: bool = True
) -> dict:
    """Train and evaluate what of a protocol is not done yet, in a folder that :func:`begin` has claimed.

    On a CPU each training runs on one thread, ``jobs`` of them side by side, so the numbers do not depend on ``jobs``.

    Returns:
        The content of ``results.json``, ``{"protocol", "environment", "records"}``, with one record for each model,
        training noise, test noise, iterate and seed.

    Raises:
        RunError: a process was killed; what was done is kept.
    """
    wanted = cases(protocol)
    left = [case for case in wanted if not case.file(folder, ".json").exists()]
    parts = [getattr(dataset, name) for name in protocol.trained_on.split("+")]
    training = Split(torch.cat([part.X for part in parts]), torch.cat([part.y for part in parts]))
    evaluation: Split = getattr(dataset, protocol.evaluated_on)
    setting = _Setting(protocol, training, evaluation, len(dataset.classes), device, folder, progress)
    label, done = f"experiment {protocol.preset}", len(wanted) - len(left)
    hidden = not (progress and distributed.is_first())
    with tqdm(None, label, len(wanted), initial=done, unit="model", disable=hidden) as bar:
        for _ in _side_by_side(left, setting, jobs) if jobs > 1 else (_one(case, setting, line=1) for case in left):
            bar.update()
    records = [record for case in wanted for record in read_case(case, folder)]
    return {**json.loads((folder / "run.json").read_text(encoding="utf-8")), "records": records}


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


@dataclass(frozen=True)
class _Setting:
    """What all cases of a run share; sent to each worker process once."""

    protocol: Protocol
    training: Split
    evaluation: Split
    classes: int
    device: torch.device
    folder: Path
    progress: bool


def _one(case: Case, setting: _Setting, line: int | None = None) -> None:
    """Train, evaluate, and leave weights and records."""
    threads = torch.get_num_threads()
    if setting.device.type == "cpu":
        torch.set_num_threads(1)
    state, images = case.file(setting.folder, ".state"), setting.training
    how = {"progress": setting.progress, "line": line}
    model, seconds = train(case, setting.protocol, images, setting.classes, setting.device, state, **how)
    if distributed.is_first():
        write_case(case, setting.folder, model, list(_records(case, setting, model, seconds)))
    distributed.wait()
    torch.set_num_threads(threads)


def _records(case: Case, setting: _Setting, model: Model, seconds: float) -> Iterator[dict]:
    split = setting.evaluation
    for sigma in setting.protocol.test_noise:
        test = Split(noisy(split.X, sigma, setting.protocol.noise_seed), split.y)
        for iterate, (accuracy, loss) in enumerate(evaluate(model, test, setting.device)):
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


def _side_by_side(left: list[Case], setting: _Setting, jobs: int) -> Iterator[None]:
    """Run cases in processes of their own, yielding as each is done."""
    context = torch.multiprocessing.get_context("spawn")
    tqdm.set_lock(context.RLock())  # the bars of all processes share the terminal
    shared = (setting, tqdm.get_lock(), context.Value("i", 0))
    try:
        with ProcessPoolExecutor(jobs, context, _become_worker, shared) as pool:
            for done in as_completed([pool.submit(_work, case) for case in left]):
                yield done.result()
    except BrokenProcessPool as error:
        raise RunError(
            "a training process was killed from outside, for want of memory perhaps; what was done is kept: "
            "go on with resume (--resume), and with fewer jobs (--jobs) if it was memory"
        ) from error


_worker: tuple[_Setting, int] | None = None  # in a worker process: what all cases share, and its line of the terminal


def _become_worker(setting: _Setting, lock: object, workers: Synchronized) -> None:
    """Keep what every case needs, and take a line of the terminal for this process's bar.

    The images are sent once to each process here, not with each case; a pool hands its initializer's arguments to
    nothing else, so they are kept in a global of the worker's own module.
    """
    global _worker
    tqdm.set_lock(lock)
    with workers.get_lock():
        workers.value += 1
        _worker = setting, workers.value


def _work(case: Case) -> None:
    setting, line = _worker
    _one(case, setting, line)


def _require_same(then: dict, now: dict, folder: Path) -> None:
    for what in ("protocol", "environment"):
        differing = [key for key in now[what] if now[what][key] != then[what].get(key)]
        if differing:
            changes = "; ".join(f"{key} was {then[what].get(key)!r}, now {now[what][key]!r}" for key in differing)
            raise RunError(
                f"{folder} holds a run of another {what}, and the two must not be mixed ({changes}): "
                "resume it as it was begun, or choose another folder (--out)"
            )


def _git_revision() -> str | None:
    """Return the revision of the source tree with '-dirty' where files differ from it; None outside a git checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
