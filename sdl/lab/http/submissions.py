"""Rehearsals and submissions of agents, their review by people, and the stop that everyone may ask for.

Campaigns are resolved here, within the bounds of the agent; `sdl.lab.core.agents` decides; the journal keeps each
request and its result. Everything runs in the caller's thread, except what the loop must do itself.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdl import config
from sdl.config.cost import Cost, cost
from sdl.config.inputs import CampaignInput
from sdl.errors import ConfigError, Problem
from sdl.formatting import count
from sdl.lab.config.agents import AgentLimits, bound_inputs
from sdl.lab.config.file import parse_text
from sdl.lab.core import agents
from sdl.lab.core.agents import digest
from sdl.lab.core.events import CallRefused, Rehearsed, Reviewed, Submitted
from sdl.lab.http.control import Controller
from sdl.lab.http.named_tokens import Identity
from sdl.lab.http.rehearsal import Rehearsal, rehearse, remove_oldest, twin_mismatch
from sdl.lab.journal import SUFFIX
from sdl.lab.loop import LabLoop

MAX_WAIT = 30.0  # seconds that a rehearsal waits for another one
SMALLEST = 1e-9  # `stop.cost` must be positive
MAX_CALL, MAX_TEXT = 100, 2000  # characters of a refused call and of its reason in the journal
MAX_OPEN = 4  # calls of one agent that are answered at once; the server's threads are also needed for a stop
KEPT = 50  # records of rehearsals; the journal has the results of all
REHEARSALS = "rehearsals"  # directory of their records, in that of the journal


class TooManyCalls(ConfigError):
    """An agent calls more often than `sdl.lab.core.agents` allows."""


class Submissions:
    """Rehearsals and submissions of agents, and their review by people; callable from any thread.

    Args:
        control: commands and queries of the lab.
        folder: directory of the journal.
        rehearse: runs a campaign on the twin of its instrument.
        twin_mismatch: says why an instrument no longer matches its twin, by its latest run.
    """

    def __init__(
        self,
        control: Controller,
        folder: Path,
        *,
        rehearse: Callable[[config.CampaignFile, Path], Rehearsal] = rehearse,
        twin_mismatch: Callable[[config.CampaignFile, Path | None], str] = twin_mismatch,
    ) -> None:
        self._control, self._folder = control, folder
        self._rehearse, self._mismatch = rehearse, twin_mismatch
        self._one, self._counting = threading.Lock(), threading.Lock()
        self._open = Counter[str]()  # by agent, its calls that are being answered

    # Agents --------------------------------------------------------------------------------------------------------
    def check(self, campaign: str, instrument: str, by: Identity) -> str:
        """Validate a campaign within the bounds of an agent; changes nothing."""
        with self._recorded(by.name, "check"):
            parsed, most = self._resolved(campaign, instrument, by.name)
            submitted = _submitted(by.name, instrument, parsed, most)
            reasons = self._control.perform(lambda loop: list(agents.violations(loop.lab, submitted, loop.clock.now())))
        text = (
            f"{parsed.name} on {instrument} ({parsed.instrument.identity}): at most {count(most.readings, 'reading')}"
        )
        return text + (f"; it would be refused: {'; '.join(reasons)}" if reasons else "")

    def rehearse(self, campaign: str, instrument: str, by: Identity) -> dict[str, Any]:
        """Run a campaign on the twin of an instrument; the result has a name that a submission may refer to.

        Raises:
            ConfigError: the campaign is invalid or breaks a limit, or there is no twin; nothing was run.
        """
        with self._recorded(by.name, "rehearse"):
            self._require_tier(by.name, "rehearse", "submit")
            parsed, _ = self._resolved(campaign, instrument, by.name)
            limits, (latest, runs) = self._limits(by.name), self._control.perform(_latest(instrument))
            if wrong := list(agents.campaign_violations(limits, instrument, parsed.stored())):
                raise ConfigError(*wrong)
            if not self._one.acquire(timeout=MAX_WAIT):
                raise ConfigError("the lab is rehearsing other campaigns; try again in a minute")
            try:
                name = secrets.token_hex(16)
                remove_oldest(self._folder / REHEARSALS, KEPT)
                result = self._rehearse(parsed, self._folder / REHEARSALS / name)
                twin = self._mismatch(parsed, runs / latest if latest else None)
            finally:
                self._one.release()

        def write(loop: LabLoop) -> Rehearsed:
            event = Rehearsed(
                name, by.name, instrument, digest(parsed.stored()), result.outcome, result.reason, result.trials,
                result.readings, twin, result.run, loop.clock.now(),
            )  # fmt: skip
            loop.write(event)
            return event

        event = self._control.perform(write)
        return {
            "rehearsal": event.rehearsal, "outcome": event.outcome, "reason": event.reason, "trials": event.trials,
            "readings": event.readings, "twin": event.twin or "no mismatch found", "valid_until":
            event.at + agents.REHEARSAL_SECONDS, "best": result.best,
        }  # fmt: skip

    def submit(self, campaign: str, instrument: str, rehearsal: str, by: Identity) -> dict[str, Any]:
        """Submit a campaign to the queue of an instrument; return the decision with its reasons.

        Raises:
            ConfigError: the campaign is invalid; nothing was queued.
        """
        with self._recorded(by.name, "submit"):
            parsed, most = self._resolved(campaign, instrument, by.name)

        def write(loop: LabLoop) -> Submitted:
            given = _submitted(by.name, instrument, parsed, most, rehearsal)
            now = loop.clock.now()
            decision = agents.decide(loop.lab, given, now)
            event = Submitted(
                loop.lab.submission, given.agent, instrument, given.campaign, given.readings, given.cost, rehearsal,
                decision.verdict, decision.reasons, now,
            )  # fmt: skip
            loop.write(event)
            return event

        event = self._control.perform(write)
        return {"submission": event.number, "decision": event.decision, "reasons": list(event.reasons)}

    def stop(self, target: str, reason: str, by: Identity) -> str:
        """Abort running and waiting starts. Every token may do this; an agent's on the instruments that it may see.

        Raises:
            ConfigError: no such start, or not on an instrument of the agent.
        """
        try:
            return self._control.stop(target, reason, by.name, agent=by.agent)
        except ConfigError as error:
            if by.agent:
                self.note_refused(by.name, "stop", str(error))
            raise

    def note_refused(self, agent: str, call: str, why: str) -> None:
        """Write down a refused call of an agent, unless there were too many."""

        def write(loop: LabLoop) -> None:
            now = loop.clock.now()
            if not loop.lab.too_many_calls(agent, now):
                loop.write(CallRefused(agent, call[:MAX_CALL], why[:MAX_TEXT], now))

        self._control.perform(write)

    # People --------------------------------------------------------------------------------------------------------
    def review(self, number: int, approved: bool, reason: str, by: str) -> str:
        """Approve or refuse a submission that waits; the limits hold for an approved one as well.

        Raises:
            ConfigError: the submission does not wait, or a limit forbids it now; nothing was changed.
        """

        def write(loop: LabLoop) -> str:
            submitted, now = loop.lab.submissions.get(number), loop.clock.now()
            if submitted is None:
                waiting = ", ".join(map(str, loop.lab.submissions)) or "none"
                raise ConfigError(f"submission {number} does not wait for a person; waiting: {waiting}")
            if approved and (wrong := list(agents.violations(loop.lab, submitted, now))):
                raise ConfigError(f"submission {number} cannot be approved now: {'; '.join(wrong)}")
            loop.write(Reviewed(number, approved, reason, by, now))
            name = f"submission {number} ({submitted.campaign['name']} of {submitted.agent})"
            return f"{'Approved' if approved else 'Refused'} {name}."

        return self._control.perform(write)

    def all(self, limit: int = 100) -> Sequence[Mapping[str, Any]]:
        """The latest submissions, newest first; those that wait with their campaigns (`sdl.lab.core.views`)."""
        return self._control.perform(lambda loop: [dict(row) for row in reversed(loop.lab.reviewed)][: max(limit, 0)])

    def describe(self, agent: str) -> Mapping[str, Any] | None:
        """The limits of an agent and what is used of them, as plain values; None if it has no limits."""

        def answer(loop: LabLoop) -> dict[str, Any] | None:
            limits = loop.lab.lab.agents.get(agent)
            if limits is None:
                return None
            readings, spent = loop.lab.committed(agent, loop.clock.now())
            return limits.model_dump(mode="json") | {"readings_committed": readings, "cost_committed": spent}

        return self._control.perform(answer)

    # Helpers -------------------------------------------------------------------------------------------------------
    def _limits(self, agent: str) -> AgentLimits:
        def find(loop: LabLoop) -> AgentLimits:
            limits = loop.lab.lab.agents.get(agent)
            if limits is None:
                raise ConfigError(f"{agent} is no agent of this lab: `agents` of the lab file does not name it")
            return limits

        return self._control.perform(find)

    def _require_tier(self, agent: str, *tiers: str) -> None:
        if (tier := self._limits(agent).tier) not in tiers:
            raise ConfigError(f"{agent} is of tier {tier}; this needs {' or '.join(tiers)}")

    @contextmanager
    def _one_of_few(self, agent: str) -> Iterator[None]:
        """Refuse a call while `MAX_OPEN` others of the agent are being answered."""
        with self._counting:
            if self._open[agent] >= MAX_OPEN:
                raise TooManyCalls(f"{MAX_OPEN} calls of {agent} are being answered; wait for one of them")
            self._open[agent] += 1
        try:
            yield
        finally:
            with self._counting:
                self._open[agent] -= 1

    @contextmanager
    def _recorded(self, agent: str, call: str) -> Iterator[None]:
        """Refuse calls beyond the limits, and write down a call that is refused."""
        with self._one_of_few(agent):
            if limit := self._control.perform(lambda loop: loop.lab.too_many_calls(agent, loop.clock.now())):
                raise TooManyCalls(f"{limit}; further ones are refused, and not recorded")
            try:
                yield
            except ConfigError as error:
                self.note_refused(agent, call, str(error))
                raise

    def _resolved(self, text: str, instrument: str, agent: str) -> tuple[config.CampaignFile, Cost]:
        """A campaign given as YAML on an instrument of the lab, within the bounds of the agent; the most it takes.

        Raises:
            ConfigError: with every mistake.
        """
        limits = self._limits(agent)
        if instrument not in limits.instruments:
            raise ConfigError(
                f"instrument {instrument} is not allowed to {agent}; allowed: {', '.join(limits.instruments)}"
            )
        plain, runs = self._control.instrument(instrument)
        parsed = parse_text(text, plain, base=runs, runs=runs)
        if parsed.name.endswith(SUFFIX):
            raise ConfigError(Problem(f"must not end in {SUFFIX}: directories with this ending belong to labs", "name"))
        within, problems = bound_inputs(parsed.inputs, limits.instruments[instrument], parsed.instrument.inputs)
        if problems:
            raise ConfigError(*problems)
        return _parsed(parsed, within, runs)


def _parsed(
    campaign: config.CampaignFile, inputs: Mapping[str, CampaignInput], runs: Path
) -> tuple[config.CampaignFile, Cost]:
    """The campaign with these inputs, checked again as a whole, and the most that it takes.

    Its `stop.cost` becomes its largest cost without failures, because a failed reading that may have been taken costs
    too.
    """
    tree = campaign.plain() | {"inputs": {name: one.model_dump(mode="json") for name, one in inputs.items()}}
    try:
        parsed = config.parse(tree, base=runs, runs=runs)
        most = cost(parsed)
        if most.price is not None:
            limit = max(most.price, SMALLEST) if parsed.stop.cost is None else min(parsed.stop.cost, most.price)
            parsed = parsed.model_copy(update={"stop": parsed.stop.model_copy(update={"cost": limit})})
            most = replace(most, price=limit + _dearest_reading(parsed))
        return parsed, most
    except ConfigError as error:
        raise ConfigError(
            *(Problem(f"within the bounds of the agent: {one.message}", one.path) for one in error.problems)
        ) from error


def _dearest_reading(campaign: config.CampaignFile) -> float:
    """The price of a trial with one reading at the dearest settings: a cost may exceed `stop.cost` by this amount."""
    prices = campaign.prices
    if prices is None:
        return 0.0
    ends = {one.name: max(abs(one.low), abs(one.high)) for one in campaign.free_inputs if one.numeric}
    return prices.trial + prices.of_reading(ends)


def _submitted(
    agent: str, instrument: str, campaign: config.CampaignFile, most: Cost, rehearsal: str = ""
) -> Submitted:
    """A submission on which nothing was decided yet."""
    return Submitted(0, agent, instrument, campaign.stored(), most.readings, most.price or 0.0, rehearsal, "", (), 0.0)


def _latest(instrument: str) -> Callable[[LabLoop], tuple[str, Path]]:
    """The newest ended run on an instrument that took readings, and the directory of the runs."""

    def find(loop: LabLoop) -> tuple[str, Path]:
        past = reversed(loop.lab.past)
        rows = (row["run"] for row in past if row["instrument"] == instrument and row["readings"])
        return next(rows, ""), loop.runs

    return find
