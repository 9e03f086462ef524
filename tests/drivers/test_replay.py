"""What was measured once is measured again, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import sdl
from sdl.clock import VirtualClock
from sdl.drivers.replay import Replay
from sdl.errors import InstrumentError, Rejected
from sdl.types import Outcome


def line(g: float, count: float, **out: float) -> dict[str, Any]:
    return {"in": [0.0, g, 0.0], "out": {"515nm": count, **out}, "time": 1e9}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return written(tmp_path / "log.jsonl", line(0.2, 13000), line(0.5, 32000), line(0.5, 32100), line(0.8, 65535))


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def green(value: float) -> dict[str, float]:
    return {"R": 0.0, "G": value, "B": 0.0}


def test_settings_that_were_measured_give_their_readings_in_order_and_begin_again(log: Path) -> None:
    clock = VirtualClock()
    driver = Replay(source=str(log)).open(clock)
    found = [driver.measure(green(0.5)) for _ in range(3)]
    assert [reading.readings["515nm"] for reading in found] == [32000, 32100, 32000]
    assert all(reading.applied == green(0.5) and reading.fault is None for reading in found)
    assert clock.now() == pytest.approx(3 * 0.78)


def test_the_nearest_answer_where_they_are_near_enough_and_say_what_was_applied(log: Path) -> None:
    driver = Replay(source=str(log), within=0.05).open(VirtualClock())
    reading = driver.measure(green(0.24))
    assert reading.applied == green(0.2)
    assert reading.fault == "not-applied"
    assert driver.measure(green(0.8)).saturated == ("515nm",)


def test_nothing_is_made_up_where_none_is_near(log: Path) -> None:
    for within, asked in ((0.0, 0.2001), (0.05, 0.3)):
        driver = Replay(source=str(log), within=within).open(VirtualClock())
        with pytest.raises(InstrumentError, match=r"the nearest, at R = 0, G = 0\.2, B = 0, is") as caught:
            driver.measure(green(asked))
        assert not caught.value.retryable
        assert not caught.value.maybe_measured
    with pytest.raises(Rejected):
        driver.measure(green(1.2))


def test_a_log_has_the_channels_of_its_fullest_lines(tmp_path: Path) -> None:
    log = written(tmp_path / "l.jsonl", line(0.1, 5), line(0.2, 6, nir=7.0), line(0.3, 8, nir=9.0))
    replay = Replay(source=str(log), within=1.0)
    assert [channel.name for channel in replay.channels] == ["515nm", "nir"]
    assert replay.open(VirtualClock()).measure(green(0.1)).applied == green(0.2), "the first line lacks nir"


def test_a_campaign_is_the_same_again_when_its_record_is_replayed(tmp_path: Path) -> None:
    tree = {
        "name": "first",
        "instrument": {"kind": "twin", "background": "each"} if "background" in _twin_options() else {"kind": "twin"},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "solver": {"kind": "linear"},
        "seed": 5,
    }
    first = sdl.run(tree, runs=tmp_path)
    again = sdl.run({**tree, "instrument": {"kind": "replay", "source": first.run}}, runs=None)
    assert first.outcome is again.outcome is Outcome.REACHED
    assert (first.measured, first.readings, first.settings) == (again.measured, again.readings, again.settings)


def _twin_options() -> Any:
    from sdl.drivers.twin.config import Twin

    return Twin.model_fields


def test_a_run_is_one_source_by_its_directory_by_its_record_and_by_a_link(tmp_path: Path) -> None:
    done = sdl.run({"name": "t", "instrument": "twin", "goal": {"515nm": 30000}, "stop": {"trials": 1}}, runs=tmp_path)
    run = Path(done.run)
    (tmp_path / "latest").symlink_to(run)
    named = {Replay(source=str(source)).identity for source in (run, run / "record.jsonl", tmp_path / "latest")}
    assert len(named) == 1
    assert named.pop().startswith(f"replay:{run.name}@")


def test_a_changed_file_is_read_anew(log: Path) -> None:
    replay = Replay(source=str(log))
    before = replay.identity
    written(log, line(0.5, 1.0))
    assert replay.identity != before
    assert replay.open(VirtualClock()).measure(green(0.5)).readings == {"515nm": 1.0}


def test_a_relative_path_is_found_again_from_another_folder(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(log.parent)
    replay = Replay(source="log.jsonl")
    monkeypatch.chdir("/")
    assert replay.channels
    assert replay.simulated
    assert replay.virtual


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), ("", "has no readings"), ("{}\n", "no settings"), ("hello\n", "no column R")],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_a_reason(
    content: str | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ValidationError, match=says):
        Replay(source=str(file))
