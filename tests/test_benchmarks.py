"""The benchmark of the solvers: its plants are what they say, it counts fairly, and it can be broken off."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from waiting import TIMEOUT

from sdl.registry import find
from sdl.space import Space
from sdl.types import Verdict

sys.path.append(str(ROOT / "benchmarks"))

import cells
import objective_campaign
import objective_plants
import plants
import real
from baselines import BASELINES
from plants import COLUMNS, PLANTS, SCENARIOS, Perfect, campaign

LINEAR = find("solvers", "linear")()


def plant(name, pair=0):
    return PLANTS[name](np.random.default_rng([pair, 4]))


def same(one, other):
    return replace(one, cpu=0.0) == replace(other, cpu=0.0)


# Plants --------------------------------------------------------------------------------------------------------------
POSSIBLE = [name for name, scenario in SCENARIOS.items() if not scenario.beyond]


@pytest.mark.parametrize("name", POSSIBLE)
def test_every_goal_can_be_hit(name):
    for pair in range(20):
        one, goal, truth = plants.task(SCENARIOS[name], pair)
        got = dict(zip(one.channels, one.noise_free(truth).tolist(), strict=True))
        assert truth.min() >= 0
        assert truth.max() <= 1
        assert goal.miss(got) < 1e-9
        assert max(goal.targets.values()) < plants.FULL
        widest = max((band.high - band.low) / band.target for band in goal.bands.values())
        assert widest == pytest.approx(2 * SCENARIOS[name].tolerance / 100)


def test_goals_keep_off_the_ends_unless_they_are_meant_to_be_there():
    rng = np.random.default_rng(0)
    inner = np.array([plant("affine").draw(rng) for _ in range(200)])
    assert inner.min() > 0.1
    assert inner.max() < 0.9
    corner = np.array([plant("corner").draw(rng) for _ in range(200)])
    assert np.minimum(corner, 1 - corner).max() < 0.05
    assert len(np.unique(corner.round(), axis=0)) == 8


@pytest.mark.parametrize(("name", "expected"), [("affine", 0.0035), ("noise 1 %", 0.01), ("curved .8", 0.0035)])
def test_the_noise_is_a_part_of_the_reading(name, expected):
    one, rng = plant(name), np.random.default_rng(0)
    for x in (np.full(3, 0.5), np.array([0.9, 0.2, 0.4])):
        Y = np.array([one.read(x, 0, rng) for _ in range(2000)])
        assert Y.std(axis=0) / one.noise_free(x) == pytest.approx(expected, rel=0.07)
        assert Y.mean(axis=0) == pytest.approx(one.noise_free(x), rel=4 * expected / np.sqrt(2000) + 1e-4)


def test_the_real_jitter_vanishes_at_the_ends_and_is_shared_within_a_window():
    one, rng = plant("jitter"), np.random.default_rng(0)
    Y = np.array([one.read(np.array([0.2, 0.4, 0.4]), 0, rng) for _ in range(4000)])
    net = one.gains[[1, 3]] @ np.eye(3)
    own = 0.0045 * np.sqrt(0.24) * np.array([net[0, 2], net[1, 1]])
    assert Y[:, [1, 3]].std(axis=0) == pytest.approx(own, rel=0.05)
    r = np.corrcoef(Y[:, [1, 3, 5, 6]].T)
    assert r[0, 1] == pytest.approx(0.8, abs=0.05)
    assert r[2, 3] > 0.95
    assert abs(r[0, 3]) < 0.06
    ends = np.array([one.read(np.array([0.0, 1.0, 1.0]), 0, rng) for _ in range(500)])
    assert (ends[:, 1] / ends[:, 1].mean()).std() == pytest.approx(2.8e-4, rel=0.15)


def test_drift_takes_a_thousandth_of_the_light_with_every_reading():
    one, x = plant("drift"), np.full(3, 0.5)
    assert one.noise_free(x, 10) == pytest.approx(one.noise_free(x) * 0.999**10)
    assert plant("affine").noise_free(x, 10) == pytest.approx(one.noise_free(x))


def test_curved_plants_keep_both_ends():
    ends = np.array([[0.0] * 3, [1.0] * 3])
    for name in ("curved .3", "curved .8", "gamma 1.8"):
        assert plant(name).light(ends) == pytest.approx(ends)
    assert plant("curved .8").light(np.array([0.5])) == pytest.approx([0.7])
    assert plant("droop").light(ends[1]) == pytest.approx(0.85)


def test_a_reading_ends_at_full_scale_and_says_so():
    one = plant("saturating")
    rows = one.rows(np.array([[0.5, 0.9, 0.5], [0.2, 0.2, 0.2]]), np.random.default_rng(0))
    assert rows.Y[0, 1] == plants.FULL
    assert rows.saturated.tolist() == [[False, True, False], [False] * 3]


def test_units_differ_by_pair_and_only_by_pair():
    a, b, again = plant("unit", 1), plant("unit", 2), plant("unit", 1)
    assert (a.gains == again.gains).all()
    assert not (a.gains == b.gains).any()
    many = [plant("unit", pair) for pair in range(200)]
    ratio = np.array([one.gains / plants.GAINS[COLUMNS] for one in many])
    assert 0.8 <= ratio.min() < 0.81
    assert 1.19 < ratio.max() <= 1.2
    ambient = np.array([one.ambient for one in many])
    assert 0 <= ambient.min() < 100
    assert 4900 < ambient.max() <= 5000


# Campaigns -----------------------------------------------------------------------------------------------------------
POSSIBLE = [name for name, scenario in SCENARIOS.items() if not scenario.beyond]


@pytest.mark.parametrize("name", POSSIBLE)
def test_who_knows_the_plant_needs_no_second_proposal_where_noise_does_not_count(name):
    scenario = SCENARIOS[name]
    ended = [campaign(scenario, Perfect(), pair) for pair in range(5)]
    assert all(e.reached for e in ended)
    if scenario.criterion == "noise-free":
        axis = [plant(scenario.plant, pair).d + 1 for pair in range(5)]
        planned = [0 if scenario.prior else scenario.initial or points for points in axis]
        assert [e.trials for e in ended] == [points + 1 for points in planned]


def test_a_campaign_depends_on_its_pair_alone():
    scenario = SCENARIOS["curved .3, 1 %"]
    ended = [campaign(scenario, LINEAR, pair, cap=25) for pair in range(4)]
    assert all(same(e, campaign(scenario, LINEAR, pair, cap=25)) for pair, e in enumerate(ended))
    assert len({e.trials for e in ended}) > 1


def test_the_affine_plant_takes_its_design_and_one_proposal():
    ended = [campaign(SCENARIOS["affine, 1 %"], LINEAR, pair) for pair in range(20)]
    assert np.median([e.trials for e in ended]) == 5
    assert all(e.proposals == e.trials - 4 for e in ended)
    assert sum(e.alarms for e in ended) == 0


def test_random_settings_fail_and_the_failure_is_counted():
    ended = campaign(SCENARIOS["affine, 1 %"], find("solvers", "random")(), 0)
    assert (ended.reached, ended.trials, ended.proposals) == (False, plants.CAP, plants.CAP - 4)


def test_a_solver_that_is_asked_too_early_gets_the_axis_points():
    ended = campaign(SCENARIOS["another unit, 2 % measured"], LINEAR, 2)
    assert ended.reached
    assert ended.proposals == ended.trials - 4


def test_a_prior_record_stands_in_for_the_design_and_is_not_counted():
    ended = [campaign(SCENARIOS["known unit, room ≤ 300"], LINEAR, pair) for pair in range(10)]
    assert np.median([e.trials for e in ended]) == 1


def test_confirming_asks_for_more_than_one_lucky_reading():
    narrow = replace(SCENARIOS["jitter, 2 % confirmed"], tolerance=0.7)
    confirmed = [campaign(narrow, Perfect(), pair).trials for pair in range(30)]
    once = [campaign(replace(narrow, criterion="measured"), Perfect(), pair).trials for pair in range(30)]
    assert all(c >= o for c, o in zip(confirmed, once, strict=True))
    assert sum(confirmed) > sum(once)


SOME_SHAPES = ("products, 1 %", "competitive, 1 %", "square, 1 %", "two peaks, 1 %", "Michaelis, full, 1 %")
ASKED = [
    pytest.param(name, marks=[pytest.mark.xfail(reason="takes a trial more, 8")] if name.startswith("gamma") else [])
    for name, scenario in SCENARIOS.items()
    if scenario.asked and (scenario.plant not in plants.SHAPES or name in SOME_SHAPES)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_the_default_solver_reaches_what_is_asked_of_it(name):
    scenario, tables = SCENARIOS[name], script("solvers.py")
    solver = cells.solver_of("auto", dict(scenario.options))
    ended = [campaign(scenario, solver, pair) for pair in range(10)]
    trials = [e.trials if e.reached else None for e in ended]
    assert None not in trials
    assert tables.quantile(trials, 50) <= scenario.asked[0]
    assert tables.quantile(trials, 90) <= scenario.asked[1]
    assert not any(e.error for e in ended)


def test_a_linear_model_calls_no_goal_unreachable_that_a_gaussian_process_does_not():
    """A peak between the rows: the surface that judges the linear model cannot draw it."""
    scenario = SCENARIOS["peak, 1 %"]
    assert campaign(scenario, cells.solver_of("bayes", dict(scenario.options)), 2, cap=12).alarms == 0


def test_where_the_floor_is_asked_for_it_is_measured_beside():
    tables = script("solvers.py")
    trials = {"near": [6] * 10, "far": [7] * 10, "perfect": [5] * 10}
    rows = {
        ("jitter, 2 % confirmed", k): [{"trials": t, "ms": [1.0], "alarms": 0, "errors": []}] for k, t in trials.items()
    }
    text = tables.campaign_tables(rows, ["jitter, 2 % confirmed"], list(trials))
    assert "| jitter, 2 % confirmed | floor + 1 | **6 / 6** | 7 / 7 | 5 / 5 |" in text


def test_a_solver_that_breaks_is_a_failure_with_its_reason():
    class Broken:
        kind = "broken"

        def fit(self, data):
            raise ZeroDivisionError("oh")

    ended = campaign(SCENARIOS["affine, 1 %"], Broken(), 0)
    assert not ended.reached
    assert "broken failed on 4 rows" in ended.error


@pytest.mark.parametrize("kind", [kind for kind in BASELINES if kind != "botorch"])
def test_baselines_propose_inside_the_bounds(kind):
    one, solver = plant("RGBW"), BASELINES[kind]()
    rows = one.rows(plants.spread_out(12, 4, np.random.default_rng(0)), np.random.default_rng(1))
    goal = plants.targets(one, one.noise_free(np.array([[0.9, 0.1, 0.5, 0.2]])), 1.0)
    given = solver.fit(rows).propose(goal, Space(rows.inputs), np.random.default_rng(0))
    assert given.settings.shape == (1, 4)
    assert given.settings.min() >= 0
    assert given.settings.max() <= 1


def test_the_secant_baseline_solves_the_affine_plant():
    ended = [campaign(SCENARIOS["affine, 1 %"], BASELINES["textbook broyden"](), pair) for pair in range(10)]
    assert np.median([e.trials for e in ended]) == 5


# What else is measured -----------------------------------------------------------------------------------------------
def test_impossible_goals_are_impossible():
    from scipy.optimize import lsq_linear

    kinds = set()
    for pair in range(50):
        for kind, one, columns, goals in cells._goals("impossible", pair):
            kinds.add(kind)
            for goal in np.atleast_2d(goals):
                room = 0.005 * np.abs(goal)
                best = lsq_linear(one.gains[columns] / room[:, None], goal / room, bounds=(0, 1))
                assert np.abs(best.fun).max() > 1, (kind, goal)
    assert len(kinds) == 3


@pytest.mark.slow
def test_linear_finds_the_paper_s_impossible_goals_and_raises_no_alarm_on_affine_ones():
    called = cells.verdicts("impossible n=20", "linear", 0, 5)["called"]
    assert called["unphysical goals of the paper"] == [20, 20]
    assert cells.verdicts("affine n=20", "linear", 0, 10)["called"] == {"affine": [0, 10]}


def test_coverage_counts_every_input_once():
    found = cells.coverage("affine n=20", "linear", 0, 30)
    for kind in ("uncertainty", "spread"):
        within1, within2, known, unknown = found[kind]
        assert known + unknown == 90
        assert 0.45 < within1 / known < 0.9
        assert within2 / known > 0.85
    assert cells.coverage("affine n=20", "random", 0, 2)["spread"] == [0, 0, 0, 6]


def test_one_fit_to_eighty_rows_is_exact_where_there_is_no_noise_to_speak_of(monkeypatch):
    monkeypatch.setitem(PLANTS, "affine", lambda rng: plants.Plant(plants.THREE, noise=1e-6))
    misses = cells.one_shot("affine n=80", "linear", 0, 3)["misses"]
    assert len(misses) == 3
    assert max(misses) < 0.05


@pytest.mark.parametrize("name", ["plane", "Beer", "square", "parabola"])
def test_the_least_miss_is_found_and_goals_beyond_are_so_far_off(name):
    rng = np.random.default_rng(0)
    one = plant(name)
    assert plants.nearest(one, one.noise_free(one.draw(rng)), rng) < 1e-4
    goal = plants.outside(one, 0.065, rng)
    dense = np.abs(one.noise_free(rng.random((100_000, one.d)).round(2)) / goal - 1).max(axis=1).min()
    assert 0.06 < plants.nearest(one, goal, rng) < 0.08
    assert dense > 0.06


def test_a_channel_ends_so_far_above_its_goal_and_a_step_comes_after_the_design():
    one, goal, _ = plants.task(SCENARIOS["Beer, full, 1 %"], 3)
    assert one.full == pytest.approx(1.03 * np.array(list(goal.targets.values())))
    assert one.rows(np.zeros((1, 3)), np.random.default_rng(0)).saturated.all()
    step = plant("plane, step")
    assert (step.left(3), step.left(4)) == (1.0, 0.97)


def test_wrong_rows_change_nothing_but_the_rows_that_they_replace():
    scenario = SCENARIOS["plane, 4 of 40 rows wrong"]
    for pair in range(3):
        X, Y = plants._prior(scenario, plant("plane", pair), pair)
        clean = plants._prior(replace(scenario, wrong=0), plant("plane", pair), pair)
        assert ((clean[0] != X).any(axis=1) | (clean[1] != Y).any(axis=1)).sum() == 4


@pytest.mark.slow
def test_all_solutions_of_the_true_plant_are_found_and_a_sample_of_the_posterior_has_no_distance():
    found = cells.modes("square n=80", "mcmc:model=smooth", 0, 2)
    hit, there, invented = found["modes"]
    assert (hit, invented) == (there, 0)
    rng = np.random.default_rng(0)
    assert abs(cells._mmd(rng.random((300, 2)), rng.random((300, 2)))) < 0.01
    assert cells._mmd(rng.random((300, 2)), 0.1 * rng.random((300, 2))) > 0.1


def test_a_ratio_of_medians_comes_with_its_interval():
    tables = script("solvers.py")
    assert tables.ratio([2.0] * 20, [1.0] * 20) == "2.00 (2.00–2.00)"
    assert tables.ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).startswith("0.50 (")


def test_a_label_may_carry_options_and_a_scenario_s_own_are_for_those_that_have_them():
    linear = cells.solver_of("linear:intercept=false,starts=2")
    assert (linear.intercept, linear.starts, linear.bounded) == (False, 2, True)
    assert cells.solver_of("linear", {"knows": "twin"}) == LINEAR
    assert cells.solver_of("linear", {"starts": 7}).starts == 7


def test_a_failure_counts_as_more_than_any_number_of_trials_and_is_never_good_enough():
    tables = script("solvers.py")
    assert tables.quantile([5, None, 6, 7], 50) == 6
    assert np.isinf(tables.quantile([5, None, 6, 7], 95))
    assert tables.quantile(list(range(1, 101)), 95) == 95
    trials = {"good": [5] * 95 + [6] * 5, "slow": [5] * 50 + [7] * 50, "fails": [5] * 99 + [None]}
    rows = {("affine, 1 %", k): [{"trials": t, "ms": [1.0], "alarms": 0, "errors": []}] for k, t in trials.items()}
    text = tables.campaign_tables(rows, ["affine, 1 %"], list(trials))
    assert "| affine, 1 % | 5 / 6 | **5 / 5** | 5 / 7 | 5 / 5 · 1 |" in text


def script(name):
    """A benchmark as a module; by its own name it would be taken for the tests' package `solvers`."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name[:-3]}", ROOT / "benchmarks" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The commands --------------------------------------------------------------------------------------------------------
