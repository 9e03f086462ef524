"""One function over many items in processes of this machine.

Each worker has its own pipe, so that the item of a worker that dies (a crash in a library, out of memory) is known and
only that item is run again, in a new process. A worker that exceeds the time limit is killed. Workers end with their
parent. Libraries that were tried instead: docs/decisions/0041-processes-and-queues.md.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TypeVar

from sdl.parallel import children

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

GRACE = 10.0
"""Seconds in which a worker must end after SIGTERM; a campaign in it makes its instrument safe."""
SHORT_GRACE = 1.0  # with a time limit: items may be killed at any time
PRELOAD = "sdl.runner.preload"
"""The module that the process from which workers are copied loads; it is not imported here."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Environment of the workers: one thread each, since more would compete for the same cores."""


class Crashed(RuntimeError):
    """A process died at every attempt at the same item.

    Attributes:
        index: number of the item.
        code: the exit code of the last process; a negative one is the signal that ended it.
    """

    def __init__(self, index: int, how: str, code: int | None = None) -> None:
        self.index, self.code = index, code
        super().__init__(f"item {index}: {how}")


class TooLong(Crashed):
    """An item exceeded the time limit, and its process was killed."""


def cores() -> int:
    """Number of processor cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(
    function: Callable[[T], R],
    items: Iterable[T],
    jobs: int = 1,
    *,
    ordered: bool = True,
    again: int = 2,
    crashed: Callable[[Crashed], R] | None = None,
    limit: float | None = None,
    preload: str = PRELOAD,
) -> Generator[tuple[int, R], None, None]:
    """Run a function on every item, in worker processes.

    Workers are started once, with one thread for linear algebra, and do not receive Ctrl-C from the terminal. When the
    iterator is closed or raises, they get SIGTERM and `GRACE` seconds. Use it in `contextlib.closing`.

    Args:
        function: function of one item, defined at the top level of a module.
        items: consumed lazily.
        jobs: number of processes; 1 without a limit runs everything in this process.
        ordered: yield results in the order of the items instead of the order of completion.
        again: number of retries of an item whose process died.
        crashed: returns the result of an item that failed every time or took too long; without it, the error is raised.
        limit: seconds after which the process of an item is killed; such an item is not retried.
        preload: module loaded in the process from which workers are copied; only the first call in a process decides.

    Yields:
        (index of the item, result).

    Raises:
        Crashed, TooLong: without `crashed`. Exception: raised by the function, with the worker's traceback as a note.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, not {jobs}")
    if jobs == 1 and limit is None:
        for index, item in enumerate(items):
            yield index, function(item)
        return
    with contextlib.closing(
        _run(function, iter(enumerate(items)), jobs, again, crashed, limit or math.inf, preload)
    ) as done:
        if not ordered:
            yield from done
            return
        early: dict[int, R] = {}  # results whose predecessors are missing
        following = 0
        for index, result in done:
            early[index] = result
            while following in early:
                yield following, early.pop(following)
                following += 1


class _Worker:
    """A process and its present item."""

    def __init__(self, function: Callable[[Any], Any], preload: str) -> None:
        # On Linux, copies of a process that has loaded everything, which takes 3 s of the processor once; elsewhere new
        # processes: copying is not safe with the system libraries of macOS, and unknown to Windows.
        linux = sys.platform == "linux"
        context: Any = children.fork_server([preload]) if linux else multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_work, args=(there, function), daemon=True)
        with children.child_environment(**ONE_THREAD), _ctrl_c_blocked():
            self.process.start()
        there.close()
        self.at: tuple[int, Any] = (-1, None)
        self.until = math.inf

    def give(self, at: tuple[int, Any], limit: float) -> None:
        self.at, self.until = at, time.monotonic() + limit
        with contextlib.suppress(OSError):  # it died: noticed when its answer is waited for
            self.pipe.send(at[1])

    @property
    def late(self) -> bool:
        """Whether it exceeded the time limit without a result or an end."""
        return time.monotonic() >= self.until and not self.pipe.poll()

    def kill(self) -> None:
        """Kill it and the programs that it started."""
        self.pipe.close()
        if hasattr(os, "killpg") and self.process.pid:
            with contextlib.suppress(OSError):  # it has ended, and started nothing that goes on
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.process.close()


