"""The twin as an instrument: its options, its time, its light."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sdl import config
from sdl.clock import VirtualClock
from sdl.drivers.twin.config import Twin
from sdl.errors import InstrumentError, Rejected
from sdl.twin.led.state import FOLDER

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
    with pytest.raises(Rejected, match="missing: B; unknown: W"):
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
        ({"state": "nigth-2025-10"}, "allowed: night-2024-09, night-2025-10, paper-2025-03"),
        ({"state": "nowhere/mine.toml"}, "no such file"),
        ({"start": "yesterday"}, "is not a date and time"),
        ({"start": "2025-10-28T19:10:00"}, "has no zone"),
        ({"start": "1925-10-28T19:10:00Z"}, "before 1970"),
        ({"latency": -1.0}, "allowed: 0 to 3600, or real"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"variant": "curvy"}, "'other-unit', 'curved', 'gamma'"),
        ({"ambient": "sunny"}, "must be constant, none, or changing ambient light: unknown room 'sunny'; allowed: day"),
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


NOON = "2025-10-28T12:00:00-04:00"


def test_the_room_is_the_state_s_own_or_none_or_that_of_the_hour() -> None:
    dark = {"R": 0.0, "G": 0.0, "B": 0.0}

    def counts(**options: object) -> float:
        twin = Twin(state="paper-2025-03", **options)  # type: ignore[arg-type]
        return twin.open(VirtualClock(twin.start_time)).measure(dark).readings["515nm"]

    assert counts() == pytest.approx(1206, abs=2)
    assert counts(ambient="none") == 0
    noon, night = counts(ambient="day", start=NOON), counts(ambient="day", start="2025-10-28T22:00:00-04:00")
    assert noon > 1000
    assert night <= 3


def test_a_day_is_resumed_under_the_same_sky() -> None:
    twin = Twin(ambient="day", drift=True, latency="real", start=NOON, seed=6)
    clock = VirtualClock(twin.start_time)
    driver = twin.open(clock)
    readings = [driver.measure(MIDDLE) for _ in range(3)]
    then = clock.now()
    readings += [driver.measure(MIDDLE) for _ in range(3)]
    again = twin.open(VirtualClock(then))
    assert [again.measure(MIDDLE) for _ in range(3)] == readings[3:]


def test_a_room_of_ones_own_needs_the_state_s_channels(tmp_path: Path) -> None:
    mine = tmp_path / "room.toml"
    text = (FOLDER.parent / "rooms" / "day.toml").read_text()
    mine.write_text(text)
    assert Twin(ambient=str(mine)).room == Twin(ambient="day").room
    mine.write_text(re.sub(r"(?m)^nir = .*\n", "", text))
    with pytest.raises(ValidationError, match="has no light for the channels nir"):
        Twin(ambient=str(mine))


def test_drift_and_real_latency_need_a_state_that_knows_them(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    text = (FOLDER / "night-2025-10.toml").read_text()
    mine.write_text(re.sub(r"(?ms)^\[drift\].*?^$", "", re.sub(r"(?m)^latencies = .*$", "", text)))
    for options, says in (({"drift": True}, "drift: the state"), ({"latency": "real"}, "latency: the state")):
        with pytest.raises(ValidationError, match=says):
            Twin(state=str(mine), **options)  # type: ignore[arg-type]
    assert Twin(state=str(mine)).condition.drift is None


@pytest.mark.parametrize("pairs", ["[[0, 1.0]]", "[[0, 1.0], [0.9, 2.0]]", "[[0, 2.0], [1, 1.0]]", "[[0, 1.0], [1]]"])
def test_latencies_that_do_not_rise_are_a_mistake(tmp_path: Path, pairs: str) -> None:
    mine = tmp_path / "mine.toml"
    text = (FOLDER / "night-2025-10.toml").read_text()
    mine.write_text(re.sub(r"(?m)^latencies = .*$", f"latencies = {pairs}", text))
    with pytest.raises(ValidationError, match="latencies: fractions must rise from 0 to 1"):
        Twin(state=str(mine))


def test_without_noise_the_twin_is_exact() -> None:
    driver = Twin(noise=False).open(VirtualClock(100.0))
    exact = {name: int(count) for name, count in driver.plant.noise_free(MIDDLE).items()}
    assert driver.measure(MIDDLE).readings == driver.measure(MIDDLE).readings == exact


def test_a_variant_has_its_own_inputs_channels_and_identity() -> None:
    assert [item.name for item in Twin(variant="rgbw").inputs] == ["R", "G", "B", "W"]
    green = Twin(variant="green", ambient="day")
    assert ([i.name for i in green.inputs], [c.name for c in green.channels]) == (["G"], ["515nm"])
    assert green.identity == "twin:night-2025-10:green:0"
    green.open(VirtualClock(green.start_time)).measure({"G": 0.5})


def test_latencies_have_the_real_one_s_median_and_tail(real_readings: Path) -> None:
    lines = (json.loads(line) for line in real_readings.read_text().splitlines())
    times = np.sort([row["time"] for row in lines if "gm.jsonl" in row["source"]])
    real = np.diff(times)
    real = real[real < 60]  # between two runs are 19 minutes
    twin = Twin(latency="real")
    clock = VirtualClock(twin.start_time)
    driver, waits = twin.open(clock), []
    for _ in range(4000):
        began = clock.now()
        driver.measure(MIDDLE)
        waits.append(clock.now() - began)
    for part in (0.05, 0.5, 0.95, 0.99):
        assert np.quantile(waits, part) == pytest.approx(np.quantile(real, part), rel=0.1), part
    assert 2 < max(waits) < 10


def test_the_benchmark_s_nights_scatter_as_the_real_ones(real_readings: Path) -> None:
    lines = [json.loads(line) for line in real_readings.read_text().splitlines()]
    rows = sorted((r["time"], r["in"][1], r["out"]["515nm"]) for r in lines if "gm.jsonl" in r["source"])
    times, green, counts = np.array(rows).T
    run = np.concatenate([[0], np.cumsum(np.diff(times) > 120)])
    real: dict[float, list[float]] = {0.0: [], 0.5: [], 1.0: []}
    for k in range(run[-1] + 1):
        here = run == k
        if np.median(counts[here & (green == 0)]) < 5:  # by night
            for g, variances in real.items():
                some = counts[here & (green == g)]
                variances += [some.var(ddof=1)] if len(some) > 3 else []
    driver = Twin(state="night-2024-09", ambient="day").open(VirtualClock(Twin(state="night-2024-09").start_time))
    for g, variances in real.items():
        twin = [driver.measure({"R": 0.0, "G": g, "B": 0.0}).readings["515nm"] for _ in range(1500)]
        assert np.std(twin) == pytest.approx(np.sqrt(np.mean(variances)), rel=0.2), g


def test_another_unit_is_drawn_by_the_campaign_s_seed_if_it_has_none_of_its_own() -> None:
    tree = {"name": "unit", "instrument": {"kind": "twin", "variant": "other-unit"}, "goal": {"515nm": 16384}}
    one, other = (config.parse({**tree, "seed": seed}).instrument.condition for seed in (1, 2))
    assert one != other
    assert one == Twin(variant="other-unit", seed=1).condition
