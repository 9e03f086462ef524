"""Run one campaign of a sweep, in any process, and return its row of results."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sdl import runner
from sdl.errors import RecordError
from sdl.parallel import children
from sdl.runs.runs import Result, open_run
from sdl.store.resolve import folders

Row = dict[str, Any]

# Columns of every campaign, with the meaning of `sdl.runs.runs.Result`.
OUTCOME = {
    "outcome": "string", "reason": "string", "by": "string", "trials": "int32", "readings": "int32",
    "failed": "int32", "best": "int32", "error": "float64", "miss": "float64", "worst": "string",
}  # fmt: skip

# A worker with several threads runs one campaign at a time, because some libraries use a global random generator.
_ONE = threading.Lock()

# Seconds before a cluster's worker with a hanging campaign exits, so that its other results can be fetched.
EXIT_DELAY = 10.0


class SweepTask(NamedTuple):
    """A campaign for a worker.

    Attributes:
        id: id of the campaign.
        tree: the campaign, resolved.
        folder: directory for its record; None keeps none.
        resource: Dask resource that the worker must have; empty for a simulated instrument.
    """

    id: str
    tree: Mapping[str, Any]
    folder: str | None
    resource: str


def run_task(task: SweepTask) -> Row:
    """Run one campaign.

    Returns:
        Its row; without a result, `id` and the reason `cannot`.
    """
    with _ONE:
        return _row_of(task)


def run_tasks(tasks: Sequence[SweepTask], limit: float | None = None) -> list[Row]:
    """Run campaigns one after the other in the worker of a cluster; return their rows.

    A campaign that takes longer than `limit` real seconds ends the list, and this process exits soon after, because
    nothing else can stop the campaign; Dask's nanny starts a new process.
    """
    children.restore_environment()
    if limit is None:
        return [run_task(task) for task in tasks]
    rows: list[Row] = []
    for task in tasks:
        _ONE.acquire()  # kept while it hangs: it may still use the random generator
        worker = threading.Thread(target=lambda task=task: rows.append(_row_of(task)), daemon=True)
        worker.start()
        worker.join(min(limit, threading.TIMEOUT_MAX))  # inf would exceed it
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
    """The row of a campaign that was killed because it took too long."""
    solver = (task.tree.get("solver") or {}).get("kind", "none")
    return {"id": task.id, "cannot": f"{why}: solver {solver}"}


def _row_of(task: SweepTask) -> Row:
    try:
        return row(task.id, _run(task))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may fail in any way
        return {"id": task.id, "cannot": f"{type(error).__name__}: {error}"[:500]}


def row(name: str, done: Result) -> Row:
    """A result as flat values: the columns of the data set except the varied keys."""
    columns: Row = {"id": name, **{key: getattr(done, key) for key in OUTCOME}, "outcome": str(done.outcome)}
    for title, values in (("settings", done.settings), ("applied", done.applied), ("measured", done.measured)):
        columns |= {f"{title}.{key}": value for key, value in values.items()}
    return columns


def _run(task: SweepTask) -> Result:
    if task.folder is None:
        return runner.run(task.tree, runs=None)
    for old in reversed(folders(Path(task.folder))):  # left by a worker that was lost
        try:
            so_far = open_run(old).result
            return so_far if so_far.outcome is not None else runner.resume(old, guarded=bool(task.resource))
        except RecordError as error:
            if not str(error).startswith(f"{old}: empty"):
                raise
            shutil.rmtree(old)  # its process ended before the first event
    return runner.run(task.tree, runs=task.folder, guarded=bool(task.resource))