def command(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = str(ROOT / "benchmarks" / arguments[0])
    done = subprocess.run(
        [sys.executable, script, *arguments[1:]], env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["solvers.py", "real.py"])
def test_a_benchmark_explains_itself(name):
    text = command(name, "--help")
    assert f"python benchmarks/{name}" in text
    assert name != "solvers.py" or "noise 1 %, jitter" in " ".join(text.split())


@pytest.mark.slow
def test_a_broken_off_benchmark_goes_on_where_it_was(tmp_path):
    pytest.importorskip("matplotlib")
    asked = [
        "solvers.py",
        "--plants",
        "affine",
        "--solvers",
        "linear",
        "perfect",
        "--pairs",
        "12",
        "--out",
        str(tmp_path),
    ]
    text = command(*asked)
    assert "| affine, 1 % | 5 / 6 | **5 / " in text
    assert (tmp_path / "solvers.png").stat().st_size > 1000
    results = tmp_path / "results.jsonl"
    lines = results.read_text().splitlines()
    assert sorted(json.loads(line)["job"][3:] for line in lines) == [[0, 5]] * 4 + [[5, 10]] * 4 + [[10, 12]] * 4
    results.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:40])  # killed while it wrote
    again = command(*asked)
    assert [row for row in again.splitlines() if "5 /" in row] == [row for row in text.splitlines() if "5 /" in row]
    assert len(results.read_text().splitlines()) == len(lines) + 1
    stamp = results.read_bytes()
    command(*asked)
    assert results.read_bytes() == stamp


