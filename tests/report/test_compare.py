"""Runs side by side."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import sdl
from report import kit
from sdl.report import style
from sdl.report.comparison import HEAD, RunResult, differing, figure, grouped, median, run_result, table
from sdl.runs.runs import Run


def one(kind: str, seed: int, trials: int, *, reached: bool = True, miss: float = 0.5, **config: object) -> RunResult:
    known = {"solver.kind": kind, "seed": seed, "name": f"c{seed}", "average": 1, **config}
    return RunResult(Path(f"{kind}{seed}"), trials, 2 * trials, 0.8 * trials, reached, "x", miss, miss / 50, known)


RUNS = [
    one("gmm", 0, 5), one("gmm", 1, 9), one("gmm", 2, 40, reached=False, miss=3.0),
    one("linear", 0, 5), one("linear", 1, 7), one("linear", 2, 7),
]  # fmt: skip


def test_runs_that_differ_in_the_seed_alone_are_one_group_and_solvers_are_several() -> None:
    assert differing(RUNS) == ["solver.kind"]
    assert [(group.name, len(group.runs)) for group in grouped(RUNS)] == [("linear", 3), ("gmm", 3)]
    assert [group.name for group in grouped(RUNS[:3])] == ["all"]


def test_other_differences_have_their_name_and_the_options_of_a_kind_have_none() -> None:
    runs = [one("gmm", 0, 5, **{"solver.components": 2}), one("linear", 0, 5), one("linear", 1, 5, average=3)]
    assert differing(runs) == ["solver.kind", "average"]
    assert {group.name for group in grouped(runs)} == {"gmm, average 1", "linear, average 1", "linear, average 3"}
    assert {group.name for group in grouped(runs, ["average"])} == {"average 1", "average 3"}


def test_the_table_has_medians_and_the_quickest_group_first() -> None:
    rows = [dict(zip(HEAD, row, strict=True)) for row in table(grouped(RUNS))]
    assert rows[0] == {
        "group": "linear", "runs": "3", "reached": "3/3", "trials to reach": "7 (5 … 7)", "error": "1.00 %",
        "× tolerance": "0.50", "readings": "14 (10 … 14)", "seconds": "5.6 (4 … 5.6)",
    }  # fmt: skip
    assert rows[1]["trials to reach"] == "7 (5 … 9)"  # those that reached it alone
    assert rows[1]["× tolerance"] == "0.50 (0.50 … 3.00)"
    nothing = table(grouped([one("gmm", 0, 5, reached=False, miss=math.inf)]))
    assert nothing[0][3:6] == ["–", "–", "–"]
    assert style.png(figure(grouped([one("gmm", 0, 5, reached=False, miss=math.inf)])), dpi=20)


def test_the_figure_is_the_empirical_distribution_of_trials_to_reach() -> None:
    drawn = figure(grouped(RUNS))
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawn.axes[0].lines}
    assert [x for x, _ in lines["gmm"]] == [0, 5, 9, 40]
    assert [y for _, y in lines["gmm"]] == pytest.approx([0, 100 / 3, 200 / 3, 200 / 3])
    assert [y for _, y in lines["linear"]] == pytest.approx([0, 100 / 3, 200 / 3, 100, 100])
    assert style.png(drawn, dpi=40)


def test_the_median_of_none_is_not_a_number() -> None:
    assert math.isnan(median([]))
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    for kind in ("linear", "gmm"):
        kit.campaign(runs, f"with-{kind}", solver={"kind": kind})
    return runs


def test_what_is_kept_of_a_run_is_its_result(below: Path) -> None:
    run = Run(Path(sdl.list_runs(below)[0]["run"]))
    kept = run_result(run)
    done = run.result
    assert (kept.trials, kept.readings, kept.miss, kept.error) == (done.trials, done.readings, done.miss, done.error)
    assert kept.reached
    assert kept.seconds == pytest.approx(run.events[-1].at - run.opened.at)


def test_error_and_tolerances_are_of_the_same_channel(tmp_path: Path) -> None:
    goal = kit.GOAL | {"630nm": {"target": 16384, "tolerance": 8000}}
    points = {"kind": "points", "points": [{"R": 0.4, "G": 0.25, "B": 0.52}]}  # red is 20 % off, which is inside
    run = Run(kit.campaign(tmp_path, "wide", goal=goal, design=points, stop={"trials": 1}))
    done, kept = run.result, run_result(run)
    assert done.worst is not None
    assert done.worst != "630nm"
    assert kept.error == abs(done.measured[done.worst] - 16384) / 16384
    assert done.error is not None
    assert kept.error < done.error  # red's, the most in per cent


def test_of_runs_that_differ_in_much_a_name_says_what_is_unusual() -> None:
    odd: list[dict[str, object]] = [{}, {}, {"average": 3}, {"confirm": 2}, {"tolerance": "1%"}]
    usual = {"confirm": 1, "tolerance": "2%"}
    runs = [one("gmm" if n else "linear", 0, 5, **(usual | more)) for n, more in enumerate(odd)]
    names = [group.name for group in grouped(runs)]
    assert sorted(names) == ["gmm", "gmm, average 3", "gmm, confirm 2", "gmm, tolerance 1%", "linear"]
