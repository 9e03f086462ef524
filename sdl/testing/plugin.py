"""The pytest plugin: campaign files with an `expect:` block are tests, and there are fixtures for tests of your own.

    pytest                          also runs every *.yaml with an `expect:` block: an item a seed, one for all seeds
    pytest fast.yaml::seed-7        one of them
    pytest --sdl-seeds 60           so many seeds instead of those in the files
    pytest --sdl-report out         the record (and the report) of every seed that fails, in out/
    pytest --sdl-limit 60           seconds that a campaign may take; 0: no limit, and in this process, for a debugger

    sdl_clock     a virtual clock                    sdl_runs    an empty directory for runs
    sdl_twin      opens a twin that lives by it      sdl_run     runs a campaign there, gives the Run
    sdl_server    serves a twin, with faults, behind the real instrument's HTTP surface

It is loaded with pytest by everybody who has `sdl` installed, so it imports nothing until something of it is used, and
a YAML file that does not say `expect:` is not looked into. `-p no:sdl` switches it off.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sdl.testing.work import Work
    from sdl.verify import Plan, Seen, Task

pytest_plugins = ("sdl.testing.fixtures",)

EXPECTS = re.compile(rb"^(?:\{.*)?[\"']?expect[\"']?[ \t]*:", re.MULTILINE)
CAMPAIGN = re.compile(rb"^(?:\{.*)?[\"']?(?:instrument|goal)[\"']?[ \t]*:", re.MULTILINE)
LARGEST = 256 * 1024
"""Bytes; no campaign file is larger."""
UNSURE = "sdl: too few to tell"
"""Property of a passed item whose seeds are too few; shown at the end."""
REPORT_SECONDS = 60
LIMIT = 600.0
"""Real seconds that one campaign may take, as with `sdl verify`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's own options."""
    group = parser.getgroup("sdl", "campaigns as tests")
    group.addoption("--sdl-seeds", type=_positive, metavar="N", help="seeds a campaign file, instead of those in it")
    group.addoption(
        "--sdl-report", metavar="DIR", help="keep the record, and write the report, of each seed that fails"
    )
    group.addoption(
        "--sdl-limit",
        type=_seconds,
        default=LIMIT,
        metavar="SECONDS",
        help=f"real time that one campaign may take, then it is killed and fails ({LIMIT:g}); 0: as long as it likes, "
        "and in pytest's own process, where a debugger reaches it",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


# --- campaign files as tests ------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CampaignTests | None:
    """A campaign file that expects something."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    try:
        with file_path.open("rb") as stream:
            head = stream.read(LARGEST + 1)
    except OSError:
        return None
    if len(head) > LARGEST or not (EXPECTS.search(head) and CAMPAIGN.search(head)):
        return None
    found: CampaignTests = CampaignTests.from_parent(parent, path=file_path)
    return found


class CampaignTests(pytest.File):
    """One campaign file: an item a seed and, where something is expected of them together, one for all."""

    plan: Plan
    _seen: dict[int, Seen]
    _work: Work | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """Items, or the mistakes in the file."""
        from sdl import verify
        from sdl.errors import ConfigError

        try:
            plan = verify.plan(self.path, (), self.config.getoption("--sdl-seeds"))
        except ConfigError as error:
            raise self.CollectError(str(error)) from None
        if plan is None:  # `expect: null`
            return
        self.plan, self._seen = plan, {}
        for task in plan.tasks:
            yield self._grouped(SeedItem.from_parent(self, name=f"seed-{task.seed}", task=task))
        if verify.together(plan.expect):
            yield self._grouped(AllSeedsItem.from_parent(self, name="all-seeds"))

    def seen(self, task: Task) -> Seen:
        """What came of a seed; run once in a process."""
        if task.seed not in self._seen:
            self._seen[task.seed] = self.ran(task)
        return self._seen[task.seed]

    def ran(self, task: Task) -> Seen:
        """Runs a campaign in a process of its own, killed when its time is over; in this one without a limit."""
        from sdl import verify
        from sdl.testing.work import Work

        limit = self.config.getoption("--sdl-limit")
        if not limit:
            return verify.run(task)
        if self._work is None:
            self._work = Work(self.plan, limit)
        try:
            return self._work.on(task)
        except BaseException:  # also pytest-timeout's, whose patience may be shorter: what hangs is killed
            self.teardown()
            raise

    def teardown(self) -> None:
        """Ends the process that ran its campaigns."""
        if self._work is not None:
            self._work.close()
            self._work = None

    def shown(self, task: Task) -> Task:
        """The same task with the file named as a person would type it here."""
        try:
            return replace(task, file=os.path.relpath(self.path, self.config.invocation_params.dir))
        except ValueError:  # another drive
            return task

    def _grouped(self, item: pytest.Item) -> pytest.Item:
        if self.config.pluginmanager.hasplugin("xdist"):  # --dist loadgroup keeps a file in one process
            item.add_marker(pytest.mark.xdist_group(self.nodeid))
        return item


class NotAsExpected(Exception):
    """A campaign came to something else."""


class _Item(pytest.Item):
    """What the two kinds have in common."""

    @property
    def file(self) -> CampaignTests:
        parent = self.parent
        if not isinstance(parent, CampaignTests):
            raise TypeError(f"{self.nodeid} does not stand in a campaign file")
        return parent

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected and seen; a traceback only of what is no failed expectation."""
        if isinstance(excinfo.value, NotAsExpected):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it is, for pytest."""
        return self.path, None, self.name

    def text(self, wrong: Sequence[tuple[str, str, str]], ended: str, seed: int | None, again: str) -> str:
        """What is not met, (claim, expected, seen) each, how it ended, and the commands that do it again."""
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
        """What a person types here for this item alone."""
        return f"{self.file.shown(self.file.plan.tasks[0]).file}::{self.name}"

    def _kept(self, task: Task) -> list[str]:
        """Runs the seed once more with its record kept where `--sdl-report` says; lines about that."""
        folder = self.config.getoption("--sdl-report")
        if folder is None:
            return []
        from sdl import verify

        below = Path(self.config.invocation_params.dir) / str(folder)
        if self.file.seen(task).outcome in (verify.CRASHED, verify.OUT_OF_TIME):
            return ["  record    none of a campaign without an end; the command above leaves one"]
        run = self.file.ran(replace(task, runs=str(below / "runs"))).run
        if find_spec("sdl.cli.report") is None:
            return [f"  record    {run}"]
        page = below / f"{self.file.plan.campaign.name}-seed-{task.seed}.html"
        command = [sys.executable, "-m", "sdl", "report", run, "-o", str(page)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=REPORT_SECONDS)
        lines = [f"  record    {run}"]
        if done.returncode == 0 and page.exists():
            lines.append(f"  report    {page}")
        return lines


class SeedItem(_Item):
    """What every seed must keep, of one seed."""

    def __init__(self, task: Task, **rest: Any) -> None:
        super().__init__(**rest)
        self.task = task

    def runtest(self) -> None:
        """Runs the campaign.

        Raises:
            NotAsExpected: it came to something else.
        """
        from sdl import verify

        seen = self.file.seen(self.task)
        wrong = verify.broken(self.file.plan.expect, seen)
        if wrong:
            again = self.file.shown(self.task).command
            raise NotAsExpected(self.text(wrong, verify.ended(seen), seen.seed, again))


class AllSeedsItem(_Item):
    """What the seeds must keep together: a median, a p95."""

    def runtest(self) -> None:
        """Judges all seeds; those that this process has not run yet are run.

        Raises:
            NotAsExpected: a median or p95 lies above its limit.
        """
        from sdl import verify

        plan = self.file.plan
        findings = verify.judge(plan.expect, [self.file.seen(task) for task in plan.tasks])
        findings = tuple(finding for finding in findings if finding.share < 1)
        for finding in findings:
            if finding.level is verify.Level.UNSURE:
                said = f"{finding.claim} {finding.expected}, seen {finding.seen}: {verify.sureness(finding)}"
                self.user_properties.append((UNSURE, f"{self.nodeid}: {said}"))
        wrong = [finding for finding in findings if finding.level is verify.Level.NOT]
        if wrong:
            claims = [(f.claim, f.expected, f"{f.seen}, {verify.kept(f)}") for f in wrong]
            worst, again = wrong[0].seed, f"sdl verify {shlex.quote(self.file.shown(plan.tasks[0]).file)}"
            seen = next((seen for seen in map(self.file.seen, plan.tasks) if seen.seed == worst), None)
            ended = "" if seen is None else f"seed {worst}, the worst: {verify.ended(seen)}"
            raise NotAsExpected(self.text(claims, ended, worst, again))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says which medians and p95 stand on too few seeds."""
    lines = [
        text
        for report in terminalreporter.stats.get("passed", ())
        for name, text in getattr(report, "user_properties", ())
        if name == UNSURE
    ]
    if lines:
        terminalreporter.section("sdl: too few seeds to tell", sep="-")
        for line in lines:
            terminalreporter.line(line)
