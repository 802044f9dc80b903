"""Runs a notebook and its tests with nbclient, on a kernel that is forked and not started anew.

A fresh kernel spends most of its time on importing torch. So one process, multiprocessing's fork server, imports what the
notebooks import and runs nothing; each kernel is a fork of it. jupyter_client's place for such a thing is a provisioner.
Tried with a fresh kernel for each notebook, grading took about three times the CPU time, most of it for imports.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode, v4
from traitlets import Instance

from _tools import marks, sandbox
from _tools.assign import IGNORED
from _tools.reports import GradeError
from _tools.sandbox import Job, Limits

FORKS = multiprocessing.get_context("forkserver")
LATE = {"torch._dynamo"}  # torch imports it itself when it is first needed, and that takes a second
QUIET = logging.Logger("kernels", logging.CRITICAL)


@dataclass
class Found:
    """What a notebook and its tests have shown.

    Args:
        points: of each question.
        failed: for each question what failed, if anything.
        trouble: for each cell that raised, what.
    """

    points: dict[str, float] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


def preload(modules: Iterable[str]) -> None:
    """Name the modules that notebooks import, before the first is run; names that are no modules do no harm."""
    own = marks.imports([Path(sandbox.__file__).read_text(encoding="utf-8")])
    FORKS.set_forkserver_preload(sorted({*modules, *own, *LATE}))


def run(cells: list[dict], tests: dict[str, str], images: str, limits: Limits) -> Found:
    """Run the code cells of a notebook in a kernel of their own, and then the tests.

    Args:
        cells: as they are in the file; those that Otter ignores are left out.
        tests: the source of the tests of each question.
        images: the folder of Fashion-MNIST, or nothing.
        limits: for the whole.

    Raises:
        GradeError: the kernel ended before the tests did, or went on too long.
    """
    with tempfile.TemporaryDirectory(prefix="imr-grade-", ignore_cleanup_errors=True) as folder:
        home = Path(folder, "home")
        home.mkdir()
        job = Job(str(home), images, tests, uuid.uuid4().hex, limits)
        return asyncio.run(_run([*map(_cell, cells), *_questions(job)], job, Path(folder, "kernel.json")))


def _cell(cell: dict) -> NotebookNode:
    tags = (cell.get("metadata") or {}).get("tags") or []
    return v4.new_code_cell(marks.source(cell), metadata={"tags": [IGNORED] if IGNORED in tags else []})


def _questions(job: Job) -> list[NotebookNode]:
    """The cells that ask the kernel for marks."""
    return [v4.new_code_cell(f"{job.password} {name}", metadata={"question": name}) for name in job.tests]


async def _run(cells: list[NotebookNode], job: Job, connection_file: Path) -> Found:
    found, seconds = Found(), job.limits.seconds
    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=str(connection_file), log=QUIET)
    manager.provisioner = Provisioner(kernel_id="", kernel_spec=manager.kernel_spec, parent=manager, job=job)
    client = NotebookClient(
        v4.new_notebook(cells=cells),
        km=manager,
        timeout_func=lambda cell: job.limits.cell_seconds,
        interrupt_on_timeout=True,
        allow_errors=True,
        skip_cells_with_tag=IGNORED,
        record_timing=False,
        shutdown_kernel="immediate",
        on_cell_executed=lambda **what: _note(found, **what),
        log=QUIET,
    )
    try:
        async with asyncio.timeout(None) as deadline:
            now = asyncio.get_running_loop().time
            client.on_notebook_start = lambda **_: deadline.reschedule(now() + seconds)  # when its kernel is ready
            await client.async_execute(cleanup_kc=True)
    except (TimeoutError, DeadKernelError):
        why = f"the notebook ended its process ({manager.provisioner.ending()}); nothing was graded"
        if deadline.expired():  # nbclient takes its own cancellation for a kernel that has died
            why = f"stopped after {seconds:g} s: a loop that does not end? Nothing was graded"
        raise GradeError(why) from None
    return found


def _note(found: Found, cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
    """Write down what the kernel replied to a cell."""
    reply, question = execute_reply["content"], cell.metadata.get("question")
    error = f"{reply['ename']}: {reply['evalue']}" if reply["status"] == "error" else ""
    if question:
        found.points[question] = reply.get("points", 0.0)
        if failed := [f"the tests were stopped: {error}"] if error else reply["failed"]:
            found.failed[question] = failed
    elif error and reply["ename"] != "NotImplementedError":  # a blank
        found.trouble.append(f"code cell {cell_index + 1}: {error}")


class Fork:
    """A forked process with the methods of subprocess.Popen that jupyter_client calls."""

    stdin = stdout = stderr = None
    lock = threading.Lock()  # start() looks after all processes, and an exit code can be read only once

    def __init__(self, target: Any, *args: object) -> None:
        """Start it."""
        self.process = FORKS.Process(target=target, args=args)
        with self.lock:
            self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        with self.lock:
            return self.process.exitcode

    wait = poll  # only called after the end

    def send_signal(self, number: int) -> None:
        """Send a signal; a ProcessLookupError says that it has ended."""
        os.kill(self.pid, number)


class Provisioner(LocalProvisioner):
    """Forks the kernel, and ends it with all that it has started."""

    job = Instance(Job)

    async def launch_kernel(self, cmd: list[str], **_: Any) -> KernelConnectionInfo:
        """Fork."""
        self.process = Fork(sandbox.main, self.parent.connection_file, self.job)
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def kill(self, restart: bool = False) -> None:
        """End the family while its head lives and knows its members."""
        _end_family(self.pid)

    async def cleanup(self, restart: bool = False) -> None:
        """End what a kernel has left that has ended by itself."""
        _end_family(self.pid)

    def ending(self) -> str:
        """Say how the kernel ended."""
        code = self.process.poll() if self.process else None
        return f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"it ended itself, code {code}"


def _end_family(pid: int) -> None:
    try:
        family = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    for member in [pid, *(child.pid for child in family)]:
        for kill in (os.killpg, os.kill):
            try:
                kill(member, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