def test_real_readings_are_skipped_where_there_are_none(tmp_path):
    assert "skipped" in command("real.py", "--data", str(tmp_path / "none.jsonl"))


def test_on_dark_evenings_the_joint_gaussian_is_within_half_again_of_the_noise(real_readings):
    log = real.load(real_readings)
    off = real.misses(log, "dark evenings", "gmm", COLUMNS)
    assert len(off) > 90
    assert np.sqrt((off**2).mean()) < 1.5 * real.FLOOR


def test_no_day_is_learnt_from_that_is_predicted(real_readings):
    log = real.load(real_readings)
    for which in real.SETS[:3]:
        for learn, predict in real.folds(log, which):
            assert not set(log.day[learn]) & set(log.day[predict])
    for learn, predict in real.folds(log, real.SETS[3]):
        assert len(np.intersect1d(learn, predict)) == 0
        assert (log.day[learn] == log.day[predict[0]]).sum() == real.KNOWN


def test_an_alarm_on_a_goal_that_can_be_hit_is_counted():
    class Pessimist:
        kind = "pessimist"

        def fit(self, data):
            fitted = LINEAR.fit(data)
            return type("Fitted", (), {"propose": lambda _, *asked: _gloomy(fitted.propose(*asked))})()

    ended = campaign(SCENARIOS["affine, 1 %"], Pessimist(), 0)
    assert ended.reached
    assert ended.alarms == ended.proposals == 1


