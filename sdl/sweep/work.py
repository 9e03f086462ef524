"""One campaign of a sweep, in whatever process: its row of the results."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sdl.parallel import children

if TYPE_CHECKING:
    from sdl.runs.runs import Result

Row = dict[str, Any]

_ONE = threading.Lock()
"""A worker of several threads does one campaign at a time: some libraries draw from numbers that all threads share."""

EXIT_DELAY = 10.0
"""Seconds that a worker of a cluster with a campaign that hangs lives on, for its other results to be fetched."""


class SweepTask(NamedTuple):
    """What a worker is given.

    Attributes:
        id: of the campaign.
        tree: the campaign, resolved.
        folder: where its record goes; None keeps none.
        resource: what a worker must have to do it; empty for a simulated instrument.
    """

    id: str
    tree: Mapping[str, Any]
    folder: str | None
    resource: str


def run_task(task: SweepTask) -> Row:
    """Runs one campaign.

    Returns:
        its row; or `id` and `cannot`, why there is none.
    """
    with _ONE:
        return _row_of(task)


def run_tasks(tasks: Sequence[SweepTask], limit: float | None = None) -> list[Row]:
    """Runs some campaigns one after the other, in the worker of a cluster.

    Args:
        tasks: the campaigns.
        limit: real seconds that one may take. When one takes longer this process ends soon after, because nothing else
            ends what it does; Dask's nanny starts another.

    Returns:
        their rows; without those after the first that took too long.
    """
    children.started()
    if limit is None:
        return [run_task(task) for task in tasks]
    rows: list[Row] = []
    for task in tasks:
        _ONE.acquire()  # released only when it ends: what hangs may still draw numbers
        worker = threading.Thread(target=lambda task=task: rows.append(_row_of(task)), daemon=True)
        worker.start()
        worker.join(min(limit, threading.TIMEOUT_MAX))  # which inf would exceed
        if worker.is_alive():
            end = threading.Timer(EXIT_DELAY, os._exit, [1])
            end.daemon = True
            end.start()
            return [*rows, timeout_row(task, f"ran for more than {limit:g} s")]
        _ONE.release()
        if not rows or rows[-1]["id"] != task.id:
            rows.append({"id": task.id, "cannot": "it ended without a result"})
    return rows


def timeout_row(task: SweepTask, why: str) -> Row:
    """What is told of a campaign that was ended because it hung."""
    solver = (task.tree.get("solver") or {}).get("kind", "none")
    return {"id": task.id, "cannot": f"{why}: solver {solver}"}


def _row_of(task: SweepTask) -> Row:
    try:
        return row(task.id, _run(task))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in, perhaps somebody else's, may fail in any way
        return {"id": task.id, "cannot": f"{type(error).__name__}: {error}"[:500]}


def row(name: str, done: Result) -> Row:
    """A result as flat values: the columns of the data set but for what was varied."""
    found: Row = {
        "id": name,
        "outcome": str(done.outcome),
        "reason": done.reason,
        "by": done.by,
        "trials": done.trials,
        "readings": done.readings,
        "failed": done.failed,
        "best": done.best,
        "error": done.error,
        "miss": done.miss,
        "worst": done.worst,
    }
    for title, values in (("settings", done.settings), ("applied", done.applied), ("measured", done.measured)):
        found |= {f"{title}.{key}": value for key, value in values.items()}
    return found


def _run(task: SweepTask) -> Result:
    from sdl import runner
    from sdl.errors import RecordError
    from sdl.runs.runs import open_run
    from sdl.store.resolve import folders

    if task.folder is None:
        return runner.run(task.tree, runs=None)
    for old in reversed(folders(Path(task.folder))):  # of a worker that was lost
        try:
            so_far = open_run(old).result
            return so_far if so_far.outcome is not None else runner.resume(old, guarded=bool(task.resource))
        except RecordError as error:
            if not str(error).startswith(f"{old}: empty"):
                raise
            shutil.rmtree(old)  # it was ended before anything was done
    return runner.run(task.tree, runs=task.folder, guarded=bool(task.resource))
