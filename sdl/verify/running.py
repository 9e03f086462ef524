"""Run the campaigns of a file with an `expect:` block over seeds and evaluate their results."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl import config, yamlfile
from sdl.errors import ConfigError, Problem
from sdl.verify.evaluate import Evaluation, Level, SeedResult, evaluate

if TYPE_CHECKING:
    from sdl.config import CampaignFile, Expect
    from sdl.core.events import Event
    from sdl.parallel.pool import Crashed
    from sdl.runs.runs import Result

CAMPAIGN = {"instrument", "goal", "solver", "expect"}  # a file with none of these keys is not a campaign file
CRASHED, OUT_OF_TIME = "crashed", "out of time"  # outcomes of campaigns whose process died or was killed


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """One campaign to run.

    Attributes:
        file: the campaign file.
        changes: changes of the file, including the seed.
        seed: the seed.
        verb: the equivalent command: run, or collect without a goal.
        runs: directory for its record; None keeps none.
        on_twin: whether it runs on the twin that its instrument names.
    """

    file: str
    changes: tuple[str, ...]
    seed: int
    verb: str = "run"
    runs: str | None = None
    on_twin: bool = False

    @property
    def command(self) -> str:
        """The command that runs just this campaign."""
        changes = [f"--set {shlex.quote(change)}" for change in self.changes]
        flag = ["--on-twin"] * self.on_twin
        return " ".join([f"sdl {self.verb}", shlex.quote(self.file), *flag, *changes])


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """A file's expectation and the campaigns that test it; `note` is a caution about them."""

    file: str
    campaign: CampaignFile
    expect: Expect
    tasks: tuple[VerifyTask, ...]
    note: str = ""

    @property
    def goal(self) -> str:
        """The goal as text."""
        goal = self.campaign.goals()
        return str(goal) if goal else "none; every point of the design is measured"


@dataclass(frozen=True, slots=True)
class Verified:
    """A plan, the results of its seeds, and their evaluation."""

    plan: VerifyPlan
    seen: tuple[SeedResult, ...]
    findings: tuple[Evaluation, ...]

    @property
    def level(self) -> Level:
        """The worst result among its claims."""
        levels = [finding.level for finding in self.findings]
        return next((level for level in (Level.NOT, Level.UNSURE) if level in levels), Level.MET)

    def task(self, seed: int) -> VerifyTask:
        """The task of one seed."""
        return next(task for task in self.plan.tasks if task.seed == seed)


def plan(
    file: str | Path, changes: Sequence[str] = (), seeds: int | None = None, *, on_twin: bool = False
) -> VerifyPlan | None:
    """The campaigns that test a file's expectation; None without one, or for another file (of a lab, of a sweep).

    Args:
        file: a campaign file.
        changes: `a.b=value` each, as for `--set`.
        seeds: number of seeds from the campaign's own on, instead of those in the file.
        on_twin: test it on the twin of its instrument, also where `expect` names another one. Without it the twin is
            taken where the instrument names one, and `expect` none.

    Raises:
        ConfigError: a mistake in the file, or it would drive a real instrument.
    """
    tree = yamlfile.read(Path(file)).value
    if isinstance(tree, Mapping) and not CAMPAIGN & tree.keys():
        return None
    campaign = config.load(file, changes, collect=True)
    expect = campaign.expect
    if expect is None:
        return None
    if not on_twin and (why := config.why_untestable(campaign)):
        raise ConfigError(Problem(why, "expect", str(file)))
    other = None if on_twin else config.instrument_tested_on(campaign)
    on_twin = on_twin or (other is None and not campaign.instrument.simulated)
    if on_twin:
        campaign = config.on_twin(campaign)
    if other is not None:
        if isinstance(other, dict):
            other = json.dumps(other) if set(other) > {"kind"} else other["kind"]
        changes = [*changes, f"instrument={other}"]
        campaign = config.load(file, changes, collect=True)
        if not (campaign.instrument.simulated and campaign.instrument.virtual):
            raise ConfigError(Problem("must be simulated in virtual time", "expect.instrument", str(file)))
    verb = "run" if campaign.goal else "collect"
    every = config.seeds_of(campaign, seeds)
    tasks = tuple(VerifyTask(str(file), (*changes, f"seed={seed}"), seed, verb, None, on_twin) for seed in every)
    return VerifyPlan(str(file), campaign, expect, tasks, _same_noise(tasks))