def _run(
    function: Callable[[T], R],
    items: Iterator[tuple[int, T]],
    jobs: int,
    again: int,
    crashed: Callable[[Crashed], R] | None,
    limit: float,
    preload: str,
) -> Generator[tuple[int, R], None, None]:
    busy: dict[Any, _Worker] = {}  # by their pipes
    idle: list[_Worker] = []
    lost: list[tuple[int, T]] = []
    died: Counter[int] = Counter()

    def replaced(error: Crashed) -> tuple[int, R]:
        if crashed is None:
            raise error from None
        return error.index, crashed(error)

    try:
        while True:
            while len(busy) < jobs and (at := lost.pop() if lost else next(items, None)) is not None:
                worker = idle.pop() if idle else _Worker(function, preload)
                busy[worker.pipe] = worker
                worker.give(at, limit)
            if not busy:
                break
            remaining = min(worker.until for worker in busy.values()) - time.monotonic()
            ready = wait(list(busy), min(max(remaining, 0.0), 3600.0))  # the system counts milliseconds in 32 bits
            for worker in [worker for worker in busy.values() if worker.late]:
                busy.pop(worker.pipe).kill()
                yield replaced(TooLong(worker.at[0], f"ran for more than {limit:g} s"))
            for pipe in ready:
                worker = busy.pop(pipe)
                index = worker.at[0]
                try:
                    good, answer = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join(GRACE)
                    code = worker.process.exitcode
                    worker.kill()
                    died[index] += 1
                    if died[index] <= again:
                        lost.append(worker.at)
                    else:
                        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
                        times = f" {died[index]} times, the last time" if died[index] > 1 else ""
                        yield replaced(Crashed(index, f"its process died{times} by {how}", code))
                    continue
                idle.append(worker)
                if not good:
                    raise answer
                yield index, answer
    except BaseException:
        for worker in busy.values():
            worker.process.terminate()
        raise
    finally:
        workers = [*busy.values(), *idle]
        for worker in workers:
            worker.pipe.close()  # which ends it
        until = time.monotonic() + (GRACE if limit == math.inf else SHORT_GRACE)
        for worker in workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            worker.kill()


@contextlib.contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C while processes are started; they inherit the blocked signal."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection[Any, Any], function: Callable[[Any], Any]) -> None:
    """The main loop of a worker: process items until its pipe is closed."""
    children.restore_environment()
    if hasattr(os, "setpgid"):
        # A group of its own: the terminal's Ctrl-C is for the parent alone, and a simulator that a solver calls is
        # killed with it.
        os.setpgid(0, 0)
        children.default_signals()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[bool, Any] = True, function(item)
        except KeyboardInterrupt:  # SIGTERM, where something such as a campaign ends cleanly on it
            return
        except Exception as error:
            answer = False, _sendable(error)
        try:
            pipe.send(answer)
        except OSError:  # the parent has closed the pipe
            return
        except Exception as error:  # it cannot be pickled
            message = f"{answer[1]!r} cannot be sent to the process that asked: {error!r}"
            pipe.send((False, RuntimeError(message[:2000])))


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note; one of another package, which may not unpickle, as a RuntimeError."""
    trace = "".join(traceback.format_exception(error))
    if type(error).__module__.partition(".")[0] not in ("builtins", "sdl"):
        error = RuntimeError(f"{type(error).__name__}: {error}"[:2000])
    error.add_note(trace)
    return error


def _follow_parent() -> None:
    """End this process when its parent has ended for any reason."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
