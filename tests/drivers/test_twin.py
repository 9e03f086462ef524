"""The twin as an instrument: its options, its time, its light."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from sdl.clock import VirtualClock
from sdl.drivers.twin import Twin
from sdl.errors import InstrumentError, Rejected
from sdl.twin.state import FOLDER

MIDDLE = {"R": 0.5, "G": 0.5, "B": 0.5}


def test_a_reading_takes_the_state_s_latency_in_virtual_time() -> None:
    clock = VirtualClock(100.0)
    driver = Twin().open(clock)
    driver.measure(MIDDLE)
    assert clock.now() == pytest.approx(100.78)


def test_latency_zero_still_gives_every_reading_a_time_of_its_own() -> None:
    clock = VirtualClock(100.0)
    driver = Twin(latency=0.0).open(clock)
    first, second = driver.measure(MIDDLE), driver.measure(MIDDLE)
    assert clock.now() == 100.000002
    assert first.readings != second.readings


def test_a_twin_opened_later_at_the_same_time_finds_the_same_world() -> None:
    clock = VirtualClock(50.0)
    driver = Twin(seed=4).open(clock)
    readings = [driver.measure(MIDDLE) for _ in range(4)]
    again = Twin(seed=4).open(VirtualClock(50.0 + 2 * 0.78))
    assert [again.measure(MIDDLE) for _ in range(2)] == readings[2:]


def test_refused_settings_cost_no_time_and_light_nothing() -> None:
    clock = VirtualClock(100.0)
    driver = Twin().open(clock)
    with pytest.raises(Rejected, match=r"R = 1\.2 is outside 0 … 1"):
        driver.measure({**MIDDLE, "R": 1.2})
    with pytest.raises(Rejected, match=r"missing: \['B'\], unknown: \['W'\]"):
        driver.measure({"R": 0.1, "G": 0.1, "W": 0.1})
    assert clock.now() == 100.0
    assert not driver.lit


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5], float("nan"), float("-inf"), 10**400])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(Rejected, match=r"G = .* is not a finite number"):
        Twin().open(VirtualClock()).measure({**MIDDLE, "G": value})  # type: ignore[dict-item]


def test_safe_switches_the_light_off() -> None:
    driver = Twin().open(VirtualClock())
    driver.measure(MIDDLE)
    assert driver.lit
    driver.safe()
    assert not driver.lit


def test_a_closed_twin_says_so() -> None:
    driver = Twin().open(VirtualClock())
    driver.close()
    with pytest.raises(InstrumentError, match="closed"):
        driver.measure(MIDDLE)


def test_identity_names_state_and_seed() -> None:
    assert Twin().identity == Twin(seed=0).identity == "twin:night-2025-10:0"
    assert Twin(state="paper-2025-03", seed=3).identity == "twin:paper-2025-03:3"


def test_it_is_virtual_unless_realtime() -> None:
    assert Twin().simulated
    assert Twin().virtual
    assert Twin(realtime=True).simulated
    assert not Twin(realtime=True).virtual


def test_time_begins_on_the_state_s_day_or_where_it_is_told() -> None:
    assert Twin().start_time == 1761693000.0  # 2025-10-28T23:10:00Z
    assert Twin(start="2025-10-28T19:10:00-04:00").start_time == Twin().start_time
    assert Twin(latency=2.0).reading_seconds == 2.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"state": "nigth-2025-10"}, "allowed: night-2025-10, paper-2025-03"),
        ({"state": "nowhere/mine.toml"}, "no such file"),
        ({"start": "yesterday"}, "is not a date and time"),
        ({"start": "2025-10-28T19:10:00"}, "has no zone"),
        ({"start": "1925-10-28T19:10:00Z"}, "before 1970"),
        ({"latency": -1.0}, "greater than or equal to 0"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"seed": 1.5}, "integer"),
        ({"realtime": "yes"}, "boolean"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_a_wrong_option_is_a_located_error(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        Twin(**options)  # type: ignore[arg-type]
    assert caught.value.errors()[0]["loc"] == (next(iter(options)),)


def test_a_state_of_ones_own_is_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FOLDER / "night-2025-10.toml", tmp_path / "mine.toml")
    monkeypatch.chdir(tmp_path)
    twin = Twin(state="mine.toml")
    monkeypatch.chdir("/")
    assert Twin.model_validate(twin.model_dump()).channels == Twin().channels
    assert twin.identity.startswith("twin:mine@")
