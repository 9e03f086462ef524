"""The gate: pauses, continues and aborts a running campaign; what the record and the instrument see of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from scripted import Script, ScriptedDriver, answer, campaign, script_of, with_script

from sdl import runner
from sdl.core.campaign import Campaign, State
from sdl.core.events import AbortAsked, Continued, Event, Failed, Interrupted, Measured, Paused, Resumed, Stopped
from sdl.errors import Unreachable
from sdl.runner import Abort, CampaignInterrupted, Pause, Proceed
from sdl.runner.gate import Decision
from sdl.store import record
from sdl.types import Outcome, Reading

COLLECT: dict[str, Any] = {"goal": None, "design": {"kind": "points", "points": [{"R": 0.5, "G": 0.5, "B": 0.5}] * 3}}


pytestmark = pytest.mark.usefixtures("scripted_kinds")


class Judge:
    """A gate that asks a function, and keeps what it was told."""

    def __init__(self, judge: Callable[[Campaign, float], Decision]) -> None:
        self.judge, self.asked = judge, 0
        self.told: list[Mapping[str, float] | None] = []

    def ask(self, campaign: Campaign, now: float) -> Decision:
        self.asked += 1
        return self.judge(campaign, now)

    def on_background(self, readings: Mapping[str, float] | None, now: float) -> None:
        self.told.append(readings)


def run(gate: Judge, instrument: Mapping[str, Any], **changes: Any) -> tuple[list[Event], Any]:
    """Collects three points in memory with a gate; the events and the result."""
    events: list[Event] = []
    tree = campaign(instrument, **{**COLLECT, **changes})
    tree.pop("stop")
    done = runner.run(
        {**tree, "stop": changes.get("stop", {})},
        runs=None, collect=True, gate=gate, watch=lambda event, _: events.append(event),
    )  # fmt: skip
    return events, done


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


def between(low: float, high: float, cause: str = "too bright") -> Callable[[Campaign, float], Decision]:
    """Holds after the first reading, from `low` to `high` seconds."""
    return lambda _, now: Pause(cause, "the room") if low <= now < high else Proceed("the room")


def looking_once() -> Callable[[Campaign, float], Decision]:
    """Holds from 1 to 9 seconds, with one look once it is paused."""
    looks = iter([True])

    def judge(state: Campaign, now: float) -> Decision:
        return (
            Pause("bright", "room", sample_background=state.paused and next(looks, False))
            if 1.0 <= now < 9.0
            else Proceed()
        )

    return judge


def test_a_hold_and_its_end_are_in_the_record_with_cause_and_person() -> None:
    events, done = run(Judge(between(1.0, 9.0)), with_script())
    assert done.outcome is Outcome.DONE
    paused = next(event for event in events if isinstance(event, Paused))
    continued = next(event for event in events if isinstance(event, Continued))
    assert (paused.cause, paused.by, paused.at) == ("too bright", "the room", 1.0)
    assert (continued.by, continued.at) == ("the room", 9.0)
    assert names(events).index("Paused") + 1 == names(events).index("Continued")
    assert len([event for event in events if isinstance(event, Measured)]) == 3


def test_while_paused_the_light_is_off_and_the_connection_closed_and_it_is_opened_after() -> None:
    instrument = with_script()
    lit: list[bool] = []

    def judge(_: Campaign, now: float) -> Decision:
        if not 1.0 <= now < 9.0:
            return Proceed()
        lit.append(script_of(instrument).lit)
        return Pause("too bright", "the room")

    run(Judge(judge), instrument)
    assert lit[0]  # asked before anything was done about it
    assert not any(lit[1:])
    assert script_of(instrument).calls == [
        *("open", "measure", "safe", "close"),
        *("open", "measure", "measure", "safe", "close"),
    ]


def test_a_campaign_held_from_the_start_touches_nothing() -> None:
    instrument = with_script()
    seen: list[list[str]] = []

    def judge(_: Campaign, now: float) -> Decision:
        seen.append(list(script_of(instrument).calls))
        return Pause("night", "lab") if now < 5.0 else Proceed()

    events, _ = run(Judge(judge), instrument)
    assert names(events)[1] == "Paused"
    assert not any(seen[:10])


def test_an_abort_ends_it_with_reason_and_person_and_the_light_off() -> None:
    instrument = with_script()
    events, done = run(Judge(lambda _, now: Abort("wrong sample", "ada") if now >= 1.0 else Proceed()), instrument)
    assert names(events)[-2:] == ["AbortAsked", "Stopped"]
    assert isinstance(events[-2], AbortAsked)
    assert (events[-2].by, events[-2].reason) == ("ada", "wrong sample")
    assert (done.outcome, done.reason, done.by) == (Outcome.ABORTED, "wrong sample", "ada")
    assert not script_of(instrument).lit


def test_a_paused_campaign_can_be_aborted() -> None:
    def judge(_: Campaign, now: float) -> Decision:
        return Proceed() if now < 1 else Pause("night", "lab") if now < 5 else Abort("no more", "ada")

    events, done = run(Judge(judge), with_script())
    assert names(events)[-3:] == ["Paused", "AbortAsked", "Stopped"]
    assert done.outcome is Outcome.ABORTED


def test_what_is_decided_is_written_even_while_held() -> None:
    """The end is not held back: the record closes."""

    def judge(state: Campaign, _: float) -> Decision:
        return Pause("night", "lab") if state.state is State.STOP else Proceed()

    events, done = run(Judge(judge), with_script())
    assert done.outcome is Outcome.DONE
    assert "Paused" not in names(events)


def test_a_back_off_is_waited_in_short_steps_and_can_be_broken_off() -> None:
    fails = Unreachable("no network")
    gate = Judge(lambda state, now: Abort("home time", "ada") if state.wait and now > 20 else Proceed())
    retry = {"times": 5, "wait": 3600.0, "longest": 3600.0}
    events, done = run(gate, with_script(fails, fails), retry=retry)
    assert done.outcome is Outcome.ABORTED
    assert events[-1].at < 22
    assert gate.asked > 30


def test_a_back_off_is_as_long_with_a_gate_as_without() -> None:
    def times(**more: Any) -> list[float]:
        events: list[Event] = []
        tree = campaign(with_script(Unreachable("x"), Unreachable("x")), **COLLECT, retry={"times": 5, "wait": 1.7})
        runner.run(tree, runs=None, collect=True, watch=lambda event, _: events.append(event), **more)
        return [event.at for event in events]

    assert times(gate=Judge(lambda *_: Proceed())) == times()


def test_failing_readings_pause_nothing() -> None:
    events, _ = run(Judge(lambda *_: Proceed()), with_script(Unreachable("x")), retry={"times": 1, "wait": 0.0})
    assert len([event for event in events if isinstance(event, Failed)]) == 1
    assert "Paused" not in names(events)


def test_minutes_of_a_rule_leave_the_pause_out() -> None:
    goal = {"goal": {"x": 1, "y": 60000, "z": 1}, "design": {"kind": "axis"}, "stop": {"minutes": 0.1, "trials": 99}}
    events: list[Event] = []
    tree = campaign(with_script(), **goal, solver={"kind": "random"})
    done = runner.run(tree, runs=None, gate=Judge(between(2.0, 600.0)), watch=lambda event, _: events.append(event))
    assert done.by == "minutes"
    assert done.readings == 6  # six seconds of running, one a reading
    assert events[-1].at > 600


def test_a_look_takes_one_reading_in_the_dark_that_is_no_row() -> None:
    instrument = with_script(None, lambda driver, asked: answer(asked, readings={"x": 7.0, "y": 8.0, "z": 9.0}))
    gate = Judge(looking_once())
    _, done = run(gate, instrument)
    assert gate.told == [{"x": 7.0, "y": 8.0, "z": 9.0}]
    assert script_of(instrument).asked[1] == {"R": 0.0, "G": 0.0, "B": 0.0}
    assert done.readings == 3
    assert script_of(instrument).calls[:6] == ["open", "measure", "safe", "close", "open", "measure"]


def test_a_look_that_fails_tells_so_and_the_pause_goes_on() -> None:
    instrument = with_script(None, Unreachable("gone"))
    gate = Judge(looking_once())
    _, done = run(gate, instrument)
    assert gate.told == [None]
    assert done.readings == 3
    assert not script_of(instrument).lit


def _sigterm_after(script: Script, asked: int) -> Callable[[Campaign, float], Decision]:
    """Held after the first reading; SIGTERM comes while it waits."""
    count = iter(range(asked + 1))

    def judge(state: Campaign, now: float) -> Decision:
        if now < 1.0:
            return Proceed()
        if state.paused and next(count, None) == asked - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return Pause("night", "lab")

    return judge


def test_a_paused_campaign_is_interruptible_and_stays_paused_until_the_gate_of_its_resume_lets_go(
    tmp_path: Path,
) -> None:
    instrument = with_script()
    tree = campaign(instrument, **COLLECT)
    with pytest.raises(CampaignInterrupted):
        runner.run(tree, folder=tmp_path / "mine", collect=True, gate=Judge(_sigterm_after(script_of(instrument), 3)))
    events = list(record.read(tmp_path / "mine"))
    assert names(events)[-2:] == ["Paused", "Interrupted"]
    resumed_at = events[-1].at
    done = runner.resume(tmp_path / "mine", gate=Judge(between(0.0, resumed_at + 50.0)))
    events = list(record.read(tmp_path / "mine"))
    after = events[[type(event) for event in events].index(Interrupted) :]
    assert [type(event) for event in after[:3]] == [Interrupted, Resumed, Continued]
    assert after[2].at >= resumed_at + 50.0
    assert (done.outcome, done.readings) == (Outcome.DONE, 3)
    assert isinstance(events[-1], Stopped)


def test_a_resume_after_a_death_makes_safe_before_it_waits(tmp_path: Path) -> None:
    instrument = with_script()

    class Killed(KeyboardInterrupt):
        pass

    def dies(driver: ScriptedDriver, _: Mapping[str, float]) -> Reading:
        driver.script.safe_fails = driver.script.safe_fails or Unreachable("as if killed")
        raise Killed

    script_of(instrument).steps = [None, dies]
    with pytest.raises(Killed):
        runner.run(campaign(instrument, **COLLECT), folder=tmp_path / "mine", collect=True)
    script = script_of(instrument)
    assert script.lit
    script.safe_fails, script.calls[:] = None, []
    lit: list[bool] = []

    def judge(state: Campaign, now: float) -> Decision:
        lit.append(script.lit)
        return Pause("night", "lab") if now < 220.0 else Proceed()  # the death took two minutes

    runner.resume(tmp_path / "mine", gate=Judge(judge))
    assert lit[0]
    assert not any(lit[1:190])
    assert script.calls[:3] == ["open", "safe", "close"]


def test_the_caller_names_the_folder_of_a_run(tmp_path: Path) -> None:
    done = runner.run(campaign(with_script(), **COLLECT), folder=tmp_path / "a" / "b", collect=True)
    assert done.run == str(tmp_path / "a" / "b")
    assert next(iter(record.read(tmp_path / "a" / "b"))).run == "b"  # type: ignore[union-attr]
