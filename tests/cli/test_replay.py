"""`sdl replay`: what it prints and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stuck

from sdl import runner, yamlfile
from sdl.models.backward import least_squares
from sdl.store.record import Record, read

from .conftest import Sdl

GOLDEN = Path(__file__).parent.parent / "golden" / "runs"


def test_a_run_that_would_be_the_same_today_ends_with_0(sdl: Sdl) -> None:
    done = sdl("replay", GOLDEN / "linear")
    assert done.code == 0
    assert done.out.splitlines()[0].endswith("linear: 7 proposals and 7 readings of the twin recomputed")
    assert "every decision and every figure is as recorded" in done.out or "the same decisions" in done.out
    assert sdl("replay", GOLDEN / "linear", "--json").json["same"] is True


def test_a_run_that_would_be_another_ends_with_1_and_says_from_which_trial_and_by_how_much(
    sdl: Sdl, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = least_squares.FittedLeastSquares.propose

    def off(*args: Any) -> Any:
        answer = right(*args)
        return replace(answer, settings=answer.settings * 1.01)

    monkeypatch.setattr(least_squares.FittedLeastSquares, "propose", off)
    done = sdl("replay", GOLDEN / "linear", "--limit", "0")  # in this process, where it was changed
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[1] == "different from trial 4 on: 3 of 7 proposals"
    assert lines[2].startswith("  trial 4: R 0.")
    assert " % of its range), G 0." in lines[2]  # four rows tell no spread yet
    assert " spreads)" in lines[3]
    printed = sdl("replay", GOLDEN / "linear", "--json", "--limit", "0")
    assert printed.code == 1
    assert printed.json["decided"][0]["shifts"]["R"]["by"] == pytest.approx(
        0.01 * printed.json["decided"][0]["shifts"]["R"]["then"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("what", "limit", "message"),
    [("hang", "1", "ran for more than 1 s"), ("end", "60", "its process died by exit code 0")],
)
def test_a_replay_without_an_end_is_the_solvers_failure(
    sdl: Sdl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, limit: str, message: str
) -> None:
    solver = yamlfile.scalar(stuck.install(tmp_path, monkeypatch, "no"))
    tree = {"name": "led", "instrument": {"kind": "twin"}, "goal": {"445nm": 16384}, "solver": solver}
    run = runner.run(tree, runs=tmp_path / "runs").run
    (tmp_path / "told").write_text(what, encoding="utf-8")
    done = sdl("replay", run, "--limit", limit)
    assert (done.code, done.out) == (4, "")
    assert f"the replay has no end: {message}: solver stuck" in " ".join(done.err.split())


def test_versions_that_changed_are_told(sdl: Sdl, tmp_path: Path) -> None:
    record = Record.create(tmp_path / "run")
    for event in read(GOLDEN / "random"):
        record.append(replace(event, versions={**event.versions, "numpy": "1.0"}) if hasattr(event, "clock") else event)
    record.close()
    assert "versions changed: numpy 1.0 → " in sdl("replay", tmp_path / "run").out


def test_what_is_no_run_is_a_mistake_and_a_changed_record_is_damage(sdl: Sdl, tmp_path: Path) -> None:
    assert sdl("replay", "nothing").code == 2
    (tmp_path / "run").mkdir()
    text = (GOLDEN / "linear" / "record.jsonl").read_text(encoding="utf-8")
    (tmp_path / "run" / "record.jsonl").write_text(text.replace('"R": 0.9', '"R": 0.8', 1), encoding="utf-8")
    assert sdl("replay", tmp_path / "run").code == 5
