"""Run a sweep: campaigns with a result are skipped, the others are distributed to workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdl.parallel import pool
from sdl.sweep.plan import SweepPlan
from sdl.sweep.results import DATA, RECORDS, Results
from sdl.sweep.work import Row, SweepTask, run_task, timeout_row

Progress = Callable[[int, int], None]  # called with the numbers of campaigns done and in all


@dataclass(frozen=True)
class SweepOutcome:
    """The result of running a sweep.

    Attributes:
        data: the Parquet file.
        campaigns: number in the whole sweep.
        before: number finished by earlier calls.
        ran: number finished by this call.
        cannot: campaigns without a result, with the reason; the next call tries them again.
        changed: packages whose version differs from that of the earlier results, with both versions.
    """

    data: Path
    campaigns: int
    before: int
    ran: int
    cannot: tuple[str, ...]
    changed: dict[str, tuple[str, str]]


def run(
    plan: SweepPlan,
    folder: Path,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    limit: float | None = None,
    progress: Progress = lambda done, of: None,
) -> SweepOutcome:
    """Run the campaigns of a sweep that have no result yet.

    Args:
        plan: its campaigns.
        folder: directory of the results; an interrupted sweep there is continued.
        jobs: processes of this machine (default: its cores); with `cluster="local"`, workers.
        cluster: a Dask scheduler's address, or `local` for one on this machine; None takes processes without Dask.
        limit: real seconds for a campaign in virtual time; one that takes longer has no result.
        progress: called after every campaign.

    Raises:
        ConfigError: a package is missing, or the directory is of another sweep.
        RecordError: the results cannot be written.
        KeyboardInterrupt: Ctrl-C; finished campaigns are in the data set, and the next call continues.
    """
    from sdl.runner import versions

    results = Results(folder, plan, versions())
    with contextlib.closing(results):
        before, total, ran = len(results.known), len(plan), 0
        cannot: list[str] = []
        progress(before, total)
        todo = (i for i, name in enumerate(plan.ids()) if name not in results.known)
        tasks = (plan.task(number, folder / RECORDS) for number in todo)
        if total > before:
            limit = limit if plan.virtual else None  # it would kill campaigns that wait for an instrument
            done = _here(tasks, plan, jobs, limit)
            if cluster:
                from sdl.sweep.cluster import each

                done = each(tasks, cluster, jobs, sorted({p.resource for p in plan.points if p.resource}), limit)
            try:
                with contextlib.closing(done):
                    for rows in done:
                        cannot += [f"{row['id']}: {row['cannot']}" for row in rows if "cannot" in row]
                        good = [row for row in rows if "cannot" not in row]
                        results.append(good)
                        ran += len(good)
                        progress(before + ran + len(cannot), total)
            finally:
                results.settle()
        else:
            results.settle()
        return SweepOutcome(folder / DATA, total, before, ran, tuple(cannot), results.changed)


def _here(
    tasks: Iterator[SweepTask], plan: SweepPlan, jobs: int | None, limit: float | None
) -> Generator[list[Row], None, None]:
    jobs = 1 if plan.real else min(jobs or pool.cores(), len(plan))  # a real instrument serves one campaign at a time
    given: dict[int, SweepTask] = {}

    def named() -> Iterator[SweepTask]:
        for index, task in enumerate(tasks):
            given[index] = task
            yield task

    def crashed(error: pool.Crashed) -> Row:
        task, why = given[error.index], str(error).partition(": ")[2]
        return timeout_row(task, why) if isinstance(error, pool.TooLong) else {"id": task.id, "cannot": why}

    done = pool.each(run_task, named(), jobs, ordered=False, crashed=crashed, limit=limit)
    with contextlib.closing(done):
        for index, row in done:
            given.pop(index)
            yield [row]
