"""Runs side by side."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import sdl
from report import kit
from sdl import yamlfile
from sdl.report import style
from sdl.report.comparison import (
    HEAD,
    RunResult,
    differences,
    differing,
    figure,
    grouped,
    letter,
    median,
    median_interval,
    medians,
    run_result,
    shared_values,
    table,
)
from sdl.report.comparison_page import channels, comparison_page, story
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
    lines = {str(name)[2:]: points for name, points in lines.items()}  # after the letter of the group
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


def test_keys_that_do_not_change_the_experiment_make_no_group_and_no_difference(tmp_path: Path) -> None:
    changes = [{}, {"expect": {"trials": 9}, "description": "again"}, {"seed": 5}, {"average": 2}]
    runs = [run_result(Run(kit.campaign(tmp_path, f"c{n}", **more))) for n, more in enumerate(changes)]
    groups = grouped(runs)
    assert {(group.name, len(group.runs)) for group in groups} == {("average 1", 3), ("average 2", 1)}
    assert [(key, sorted(values)) for key, values in differences(groups)] == [("average", ["1", "2"])]


def test_goals_with_other_tolerances_are_other_experiments(tmp_path: Path) -> None:
    runs = [
        run_result(Run(kit.campaign(tmp_path, f"t{n}", goal={"515nm": 20000}, tolerance=text)))
        for n, text in enumerate(("2%", "1%"))
    ]
    assert {group.name for group in grouped(runs)} == {"goal 20000 ± 400 at 515nm", "goal 20000 ± 200 at 515nm"}


def test_a_difference_is_written_as_in_the_file(tmp_path: Path) -> None:
    points = [[{"R": 0.4, "G": 0.25, "B": 0.5}], [{"R": 0.4, "G": 0.3, "B": 0.5}]]
    runs = [
        run_result(Run(kit.campaign(tmp_path, f"p{n}", design={"kind": "points", "points": listed}, confirm=n)))
        for n, listed in enumerate(points)
    ]
    found = dict(differences(grouped(runs)))
    assert {str(yamlfile.parse(text).value) for text in found["confirm"]} == {"0", "1"}
    for texts in found.values():
        assert all("'" not in text and "(" not in text and "None" not in text for text in texts), "no words of Python"
    assert sorted(found["design.points"]) == ["[{R: 0.4, G: 0.25, B: 0.5}]", "[{R: 0.4, G: 0.3, B: 0.5}]"]


def test_the_interval_of_a_median_is_that_of_the_order_statistics() -> None:
    values = [float(v) for v in range(1, 26)]
    low, high = median_interval(values)
    # Exact: the median of a bootstrap sample of 25 is at most the k-th value with P(Binomial(25, k/25) >= 13).
    below = [sum(math.comb(25, j) * (k / 25) ** j * (1 - k / 25) ** (25 - j) for j in range(13, 26)) for k in range(26)]
    exact = (next(k for k in range(26) if below[k] >= 0.025), next(k for k in range(26) if below[k] >= 0.975))
    assert (abs(low - exact[0]), abs(high - exact[1])) <= (1, 1)
    assert low < median(values) < high
    assert all(math.isnan(end) for end in median_interval([3.0]))


def test_values_that_are_missing_are_said() -> None:
    rows = [
        dict(zip(HEAD, row, strict=True)) for row in table(grouped([*RUNS[3:], one("linear", 3, 9, miss=math.inf)]))
    ]
    assert rows[0]["× tolerance"] == "0.50 of 3"
    assert medians(grouped(RUNS[:3])[0])["trials"] == {"median": 7.0, "interval": (5.0, 9.0), "runs": 2}


def test_letters_and_shared_values_of_groups() -> None:
    assert [letter(n) for n in (0, 25, 26, 27, 52)] == ["A", "Z", "AA", "AB", "BA"]
    assert shared_values(["1", "3", "1"]) == [("1", ["A", "C"]), ("3", ["B"])]


def test_the_page_names_what_it_leaves_out_and_draws_the_stories(below: Path) -> None:
    results = [run_result(Run(Path(row["run"]))) for row in sdl.list_runs(below)]
    groups = grouped(results)
    drawn = story(groups)
    assert drawn is not None
    assert len(drawn.axes) == len(channels(groups)) == 3
    run = results[0]
    lines = [line.get_xydata().tolist() for line in drawn.axes[0].lines]
    assert [list(map(float, point)) for point in run.deviations[channels(groups)[0]]] in lines
    many = grouped([one(f"s{n:02}", 0, 5) for n in range(11)])
    text = comparison_page(many, ["c/x: <b>damaged</b>"])
    assert "Drawn are the first 8 of 11 groups." in text
    assert "c/x: &lt;b&gt;damaged&lt;/b&gt;" in text
    assert text.count(">s10<") + text.count("· s10") >= 1, "the table has them all"
    assert story(many) is None, "no goal, no story"
