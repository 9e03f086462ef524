"""A small laboratory for the tests of the core: two inputs, three channels, and events made by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from sdl.core.campaign import Campaign, Plan
from sdl.core.events import (
    SCHEMA,
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
from sdl.core.goal import Band, Goal
from sdl.core.history import GrowingArray, History
from sdl.store.record import Record
from sdl.types import Outcome, Power, Reading, Verdict

INPUTS = ("R", "G")
CHANNELS = ("red", "green", "clear")
GOAL = Goal({"red": Band.around(100.0, 10.0), "green": Band.around(200.0, 20.0)})
SETTINGS = {"R": 0.5, "G": 0.25}
HIT = {"red": 100.0, "green": 200.0, "clear": 5.0}
MISS = {"red": 150.0, "green": 200.0, "clear": 5.0}


# Events ---------------------------------------------------------------------------------------------------------
def opened(at: float = 0.0, **changes: Any) -> Opened:
    plain = Opened(SCHEMA, "run-1", "test", {}, (), {}, "virtual", {}, True, "ada", at)
    return dataclasses.replace(plain, **changes)


def resumed(at: float = 0.0, **changes: Any) -> Resumed:
    return Resumed({}, changes, at)


def proposed(trial: int = 0, at: float = 0.0, **changes: Any) -> Proposed:
    plain = Proposed(trial, SETTINGS, {}, "test", 0, "because", {}, {}, {}, None, (), at)
    return dataclasses.replace(plain, **changes)


def measured(
    trial: int = 0,
    repeat: int = 0,
    attempt: int = 0,
    readings: Mapping[str, float] = HIT,
    at: float = 0.0,
    **changes: Any,
) -> Measured:
    plain = Measured(trial, repeat, attempt, SETTINGS, readings, None, (), None, 0.5, at)
    return dataclasses.replace(plain, **changes)


def failed(
    trial: int = 0, repeat: int = 0, attempt: int = 0, *, retryable: bool = False, at: float = 0.0, **changes: Any
) -> Failed:
    plain = Failed(trial, repeat, attempt, "measure", "no answer", retryable, False, at)
    return dataclasses.replace(plain, **changes)


def unproposed(trial: int = 0, at: float = 0.0) -> Failed:
    return Failed(trial, 0, 0, "propose", "singular", False, False, at)


def paused(at: float = 0.0) -> Paused:
    return Paused("lunch", "ada", at)


def continued(at: float = 0.0) -> Continued:
    return Continued("ada", at)


def interrupted(at: float = 0.0) -> Interrupted:
    return Interrupted("SIGINT", at)


def abort(at: float = 0.0) -> AbortAsked:
    return AbortAsked("ada", "smoke", at)


def stopped(outcome: Outcome = Outcome.ABORTED, at: float = 0.0) -> Stopped:
    return Stopped(outcome, "because", None, "test", at)


def attached(readings: Mapping[str, float] = MISS, at: float = 0.0) -> Attached:
    return Attached(SETTINGS, readings, (), "", "ada", at)


def skipped(trial: int = 0, at: float = 0.0) -> Skipped:
    return Skipped(trial, "no sample", "ada", at)


def corrected(
    trial: int = 0, repeat: int = 0, readings: Mapping[str, float] | None = HIT, at: float = 0.0
) -> Corrected:
    return Corrected(trial, repeat, readings, (), "typed wrongly", "ada", at)


def reading(values: Mapping[str, float] = HIT, **changes: Any) -> Reading:
    return dataclasses.replace(Reading(SETTINGS, values), **changes)


# Campaigns ------------------------------------------------------------------------------------------------------
def new_campaign(goal: Goal | None = GOAL, **plan: Any) -> Campaign:
    return Campaign(Plan(goal, **plan), History(INPUTS, CHANNELS, goal))


def play(campaign: Campaign, *events: Event) -> list[Action]:
    """Hands the events over; what is due at the end."""
    for event in events:
        campaign.handle(event)
    return campaign.due()


def perform(action: Action, at: float = 0.0, readings: Mapping[str, float] = HIT, **changes: Any) -> Event:
    """The event in which an action that succeeds ends."""
    match action:
        case Propose():
            return proposed(action.trial, at, **changes)
        case Measure():
            return measured(action.trial, action.repeat, action.attempt, readings, at, **changes)
        case Stop():
            return stopped(action.outcome, at)


def run_on(campaign: Campaign, readings: Mapping[str, float] = HIT, most: int = 1000) -> list[Event]:
    """Performs what is due until nothing is.

    Raises:
        RuntimeError: it never ends.
    """
    done: list[Event] = []
    while actions := campaign.due():
        if len(done) == most:
            raise RuntimeError(f"still due after {most} events: {actions}")
        done.append(perform(actions[0], readings=readings))
        campaign.handle(done[-1])
    return done


def snapshot(campaign: Campaign) -> str:
    """Everything a campaign and its history know, to the last digit, for comparing."""
    _ = campaign.history.rows  # the arrays are filled only when asked for
    own = {
        f.name: getattr(campaign, f.name) for f in dataclasses.fields(campaign) if f.name not in ("_table", "history")
    }
    seen = {
        name: value.view.tolist() if isinstance(value, GrowingArray) else value
        for name, value in vars(campaign.history).items()
    }
    return repr((own, seen))


# Any event at all ------------------------------------------------------------------------------------------------
_text = st.text(max_size=12)
_float = st.floats(allow_nan=False, allow_infinity=False)
_number = st.one_of(_float, st.integers(-(2**53), 2**53))
_count = st.integers(0, 10**9)
_values = st.dictionaries(_text, _number, max_size=4)
_unsure = st.dictionaries(_text, st.none() | _float, max_size=4)
_names = st.lists(_text, max_size=3).map(tuple)
_plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _number | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_tree = st.dictionaries(_text, _plain, max_size=3)
_versions = st.dictionaries(_text, _text, max_size=3)
_verdict = st.none() | st.sampled_from(Verdict)
_stage = st.sampled_from(["propose", "measure"])
_yes = st.booleans()


def _any(kind: Callable[..., Event], *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    return st.builds(kind, *fields, at=_float)


any_opened = _any(
    Opened,
    st.just(SCHEMA),
    _text,
    _text,
    _tree,
    st.lists(_tree, max_size=2).map(tuple),
    _tree,
    _text,
    _versions,
    _yes,
    _text,
)
any_later_event = st.one_of(
    _any(Resumed, _versions, _tree),
    _any(Proposed, _count, _values, _values, _text, _count, _text, _unsure, _unsure, _unsure, _verdict, _names),
    _any(Measured, _count, _count, _count, _values, _values, st.none() | _values, _names, st.none() | _text, _float),
    _any(Failed, _count, _count, _count, _stage, _text, _yes, _yes),
    _any(Paused, _text, _text),
    _any(Continued, _text),
    _any(Interrupted, _text),
    _any(AbortAsked, _text, _text),
    _any(Safe, st.sampled_from(Power), st.none() | _values, _text, _count, _float),
    _any(Attached, _values, _values, _names, _text, _text),
    _any(Skipped, _count, _text, _text),
    _any(Corrected, _count, _count, st.none() | _values, _names, _text, _text),
    _any(Stopped, st.sampled_from(Outcome), _text, st.none() | _count, _text),
)
any_event = any_opened | any_later_event


def write_record(folder: Path, events: Iterable[Event]) -> Path:
    """A sound record of these events."""
    record = Record.create(folder)
    for event in events:
        record.append(event)
    record.close()
    return folder
