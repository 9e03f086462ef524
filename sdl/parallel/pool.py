"""One function over many items in processes of this machine.

Each worker has a pipe of its own, so that a worker that dies (a crash in a library, the system out of memory) takes one
known item with it: that item, and no other, is run again in a new process. One that hangs is killed when its time is
over. Workers end with their parent. Libraries that were tried instead: docs/decisions/0041-processes-and-queues.md.
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
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TypeVar

from sdl.parallel import children

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

GRACE = 10.0
"""Seconds that a worker has to end by itself when it is told to; a campaign in it makes its instrument safe."""
BRIEF = 1.0  # where items have a limit: they may be killed at any time
WARM = "sdl.runner.preload"
"""What the process that workers are copied from loads; a name, because nothing of it belongs into this process."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Told to the workers: several processes of several threads each only get in each other's way."""


class Crashed(RuntimeError):
    """A process died on the same item every time.

    Attributes:
        index: of the item.
        code: the exit code of the last process; below 0 the signal that ended it.
    """

    def __init__(self, index: int, times: int, code: int | None) -> None:
        self.index, self.code = index, code
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        often = f" {times} times, the last time" if times > 1 else ""
        super().__init__(f"item {index}: its process died{often} by {how}")


class TooLong(Crashed):
    """An item took longer than it may, and its process was killed."""

    def __init__(self, index: int, limit: float) -> None:
        self.index, self.code = index, None
        RuntimeError.__init__(self, f"item {index}: ran for more than {limit:g} s")


def cores() -> int:
    """How many processes can run at the same time on this machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each(
    function: Callable[[T], R],
    items: Iterable[T],
    jobs: int = 1,
    *,
    ordered: bool = True,
    again: int = 2,
    crashed: Callable[[Crashed], R] | None = None,
    limit: float | None = None,
) -> Generator[tuple[int, R], None, None]:
    """Runs a function on every item.

    Workers are started once, with one thread for linear algebra, and see no Ctrl-C of the terminal; when the iterator
    is closed, or an exception leaves it, they get SIGTERM and have `GRACE` seconds. Use it in `contextlib.closing`.

    Args:
        function: of one item; at the top of a module, so that a new process finds it.
        items: drawn as workers get free, so there may be very many.
        jobs: processes; 1 without a limit runs everything in this one.
        ordered: give the results in the order of the items; otherwise as they come.
        again: how many times an item is run again whose process died.
        crashed: gives the result of an item that died every time or took too long; without it the error is raised.
        limit: seconds after which an item's process is killed; it is not run again. The clock starts when it is given.

    Yields:
        (index of the item, result).

    Raises:
        Crashed, TooLong: see there. Exception: what the function raised, with the worker's traceback as a note.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, not {jobs}")
    if jobs == 1 and limit is None:
        for index, item in enumerate(items):
            yield index, function(item)
        return
    done = _run(function, iter(enumerate(items)), jobs, again, crashed, limit or math.inf)
    with contextlib.closing(done):
        if not ordered:
            yield from done
            return
        held: dict[int, R] = {}
        following = 0
        for index, result in done:
            held[index] = result
            while following in held:
                yield following, held.pop(following)
                following += 1


class _Worker:
    """A process with the item that it is at."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = _context()
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_work, args=(there, function), daemon=True)
        with children.starting(**ONE_THREAD), _no_ctrl_c():
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
        """Whether its time is over, and it has neither answered nor ended."""
        return time.monotonic() >= self.until and not self.pipe.poll()

    def kill(self) -> None:
        """Ends it, if it has not ended yet, and what it started."""
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
) -> Generator[tuple[int, R], None, None]:
    busy: dict[Any, _Worker] = {}  # by their pipes
    idle: list[_Worker] = []
    lost: list[tuple[int, T]] = []
    died: dict[int, int] = {}
    try:
        while True:
            while len(busy) < jobs and (at := lost.pop() if lost else next(items, None)) is not None:
                worker = idle.pop() if idle else _Worker(function)
                busy[worker.pipe] = worker
                worker.give(at, limit)
            if not busy:
                break
            left = min(worker.until for worker in busy.values()) - time.monotonic()
            ready = wait(list(busy), min(max(left, 0.0), 3600.0))  # the system counts milliseconds in 32 bits
            for worker in [worker for worker in busy.values() if worker.late]:
                busy.pop(worker.pipe).kill()
                slow = TooLong(worker.at[0], limit)
                if crashed is None:
                    raise slow
                yield worker.at[0], crashed(slow)
            for pipe in ready:
                worker = busy.pop(pipe)
                index = worker.at[0]
                try:
                    good, answer = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join(GRACE)
                    code = worker.process.exitcode
                    worker.kill()
                    died[index] = died.get(index, 0) + 1
                    if died[index] <= again:
                        lost.append(worker.at)
                        continue
                    error = Crashed(index, died[index], code)
                    if crashed is None:
                        raise error from None
                    yield index, crashed(error)
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
        _end([*busy.values(), *idle], GRACE if limit == math.inf else BRIEF)


def _end(workers: list[_Worker], grace: float) -> None:
    """Idle workers end when their pipe does; whoever has not ended in time is killed."""
    for worker in workers:
        worker.pipe.close()
    until = time.monotonic() + grace
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        worker.kill()


def _context() -> Any:
    """How processes start: on Linux as copies of one that has loaded everything, elsewhere each from its beginning.

    Neither copies threads or state of this process. Loading costs some 3 CPU seconds, once instead of in every worker.
    """
    if sys.platform != "linux":  # copying is not safe with the system libraries of macOS, and unknown to Windows
        return multiprocessing.get_context("spawn")
    return children.fork_server([WARM])


@contextlib.contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Ctrl-C waits until the processes that are started inside, which inherit that, are there: it is not for them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection[Any, Any], function: Callable[[Any], Any]) -> None:
    """What a worker does: answers items until its pipe ends."""
    children.started()
    if hasattr(os, "setpgid"):
        # A group of its own: the terminal's Ctrl-C is for the parent alone, and a simulator that a solver calls is
        # killed with it.
        os.setpgid(0, 0)
        children.plain_signals()
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
        except OSError:
            return  # nobody is there any more
        except Exception as error:  # it cannot be pickled
            said = f"{answer[1]!r} cannot be sent to the process that asked: {error!r}"
            pipe.send((False, RuntimeError(said[:2000])))


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as a note; a foreign one, which may not arrive as itself, in other words."""
    told = "".join(traceback.format_exception(error))
    if type(error).__module__.partition(".")[0] not in ("builtins", "sdl"):
        error = RuntimeError(f"{type(error).__name__}: {error}"[:2000])
    error.add_note(told)
    return error


def _follow_parent() -> None:
    """Ends this process when its parent has ended, however that was."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
