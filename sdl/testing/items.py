"""The pytest items of a campaign file with an `expect:` block: one per seed, and one for all seeds together."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sdl import verify, yamlfile
from sdl.errors import SdlError
from sdl.parallel import children, pool
from sdl.testing import UNSURE
from sdl.verify import SeedResult, VerifyPlan, VerifyTask

REPORT_SECONDS = 60


class CampaignTests(pytest.File):
    """One campaign file: an item per seed, and one for expectations of all seeds together."""

    plan: VerifyPlan
    _seen: dict[int, SeedResult]
    _given: list[VerifyTask]
    _results: Generator[tuple[int, SeedResult], None, None] | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """The items of a file; one failing item for a file with mistakes."""
        try:
            tree = yamlfile.read(self.path).value
            if not isinstance(tree, Mapping) or not _ours(tree):
                return
            plan = verify.plan(self.path, (), self.config.getoption("--sdl-seeds"))
        except SdlError as error:
            yield MistakeItem.from_parent(self, name="mistakes", message=str(error))
            return
        if plan is None:  # `expect: null`
            return
        self.plan, self._seen, self._given = plan, {}, []
        for task in plan.tasks:
            yield self._grouped(SeedItem.from_parent(self, name=f"seed-{task.seed}", task=task))
        if verify.needs_all_seeds(plan.expect):
            yield self._grouped(AllSeedsItem.from_parent(self, name="all-seeds"))

    def seen(self, task: VerifyTask) -> SeedResult:
        """The result of a seed, which runs once per process."""
        if task.seed not in self._seen:
            self._seen[task.seed] = self.ran(task)
        return self._seen[task.seed]

    def ran(self, task: VerifyTask) -> SeedResult:
        """Run a campaign: in a process that is killed at the time limit or, without a limit, in this process."""
        limit = self.config.getoption("--sdl-limit")
        if not limit:
            return verify.run(task)
        if self._results is None:
            self._given, self._results = [], self._start_process(limit)
        self._given.append(task)
        try:
            return next(self._results)[1]
        except BaseException:  # also pytest-timeout, whose limit may be shorter: kill the process
            self.teardown()
            raise

    def _start_process(self, limit: float) -> Generator[tuple[int, SeedResult], None, None]:
        """The results of the campaigns in `_given`, each of which runs when its result is requested."""

        def crashed(error: pool.Crashed) -> SeedResult:
            return verify.lost_campaign(self._given[error.index], self.plan, error)

        tasks = (self._given[index] for index in itertools.count())
        return pool.each(verify.run, tasks, ordered=False, crashed=crashed, limit=limit)

    def teardown(self) -> None:
        if self._results is not None:
            self._results.close()
            self._results = None

    @property
    def typed(self) -> str:
        """The file relative to the directory that pytest was started in."""
        try:
            return os.path.relpath(self.path, self.config.invocation_params.dir)
        except ValueError:  # another drive
            return str(self.path)

    def shown(self, task: VerifyTask) -> VerifyTask:
        """The same task with the file name as in `typed`."""
        return replace(task, file=self.typed)

    def _grouped(self, item: pytest.Item) -> pytest.Item:
        if self.config.pluginmanager.hasplugin("xdist"):  # --dist loadgroup keeps a file in one process
            item.add_marker(pytest.mark.xdist_group(self.nodeid))
        return item


def _ours(tree: Mapping[str, Any]) -> bool:
    """Whether a file with `expect:` is a campaign, valid or not; other programs may use that key, too."""
    return "instrument" in tree or all(isinstance(tree.get(key), Mapping) for key in ("expect", "goal"))


class NotAsExpected(Exception):
    """A campaign did not meet its expectation."""


class _Item(pytest.Item):
    """Base of both kinds of items."""

    @property
    def file(self) -> CampaignTests:
        parent = self.parent
        if not isinstance(parent, CampaignTests):
            raise TypeError(f"{self.nodeid} is not an item of a campaign file")
        return parent

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The text of a failure: for a failed expectation its report, for other errors the traceback."""
        if isinstance(excinfo.value, NotAsExpected):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name

    def text(self, wrong: Sequence[tuple[str, str, str]], ended: str, seed: int | None, again: str) -> str:
        """The report of failed claims (claim, expected, seen), the outcome, and the commands that repeat it."""
        plan = self.file.plan
        claims = [f"{claim}: expected {expected}, seen {seen}" for claim, expected, seen in wrong]
        lines = [f"{plan.campaign.name}, {claims[0]}", *(f"  also      {claim}" for claim in claims[1:])]
        lines += [f"  goal      {plan.goal}"]
        lines += [f"  ended     {ended}"] if ended else []
        lines += [f"  again     {again}", f"            pytest {shlex.quote(self.typed)}"]
        if seed is not None:
            task = next(task for task in plan.tasks if task.seed == seed)
            command = self.file.shown(task).command
            lines += [f"            {command}"] if command != again else []
            lines += self._kept(task)
        return "\n".join(lines)

    @property
    def typed(self) -> str:
        """The name of this item on pytest's command line."""
        return f"{self.file.typed}::{self.name}"

    def _kept(self, task: VerifyTask) -> list[str]:
        """Repeat the seed with its record kept in `--sdl-report`; return lines that name record and report."""
        folder = self.config.getoption("--sdl-report")
        if folder is None:
            return []
        below = Path(self.config.invocation_params.dir) / str(folder)
        if self.file.seen(task).outcome in (verify.CRASHED, verify.OUT_OF_TIME):
            return ["  record    none of a campaign without an end; the command above leaves one"]
        run = self.file.ran(replace(task, runs=str(below / "runs"))).run
        if find_spec("sdl.cli.runs.report") is None:
            return [f"  record    {run}"]
        page = below / f"{self.file.plan.campaign.name}-seed-{task.seed}.html"
        command = children.command("report", run, "-o", str(page))
        done = subprocess.run(command, capture_output=True, check=False, timeout=REPORT_SECONDS)
        lines = [f"  record    {run}"]
        if done.returncode == 0 and page.exists():
            lines.append(f"  report    {page}")
        return lines


