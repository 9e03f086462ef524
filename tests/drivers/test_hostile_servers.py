"""Whatever a server does: the campaign ends, what it calls reached was measured, its lamp is off or is said not to be.

A campaign runs on a server on a real socket, in virtual time; what is true of the lamp is known to the
test (`hostile.Lamp`). A fault that passes costs readings and no more. One that stays ends the campaign.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import sdl
from sdl.clock import VirtualClock
from sdl.drivers.http import HttpConnection, HttpReply
from sdl.runner import exit_code
from sdl.runner.shutdown import SwitchOffPolicy
from sdl.store import record
from sdl.types import Outcome, Power

from . import hostile
from .hostile import FAULTS, FINAL, LATE, Act, Hostile, Lamp, When
from .server import NAMES, Server

GOAL = {"445nm": 9000, "515nm": 20000, "630nm": 9000}
TOLERANCE = 0.03
PASSING = {**FAULTS, **LATE}


@dataclass
class Ended:
    """What came of a campaign on a hostile server."""

    result: sdl.Result
    lamp: Lamp
    met: int
    log: str

    @property
    def off(self) -> bool:
        """Whether off is proven, and true."""
        return self.result.safe is not None and self.result.safe.state is Power.OFF and not self.lamp.lit

    @property
    def said(self) -> bool:
        """Whether people are told that it may be on: by a warning, the exit code and the record."""
        safe = self.result.safe
        return bool(
            safe is not None and safe.state is not Power.OFF and exit_code(self.result) and "the instrument" in self.log
        )


Campaign = Callable[..., Ended]


@pytest.fixture
def campaign(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Campaign:
    """Runs one on the server, and looks at what holds however it ends."""

    def on(act: Act, when: When, *, slow: bool = False, room: float = 0.0, **options: Any) -> Ended:
        clock, lamp, get = VirtualClock(1.7e9), Lamp(room=room), HttpConnection.get
        server.otherwise = hostile = Hostile(lamp, act, when, clock, slow=slow)

        def ask(link: HttpConnection, params: Mapping[str, str], within: float) -> HttpReply:
            return get(link, params, hostile.time_limit([float(value) for value in params.values()], within))

        monkeypatch.setattr(HttpConnection, "get", ask)
        monkeypatch.setattr("sdl.runner.start.clock_for", lambda instrument, at=None: clock)
        tree = {
            "name": "hostile",
            "instrument": {"kind": "claude-light", "url": server.url, "connect_timeout": 30.0, "read_timeout": 30.0},
            "goal": {name: count + room for name, count in GOAL.items()},
            "tolerance": f"{100 * TOLERANCE}%",
            "solver": "linear",
            "retry": {"times": 2},
            "stop": {"trials": 15, "failures": 3},
        }
        tree["instrument"] |= options
        with caplog.at_level(logging.WARNING, logger="sdl"):
            result = sdl.run(tree, runs=tmp_path, switch_off=SwitchOffPolicy(clock=clock))
        ended = Ended(result, lamp, hostile.met, caplog.text)
        assert hostile.met, "the server was never hostile"
        assert len(server.asked) < 400
        assert ended.off or ended.said, (result.reason, result.safe, caplog.text)
        assert record.check(Path(result.run)).finished
        assert len(result.reason) < 1500
        return ended

    return on


def from_the(first: int, what: str = "all", last: int = 10_000) -> When:
    """Requests from some number to another: of all, of those with the light on, or of those with it off."""
    if what == "all":
        return lambda number, own, asked: first <= number <= last
    return lambda number, own, asked: any(asked) is (what == "lit") and first <= own <= last


def now_and_then(number: int, own: int, asked: list[float]) -> bool:
    """Two readings in the middle, and the first three requests to be off; without backgrounds there are no others."""
    return number in (5, 6) if any(asked) else own <= 3


def true_to_the_goal(ended: Ended) -> bool:
    """Whether the lamp, at the settings that the campaign ended at, reads what was wanted."""
    seen = ended.lamp.plant.noise_free(ended.result.applied)
    return all(abs(seen[name] - count) <= 1.5 * TOLERANCE * count for name, count in GOAL.items())


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_costs_no_more_than_readings_and_off_is_pursued_until_it_is_proven(
    name: str, campaign: Campaign
) -> None:
    ended = campaign(PASSING[name], now_and_then, slow=name in LATE, background="none")
    assert ended.result.outcome is Outcome.REACHED
    assert true_to_the_goal(ended)
    assert ended.met == 5
    assert ended.off
    assert exit_code(ended.result) == 0


@pytest.mark.parametrize("name", [*PASSING, *FINAL])
def test_a_fault_that_stays_ends_the_campaign_and_what_is_not_known_is_said(name: str, campaign: Campaign) -> None:
    ended = campaign({**PASSING, **FINAL}[name], from_the(4), slow=name in LATE, background="none")
    assert ended.result.outcome is Outcome.FAILED
    assert ended.said
    assert exit_code(ended.result) == 3


@pytest.mark.parametrize("name", FINAL)
def test_an_answer_that_asking_again_cannot_mend_is_said_at_the_end(name: str, campaign: Campaign) -> None:
    ended = campaign(FINAL[name], from_the(1, "dark"), background="none")
    assert ended.result.outcome is Outcome.REACHED, "its readings were good"
    assert ended.said
    assert exit_code(ended.result) == 3


REFUSED = (Outcome.FAILED,)
ANY = tuple(Outcome)

LIES: dict[str, tuple[Act, When, dict[str, Any], tuple[Outcome, ...], str]] = {
    # name: what it does, when, how it is driven, how the campaign may end, words of the reason or of a failure
    "the LED stays on, says the last reply": (
        hostile.at_least(0.2), from_the(1, "dark"), {"background": "none"}, (Outcome.REACHED,), "",
    ),
    "the LED stays on, say all dark replies": (
        hostile.at_least(0.2), from_the(3, "dark"), {}, REFUSED, "the background",
    ),
    "the LED stays on, says every reply": (hostile.stays_on, from_the(3, "dark"), {}, REFUSED, "the background"),
    "the LED is never darker than .2": (hostile.at_least(0.2), from_the(5), {}, REFUSED, "the background"),
    "the LED is stuck on, the echo right, at the end": (
        hostile.stuck_on, from_the(1, "dark"), {"background": "none"}, (Outcome.REACHED,), "",
    ),
    "the LED is stuck on, the echo right, whenever it is to be off": (
        hostile.stuck_on, from_the(3, "dark"), {}, ANY, "",
    ),
    "the LED is stuck on, the echo right": (hostile.stuck_on, from_the(5), {}, REFUSED, "LED is dead"),
    "the LED is stuck off": (hostile.stuck_off, from_the(5), {}, REFUSED, "is dead"),
    "the LED is stuck off, in a lit room": (hostile.stuck_off, from_the(5), {"room": 2000.0}, REFUSED, "LED is dead"),
    "the LED is stuck off, without backgrounds": (
        hostile.stuck_off, from_the(5), {"background": "none"}, REFUSED, "is dead",
    ),
    "the LED is never brighter than .15": (hostile.at_most(0.15), from_the(5), {}, ANY, ""),
    "the sensor is frozen": (hostile.stores(lambda address, asked: 0), from_the(6), {}, REFUSED, "frozen"),
    "the sensor is frozen while lit": (
        hostile.stores(lambda address, asked: any(asked) or address), from_the(5), {}, REFUSED, "frozen",
    ),
    "the sensor is frozen while lit, without backgrounds": (
        hostile.stores(lambda address, asked: any(asked) or address), from_the(5), {"background": "none"}, REFUSED,
        "frozen",
    ),
    "the sensor is frozen in the dark of a lit room": (
        hostile.stores(lambda address, asked: address if any(asked) else 0), from_the(5), {"room": 2000.0}, REFUSED,
        "frozen",
    ),
    "a cache goes by the address": (
        hostile.stores(lambda address, asked: address), from_the(1), {}, (Outcome.REACHED,), "",
    ),
    "a cache goes by the settings": (
        hostile.stores(lambda address, asked: tuple(asked)), from_the(1), {}, REFUSED, "a cache",
    ),
    "a cache goes by the settings, without backgrounds": (
        hostile.stores(lambda address, asked: tuple(asked)), from_the(1), {"background": "none"}, REFUSED, "a cache",
    ),
    "a second answer comes late": (hostile.answers_twice, from_the(5, last=12), {}, (Outcome.REACHED,), ""),
    "a second answer comes late, always": (hostile.answers_twice, from_the(5), {}, ANY, ""),
    "channels change places": (
        hostile.lies(
            lambda lamp, asked, body: {"in": asked, "out": dict(zip(NAMES, [*body["out"].values()][::-1], strict=True))}
        ),
        from_the(5), {}, ANY, "",
    ),
    "everything is full scale": (
        hostile.lies(lambda lamp, asked, body: {**body, "out": dict.fromkeys(NAMES, 65535)}), from_the(5), {}, ANY,
        "",
    ),
    "everything is zero": (
        hostile.lies(lambda lamp, asked, body: {**body, "out": dict.fromkeys(NAMES, 0)}), from_the(5), {}, REFUSED,
        "is dead",
    ),
    "the echo is of the settings before": (
        hostile.lies(lambda lamp, asked, body: {**body, "in": [0.3, 0.3, 0.3]}), from_the(5), {}, REFUSED, "is dead",
    ),
    "the echo is clamped in the last reply only": (
        hostile.echo([0.2, 0.2, 0.2]), from_the(1, "dark"), {"background": "none"}, (Outcome.REACHED,), "",
    ),
    "unknown channels and names": (
        hostile.lies(lambda lamp, asked, body: {**body, "out": {**body["out"], "x": "y"}, "more": [{}]}), from_the(1),
        {}, (Outcome.REACHED,), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_found_or_harmless_and_the_lamp_is_off_or_said_not_to_be(name: str, campaign: Campaign) -> None:
    act, when, options, outcomes, words = LIES[name]
    ended = campaign(act, when, **options)
    assert ended.result.outcome in outcomes, ended.result.reason
    assert words in ended.result.reason
    if ended.result.outcome is Outcome.REACHED:
        assert true_to_the_goal(ended)
        assert len({tuple(reading.items()) for reading in last_readings(ended)}) == 3, "three readings, and no copies"


def last_readings(ended: Ended) -> list[Any]:
    """Those of the trial that the campaign ended with."""
    taken = [
        event
        for event in record.read(Path(ended.result.run) / record.FILE)
        if isinstance(event, sdl.core.events.Measured)
    ]
    return [event.readings for event in taken if event.trial == taken[-1].trial]


def test_the_battery_has_so_many_behaviours() -> None:
    assert len({**PASSING, **FINAL, **LIES}) >= 60


POURS = ("a head without end", "a body of a gigabyte", "a body without end", "chunks without end", "a bomb")
CHILD = """
import resource, sys
import sdl
from drivers.hostile import FAULTS, FINAL, Hostile, Lamp
from drivers.server import Server
from sdl.clock import VirtualClock
from sdl.runner.shutdown import SwitchOffPolicy

for name in sys.argv[1:]:
    server = Server()
    server.otherwise = hostile = Hostile(Lamp(), {**FAULTS, **FINAL}[name], lambda *_: True, VirtualClock(), slow=False)
    hostile.time_limit([0.5] * 3, 1.0)
    found = sdl.run(
        {
            "name": "poured-over",
            "instrument": {"kind": "claude-light", "url": server.url},
            "goal": {"515nm": 20000},
            "solver": "linear",
            "retry": {"times": 1, "wait": 0.0},
            "stop": {"failures": 3},
        },
        runs=None,
        switch_off=SwitchOffPolicy(0.0),
    )
    assert (found.outcome, found.readings) == ("failed", 0), found
    server.close()
unit = 1 if sys.platform == "darwin" else 1024
try:  # what getrusage says counts from the process that this one was forked from
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6)
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not say how much memory a process had")
def test_whatever_is_poured_over_it_a_campaign_stays_below_150_megabytes() -> None:
    """In a process of its own, with the server in it: what both need is an upper bound."""
    command = [sys.executable, "-c", CHILD, *POURS]
    found = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) < 150
