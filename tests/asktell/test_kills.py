"""A script that asks and tells is killed at any moment: nothing is lost, nothing is doubled, the end is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from processes import environment
from waiting import LONG, TIMEOUT

from sdl.core.events import Event, Measured, Proposed, Stopped
from sdl.runs.runs import Run, open_run

RIG = Path(__file__).parent / "killed_rig.py"
CAMPAIGN = """
name: rig
instrument:
  kind: external
  inputs: {red: {low: 0, high: 100}, blue: {low: 0, high: 100}}
  channels: {R: {}, B: {}}
goal: {R: 300, B: 200}
tolerance: 0.1
average: 2
solver: linear
stop: {trials: TRIALS, unreachable: null}
"""


def play(way: str, folder: Path, kills: int, trials: int, seed: str) -> tuple[Run, list[dict[str, Any]], int]:
    """A campaign whose script is killed; the run, the log of the script, and how often it was killed."""
    folder.mkdir()
    (folder / "rig.yaml").write_text(CAMPAIGN.replace("TRIALS", str(trials)))
    done = subprocess.run(
        [sys.executable, str(RIG), way, str(folder), str(kills), seed],
        env=environment(), capture_output=True, text=True, check=False, timeout=20 * TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (folder / "script.log").read_text().splitlines()]
    (record,) = (file for file in (folder / "runs").glob("*/*/record.jsonl") if file.stat().st_size)
    return open_run(record.parent), log, json.loads(done.stdout)["kills"]


def decided(run: Run) -> list[tuple[Any, ...]]:
    """What was proposed, read and decided, without the times."""

    def plain(event: Event) -> tuple[Any, ...]:
        match event:
            case Proposed():
                return event.trial, event.settings, event.by, event.why, event.rows, event.expected, event.verdict
            case Measured():
                return event.trial, event.repeat, event.attempt, event.applied, event.readings, event.note
            case Stopped():
                return event.outcome, event.reason, event.best, event.by
        return (type(event).__name__,)

    return [plain(event) for event in run.events]


def check(way: str, tmp_path: Path, kills: int, trials: int, seed: str = "0") -> Counter[str]:
    """Play it with and without kills and compare; the last steps before the kills."""
    run, log, done = play(way, tmp_path / "killed", kills, trials, seed)
    calm, _, _ = play("python", tmp_path / "calm", 0, trials, seed)
    assert done >= kills, f"only {done} kills: the campaign was too short"
    taken = [(event.trial, event.repeat) for event in run.measured()]
    assert len(taken) == len(set(taken)), "doubled"
    told = {(row["trial"], row["repeat"]): row["readings"] for row in log if row["step"] == "told"}
    recorded = {(event.trial, event.repeat): dict(event.readings) for event in run.measured()}
    assert told.items() <= recorded.items(), "lost"
    asked: dict[tuple[int, int], dict[str, float]] = {}
    for row in (row for row in log if row["step"] == "asked"):
        assert asked.setdefault((row["trial"], row["repeat"]), row["settings"]) == row["settings"], "asked otherwise"
    assert decided(run) == decided(calm)
    assert run.result.outcome is not None
    begun = [i for i, row in enumerate(log) if row["step"] == "before ask"]
    return Counter(log[i - 1]["step"] for i in begun[1:])


# Every call over HTTP is a process of the server.
WAYS = [("python", 12, 20), ("shell", 8, 8), pytest.param("http", 2, 2, marks=pytest.mark.slow)]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "kills", "trials"), WAYS)
def test_a_script_that_is_killed_again_and_again_loses_and_doubles_nothing(
    way: str, kills: int, trials: int, tmp_path: Path
) -> None:
    steps = check(way, tmp_path, kills, trials)
    assert {"before ask", "asked", "telling", "told"} & steps.keys()


@LONG
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("way", "trials"), [("python", 300), ("shell", 150), ("http", 80)])
def test_a_script_that_is_killed_two_hundred_times_loses_and_doubles_nothing(
    way: str, trials: int, tmp_path: Path
) -> None:
    steps = check(way, tmp_path, 200, trials)
    assert {"before ask", "asked", "telling", "told"} <= steps.keys(), steps
