"""The kernel that a submission runs in: IPython's own, in a process with limits, that sends no output and can mark.

Covered, so that it costs its notebook a line in the table and harms no other:

- a loop without end, in Python, in C, or in a process that it has started;
- output, memory or files beyond the limits;
- the end of the process, in whatever way; a question to the keyboard;
- names that it takes, and ``sys.stdout`` closed or replaced: the tests are read before it runs, and run apart from it;
- the environment of whoever grades, which it does not see; files in its folder and processes in the background, which go.

Not covered, since this guards against accidents and not against malice: a notebook may read and write what the user who
grades may, reach the network, start many processes, and change modules so that the tests are content. Memory is limited
on Linux only; Windows has none of this. The instructor's guide says what to do about that.
"""

import asyncio
import ctypes
import gc
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import TextIOBase
from typing import Any

import psutil
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from otter.test_files import ExceptionTestFile
from traitlets import Type
from traitlets.config import Config

from _tools import marks
from _tools.reports import short

PR_SET_CHILD_SUBREAPER = 36  # of Linux's prctl
CONFIG = Config(
    HistoryManager={"enabled": False},
    InteractiveShell={"cache_size": 0},  # values shown are not kept in Out
    IPKernelApp={"capture_fd_output": False},
)


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Args:
        seconds: wall-clock time for the whole notebook and its tests; then it is killed.
        cell_seconds: for one cell, or the tests of one question; then that is interrupted and the rest goes on.
        memory: bytes beyond what the empty kernel has.
        printed: characters for one cell; then it is interrupted.
        file: bytes of a submission, and of a file that it writes.
    """

    seconds: float = 120
    cell_seconds: float = 30
    memory: int = 4 * 2**30
    printed: int = 1_000_000
    file: int = 50 * 2**20


@dataclass(frozen=True)
class Job:
    """What a kernel is told before it runs anything.

    Args:
        home: an empty folder, where it works.
        images: the folder of Fashion-MNIST, or nothing.
        tests: the source of the tests of each question.
        password: a cell that is this word and the name of a question asks for the marks of that question.
        limits: that it sets itself.
    """

    home: str
    images: str
    tests: dict[str, str]
    password: str
    limits: Limits


class Interrupted(BaseException):
    """A cell printed too much. Not an ``Exception``, so that few notebooks catch it."""


class Paper(TextIOBase):
    """Where a cell prints: all is thrown away, and the cell is interrupted when it is too much."""

    encoding, errors = "utf-8", "strict"

    def __init__(self, length: int) -> None:
        """Have room for so many characters."""
        self.length = self.left = length

    def write(self, text: str) -> int:
        """Count the characters; Interrupted if there is no room for them."""
        self.left -= len(text)
        if self.left < 0:
            raise Interrupted(f"printed more than {self.length:,} characters")
        return len(text)


class Shell(ZMQInteractiveShell):
    """IPython's shell for a notebook at which nobody looks."""

    def init_display_pub(self) -> None:
        """Print what is displayed, where it is counted, and send nothing."""
        super().init_display_pub()
        self.display_pub.register_hook(_print)

    def init_displayhook(self) -> None:
        """Print the value of a cell, where it is counted, and send nothing."""
        super().init_displayhook()
        self.displayhook.register_hook(_print)

    def showtraceback(self, *_: object, **__: object) -> None:
        """Show nothing: the kernel's reply names the error."""

    showsyntaxerror = showtraceback

    def ask_exit(self) -> None:
        """Go on with the next cell where a notebook says ``exit()``."""


def _print(message: dict) -> None:
    """A hook of IPython's kernel: what it returns is sent."""
    sys.stdout.write(message["content"]["data"].get("text/plain", ""))


class Kernel(IPythonKernel):
    """IPython's kernel with limits for a cell, that also marks: ``job`` and ``suite`` are set before it starts."""

    shell_class = Type(Shell)
    job: Job
    suite: dict[str, ExceptionTestFile]

    async def do_execute(self, code: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Run a cell, or the tests of a question, and reply; of an error only its name and a short text."""
        begin = time.monotonic()
        paper = Paper(self.job.limits.printed)
        password, _, question = code.partition(" ")
        try:
            with redirect_stdout(paper), redirect_stderr(paper):
                marking = password == self.job.password
                reply = self._mark(question) if marking else await super().do_execute(code, *args, **kwargs)
        except BaseException as error:  # IPython's kernel would send no reply, and who waits for it would go on waiting
            reply = {"status": "error", "ename": type(error).__name__, "evalue": error}
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
        if reply["status"] == "error":
            reply |= {"traceback": [], "evalue": short(reply["evalue"])}
            seconds = self.job.limits.cell_seconds
            if reply["ename"] in ("KeyboardInterrupt", "CancelledError") and time.monotonic() - begin >= seconds:
                reply |= {"ename": "Interrupted", "evalue": f"interrupted after {seconds:g} s"}
        return reply

    @contextmanager
    def _cancel_on_sigint(self, future: asyncio.Task) -> Iterator[None]:
        """Interrupt a cell that awaits something; IPython's kernel does it only when something else wakes its loop."""

        def interrupt(*_: object) -> None:
            if asyncio.current_task() is future:
                raise KeyboardInterrupt
            future.get_loop().call_soon_threadsafe(future.cancel)

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _mark(self, question: str) -> dict[str, Any]:
        points, failed = marks.mark(self.suite[question], self.shell.user_ns)
        return {"status": "ok", "user_expressions": {}, "points": points, "failed": failed}


def main(connection_file: str, job: Job) -> None:
    """Become the kernel that a connection file describes: for a process just forked from one that has imported much."""
    os.setsid()
    gc.freeze()  # what was imported before is no garbage, and to look through it takes half a second
    sys.modules["debugpy"] = None  # to import the debugger takes a tenth of a second
    _enter(job)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    app = IPKernelApp.instance(connection_file=connection_file, kernel_class=Kernel, config=CONFIG)
    app.initialize([])
    app.kernel.job, app.kernel.suite = job, marks.read(job.tests)
    _limit(job.limits)
    app.start()


def _end_with_supervisor() -> None:
    """End the kernel and what it has started when nobody is left who would."""
    multiprocessing.parent_process().join()
    os.killpg(0, signal.SIGKILL)


def _enter(job: Job) -> None:
    """Go to a folder of its own, with an environment of its own and no terminal."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=job.home, TMPDIR=job.home, IMR_DATA=job.images, MPLBACKEND="agg", OMP_NUM_THREADS="1")
    os.environ.update(PIP_NO_INDEX="1", PIP_TARGET=job.home)  # %pip install in a notebook changes nothing for others
    tempfile.tempdir = job.home  # TMPDIR was read before
    os.chdir(job.home)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)


def _limit(limits: Limits) -> None:
    """Set what the system enforces; the supervisor minds the clock, and :class:`Paper` the output."""
    cpu = int(limits.seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file, limits.file))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        memory = psutil.Process().memory_info().vms + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # grandchildren that lose their parent remain its own
