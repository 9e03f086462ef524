"""Conditions under which a lab's campaigns pause: what may be asked for, and what the gate makes of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from scripted import ScriptedDriver, answer, campaign, script_of, with_script

from sdl import config, runner
from sdl.core.campaign import Campaign
from sdl.core.events import Continued, Event, Measured, Paused
from sdl.errors import ConfigError, Rejected, Unreachable
from sdl.lab.config.model import Suspend, disk_free, parse_size, unsupported_conditions
from sdl.lab.workers.gate import LabGate
from sdl.runner import Pause, Proceed
from sdl.types import Outcome, Reading
from tests.twin.fitted_kit import KEYS, written

from .lab_kit import job, lab_file

HERE = Path(__file__).parent
POINTS: dict[str, Any] = {
    "goal": None,
    "design": {"kind": "points", "points": [{"R": 0.5, "G": 0.5, "B": 0.5}] * 4},
}


pytestmark = pytest.mark.usefixtures("scripted_kinds")


def suspend(**keys: Any) -> Suspend:
    return Suspend.model_validate(keys)


def lit_by(*levels: float | None) -> Any:
    """An instrument whose background of x is each of these in turn, then 0; None: no background with that reading."""

    def step(level: float | None) -> Any:
        def play(driver: ScriptedDriver, requests: Mapping[str, float]) -> Reading:
            dark = None if level is None else {"x": level, "y": 0.0, "z": 0.0}
            return replace(answer(requests), background=dark)

        return play

    return with_script(*(step(level) for level in levels))


def run(gate: LabGate, instrument: Mapping[str, Any]) -> tuple[list[Event], Any]:
    events: list[Event] = []

    def watch(event: Event, state: Campaign) -> None:
        events.append(event)
        gate.observe(event, state)

    done = runner.run(campaign(instrument, **POINTS), runs=None, collect=True, gate=gate, watch=watch)
    assert done.outcome is Outcome.DONE
    return events, done


def pauses(events: list[Event]) -> list[tuple[str, str, float, float, str]]:
    """Cause, by whom, from, to, and who ended it, of each pause."""
    begun = [event for event in events if isinstance(event, Paused)]
    ended = [event for event in events if isinstance(event, Continued)]
    return [(a.cause, a.by, a.at, b.at, b.by) for a, b in zip(begun, ended, strict=True)]


def test_light_disk_and_twin_are_not_asked_for_by_default() -> None:
    events, _ = run(LabGate(suspend(), HERE, free=lambda _: 0), lit_by(1e9))
    assert pauses(events) == []


# --- ambient light ------------------------------------------------------------------------------------------------

BRIGHT = {"ambient": {"above": {"x": 100.0}, "look": "1min"}, "good_for": "5min"}


def test_light_of_the_room_above_its_limit_pauses_until_it_was_dark_for_the_stated_time() -> None:
    instrument = lit_by(50, 101, 400, 300, 99)
    events, done = run(LabGate(suspend(**BRIGHT), HERE), instrument)
    [(cause, by, begun, ended, who)] = pauses(events)
    assert cause == "the background is too high: x reads 101, above 100"
    assert (by, who) == ("suspend", "suspend: good for 5 min")
    assert begun == 2.0
    # Looked at after one, two and three minutes; dark from the third on, and so it was at the four after.
    assert 480.0 <= ended - begun <= 490.0
    looks = [requests for requests in script_of(instrument).asked if not any(requests.values())]
    assert len(looks) == 7
    assert done.readings == 4
    assert not script_of(instrument).lit


def test_a_light_that_comes_back_restarts_the_stated_time() -> None:
    events, _ = run(LabGate(suspend(**BRIGHT), HERE), lit_by(101, 0, 0, 0, 101, 0))
    [(*_, begun, ended, _)] = pauses(events)
    assert 600.0 <= ended - begun <= 615.0


def test_light_at_its_limit_is_no_reason() -> None:
    events, _ = run(LabGate(suspend(**BRIGHT), HERE), lit_by(100, 100, 100, None))
    assert pauses(events) == []


def test_only_the_light_of_the_room_makes_it_look() -> None:
    space = iter([10**9, *[1] * 20])
    instrument = lit_by(50)
    gate = LabGate(suspend(**BRIGHT, disk="1MB"), HERE, free=lambda _: next(space, 10**9))
    events, _ = run(gate, instrument)
    assert len(pauses(events)) == 1
    assert len(script_of(instrument).asked) == 4


# --- an instrument that is away -----------------------------------------------------------------------------------


def away(seconds: float, **retry: Any) -> tuple[dict[str, Any], dict[str, Any], list[float]]:
    """A campaign whose instrument gives no readings for so long after its first; when it was asked meanwhile."""
    requests: list[float] = []

    def play(driver: ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        requests.append(driver.clock.now())
        if requests[0] < driver.clock.now() <= requests[0] + seconds:
            raise Unreachable("nobody there")
        return answer(settings)

    instrument = with_script(*[play] * 10_000)
    points = {"kind": "points", "points": [{"R": n / 10, "G": 0.5, "B": 0.5} for n in range(1, 5)]}
    return instrument, {"goal": None, "design": points, "retry": retry}, requests


@pytest.mark.parametrize("retry", [{}, {"times": 0}, {"times": 1}, {"times": 12, "wait": 0.5}])
@pytest.mark.parametrize("seconds", [35.0, 600.0, 8 * 3600.0])
def test_an_instrument_away_for_however_long_costs_a_campaign_of_a_lab_nothing_but_time(
    seconds: float, retry: dict[str, Any]
) -> None:
    instrument, tree, requests = away(seconds, **retry)
    gate, events = LabGate(suspend(), HERE), list[Event]()

    def watch(event: Event, state: Campaign) -> None:
        events.append(event)
        gate.observe(event, state)

    done = runner.run(campaign(instrument, **tree), runs=None, collect=True, gate=gate, watch=watch)
    assert done.outcome is Outcome.DONE
    assert done.failed == (1 if retry == {"times": 0} else 0), "a trial without further tries has failed by then"
    [(cause, by, _, ended, who)] = pauses(events)
    assert cause.startswith("no reading in ")
    assert cause.endswith("last error: Unreachable: nobody there")
    assert (by, who) == ("suspend", "suspend: it gives readings again")
    assert ended <= requests[0] + seconds + 62.0, "it is asked once a minute at least"
    assert len(requests) <= 20 + seconds / 60, "and hardly more often"
    assert not script_of(instrument).lit


def test_the_tries_before_a_pause_are_within_seconds_so_that_a_short_absence_costs_seconds() -> None:
    instrument, tree, requests = away(10.0)
    gate = LabGate(suspend(), HERE)
    runner.run(campaign(instrument, **tree), runs=None, collect=True, gate=gate, watch=gate.observe)
    assert requests[-1] - requests[0] <= 10.0 + 12.0


def test_without_a_lab_or_where_its_file_says_so_the_campaign_fails_by_its_own_rules() -> None:
    for gate in (None, LabGate(suspend(away=None), HERE)):
        instrument, tree, requests = away(600.0)
        watch = gate.observe if gate is not None else None
        done = runner.run(
            campaign(instrument, **tree, stop={"failures": 2}), runs=None, collect=True, gate=gate, watch=watch
        )
        assert (done.outcome, done.by) == (Outcome.FAILED, "failures")
        assert requests[-1] - requests[0] < 60.0


def test_what_no_waiting_helps_against_is_not_waited_for() -> None:
    refused = with_script(*[Rejected("too bright")] * 99)
    gate = LabGate(suspend(), HERE)
    done = runner.run(campaign(refused, **POINTS), runs=None, collect=True, gate=gate, watch=gate.observe)
    assert done.failed == 4


def test_an_instrument_that_answers_in_the_dark_only_ends_the_campaign_after_all() -> None:
    def play(driver: ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        if any(settings.values()):
            raise Unreachable("no light")
        return answer(settings)

    gate = LabGate(suspend(), HERE)
    tree = campaign(with_script(*[play] * 999), **POINTS, stop={"failures": 2})
    assert runner.run(tree, runs=None, collect=True, gate=gate, watch=gate.observe).outcome is Outcome.FAILED


def test_who_says_go_on_has_an_instrument_that_is_away_tried_again() -> None:
    gate = LabGate(suspend(), HERE)
    instrument, tree, requests = away(1e9)
    decision: list[Any] = []

    class Impatient:
        on_background = gate.on_background

        def ask(self, state: Campaign, now: float) -> Any:
            decision.append(gate.ask(state, now))
            if isinstance(decision[-1], Pause) and requests[-1] - requests[0] > 100.0:
                gate.resume("ada")
            return decision[-1]

    tree = campaign(instrument, **tree, stop={"failures": 2})
    done = runner.run(tree, runs=None, collect=True, gate=Impatient(), watch=gate.observe)
    assert done.outcome is Outcome.FAILED, "and by its own rules it fails at last"


# --- disk, twin, and what is asked from outside -------------------------------------------------------------------


def test_a_disk_that_is_nearly_full_pauses_until_there_is_room() -> None:
    space = iter([10**9, 10**9, *[499_999_999] * 10])
    gate = LabGate(suspend(disk="500MB", good_for=10.0), HERE, free=lambda _: next(space, 500_000_000))
    [(cause, by, begun, ended, _)] = pauses(run(gate, lit_by())[0])
    assert (cause, by) == ("the disk is nearly full: 500 MB free, less than 500 MB", "suspend")
    assert ended - begun == pytest.approx(9 * 0.5 + 10.0, abs=1.0)


def test_the_free_space_is_that_of_the_folder_or_of_what_there_is_of_it(tmp_path: Path) -> None:
    requests: list[Path] = []
    gate = LabGate(suspend(disk="1MB"), tmp_path / "not" / "yet", free=lambda path: requests.append(path) or 10**9)
    run(gate, lit_by())
    assert set(requests) == {tmp_path / "not" / "yet"}
    free = shutil.disk_usage(tmp_path).free
    assert disk_free(tmp_path / "not" / "yet") == pytest.approx(free, rel=0.1)
    real = LabGate(suspend(disk="1000000TB"), tmp_path)
    assert isinstance(real.ask(None, 0.0), Pause)  # type: ignore[arg-type]


def test_an_instrument_that_no_longer_matches_its_twin_pauses_until_it_is_resumed() -> None:
    twin = {"kind": "twin", "ambient": "none", "seed": 4}
    points = [{"R": i / 12, "G": (i * 5 % 12) / 12, "B": (i * 7 % 12) / 12} for i in range(1, 11)]
    events: list[Event] = []
    requests = 0

    class Watched(LabGate):
        def ask(self, campaign: Campaign, now: float) -> Any:
            nonlocal requests
            decision = super().ask(campaign, now)
            requests += isinstance(decision, Pause)
            if requests == 200:
                self.resume("ada")
            return decision

    gate = Watched(suspend(twin="twin", good_for=1.0), HERE)

    def watch(event: Event, state: Campaign) -> None:
        events.append(event)
        if isinstance(event, Measured):  # as if the lamp had only half its light
            event = replace(event, readings={name: value / 2 for name, value in event.readings.items()})
        gate.observe(event, state)

    tree = {"name": "t", "instrument": twin, "design": {"kind": "points", "points": points * 2}}
    runner.run(tree, runs=None, collect=True, gate=gate, watch=watch)
    (cause, by, begun, ended, who), *_ = pauses(events)
    assert (by, who) == ("suspend", "ada")
    assert "twin" in cause or "than" in cause, cause
    assert ended - begun >= 90.0
    assert [event.trial for event in events if isinstance(event, Measured) and event.at <= begun] == [*range(8)]


def test_a_pause_from_outside_ends_when_it_is_ended_and_the_record_says_by_whom() -> None:
    gate = LabGate(suspend(), HERE)
    gate.pause("cleaning", "ada")
    assert gate.ask(None, 0.0) == Pause("cleaning", "ada")  # type: ignore[arg-type]
    gate.proceed("bob")
    assert gate.ask(None, 1.0) == Proceed("bob")  # type: ignore[arg-type]


def ask(gate: LabGate, now: float) -> Any:
    return gate.ask(None, now)  # type: ignore[arg-type]


def test_the_end_of_a_pause_from_outside_leaves_a_condition_that_only_a_resume_ends() -> None:
    gate = LabGate(suspend(), HERE)
    gate._mismatch = "it no longer matches its twin"
    gate.pause("cleaning", "ada")
    assert ask(gate, 0.0) == Pause("cleaning", "ada")
    gate.proceed("bob")
    assert ask(gate, 1.0) == Proceed("bob"), "so that the record has who ended that pause"
    assert ask(gate, 1.0).cause == "it no longer matches its twin", "asked again before anything is measured"
    gate.pause("cleaning", "ada")
    gate.resume("bob")
    assert ask(gate, 2.0) == Proceed("bob")
    assert ask(gate, 2.0) == Pause("cleaning", "ada"), "a resume ends no pause that was asked for"


def test_a_pause_that_ended_before_it_began_lets_nothing_past_a_condition() -> None:
    gate = LabGate(suspend(disk="1MB"), HERE, free=lambda _: 0)
    gate.pause("cleaning", "ada")
    gate.proceed("bob")
    assert ask(gate, 0.0).by == "suspend"


def test_one_pause_that_takes_the_place_of_another_never_lets_a_reading_through() -> None:
    gate = LabGate(suspend(), HERE)
    seen, events = list[str](), list[Event]()

    class Watched:
        on_background = gate.on_background

        def ask(self, campaign: Campaign, now: float) -> Any:
            decision = gate.ask(campaign, now)
            if isinstance(decision, Pause) and (not seen or seen[-1] != decision.cause):
                seen.append(decision.cause)
                if len(seen) < 4:
                    gate.pause(f"cause {len(seen)}", "ada")
                else:
                    gate.abort("enough", "ada")
            return decision

    gate.pause("cause 0", "ada")
    tree = campaign(lit_by(0), **POINTS)
    runner.run(tree, runs=None, collect=True, gate=Watched(), watch=lambda event, state: events.append(event))
    assert not [event for event in events if isinstance(event, Measured)]
    assert [event.cause for event in events if isinstance(event, Paused)] == [f"cause {n}" for n in range(4)]
    assert [event.by for event in events if isinstance(event, Continued)] == ["lab"] * 3


def test_who_says_go_on_does_not_outvote_a_condition_that_still_holds() -> None:
    gate = LabGate(suspend(disk="1MB"), HERE, free=lambda _: 0)
    assert isinstance(gate.ask(None, 0.0), Pause)  # type: ignore[arg-type]
    gate.resume("ada")
    decision = gate.ask(None, 0.0)  # type: ignore[arg-type]
    assert isinstance(decision, Pause)
    assert decision.by == "suspend"


def test_who_says_go_on_need_not_wait_for_the_stated_time_once_all_is_well() -> None:
    space = [0]
    gate = LabGate(suspend(disk="1MB", good_for="1h"), HERE, free=lambda _: space[0])
    assert isinstance(gate.ask(None, 0.0), Pause)  # type: ignore[arg-type]
    space[0] = 10**9
    assert isinstance(gate.ask(None, 1.0), Pause)  # type: ignore[arg-type]
    gate.resume("ada")
    assert gate.ask(None, 2.0) == Proceed("ada")  # type: ignore[arg-type]


def test_the_first_of_two_aborts_is_the_one_that_is_kept() -> None:
    gate = LabGate(suspend(), HERE)
    gate.pause("cleaning", "ada")
    gate.abort("broken", "ada")
    gate.abort("me too", "bob")
    assert gate.ask(None, 0.0) == runner.Abort("broken", "ada")  # type: ignore[arg-type]


def test_a_clock_set_back_does_not_hold_a_campaign_for_longer_than_the_stated_time() -> None:
    space = [0]
    gate = LabGate(suspend(disk="1MB", good_for="5min"), HERE, free=lambda _: space[0])
    gate.ask(None, 100_000.0)  # type: ignore[arg-type]
    space[0] = 10**9
    gate.ask(None, 100_001.0)  # type: ignore[arg-type]
    assert isinstance(gate.ask(None, 1_000.0), Pause)  # type: ignore[arg-type]
    assert isinstance(gate.ask(None, 1_301.0), Proceed)  # type: ignore[arg-type]


# --- what may be asked for ----------------------------------------------------------------------------------------


def light(**keys: Any) -> Any:
    return config.parse_kind("instrument", keys)


def test_ambient_light_is_refused_where_the_instrument_cannot_tell_it() -> None:
    wanted = suspend(ambient={"above": {"clear": 2000.0, "infrared": 1.0}}, twin="twin")
    problems = unsupported_conditions(wanted, light(kind="claude-light", background="none"))
    assert [problem.path for problem in problems] == ["ambient.above.infrared", "ambient"]
    assert "background: each" in problems[1].message
    assert "415nm, 445nm" in problems[0].message


@pytest.mark.parametrize(
    ("kind", "channel"),
    [
        ({"kind": "claude-light"}, "clear"),
        ({"kind": "twin", "background": {"every": 10}}, "clear"),
        ({"kind": "sdl-light", "host": "broker.example", "device": "x"}, "445nm"),
    ],
)
def test_an_instrument_that_measures_its_background_is_good_enough(kind: dict[str, Any], channel: str) -> None:
    wanted = suspend(ambient={"above": {channel: 2000.0}})
    instrument = light(**kind)
    named = [c.name for c in instrument.channels]
    problems = unsupported_conditions(wanted, instrument)
    assert problems == [] or channel not in named, problems


def test_a_twin_with_other_inputs_is_refused() -> None:
    problems = unsupported_conditions(suspend(twin="twin"), light(kind="twin", variant="rgbw"))
    assert [problem.path for problem in problems] == ["twin"]
    assert unsupported_conditions(suspend(twin="twin"), light(kind="twin")) == []


def test_the_model_reads_back_what_it_writes() -> None:
    wanted = suspend(**BRIGHT, disk="500MB", twin="night-2024-09")
    assert Suspend.model_validate(wanted.model_dump(mode="json")) == wanted
    assert (wanted.disk, wanted.good_for) == (500_000_000, 300.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"disk": "500"},
        {"disk": "-1MB"},
        {"disk": 0},
        {"disk": True},
        {"good_for": "0s"},
        {"ambient": {"above": {}}},
        {"ambient": {"above": {"clear": -1.0}}},
        {"twin": "nobody"},
        {"light": 3},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Suspend.model_validate(wrong)


def test_sizes_are_read_as_people_write_them() -> None:
    assert [parse_size(text) for text in ("500MB", "1.5 GB", "2kB", 7)] == [500_000_000, 1_500_000_000, 2000, 7]


def test_twin_stands_for_the_twin_that_the_instrument_of_a_lab_names(tmp_path: Path) -> None:
    written(tmp_path)
    rig = {"kind": "command", "command": ["x"], **KEYS, "twin": "rig-twin.toml"}
    instruments = {"rig": {"instrument": rig}, "led": {"instrument": {"kind": "twin"}}}
    lab = lab_file(tmp_path, {"j": job("led", when={"every": "1h"})}, instruments=instruments, suspend={"twin": "twin"})
    assert [lab.lab.suspend_of(name).twin for name in instruments] == [str(tmp_path / "rig-twin.toml"), "twin"]
    state = lab.lab.suspend_of("rig").state
    assert state is not None
    assert {*state.inputs} == {"red", "blue"}
    instruments["rig"] = {"instrument": {**rig, "twin": "gone.toml"}}
    with pytest.raises(ConfigError, match=r"suspend.twin: .*gone\.toml"):
        lab_file(tmp_path, {"j": job("led", when={"every": "1h"})}, instruments=instruments, suspend={"twin": "twin"})
