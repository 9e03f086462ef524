"""A rehearsal on the twin, in a process of its own; and whether the instrument still matches that twin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import config
from sdl.errors import ConfigError
from sdl.lab.core.agents import digest
from sdl.lab.http.rehearsal import rehearse, remove_oldest, twin_mismatch
from sdl.runs.runs import open_run

REAL: dict[str, Any] = {"kind": "twin", "seed": 1, "realtime": True, "latency": 60.0}  # it would take minutes
CAMPAIGN: dict[str, Any] = {
    "name": "small", "instrument": REAL, "goal": {"445nm": 16384}, "solver": "linear",
    "inputs": {"R": {"high": 0.9}}, "stop": {"trials": 12},
}  # fmt: skip


def test_the_same_resolved_campaign_runs_on_the_twin_and_ends_with_its_verdict(tmp_path: Path) -> None:
    campaign = config.parse(CAMPAIGN)
    result = rehearse(campaign, tmp_path / "r")
    assert (result.outcome, result.readings > 3) == ("reached", True)
    opened = open_run(result.run).opened.config
    assert opened["instrument"]["realtime"] is False
    same = {**campaign.plain(), "instrument": None}
    assert digest({**same, "prior": [], "expect": None}) == digest(
        {**same, **{key: opened[key] for key in opened if key != "instrument"}, "prior": [], "expect": None}
    )
    assert result.best["settings"]["R"] <= 0.9


def test_of_the_records_of_rehearsals_the_newest_are_kept(tmp_path: Path) -> None:
    remove_oldest(tmp_path / "none", 2)
    for n in range(5):
        (tmp_path / f"{n}" / "run").mkdir(parents=True)
        os.utime(tmp_path / f"{n}", (n, n))
    remove_oldest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


def test_an_instrument_without_a_twin_cannot_be_rehearsed(tmp_path: Path) -> None:
    rig = {
        "kind": "command", "command": ["true"], "inputs": {"red": {"low": 0, "high": 255}},
        "channels": {"R": {"low": 0, "high": 4096}}, "off": {"red": 0},
    }  # fmt: skip
    campaign = config.parse({"name": "rig", "instrument": rig, "goal": {"R": 140}, "solver": "linear"})
    with pytest.raises(ConfigError, match="without a twin it cannot be simulated"):
        rehearse(campaign, tmp_path / "r")


@pytest.mark.slow
def test_a_run_that_the_twin_does_not_predict_is_told(tmp_path: Path) -> None:
    campaign = config.parse(CAMPAIGN)
    design = {"name": "d", "design": {"kind": "sobol", "trials": 16}, "solver": "linear"}
    runs = {
        state: sdl.run({**design, "instrument": {"kind": "twin", "state": state}}, runs=tmp_path, collect=True).run
        for state in ("night-2025-10", "paper-2025-03")
    }
    assert twin_mismatch(campaign, None) == ""
    assert twin_mismatch(campaign, Path(runs["night-2025-10"])) == ""
    assert "no longer matches its twin" in twin_mismatch(campaign, Path(runs["paper-2025-03"]))
