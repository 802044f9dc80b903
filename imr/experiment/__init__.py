"""The study: does iterating the flow improve classification?

:func:`study` goes from images to records, table and figures in one call. Behind it ``protocol`` says what is run, ``run``
trains (``training``) and measures (``evaluation``) it, ``report`` draws it, and ``records`` knows the files.
"""

from pathlib import Path

import torch

from imr.data import Dataset
from imr.experiment import distributed, report, run
from imr.experiment.protocol import Protocol
from imr.experiment.records import read_kept


def study(
    protocol: Protocol,
    dataset: Dataset,
    folder: Path,
    device: torch.device | str = "cpu",
    jobs: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> dict:
    """Run a protocol, and write records, table, figures and a checkpoint.

    Under torchrun each training is shared by the processes, and the first one writes.

    Args:
        protocol: what is run.
        dataset: its images.
        folder: for the results; made if it is not there.
        device: where to compute.
        jobs: trainings side by side, each on one thread. The numbers do not depend on it.
        resume: go on with the run that the folder holds, to the same numbers.
        overwrite: throw away the run that the folder holds.
        progress: show progress bars.

    Returns:
        The content of ``results.json``, ``{"protocol", "environment", "records"}``, with one record for each model,
        training noise, test noise, iterate and seed.

    Raises:
        RunError: the folder holds another run, or one that was to be left alone; or a training process was killed.
        ValueError: the protocol is for another data set, ``jobs`` is less than one, or both resume and overwrite.
        OSError: the folder cannot be written.
    """
    if protocol.dataset != dataset.name:
        raise ValueError(f"the protocol is for {protocol.dataset}, and the data set is {dataset.name}: make them agree")
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, expected at least 1: how many trainings go on side by side")
    folder = Path(folder)
    with distributed.group(torch.device(device)) as device:
        if distributed.is_first():
            run.begin(protocol, run.environment(dataset, device), folder, resume, overwrite)
        distributed.wait()
        results = run.train_left(protocol, dataset, device, folder, jobs, progress)
        if distributed.is_first():
            report.write(results, read_kept(protocol, folder, dataset), dataset, folder)
    return results
