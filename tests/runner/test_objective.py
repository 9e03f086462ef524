"""A channel is maximised on the simulated instrument: with faults, saturated readings, and processes that die."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdl import runner
from sdl.core.events import Measured, Proposed, Resumed, Safe
from sdl.core.trials import CONFIRMATION
from sdl.replay import replay
from sdl.runs import runs
from sdl.store import record
from sdl.types import Outcome


def brightest(**more: Any) -> dict[str, Any]:
    """The brightest blue with little green: only R = 1, B = 1 and some G give it."""
    return {
        "name": "brightest",
        "instrument": {"kind": "twin"},
        "goal": {"445nm": "maximise", "515nm": {"at most": 20000}},
        "solver": "linear",
        "stop": {"trials": 25, "improvement": "1%"},
        "seed": 1,
        **more,
    }


def history(folder: Path) -> list[Any]:
    return [event for event in record.read(folder) if not isinstance(event, (Resumed, Safe))]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run."""
    return Path(runner.run(brightest(), runs=tmp_path_factory.mktemp("reference")).run)


def test_it_ends_as_done_with_the_mean_of_the_confirmed_readings(reference: Path) -> None:
    run = runs.open_run(reference)
    done = run.result
    assert (done.outcome, done.by) == (Outcome.DONE, "improvement")
    assert done.objective is not None
    best = {"R": 1.0, "B": 1.0}
    assert {name: done.settings[name] for name in best} == best
    assert done.measured["515nm"] <= 20000
    pooled = [
        event.readings["445nm"]
        for event in run.events
        if isinstance(event, Measured) and run.proposals[event.trial].settings == done.settings
    ]
    assert done.objective.readings == len(pooled) >= 3
    assert done.objective.value == done.measured["445nm"] == pytest.approx(np.mean(pooled))
    assert done.objective.std_error == pytest.approx(np.std(pooled, ddof=1) / np.sqrt(len(pooled)))
    assert done.objective.confirmed
    confirmations = [event for event in run.events if isinstance(event, Proposed) and event.by == CONFIRMATION]
    assert done.settings in [event.settings for event in confirmations]


@pytest.mark.slow
def test_left_at_any_line_and_resumed_it_ends_as_if_undisturbed(reference: Path, tmp_path: Path) -> None:
    lines = (reference / "record.jsonl").read_bytes().splitlines(keepends=True)
    cuts = [n for n, event in enumerate(record.read(reference), 1) if isinstance(event, Proposed)][3:]
    for count in sorted({*cuts, *(n + 1 for n in cuts), len(lines) - 1} - {len(lines)}):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / "record.jsonl").write_bytes(b"".join(lines[:count]))
        shutil.copy(reference / "campaign.yaml", folder)
        assert runner.resume(folder).outcome is Outcome.DONE
        assert history(folder) == history(reference), f"left after {count} lines"


def test_a_replay_decides_the_same(reference: Path) -> None:
    again = replay(reference)
    assert (again.decided, again.loop, dict(again.told)) == ((), "", {})


def test_saturated_readings_are_bounds_and_never_the_best() -> None:
    done = runner.run(brightest(goal={"clear": "maximise"}, solver="gp", stop={"trials": 14}), runs=None)
    assert done.objective is not None
    assert done.objective.value is not None
    assert 50000 < done.objective.value < 65535


def test_failed_trials_and_bad_readings_cost_only_themselves() -> None:
    faults = [{"name": "null-channel", "at": [5]}, {"name": "time-out", "at": [6, 7, 8, 9]}]
    done = runner.run(brightest(instrument={"kind": "twin", "faults": faults}, retry={"times": 1}), runs=None)
    assert done.outcome is Outcome.DONE
    assert done.failed > 0
    assert done.objective is not None
    assert done.objective.value == pytest.approx(30600, rel=0.01)


def test_the_last_trial_confirms_where_the_budget_ends_it() -> None:
    done = runner.run(brightest(stop={"trials": 8}), runs=None)
    assert (done.outcome, done.by, done.trials) == (Outcome.SPENT, "trials", 8)
    assert done.objective is not None
    assert done.objective.confirmed
    assert "; best: trial" in done.reason


def test_constraints_that_nothing_keeps_end_it_as_unreachable() -> None:
    done = runner.run(brightest(goal={"515nm": "maximise", "445nm": {"at least": 60000}}), runs=None)
    assert done.outcome is Outcome.UNREACHABLE
    assert done.objective is not None
    assert done.objective.value is None