def _same_noise(tasks: Sequence[VerifyTask]) -> str:
    """A caution if the seeds of a campaign do not change its instrument; otherwise empty."""
    instruments = [_campaign(task).instrument for task in tasks[:2]]
    if len(tasks) == 1 or getattr(instruments[0], "seed", None) is None or instruments[0] != instruments[1]:
        return ""
    return "instrument.seed is fixed, so that every seed gets the same noise; remove it"


def _campaign(task: VerifyTask) -> CampaignFile:
    campaign = config.load(task.file, task.changes, collect=True)
    return config.on_twin(campaign) if task.on_twin else campaign


def run(task: VerifyTask) -> SeedResult:
    """Run one campaign; in memory, unless the task names a directory for its record.

    Raises:
        ConfigError: a mistake in the file. CampaignInterrupted: Ctrl-C.
    """
    from sdl import runner

    resolved = _campaign(task)
    events: list[Event] = []
    collect, goal = resolved.goal is None, resolved.goals()
    done = runner.run(resolved, runs=task.runs, watch=lambda event, _: events.append(event), collect=collect)
    verdicts = [str(verdict) for event in events if (verdict := getattr(event, "verdict", None))]
    exact = _noise_free(resolved, done, events[-1].at) if goal else None
    error = goal.error(exact) if goal and exact else done.error
    known = (error, exact is not None, verdicts[-1] if verdicts else None)
    return SeedResult(task.seed, str(done.outcome), done.reason, done.trials, done.readings, *known, done.run)


def _noise_free(campaign: CampaignFile, done: Result, at: float) -> Mapping[str, float] | None:
    """Readings without noise at the best settings at the end; None if the instrument cannot give them."""
    from sdl.clock import VirtualClock

    if done.best is None or not done.applied:
        return None
    with contextlib.closing(campaign.instrument.open(VirtualClock(at))) as driver:
        noise_free = getattr(getattr(driver, "plant", None), "noise_free", None)
        readings: Mapping[str, float] | None = noise_free(done.applied, at) if noise_free is not None else None
    return readings


def verify(
    plans: Sequence[VerifyPlan],
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
    limit: float | None = None,
) -> Iterator[Verified]:
    """Run the campaigns of all plans, and evaluate each plan as soon as it is finished.

    One job without a limit runs all campaigns in this process. In processes of their own, a campaign whose process
    dies at every attempt (a crash in a library or a plug-in) has the outcome `crashed`, and one that takes longer than
    `limit` real seconds is killed `out of time`; the others continue. `progress` is called with the numbers done and
    in all.
    """
    from sdl.parallel.pool import each

    tasks = [(task, plan) for plan in plans for task in plan.tasks]

    def crashed(error: Crashed) -> SeedResult:
        return lost_campaign(*tasks[error.index], error)

    seen: list[SeedResult] = []
    with contextlib.closing(each(run, (task for task, _ in tasks), jobs, crashed=crashed, limit=limit)) as results:
        for plan in plans:
            for _ in plan.tasks:
                seen.append(next(results)[1])
                progress(len(seen), len(tasks))
            own = tuple(seen[len(seen) - len(plan.tasks) :])
            yield Verified(plan, own, evaluate(plan.expect, own))


def lost_campaign(task: VerifyTask, plan: VerifyPlan, error: Crashed) -> SeedResult:
    """The result of a campaign whose process died or was killed."""
    from sdl.parallel.pool import TooLong

    late, solver = isinstance(error, TooLong), plan.campaign.solver
    why = str(error).partition(": ")[2] + (f": solver {solver.kind}" if late and solver is not None else "")
    return SeedResult(task.seed, OUT_OF_TIME if late else CRASHED, why, 0, 0, None, False, None)


def plain(verified: Verified) -> dict[str, Any]:
    """Expectation, results and evaluation for JSON."""
    return {
        "file": verified.plan.file,
        "campaign": verified.plan.campaign.name,
        "goal": verified.plan.goal,
        "note": verified.plan.note,
        "level": str(verified.level),
        "findings": [dataclasses.asdict(f) | {"again": rerun_command(verified, f)} for f in verified.findings],
        "seeds": [dataclasses.asdict(seen) for seen in verified.seen],
    }


def rerun_command(verified: Verified, finding: Evaluation) -> str:
    """The command that repeats the worst seed of a claim; empty if every seed meets it."""
    return verified.task(finding.seed).command if finding.seed is not None else ""
