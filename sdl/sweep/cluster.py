"""Run the campaigns of a sweep on the workers of a Dask cluster; the only importer of distributed.

Campaigns of milliseconds are sent in batches, so that a task lasts about `TASK_SECONDS` seconds; only a few tasks per
worker are pending, so that memory does not grow with the sweep. When a worker is lost, the scheduler gives its tasks to
another one; a task that has cost too many workers is split into single campaigns, and the one responsible is reported.
A campaign on a real instrument needs a worker that declares it (a Dask resource, one of each), so that one worker near
the instrument drives it, one campaign at a time.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError, RecordError
from sdl.extras import require
from sdl.parallel import children, pool
from sdl.sweep.work import Row, SweepTask, run_tasks

if TYPE_CHECKING:
    from distributed import Client

# Intended duration of a task in seconds: long compared with Dask's overhead (milliseconds), short for progress.
TASK_SECONDS = 0.5
MAX_PER_TASK = 50  # largest number of campaigns per task; so many are repeated when a worker is lost
TASKS_PER_THREAD = 2  # pending tasks per thread of a worker
# Seconds to wait for the scheduler, its first worker, and workers with an instrument.
CONNECT_TIMEOUT = 30.0


def each(
    tasks: Iterator[SweepTask], address: str, jobs: int | None, resources: Sequence[str], limit: float | None = None
) -> Generator[list[Row], None, None]:
    """Run campaigns on a cluster; yields rows as they arrive.

    Args:
        tasks: taken as workers become free.
        address: address of the scheduler, or `local` for worker processes on this machine, reachable from it only.
        jobs: workers of a local cluster; by default one per core.
        resources: Dask resources that workers must have to drive the real instruments of the sweep.
        limit: real seconds per campaign.

    Raises:
        ConfigError: distributed is not installed, there is no scheduler, no worker or none with a required resource, or
            workers have other versions of packages that influence proposals.
        RecordError: the connection to the scheduler was lost.
    """
    require("clusters (--cluster)", "sweep", "distributed")
    import distributed
    from distributed.comm import CommClosedError

    with contextlib.ExitStack() as stack:
        stack.enter_context(children.child_environment(**pool.ONE_THREAD))
        stack.enter_context(_quiet())
        if address == "local":
            has = dict.fromkeys(resources, 1) if resources else None
            cluster = distributed.LocalCluster(
                n_workers=1 if resources else jobs or pool.cores(), threads_per_worker=1, processes=True,
                host="127.0.0.1", dashboard_address="127.0.0.1:0", resources=has, silence_logs=50,
            )  # fmt: skip
            target: Any = stack.enter_context(cluster)
        else:
            target = address
        try:
            client = stack.enter_context(distributed.Client(target, timeout=CONNECT_TIMEOUT, set_as_default=False))
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(f"--cluster {address}: no Dask scheduler answers there: {error}") from error
        threads = _check_workers(client, address, resources)
        try:
            yield from _done(client, tasks, threads, limit)
        except (CommClosedError, TimeoutError) as error:
            lost = f"the connection to the scheduler was lost: {error}; run the sweep again to continue"
            raise RecordError(f"--cluster {address}: {lost}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's own messages (30 lines for a small sweep) out of the log."""
    log = logging.getLogger("distributed")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _done(
    client: Client, tasks: Iterator[SweepTask], threads: int, limit: float | None
) -> Generator[list[Row], None, None]:
    from distributed import KilledWorker, as_completed

    numbers = itertools.count()
    size, mean = 1.0, 0.0
    begun: dict[str, tuple[list[SweepTask], float]] = {}
    under_way = as_completed(loop=client.loop, raise_errors=False)

    def give(some: list[SweepTask]) -> None:
        needs = {"resources": {some[0].resource: 1}} if some[0].resource else {}
        future = client.submit(
            run_tasks, some, limit, pure=False, key=f"campaigns-{some[0].id}-{next(numbers)}", **needs
        )
        begun[future.key] = some, time.monotonic()
        under_way.add(future)

    def batch() -> list[SweepTask]:
        some = list(itertools.islice(tasks, 1))
        while some and not some[0].resource and len(some) < int(size) and (more := next(tasks, None)) is not None:
            if more.resource:
                give([more])
                continue
            some.append(more)
        return some

    while len(begun) < TASKS_PER_THREAD * threads and (some := batch()):
        give(some)
    for future in under_way:
        some, since = begun.pop(future.key)
        error = future.exception() if future.status == "error" else None
        if future.status == "finished":
            rows = future.result()
            have = {row["id"] for row in rows}
            if unfinished := [task for task in some if task.id not in have]:  # they followed one that hung
                give(unfinished)
            else:
                took = (time.monotonic() - since) / TASKS_PER_THREAD / len(some)  # it waited for the task before it
                mean = took if not mean else 0.8 * mean + 0.2 * took
                size = min(MAX_PER_TASK, max(1.0, TASK_SECONDS / max(mean, 1e-4)))
            yield rows
        elif isinstance(error, KilledWorker) and len(some) > 1:
            for task in some:
                give([task])
        elif isinstance(error, KilledWorker):
            yield [{"id": some[0].id, "cannot": f"its worker died at every attempt: {error}"[:500]}]
        else:
            reason = f"{type(error).__name__}: {error}" if error else f"the task was {future.status}"
            yield [{"id": task.id, "cannot": reason[:500]} for task in some]
        del future
        while len(begun) < TASKS_PER_THREAD * threads and (some := batch()):
            give(some)


def _check_workers(client: Client, address: str, resources: Sequence[str]) -> int:
    """The number of threads of all workers; they must meet the needs of the sweep."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_TIMEOUT)
    except TimeoutError as error:
        message = f"the scheduler has no worker; start some: dask worker {address} --nthreads 1"
        raise ConfigError(f"--cluster {address}: {message}") from error
    until = time.monotonic() + CONNECT_TIMEOUT
    while True:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        missing = [name for name in resources if not any(name in w["resources"] for w in workers.values())]
        if not missing:
            break
        if time.monotonic() > until:
            start = f"dask worker {address} --nthreads 1 --resources {missing[0]}=1"
            message = f"no worker has the resource {missing[0]}; start one beside the instrument: {start}"
            raise ConfigError(f"--cluster {address}: {message}")
        time.sleep(0.2)
    from sdl.runner import versions

    here = versions()
    for worker, there in client.run(versions).items():
        if other := sorted(name for name in {*here, *there} if here.get(name) != there.get(name)):
            has = ", ".join(f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})" for name in other)
            raise ConfigError(f"--cluster {address}: the worker {worker} has {has}; results would depend on the worker")
    return sum(int(worker["nthreads"]) for worker in workers.values())