class MistakeItem(_Item):
    """A file that cannot be run."""

    def __init__(self, message: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.message = message

    def runtest(self) -> None:
        """Report the mistakes in the file.

        Raises:
            NotAsExpected: always.
        """
        leave_out = f"(if this is no campaign: pytest --ignore {shlex.quote(self.file.typed)})"
        raise NotAsExpected(f"{self.message}\n{leave_out}")


class SeedItem(_Item):
    """The claims about every seed, for one seed."""

    def __init__(self, task: VerifyTask, **rest: Any) -> None:
        super().__init__(**rest)
        self.task = task

    def runtest(self) -> None:
        """Run the campaign.

        Raises:
            NotAsExpected: a claim is not met.
        """
        seen = self.file.seen(self.task)
        wrong = verify.broken_claims(self.file.plan.expect, seen)
        if wrong:
            again = self.file.shown(self.task).command
            raise NotAsExpected(self.text(wrong, verify.describe_end(seen), seen.seed, again))


class AllSeedsItem(_Item):
    """The claims about all seeds together: a median, a p95."""

    def runtest(self) -> None:
        """Evaluate all seeds; those that this process has not run yet are run.

        Raises:
            NotAsExpected: a median or p95 is above its limit.
        """
        plan = self.file.plan
        seeds = [self.file.seen(task) for task in plan.tasks]
        findings = [f for f in verify.evaluate(plan.expect, seeds) if f.share < 1]
        for f in findings:
            if f.level is verify.Level.UNSURE:
                text = f"{self.nodeid}: {f.claim} {f.expected}, seen {f.seen}: {verify.describe_certainty(f)}"
                self.user_properties.append((UNSURE, text))
        wrong = [f for f in findings if f.level is verify.Level.NOT]
        if wrong:
            claims = [(f.claim, f.expected, f"{f.seen}, {verify.describe_kept(f)}") for f in wrong]
            worst, again = wrong[0].seed, f"sdl verify {shlex.quote(self.file.typed)}"
            ends = (f"seed {worst}, the worst: {verify.describe_end(seen)}" for seen in seeds if seen.seed == worst)
            raise NotAsExpected(self.text(claims, next(ends, ""), worst, again))