def _gloomy(given):
    return replace(given, verdict=(Verdict.UNREACHABLE,) * len(given.verdict))


OPTIMA = {
    "Branin": [(np.pi + 5) / 15, 2.275 / 15],
    "Hartmann-6": [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573],
    "constrained Branin": [(np.pi + 5) / 15, 2.275 / 15],
    "Beer-Lambert yield": [0.53463611, 1.0, 0.58992671],
}


@pytest.mark.parametrize("name", OPTIMA)
def test_the_best_of_a_plant_with_an_objective_is_its_maximum_inside_the_limit(name):
    plant = objective_plants.PLANTS[name]
    assert plant.regret(OPTIMA[name]) == pytest.approx(0.0, abs=1e-5)
    clean = plant.clean(np.random.default_rng(0).random((20000, plant.d)))
    kept = clean[:, 1] <= plant.at_most if plant.at_most is not None else np.ones(20000, bool)
    assert clean[kept, 0].max() <= plant.best + 1e-6
    assert plant.at_most is None or plant.regret([0.12, 0.82]) == np.inf  # an optimum outside the disk


def test_a_campaign_for_an_objective_ends_near_the_best(monkeypatch):
    monkeypatch.setattr(objective_campaign, "TRIALS", 14)
    row = objective_campaign.campaigns("Beer-Lambert yield", "quadratic", 0, 1)
    assert 0 <= row["regrets"][0] < 0.1


def test_lack_of_fit_is_not_called_noise_and_noise_is() -> None:
    for shape in ("competitive n=20", "Hill n=20", "Michaelis n=20"):
        assert cells.verdicts(shape, "auto", 0, 8)["below"] == [0, 8], shape
    assert cells.verdicts("noise 1 % n=20", "auto", 0, 8)["below"] == [8, 8]
