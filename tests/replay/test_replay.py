"""Does today's code decide what it decided then? The golden runs say yes; how to renew them: golden/README.md."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import libraries
import numpy as np
import pytest
import scripted
from core_kit import write_record
from led import ORDERLESS, stirred

import sdl
from sdl import registry, replay, runner
from sdl.core.campaign import Campaign
from sdl.core.events import Failed, Measured, Opened, Proposed
from sdl.errors import ConfigError, Damaged, RecordError, SolverError
from sdl.models.backward import least_squares
from sdl.runner import Pause, Proceed
from sdl.runner.gate import Decision
from sdl.solvers import linear
from sdl.solvers.base import Proposals
from sdl.store.record import FILE, SEAL, read

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "runs").iterdir())
golden_runs = pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)

OTHERS = 1e-3
"""What settings may differ, as a part of their range, on other versions of the libraries that decide in a run. On the
same ones nothing may, beyond what processors disagree on (`Replayed.equal`). Why: golden/README.md."""


def decides_as_then(folder: Path) -> None:
    """Replays a golden run and looks whether it came out the same."""
    replayed = replay.replay(folder)
    assert replayed.loop == ""
    assert replayed.measured == ()
    assert replayed.readings
    opened = next(read(folder))
    assert isinstance(opened, Opened)
    if not libraries.changed(opened.config, replayed.versions):
        assert replayed.decided == ()
        assert replayed.equal, replayed.told
    for difference in replayed.decided:
        assert difference.what == "", f"trial {difference.trial}"
        for name, shift in difference.shifts.items():
            assert abs(shift.part) <= OTHERS, f"trial {difference.trial}, {name}: {shift}"


@pytest.mark.numeric
@golden_runs
def test_today_decides_as_in_the_golden_run(folder: Path) -> None:
    decides_as_then(folder)


@golden_runs
def test_readings_that_differ_in_their_last_digits_change_no_decision(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in registry.OURS["solvers"]:
        solver = registry.find("solvers", kind)
        monkeypatch.setattr(solver, "fit", _stirred(solver.fit, shuffled=kind in ORDERLESS))
    decides_as_then(folder)


def _stirred(fit: Any, *, shuffled: bool) -> Any:
    return lambda solver, data: fit(solver, stirred(data, shuffled=shuffled))


def test_another_build_of_xgboost_loosens_no_pin_and_another_version_that_of_forest_alone() -> None:
    def loose(**versions: tuple[str, str]) -> list[str]:
        plain = {name.replace("_", "-"): two for name, two in versions.items()}
        kinds = [kind for kind in registry.OURS["solvers"] if libraries.changed({"solver": {"kind": kind}}, plain)]
        return sorted(kinds)

    assert loose(xgboost=("3.2.0", ""), xgboost_cpu=("", "3.2.0")) == []
    assert loose(xgboost=("3.2.0", ""), xgboost_cpu=("", "3.1.0")) == ["forest"]
    assert loose(emcee=("3.1.4", "3.1.6"), pydantic=("2.8", "2.9"), sdl=("0.1.0", "0.2.0")) == ["mcmc"]
    assert loose(numpy=("2.0.0", "2.4.6")) == sorted(registry.OURS["solvers"])
    assert libraries.changed({"solver": {"kind": "auto", "candidates": ["gmm"]}}, {"gmr": ("1.6", "2.0")})


def test_every_solver_has_a_golden_run() -> None:
    names = {registry.ALIASES["solvers"].get(folder.name, folder.name) for folder in GOLDEN}
    assert set(registry.OURS["solvers"]) <= names, "make golden ARGS=kind"


def golden(name: str) -> Path:
    return next(folder for folder in GOLDEN if folder.name == name)


# --- what is noticed ----------------------------------------------------------------------------------------------


def test_a_proposal_that_is_one_per_cent_off_is_found_with_its_trial_and_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = least_squares.FittedLeastSquares.propose

    def off(*args: Any) -> Proposals:
        answer = right(*args)
        return replace(answer, settings=answer.settings * 1.01)

    monkeypatch.setattr(least_squares.FittedLeastSquares, "propose", off)
    replayed = replay.replay(golden("linear"))
    assert not replayed.same
    assert [difference.trial for difference in replayed.decided] == [4, 5, 6]
    first, _, last = replayed.decided
    for shift in first.shifts.values():
        assert shift.by == pytest.approx(0.01 * shift.then, rel=1e-3)
        assert shift.part == pytest.approx(shift.by)  # the inputs go from 0 to 1
        assert shift.spreads is None  # four rows leave nothing to tell it from
        assert abs(shift.part) > 2 * OTHERS  # so the golden test sees it whatever the versions
    printed = next(e for e in read(golden("linear")) if isinstance(e, Proposed) and e.trial == 6).spread
    for name, shift in last.shifts.items():
        spread = printed[name]
        assert spread is not None
        assert shift.spreads == pytest.approx(abs(shift.by) / spread)
        assert abs(shift.part) > 2 * OTHERS


def test_a_campaign_that_would_not_confirm_any_more_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Campaign, "_measured", _unconfirmed(Campaign._measured))
    replayed = replay.replay(golden("gp"))
    assert not replayed.same
    assert "then came Measured of trial 6, today's campaign would stop instead" in replayed.loop


def _unconfirmed(measured: Any) -> Any:
    def one(campaign: Campaign, event: Measured) -> None:
        campaign.plan = replace(campaign.plan, confirm=0)
        measured(campaign, event)

    return one


def test_a_twin_that_reads_otherwise_is_found(tmp_path: Path) -> None:
    events = list(read(golden("pls")))
    at = next(i for i, event in enumerate(events) if isinstance(event, Measured) and event.trial == 2)
    old = events[at]
    assert isinstance(old, Measured)
    events[at] = replace(old, readings={**old.readings, "clear": old.readings["clear"] + 1})
    replayed = replay.replay(write_record(tmp_path / "run", events))
    assert replayed.measured == (
        f"trial 2, reading 1: clear then {old.readings['clear'] + 1:g}, now {old.readings['clear']:g}",
    )
    assert not replayed.same
    assert replayed.decided == ()  # the solver looks at the goal's channels alone


def test_later_proposals_are_compared_on_the_recorded_readings_whatever_came_before(tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    at = next(i for i, event in enumerate(events) if isinstance(event, Proposed) and event.trial == 5)
    old = events[at]
    assert isinstance(old, Proposed)
    events[at] = replace(old, settings={**old.settings, "R": old.settings["R"] + 0.01})
    replayed = replay.replay(write_record(tmp_path / "run", events))
    assert [difference.trial for difference in replayed.decided] == [5]
    shift = replayed.decided[0].shifts["R"]
    assert (list(replayed.decided[0].shifts), shift.by) == (["R"], pytest.approx(-0.01))


def with_figures_times(factor: float, folder: Path) -> Path:
    return write_record(
        folder,
        [
            replace(e, spread={n: s and s * factor for n, s in e.spread.items()}) if isinstance(e, Proposed) else e
            for e in read(golden("linear"))
        ],
    )


def test_figures_that_differ_beside_the_same_decision_are_told_apart(tmp_path: Path) -> None:
    replayed = replay.replay(with_figures_times(1 + 1e-6, tmp_path / "run"))
    assert (replayed.same, replayed.equal, replayed.identical) == (True, True, False)
    assert replayed.far == pytest.approx(1e-6, rel=0.01)
    assert [trial for trial, by in replayed.told.items() if by > 1e-7] == [5, 6]  # at trial 4 the spread is not known
    far = replay.replay(with_figures_times(1 + 1e-3, tmp_path / "other"))
    assert (far.same, far.equal) == (True, False), "no two processors disagree so far"
    assert replay.replay(golden("random")).identical


@pytest.mark.parametrize(("by", "same"), [(1e-6, True), (3e-6, False)])
def test_settings_a_step_of_rounding_apart_are_the_same_decision(by: float, same: bool, tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    at = next(i for i, event in enumerate(events) if isinstance(event, Proposed) and event.trial == 5)
    old = events[at]
    assert isinstance(old, Proposed)
    events[at] = replace(old, settings={**old.settings, "R": round(old.settings["R"] + by, 6)})
    replayed = replay.replay(write_record(tmp_path / "run", events))
    assert (replayed.same, replayed.identical) == (same, False)
    assert replayed.far == pytest.approx(by if same else 0.0, abs=1e-9)


def test_versions_that_changed_are_named(tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    opened = events[0]
    assert isinstance(opened, Opened)
    numpy = opened.versions["numpy"]
    events[0] = replace(opened, versions={**opened.versions, "numpy": "1.0", "gone": "2"})
    versions = replay.replay(write_record(tmp_path / "run", events)).versions
    assert versions["gone"] == ("2", "")
    assert versions["numpy"][0] == "1.0"
    assert versions["numpy"][1] == np.__version__
    assert numpy


def test_a_solver_that_fails_today_is_a_difference_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise SolverError("the library is gone")

    monkeypatch.setattr(linear.Linear, "fit", fail)
    replayed = replay.replay(golden("linear"))
    assert replayed.decided[0].what == "then a proposal by linear, now no proposal (the library is gone)"


# --- which runs it takes ------------------------------------------------------------------------------------------


def test_a_run_is_replayed_that_was_interrupted_and_resumed_with_another_solver(tmp_path: Path) -> None:
    tree = {
        "name": "led", "instrument": {"kind": "twin", "faults": [{"name": "busy", "at": [0, 2], "seconds": 60}]},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384}, "tolerance": "0.5%", "solver": "linear",
        "stop": {"trials": 6},
    }  # fmt: skip
    done = sdl.run(tree, runs=tmp_path)
    sdl.resume(done.run, changes=["solver.kind=gp", "stop.trials=8"])
    replayed = replay.replay(Path(done.run))
    assert replayed.equal
    assert (replayed.proposals, replayed.finished) == (8, True)


def test_a_reading_that_failed_after_a_pause_fails_again_at_the_time_of_the_record(tmp_path: Path) -> None:
    class Night:
        """A gate that pauses the campaign from its second trial until the 1000th second."""

        def ask(self, campaign: Campaign, now: float) -> Decision:
            began = start.setdefault("at", now)
            return Pause("night", "the lab", poll_after=1000.0) if 3 < now - began < 1000 else Proceed("the lab")

        def on_background(self, readings: object, now: float) -> None: ...

    start: dict[str, float] = {}
    outage = {"name": "refused", "after": 990.0, "lasts": 30.0}
    tree = {"name": "led", "instrument": {"kind": "twin", "faults": [outage]}, "retry": {"wait": 5.0, "times": 9}}
    design = {"kind": "sobol", "trials": 6}
    done = runner.run({**tree, "design": design}, runs=tmp_path, collect=True, gate=Night())
    failures = [event for event in read(Path(done.run)) if isinstance(event, Failed)]
    assert failures, "the outage met an attempt"
    assert replay.replay(Path(done.run)).measured == ()


def test_a_run_that_is_not_finished_is_replayed_as_far_as_it_goes(tmp_path: Path) -> None:
    replayed = replay.replay(write_record(tmp_path / "run", list(read(golden("gmm")))[:12]))
    assert (replayed.equal, replayed.finished, replayed.proposals) == (True, False, 6)


def test_a_run_with_a_prior_is_replayed_from_its_own_copy(tmp_path: Path) -> None:
    first = sdl.run(
        {"name": "a", "instrument": "twin", "design": {"kind": "sobol", "trials": 8}}, runs=tmp_path, collect=True
    )
    tree = {"name": "b", "instrument": "twin", "goal": {"445nm": 9000}, "solver": "linear", "prior": [first.run]}
    done = sdl.run(tree, runs=tmp_path)
    shutil.rmtree(first.run)
    assert replay.replay(Path(done.run)).equal


def test_a_real_instrument_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scripted.register(monkeypatch)
    instrument = scripted.with_script()
    done = sdl.run(scripted.campaign(instrument), runs=tmp_path)
    assert replay.replay(Path(done.run)).readings
    monkeypatch.setattr(scripted.Scripted, "simulated", property(lambda self: False))
    script = scripted.script_of(instrument)
    calls = list(script.calls)
    replayed = replay.replay(Path(done.run))
    assert (replayed.equal, replayed.readings) == (True, 0)
    assert script.calls == calls


def test_a_solver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    opened = events[0]
    assert isinstance(opened, Opened)
    events[0] = replace(opened, config={**opened.config, "solver": {"kind": "theirs"}})
    with pytest.raises(ConfigError, match=r"cannot be replayed: solver\.kind: unknown kind 'theirs'"):
        replay.replay(write_record(tmp_path / "run", events))


def test_a_schema_of_a_later_version_is_refused(tmp_path: Path) -> None:
    opened = next(read(golden("linear")))
    assert isinstance(opened, Opened)
    with pytest.raises(RecordError, match=r"schema 99, of a later sdl; this one knows 1 … \d"):
        replay.replay(write_record(tmp_path / "run", [replace(opened, schema=99)]))


def test_an_instrument_with_other_channels_than_it_had_is_named(tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    opened = events[0]
    assert isinstance(opened, Opened)
    description = {**opened.instrument, "channels": opened.instrument["channels"][:4]}
    events[0] = replace(opened, instrument=description)
    with pytest.raises(ConfigError, match="its instrument had the channels 415nm, 445nm, 480nm, 515nm; today"):
        replay.replay(write_record(tmp_path / "run", events))


def test_a_proposal_that_failed_then_and_would_not_now_is_told(tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    at = next(i for i, event in enumerate(events) if isinstance(event, Proposed) and event.trial == 4)
    failed = Failed(4, 0, 0, "propose", "the solver failed", False, False, events[at].at)
    replayed = replay.replay(write_record(tmp_path / "run", [*events[:at], failed]))
    assert replayed.decided[0].what == "then no proposal (the solver failed), now a proposal by linear"


def test_a_reading_of_nothing_is_a_difference_and_one_without_its_settings_is_damage(tmp_path: Path) -> None:
    events = list(read(golden("linear")))
    at = next(i for i, event in enumerate(events) if isinstance(event, Measured) and event.trial == 2)
    for field, name in (("readings", "one"), ("applied", "two")):
        forged = replace(events[at], **{field: {}})
        write_record(tmp_path / name, [*events[:at], forged, *events[at + 1 :]])
    assert replay.replay(tmp_path / "one").measured[0].startswith("trial 2, reading 1: ")
    with pytest.raises(Damaged, match="a reading that does not say what was applied of R, G, B"):
        _ = sdl.open_run(tmp_path / "two").result


def test_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(golden("linear"), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    replay.replay(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {FILE, SEAL}
    assert json.loads(before[SEAL])
