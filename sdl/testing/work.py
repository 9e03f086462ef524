"""A process of its own for the campaigns that pytest runs, so that one that hangs or dies is one failed test."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator

from sdl import verify
from sdl.parallel import pool
from sdl.verify import SeedResult, VerifyPlan, VerifyTask


class Work:
    """A process for the campaigns of a file, one after the other."""

    def __init__(self, plan: VerifyPlan, limit: float) -> None:
        self._given: list[VerifyTask] = []

        def crashed(error: pool.Crashed) -> SeedResult:
            return verify.lost_campaign(self._given[error.index], plan, error)

        self._results: Generator[tuple[int, SeedResult], None, None] = pool.each(
            verify.run, self._tasks(), ordered=False, crashed=crashed, limit=limit
        )

    def on(self, task: VerifyTask) -> SeedResult:
        """Return the result of a campaign."""
        self._given.append(task)
        return next(self._results)[1]

    def close(self) -> None:
        """End the process."""
        self._results.close()

    def _tasks(self) -> Iterator[VerifyTask]:
        """Drawn one by one, each when `on` has brought it."""
        for index in itertools.count():
            yield self._given[index]
