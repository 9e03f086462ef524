"""A campaign file with an `expect:` block as pytest sees it: an item a seed, one for all; loaded where one is found."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sdl.parallel import children
from sdl.testing import UNSURE

if TYPE_CHECKING:
    from sdl.testing.work import Work
    from sdl.verify import SeedResult, VerifyPlan, VerifyTask

REPORT_SECONDS = 60


class CampaignTests(pytest.File):
    """One campaign file: an item a seed and, where something is expected of them together, one for all."""

    plan: VerifyPlan
    _seen: dict[int, SeedResult]
    _work: Work | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """The items of a file; one failing item for a file with mistakes."""
        from sdl import verify, yamlfile
        from sdl.errors import SdlError

        try:
            tree = yamlfile.read(self.path).value
            plan = (
                verify.plan(self.path, (), self.config.getoption("--sdl-seeds"))
                if isinstance(tree, Mapping) and _ours(tree)
                else None
            )
        except SdlError as error:
            yield MistakeItem.from_parent(self, name="mistakes", message=str(error))
            return
        if plan is None:  # `expect: null`, or no campaign file
            return
        self.plan, self._seen = plan, {}
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
        """Run a campaign in a process that is killed at the time limit; in this process without a limit."""
        from sdl import verify
        from sdl.testing.work import Work

        limit = self.config.getoption("--sdl-limit")
        if not limit:
            return verify.run(task)
        if self._work is None:
            self._work = Work(self.plan, limit)
        try:
            return self._work.on(task)
        except BaseException:  # also that of pytest-timeout, whose limit may be shorter: the process is killed
            self.teardown()
            raise

    def teardown(self) -> None:
        if self._work is not None:
            self._work.close()
            self._work = None

    @property
    def typed(self) -> str:
        """The file relative to the directory that pytest was started in."""
        try:
            return os.path.relpath(self.path, self.config.invocation_params.dir)
        except ValueError:  # another drive
            return str(self.path)

    def shown(self, task: VerifyTask) -> VerifyTask:
        """The same task with that file name."""
        return replace(task, file=self.typed)

    def _grouped(self, item: pytest.Item) -> pytest.Item:
        if self.config.pluginmanager.hasplugin("xdist"):  # --dist loadgroup keeps a file in one process
            item.add_marker(pytest.mark.xdist_group(self.nodeid))
        return item


def _ours(tree: Mapping[str, Any]) -> bool:
    """Whether a file with `expect:` is a campaign, possibly with mistakes."""
    return "instrument" in tree or all(isinstance(tree.get(key), Mapping) for key in ("expect", "goal"))


class NotAsExpected(Exception):
    """A campaign did not meet its expectation."""


class _Item(pytest.Item):
    """Base of both kinds of items."""

    @property
    def file(self) -> CampaignTests:
        parent = self.parent
        if not isinstance(parent, CampaignTests):
            raise TypeError(f"{self.nodeid} does not stand in a campaign file")
        return parent

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The failed expectation; a traceback only of other errors."""
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
        from sdl import verify

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
        """Fails.

        Raises:
            NotAsExpected: always, with the mistakes.
        """
        leave_out = f"(if this is no campaign: pytest --ignore {shlex.quote(self.file.typed)})"
        raise NotAsExpected(f"{self.message}\n{leave_out}")


class SeedItem(_Item):
    """What every seed must keep, of one seed."""

    def __init__(self, task: VerifyTask, **rest: Any) -> None:
        super().__init__(**rest)
        self.task = task

    def runtest(self) -> None:
        """Runs the campaign.

        Raises:
            NotAsExpected: it came to something else.
        """
        from sdl import verify

        seen = self.file.seen(self.task)
        wrong = verify.broken_claims(self.file.plan.expect, seen)
        if wrong:
            again = self.file.shown(self.task).command
            raise NotAsExpected(self.text(wrong, verify.describe_end(seen), seen.seed, again))


class AllSeedsItem(_Item):
    """What the seeds must keep together: a median, a p95."""

    def runtest(self) -> None:
        """Judges all seeds; those that this process has not run yet are run.

        Raises:
            NotAsExpected: a median or p95 lies above its limit.
        """
        from sdl import verify

        plan = self.file.plan
        findings = verify.evaluate(plan.expect, [self.file.seen(task) for task in plan.tasks])
        findings = tuple(finding for finding in findings if finding.share < 1)
        for finding in findings:
            if finding.level is verify.Level.UNSURE:
                sentence = (
                    f"{finding.claim} {finding.expected}, seen {finding.seen}: {verify.describe_certainty(finding)}"
                )
                self.user_properties.append((UNSURE, f"{self.nodeid}: {sentence}"))
        wrong = [finding for finding in findings if finding.level is verify.Level.NOT]
        if wrong:
            claims = [(f.claim, f.expected, f"{f.seen}, {verify.describe_kept(f)}") for f in wrong]
            worst, again = wrong[0].seed, f"sdl verify {shlex.quote(self.file.typed)}"
            seen = next((seen for seen in map(self.file.seen, plan.tasks) if seen.seed == worst), None)
            ended = "" if seen is None else f"seed {worst}, the worst: {verify.describe_end(seen)}"
            raise NotAsExpected(self.text(claims, ended, worst, again))
