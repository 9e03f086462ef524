"""An instrument is off when a reply proves it, and only then; else it is asked again, said aloud and recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scripted
from drivers.server import DARK, OUT, Server, good, reset, says
from scripted import campaign, script_of, with_script

from sdl import runner
from sdl.clock import VirtualClock
from sdl.core.events import Continued, Event, Paused, Safe, Stopped
from sdl.drivers.base import Instrument
from sdl.drivers.checks import checked_safe
from sdl.errors import InstrumentError, Unreachable
from sdl.runner import Abort, Pause, Proceed, SwitchOff, SwitchOffPolicy
from sdl.runs.runs import Result, open_run
from sdl.store import record
from sdl.types import Outcome, Power, SafeState

OFF = SafeState(Power.OFF, dict.fromkeys("RGB", 0.0))
ON = SafeState(Power.ON, dict.fromkeys("RGB", 0.2), "it says that it applied 0.2")
UNKNOWN = SafeState(Power.UNKNOWN, None, "no answer")


pytestmark = pytest.mark.usefixtures("scripted_kinds")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def real(*answers: SafeState | BaseException | None, **options: Any) -> dict[str, Any]:
    """A campaign on a real instrument that says so of its light, in turn."""
    return campaign(with_script(says=answers, real=True), **options)


def run(tree: dict[str, Any], folder: Path, **options: Any) -> tuple[Result, list[Event], VirtualClock]:
    clock = VirtualClock(0.0)
    done = runner.run(tree, folder=folder, switch_off=SwitchOffPolicy(clock=clock), **options)
    return done, list(record.read(folder)), clock


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)


# The attempts ----------------------------------------------------------------------------------------------------
def switching_off(*answers: SafeState | BaseException | None, lasts: float = 0.0) -> tuple[SwitchOff, VirtualClock]:
    clock, turn = VirtualClock(0.0), iter(answers)

    def ask() -> SafeState | None:
        clock.sleep(lasts)
        answer = next(turn, ON)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return SwitchOff(ask, clock, virtual=False), clock


def test_off_at_once_is_asked_for_once_and_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    asked, clock = switching_off(OFF)
    assert asked.until(120.0) == OFF
    assert (asked.attempts, clock.now(), said(caplog)) == (1, 0.0, "")


def test_what_is_not_off_is_asked_again_each_second_and_people_are_told_after_twenty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, clock = switching_off(*[UNKNOWN] * 20, OFF)
    assert asked.until(120.0) == OFF
    assert (asked.attempts, clock.now(), asked.warned, said(caplog)) == (21, 20.0, False, "")
    asked, clock = switching_off(*[UNKNOWN] * 60, OFF)
    assert asked.until(120.0) == OFF
    assert (asked.attempts, clock.now()) == (61, 60.0)
    first, taken_back = said(caplog).splitlines()
    assert first.startswith("the instrument may still be on: no reply confirms that it is off (no answer)")
    assert taken_back == "the instrument is off now, 60 s after the first attempt"


def test_it_is_given_up_after_two_minutes_and_the_attempt_under_way_is_waited_for() -> None:
    asked, clock = switching_off(lasts=0.0)
    assert asked.until(120.0) == ON
    assert (asked.attempts, clock.now()) == (121, 120.0)
    asked, clock = switching_off(UNKNOWN, UNKNOWN, OFF, lasts=50.0)  # a server may block for 50 s, twice
    assert asked.until(120.0) == OFF
    assert (asked.attempts, clock.now()) == (3, 152.0)


def test_a_driver_that_says_nothing_is_unknown_and_not_asked_again() -> None:
    asked, clock = switching_off(None)
    assert asked.until(120.0).state is Power.UNKNOWN
    assert (asked.attempts, clock.now()) == (1, 0.0)
    assert checked_safe(None, virtual=True).state is Power.NOT_NEEDED, "nothing real was left on"
    with pytest.raises(TypeError, match="safe must return"):
        checked_safe(True, virtual=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (Unreachable("no answer"), 2),
        (OSError("cable"), 2),
        (InstrumentError("no such page"), 1),
        (AttributeError("no port"), 1),
    ],
)
def test_an_attempt_that_fails_is_repeated_where_that_may_help(error: Exception, attempts: int) -> None:
    asked, _ = switching_off(error, OFF)
    state = asked.until(120.0)
    assert (asked.attempts, state.proven) == (attempts, attempts == 2)
    assert state.proven or str(error) in state.why


def test_an_error_of_several_lines_is_told_on_one() -> None:
    switch, _ = switching_off(RuntimeError("pump\nblocked"), OFF)
    assert switch.until(0.0).why == "RuntimeError: pump; blocked"


def test_a_signal_between_two_attempts_ends_it_and_one_that_breaks_off_an_attempt_leaves_it_unknown() -> None:
    asked, _ = switching_off(ON, ON)
    assert asked.until(120.0, lambda: asked.attempts == 2) == ON
    asked, _ = switching_off(KeyboardInterrupt())
    assert asked.until(120.0).state is Power.UNKNOWN
    assert asked.until(120.0).state is Power.UNKNOWN
    assert asked.attempts == 1


# A campaign ------------------------------------------------------------------------------------------------------
def test_a_campaign_that_is_off_ends_with_safe_and_its_own_exit_code(tmp_path: Path) -> None:
    done, events, _ = run(real(), tmp_path / "run")
    assert isinstance(events[-2], Stopped)
    assert isinstance(events[-1], Safe)
    assert (events[-1].state, events[-1].applied, events[-1].attempts) == (Power.OFF, OFF.applied, 1)
    assert (done.outcome, done.safe, runner.exit_code(done)) == (Outcome.REACHED, events[-1], 0)
    found = record.check(tmp_path / "run")
    assert (found.finished, found.sealed, found.notes) == (True, True, ())


@pytest.mark.parametrize("last", [ON, UNKNOWN])
def test_one_that_is_never_off_keeps_its_outcome_and_ends_with_3(
    last: SafeState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done, events, clock = run(real(*[last] * 200), tmp_path / "run")
    assert (done.outcome, runner.exit_code(done)) == (Outcome.REACHED, 3)
    assert clock.now() == 120.0
    assert [type(event) for event in events[-2:]] == [Stopped, Safe]
    assert done.safe is not None
    assert (done.safe.state, done.safe.why, done.safe.attempts, done.safe.seconds) == (last.state, last.why, 121, 120.0)
    assert last.why in said(caplog)
    assert "check it yourself; gave up after 120 s" in said(caplog)
    assert open_run(tmp_path / "run").result.safe == done.safe
    assert record.check(tmp_path / "run").sealed


def test_what_would_have_ended_with_1_still_does(tmp_path: Path) -> None:
    done, _, _ = run(real(*[ON] * 200, goal={"x": 40000, "y": 1, "z": 1}, stop={"trials": 4}), tmp_path / "run")
    assert done.safe is not None
    assert (done.safe.state, runner.exit_code(done)) == (Power.ON, 1)


def test_the_last_state_decides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done, events, _ = run(real(*[UNKNOWN] * 60), tmp_path / "run")
    assert runner.exit_code(done) == 0
    assert done.safe is not None
    assert (done.safe.state, done.safe.seconds) == (Power.OFF, 60.0)
    assert "is off now, 60 s after" in said(caplog)
    assert sum(isinstance(event, Safe) for event in events) == 1


def test_a_campaign_killed_before_safe_is_sound_and_a_resume_makes_safe_and_gives_its_result(tmp_path: Path) -> None:
    done, events, _ = run(real(), tmp_path / "run")
    record.write_whole(tmp_path / "killed", events[:-1])
    found = record.check(tmp_path / "killed")
    assert (found.finished, found.sealed) == (True, True)
    again = runner.resume(tmp_path / "killed")
    assert again.outcome is done.outcome
    assert again.safe is not None
    assert again.safe.state is Power.OFF
    assert list(record.read(tmp_path / "killed"))[:-1] == events[:-1]


def test_a_lost_last_line_with_safe_is_found_by_the_seal(tmp_path: Path) -> None:
    run(real(), tmp_path / "run")
    file = tmp_path / "run" / record.FILE
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(record.Damaged, match="the record ends here"):
        record.check(tmp_path / "run")


def test_a_resume_forgets_what_was_known_of_the_light(tmp_path: Path) -> None:
    tree = real(*[ON] * 120, UNKNOWN, goal={"x": 40000, "y": 1, "z": 1}, stop={"trials": 4})
    first, _, _ = run(tree, tmp_path / "run")
    assert first.safe is not None
    assert first.safe.state is Power.UNKNOWN
    second = runner.resume(tmp_path / "run", changes=["stop.trials=5"])
    assert second.safe is not None
    assert second.safe.state is Power.OFF


def test_a_virtual_twin_that_is_off_costs_no_line(tmp_path: Path) -> None:
    done, events, _ = run(campaign(with_script()), tmp_path / "run")
    assert isinstance(events[-1], Stopped)
    assert done.safe is None
    done, events, _ = run(campaign(with_script(says=[ON] * 300)), tmp_path / "stuck")
    assert isinstance(events[-1], Safe)
    assert runner.exit_code(done) == 3


def test_a_pause_goes_on_asking_and_records_what_it_was_told(tmp_path: Path) -> None:
    tree = real(*[ON] * 25)
    script, paused = script_of(tree["instrument"]), []

    class Night:
        def ask(self, campaign: Any, now: float) -> Proceed | Pause | Abort:
            if script.calls.count("measure") != 1:
                return Proceed()
            paused.append(script.calls.count("safe"))
            return Pause("person in enclosure", "ada", poll_after=0.0) if len(paused) < 9 else Proceed("ada")

        def on_background(self, readings: Any, now: float) -> None:
            raise AssertionError

    _, events, _ = run(tree, tmp_path / "run", gate=Night())
    told = [event for event in events if isinstance(event, (Paused, Safe, Continued))]
    assert [type(event) for event in told] == [Paused, Safe, Safe, Continued, Safe]
    assert [event.state for event in told if isinstance(event, Safe)] == [Power.ON, Power.OFF, Power.OFF]
    assert paused[1] == 21, "it was asked for twenty seconds before anything else"


def test_a_process_that_died_may_have_left_it_on_so_it_is_asked_over_the_new_connection(
    tmp_path: Path, server: Server
) -> None:
    tree = {
        "name": "http",
        "instrument": {"kind": "claude-light", "url": server.url, "background": "none"},
        "goal": {"445nm": 16384},
        "stop": {"trials": 1},
    }
    _, events, _ = run(tree, tmp_path / "run")
    until = next(n for n, event in enumerate(events) if isinstance(event, Stopped))
    record.write_whole(tmp_path / "killed", events[:until])
    server.asked.clear()
    done = runner.resume(tmp_path / "killed")
    assert server.asked == [[0.0] * 3] * 2
    assert done.safe is not None
    assert done.safe.state is Power.OFF


# Over HTTP -------------------------------------------------------------------------------------------------------
def http(server: Server, **options: Any) -> dict[str, Any]:
    instrument = {"kind": "claude-light", "url": server.url, "connect_timeout": 30.0, "read_timeout": 30.0, **options}
    return {"name": "http", "instrument": instrument, "goal": None, "design": {"kind": "points", "points": [POINT]}}


POINT = {"R": 0.1, "G": 0.2, "B": 0.3}


@pytest.mark.parametrize(
    ("closing", "state", "why"),
    [
        (says({"in": [0.2] * 3, "out": DARK}), Power.ON, "it says that it applied R = 0.2, G = 0.2, B = 0.2"),
        (says({"in": [0.0] * 3, "out": OUT}), Power.ON, "its readings are those of the lit lamp"),
        (says({"in": [0.0] * 3, "out": dict.fromkeys(OUT, 65535)}), Power.UNKNOWN, "read full scale"),
        (says("<h1>Error", status="500 Internal Server Error"), Power.UNKNOWN, "it does not say why"),
        (reset, Power.UNKNOWN, "reset"),
    ],
)
def test_a_closing_reply_that_does_not_prove_it_is_asked_again_and_told(
    closing: Any, state: Power, why: str, server: Server, tmp_path: Path
) -> None:
    server.then(good, good, *[closing] * 3)
    done, _, _ = run(http(server), tmp_path / "taken-back", collect=True)
    assert done.safe is not None
    assert (done.outcome, done.safe.state, done.safe.attempts) == (Outcome.DONE, Power.OFF, 4)
    server.then(good, good, *[closing] * 200)
    done, _, _ = run(http(server), tmp_path / "never", collect=True)
    assert done.safe is not None
    assert (done.outcome, done.safe.state, runner.exit_code(done)) == (Outcome.DONE, state, 3)
    assert why in done.safe.why
    assert "somebody else" not in done.safe.why
    server.scripts.clear()


def test_a_server_that_was_never_reached_has_nothing_switched_on(tmp_path: Path) -> None:
    tree = http(Server()) | {"retry": {"times": 0}}
    tree["instrument"]["url"] = "http://127.0.0.1:1/api"
    done, events, clock = run(tree, tmp_path / "run", collect=True)
    assert isinstance(events[-1], Stopped)
    assert (done.outcome, done.safe, clock.now()) == (Outcome.DONE, None, 0.0)


def test_the_same_helper_serves_whoever_drives_without_a_campaign(caplog: pytest.LogCaptureFixture) -> None:
    instrument: Instrument = scripted.Scripted(**with_script(says=[ON] * 200, real=True))
    driver = instrument.open(VirtualClock(0.0))
    clock = VirtualClock(0.0)
    assert runner.switch_off(driver, instrument, clock, SwitchOffPolicy(clock=clock)) == ON
    assert "check it yourself; gave up after 120 s" in said(caplog)
