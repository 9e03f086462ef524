"""The campaign: a pure state machine from *what happened* to *what to do next*.

Rules of this file: no clock, file, socket or random number; everything that changes the state is here. `handle(event)`
folds one event and returns the actions that are due; `due()` returns them again at any time, so that a resume is a
replay of the record followed by `due()`. An event that is not awaited raises OutOfTurn and leaves the state untouched.

    new ──Opened──► propose ──Proposed──► measure ──Measured──┐
                      ▲  ▲                  │  ▲ ▲            │
                      │  └──trial closed────┘  └─┴─ more repeats, or Failed with attempts left
                      │                     │
          Failed in propose: stop           └── reached, or a rule fires, or the design is done: stop
    stop ──Stopped──► stopped ──Resumed (unless reached)──► rules are asked again

In addition, at any time before Stopped: AbortAsked (→ stop), Paused/Continued (nothing is due while paused),
Interrupted (nothing is due until Resumed), and Resumed itself, because a killed process writes no Interrupted. Safe
(whether the instrument is off) may come at any time after Opened and changes nothing that is due. Attached (a row of no
trial) and Corrected (a reading replaced or excluded) may come at any time as well, also after Stopped. Skipped ends the
open trial. A correction ends the open trial if its mean decides that now. A finished trial stays finished, but is
compared with the goal anew, which needs all of its confirmations: a campaign that had reached its goal continues if no
trial does any more, and one that had not ends if a trial now does.

Without an objective a trial is `average` readings; if their mean lies inside every channel's band, `confirm × average`
more are taken at the same settings. Reached means that the mean of all of them lies inside. A failed confirmation only
adds rows.

With an objective (a channel to maximise or minimise) every trial is `average` readings. Once two proposals in a row
expect less than `improvement`, and in the last trial of the budget, the best settings are measured again in a trial of
`confirm × average` readings. The campaign is done if the next proposal still expects less and the best settings are the
same. A proposal that expects more, or other best settings, only continue the search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sdl.core.events import (
    AbortAsked,
    Action,
    Attached,
    Continued,
    Corrected,
    Event,
    Failed,
    Interrupted,
    Measure,
    Measured,
    Opened,
    Paused,
    Propose,
    Proposed,
    Resumed,
    Safe,
    Skipped,
    Stop,
    Stopped,
)
from sdl.core.goal import Goal, Tolerance
from sdl.core.objective import ObjectiveResult
from sdl.core.prices import Prices
from sdl.core.stopping import CostLimit, Minutes, Rule
from sdl.core.trials import Trial, TrialState
from sdl.errors import OutOfTurn
from sdl.types import GOOD_OUTCOMES, Outcome, Reading, Settings

if TYPE_CHECKING:
    from sdl.core.history import History  # it needs numpy, which a validation should not load


@dataclass(frozen=True, slots=True)
class Plan:
    """The instructions of a campaign.

    Attributes:
        goal: None: only the design is measured.
        rules: asked in order after every reading, failure and closed trial.
        average: readings per trial.
        confirm: further `average`s at settings whose readings lie inside.
        retries: further attempts at a reading whose failure is retryable.
        backoff: seconds before the first further attempt; doubles each time, up to `backoff_most`.
        collect: number of trials without a goal, and their largest number with one.
        improvement: with an objective, the expected improvement below which it is done; percent of the best reading, or
            in its unit. None: it is never done.
        prices: what readings and trials cost; None: nothing.
    """

    goal: Goal | None
    rules: tuple[Rule, ...] = ()
    average: int = 1
    confirm: int = 2
    retries: int = 3
    backoff: float = 1.0
    backoff_most: float = 60.0
    collect: int = 0
    improvement: Tolerance | None = None
    prices: Prices | None = None


class State(StrEnum):
    """What the campaign waits for; the events accepted in each state are listed in `Campaign.__post_init__`."""

    NEW = "new"
    PROPOSE = "propose"
    MEASURE = "measure"
    STOP = "stop"
    STOPPED = "stopped"


# Outcomes that changed rules can undo before they are written.
_BY_RULE = (Outcome.SPENT, Outcome.STALLED, Outcome.UNREACHABLE)

# Proposals in a row that must expect less improvement than is asked for.
CONVERGED = 2


@dataclass
class Campaign:
    """The fold of a record.

    Args:
        plan: its instructions; may be replaced before a Resumed that changes them is handled.
        history: empty, or with prior rows.
    """

    plan: Plan
    history: History
    state: State = State.NEW
    paused: bool = False
    interrupted: bool = False
    attempt: int = 0
    wait: float = 0.0
    stop: Stop | None = None
    safe: Safe | None = None
    converged: int = 0  # proposals in a row that expected less improvement than the plan asks for
    _at: float = 0.0
    _dearest: float = 0.0  # price of the dearest reading so far
    _attempts_before: int = 0  # attempts at readings before the last resume, from which `history.active` counts
    _table: dict[State, dict[type, Callable[..., None]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._tell_optimum()
        anytime: dict[type, Callable[..., None]] = {
            Resumed: self._resumed,
            AbortAsked: self._abort_asked,
            Attached: self._attached,
            Corrected: self._corrected,
            **dict.fromkeys((Paused, Continued, Interrupted, Safe), self._note),
        }
        self._table = {
            State.NEW: {Opened: self._opened},
            State.PROPOSE: {Proposed: self._proposed, Failed: self._propose_failed, **anytime},
            State.MEASURE: {
                Measured: self._measured,
                Failed: self._measure_failed,
                Skipped: self._skipped,
                **anytime,
            },
            State.STOP: {Stopped: self._stopped, **anytime},
            State.STOPPED: {
                Resumed: self._resumed,
                Safe: self._note,
                Attached: self._attached,
                Corrected: self._corrected,
            },
        }

    def handle(self, event: Event) -> list[Action]:
        """Fold one event into the state.

        Returns:
            The actions that are due now, as from `due`.

        Raises:
            OutOfTurn: as `fold`.
        """
        self.fold(event)
        return self.due()

    def fold(self, event: Event) -> None:
        """Fold one event into the state.

        Raises:
            OutOfTurn: the event is not expected now, or has other inputs than the instrument; the state is unchanged.
        """
        handler = self._table[self.state].get(type(event))
        if handler is None or not self._awaited(event):
            where = "paused " if self.paused else "interrupted " if self.interrupted else ""
            raise OutOfTurn(f"{type(event).__name__} in {where}state {self.state}, due {self.due()}: {event}")
        if isinstance(event, (Measured, Attached)):
            if lost := [name for name in self.history.inputs if name not in event.applied]:
                raise OutOfTurn(f"a reading that does not say what was applied of {', '.join(lost)}")
        elif isinstance(event, Proposed) and event.settings.keys() != set(self.history.inputs):
            raise OutOfTurn(f"a proposal of {', '.join(event.settings)}, not of {', '.join(self.history.inputs)}")
        idle = self.paused or self.interrupted or self.state is State.STOPPED
        if not idle and not isinstance(event, (Opened, Resumed, Safe)):
            self.history.active += max(event.at - self._at, 0.0)
        self._at = event.at
        handler(event)

    def due(self) -> list[Action]:
        """The outstanding action: none before Opened, after Stopped, while paused or interrupted; otherwise one."""
        if self.paused or self.interrupted:
            return []
        if self.state is State.PROPOSE:
            return [Propose(self.history.trials, self._to_confirm())]
        if self.state is State.MEASURE and (trial := self.history.open_trial) is not None:
            return [Measure(trial.trial, trial.settings, trial.taken, self.attempt, self.wait)]
        if self.state is State.STOP and self.stop is not None:
            return [self.stop]
        return []

    def _awaited(self, event: Event) -> bool:
        """Whether the event fits the outstanding action, beyond its type."""
        if isinstance(event, (Safe, Attached)):
            return True
        if isinstance(event, Corrected):
            return self.history.has_reading(event.trial, event.repeat)
        if self.interrupted and not isinstance(event, Resumed):
            return False
        if self.paused:
            return isinstance(event, (Resumed, Continued, Interrupted, AbortAsked))
        match event:
            case Continued():
                return False
            case Proposed():
                return event.trial == self.history.trials
            case Failed(stage="propose"):
                return self.state is State.PROPOSE and event.trial == self.history.trials
            case Measured() | Failed():
                trial = self.history.open_trial
                due = (trial.trial, trial.taken, self.attempt) if trial is not None else None
                return self.state is State.MEASURE and (event.trial, event.repeat, event.attempt) == due
            case Skipped():
                return self.history.open_trial is not None and event.trial == self.history.open_trial.trial
            case Resumed() if self.state is State.STOPPED:
                return self.history.outcome not in GOOD_OUTCOMES
            case Stopped():
                return self.stop is not None and event.outcome is self.stop.outcome
        return True

    # The events -----------------------------------------------------------------------------------------
    def _opened(self, event: Opened) -> None:
        self.state = State.PROPOSE

    def _resumed(self, event: Resumed) -> None:
        self.interrupted, self.safe = False, None
        self.history.active, self._attempts_before = 0.0, self.history.attempts
        self._tell_optimum()
        if self.state is State.STOPPED:
            self.history.failures = self.history.unreachable = 0
        if self.state is State.STOPPED or (self.stop is not None and self.stop.outcome in _BY_RULE):
            self._reopen()
        self._ask_rules()  # the plan may have changed

    def _proposed(self, event: Proposed) -> None:
        self.history.begin(event)
        if self.plan.prices is not None:
            self.history.cost += self.plan.prices.trial
        self.attempt, self.wait = 0, 0.0
        self.state = State.MEASURE

    def _propose_failed(self, event: Failed) -> None:
        self.history.last_error = event.error
        self._stop(Outcome.FAILED, f"no proposal: {event.error}", "solver")

    def _measured(self, event: Measured) -> None:
        self.history.attempts += 1
        self.attempt, self.wait = 0, 0.0
        self.history.add_reading(event)
        self._pay(event.applied)
        self._judge(self._trial())
        self._ask_rules()

    def _judge(self, trial: Trial) -> None:
        """Take more readings of the open trial, or close it."""
        average, confirmed = self.plan.average, self._all_readings
        if self.history.optimum is not None:
            if trial.readings >= (average * max(self.plan.confirm, 1) if trial.confirms else average):
                self._close(TrialState.CLOSED)
        elif trial.readings < average or average < trial.readings < confirmed:
            pass
        elif not trial.inside:
            confirming = trial.state is TrialState.CONFIRMING
            self._close(TrialState.NOT_CONFIRMED if confirming else TrialState.CLOSED)
        elif trial.readings < confirmed:
            trial.state = TrialState.CONFIRMING
        else:  # more readings than that where a resume asks for fewer confirmations
            self._close(TrialState.REACHED)

    def _measure_failed(self, event: Failed) -> None:
        self.history.attempts += 1
        self.history.last_error = event.error
        self._trial().fail(event.error)
        if event.maybe_measured:
            self._pay(self._trial().settings)
        if event.retryable and self.attempt < self.plan.retries:
            self.wait = min(self.plan.backoff * 2**self.attempt, self.plan.backoff_most)
            self.attempt += 1
        else:
            self._close(TrialState.FAILED)
        if event.stage == "interlock":
            self._stop(Outcome.FAILED, f"interlock: {event.error}", "interlock")
        elif event.stage == "driver":
            why = "a bug in the driver" if event.maybe_measured else "the instrument cannot be used"
            self._stop(Outcome.FAILED, f"{why}: {event.error}", "driver")
        self._ask_rules()

    def _skipped(self, event: Skipped) -> None:
        self._trial().why_skipped = event.why
        self._close(TrialState.SKIPPED)
        self._ask_rules()

    def _attached(self, event: Attached) -> None:
        self.history.attach(Reading(event.applied, event.readings, None, event.saturated))

    def _corrected(self, event: Corrected) -> None:
        trial = self.history.correct(event)
        if trial.over:
            self._judge_again(trial)
        elif trial.readings <= self.plan.average:
            trial.state = TrialState.OPEN
            if self.state is State.MEASURE:
                self._judge(trial)
        if self.state in (State.PROPOSE, State.MEASURE):
            self._ask_rules()

    def _judge_again(self, trial: Trial) -> None:
        """Decide anew whether a finished trial has reached the goal, and what follows for the campaign."""
        if trial.failed or trial.skipped or self.history.optimum is not None:
            return
        reached = trial.inside and trial.readings >= self._all_readings
        if reached == trial.reached:
            return
        trial.state = TrialState.REACHED if reached else TrialState.NOT_CONFIRMED
        ended = self.stop.outcome if self.stop is not None else None
        if reached and ended in (None, *_BY_RULE):
            self._stop_reached(trial)
        elif not reached and ended is Outcome.REACHED and not any(t.reached for t in self.history.closed):
            self._reopen()

    def _note(self, event: Paused | Continued | Interrupted | Safe) -> None:
        match event:
            case Safe():
                self.safe = event
            case Interrupted():
                self.interrupted = True
            case _:
                self.paused = isinstance(event, Paused)

    def _abort_asked(self, event: AbortAsked) -> None:
        self.paused = False
        if self.state is not State.STOP:
            self._stop(Outcome.ABORTED, event.reason, event.by)

    def _stopped(self, event: Stopped) -> None:
        self.history.outcome = event.outcome
        self.state = State.STOPPED

    def _pay(self, settings: Settings) -> None:
        """Add the price of a reading."""
        if self.plan.prices is not None:
            price = self.plan.prices.of_reading(settings)
            self.history.cost += price
            self._dearest = max(self._dearest, price)

    # What follows from them --------------------------------------------------------------------------------------
    def _tell_optimum(self) -> None:
        """Pass on what the plan says about an objective."""
        if self.history.optimum is not None:
            self.history.optimum.least = self.plan.improvement
            self.history.optimum.enough = self.plan.average * (1 + self.plan.confirm)

    def _reopen(self) -> None:
        self.history.outcome, self.stop = None, None
        self.state = State.MEASURE if self.history.open_trial is not None else State.PROPOSE

    def _trial(self) -> Trial:
        if self.history.open_trial is None:
            raise OutOfTurn("no trial is open")
        return self.history.open_trial

    def _close(self, state: TrialState) -> None:
        closed = self.history.close(state)
        self.attempt, self.wait = 0, 0.0
        self.state = State.PROPOSE
        if closed.reached:
            self._stop_reached(closed)
        elif self.plan.goal is None and self.history.trials >= self.plan.collect:
            self._stop(Outcome.DONE, self._points_measured(), "design")
        elif self.history.optimum is not None and not closed.failed and not closed.skipped:
            self._count_improvement(closed)
            if self.converged >= CONVERGED and self.history.optimum.is_confirmed and self._to_confirm() is None:
                self._stop(Outcome.DONE, self._no_more_improvement(), "improvement")

    def _count_improvement(self, closed: Trial) -> None:
        """Extend or end the streak of proposals that expected less improvement than is asked for.

        A confirmation leaves one of them, because the model has not seen its readings yet.
        """
        expected, estimate = closed.proposed.expected_improvement, closed.proposed.estimate
        if closed.confirms:
            self.converged = min(self.converged, CONVERGED - 1)
        elif self.plan.improvement is None or expected is None or estimate is None:
            self.converged = 0
        else:
            self.converged = self.converged + 1 if expected < self.plan.improvement.of(estimate) else 0

    def _to_confirm(self) -> Settings | None:
        """The settings that the next trial measures again: before the campaign is done, and at the budget's end."""
        if self.history.optimum is None or not (self.converged >= CONVERGED or self._is_last_but_confirmation()):
            return None
        return self.history.optimum.to_confirm()

    @property
    def seconds_per_attempt(self) -> float:
        """Mean time of an attempt at a reading since the last resume, the time between readings included."""
        return self.history.active / max(self.history.attempts - self._attempts_before, 1)

    def _is_last_but_confirmation(self) -> bool:
        """Whether the budget is not enough for a trial and a confirmation after it."""
        history, readings = self.history, self.plan.average * (1 + max(self.plan.confirm, 1))
        trial_price = self.plan.prices.trial if self.plan.prices is not None else 0.0
        cost = history.cost + 2 * trial_price + readings * self._dearest
        seconds = history.active + readings * self.seconds_per_attempt
        return history.trials == self.plan.collect - 1 or any(
            (isinstance(rule, CostLimit) and cost > rule.limit)
            or (isinstance(rule, Minutes) and seconds > 60 * rule.limit)
            for rule in self.plan.rules
        )

    def objective(self) -> ObjectiveResult | None:
        """What is known of the channel to maximise or minimise; None without one."""
        optimum = self.history.optimum
        if optimum is None:
            return None
        best, latest = optimum.incumbent, self.history.expectation
        return ObjectiveResult(
            optimum.channel,
            str(optimum.direction),
            best.mean[optimum.channel] if best is not None else None,
            best.std_error(optimum.channel) if best is not None else None,
            best.readings if best is not None else 0,
            optimum.is_confirmed,
            latest.estimate if latest is not None else None,
            latest.estimate_error if latest is not None else None,
            latest.expected_improvement if latest is not None else None,
        )

    def _no_more_improvement(self) -> str:
        best = self.history.optimum.describe() if self.history.optimum is not None else ""
        least = str(self.plan.improvement).replace("%", " %")
        return f"Less than {least} improvement is expected at {CONVERGED} proposals running. Best: {best}."

    @property
    def _all_readings(self) -> int:
        """Number of readings of a trial that is confirmed."""
        return self.plan.average * (1 + self.plan.confirm)

    def _stop_reached(self, trial: Trial) -> None:
        readings = f"mean of {trial.readings} readings" if trial.readings > 1 else "1 reading"
        self._stop(Outcome.REACHED, f"All channels within tolerance ({readings}).", "goal")

    def _points_measured(self) -> str:
        history, points = self.history, self.plan.collect
        if not history.failed and not history.skipped:
            return f"all {points} points measured" if points > 1 else "the point was measured"
        measured = history.trials - history.failed - history.skipped
        taken = f"{measured} of {points} point{'' if points == 1 else 's'} measured"
        taken += f", {history.skipped} skipped" if history.skipped else ""
        return f"{taken}; the last failure: {history.last_error}" if history.failed else taken

    def _ask_rules(self) -> None:
        if self.state is State.STOP:
            return
        if (prices := self.plan.prices) is not None:
            trial = self.history.open_trial
            self.history.next_cost = prices.of_reading(trial.settings) if trial else prices.trial + prices.reading
        for rule in self.plan.rules:
            if reason := rule.check(self.history, self.plan.goal):
                self._stop(reason.outcome, reason.text, reason.rule)
                return

    def _stop(self, outcome: Outcome, reason: str, by: str) -> None:
        self.stop = Stop(outcome, reason, by)
        self.state = State.STOP
