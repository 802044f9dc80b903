"""Data-parallel training under ``torchrun``; without it every function here does nothing.

Each process draws the same batches and takes its share of each. The share's loss is divided by the size of the whole
batch, so the summed gradient is that of one process up to the order of additions.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def launched() -> bool:
    """Whether this process was started by ``torchrun``."""
    return dist.is_torchelastic_launched()


@contextmanager
def group(device: torch.device) -> Iterator[torch.device]:
    """Join the process group, NCCL on GPUs and gloo on CPUs, and leave it at the end; yields this process's device."""
    if not launched():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return not launched() or os.environ["RANK"] == "0"


def wait() -> None:
    """Wait for the others."""
    if dist.is_initialized():
        dist.barrier()


def share(rows: Tensor) -> Tensor:
    """Take this process's share of a batch, every size()-th row; it may be empty."""
    return rows[dist.get_rank() :: size()] if dist.is_initialized() else rows


def wrap(model: nn.Module) -> nn.Module:
    """Average gradients over the processes."""
    return DistributedDataParallel(model) if dist.is_initialized() else model
