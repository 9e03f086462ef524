"""`sdl bench`: every solver gets the same, and what is recommended follows from what they did."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sdl.bench import (
    BenchCampaign,
    BenchGoals,
    DaysScore,
    SolverSummary,
    campaigns,
    days_left_out,
    markdown,
    quantile,
    recommend,
    solver_of,
    summarise,
)
from sdl.bench.campaigns import channels_of, goals_of
from sdl.bench.report import days_table, solver_table
from sdl.errors import ConfigError
from sdl.twin.led.evidence import Evidence
from sdl.twin.led.model import Plant
from sdl.twin.led.state import load

STATE = load("night-2025-10")
CHANNELS = ("445nm", "515nm", "630nm")


# --- what is asked ------------------------------------------------------------------------------------------------
def test_each_input_gets_the_channel_that_sees_most_of_it():
    assert channels_of(STATE) == CHANNELS


def test_goals_can_be_reached_and_are_the_same_for_the_same_seed():
    goals = goals_of(STATE, CHANNELS, 20, 0)
    assert goals == goals_of(STATE, CHANNELS, 20, 0)
    assert goals[:5] == goals_of(STATE, CHANNELS, 5, 0)
    assert goals != goals_of(STATE, CHANNELS, 20, 1)
    assert all(0 < reading < STATE.full_scale for goal in goals for reading in goal.values())


def test_a_channel_that_is_not_there_is_told():
    with pytest.raises(ConfigError, match=r"unknown channel 600nm; allowed: 415nm"):
        goals_of(STATE, ("600nm",), 1, 0)


def test_a_label_is_a_kind_with_options():
    assert solver_of("gmm:trend=none,components=2") == {"kind": "gmm", "trend": "none", "components": 2}
    assert solver_of("linear:intercept=false") == {"kind": "linear", "intercept": False}


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("gm", "--solvers gm: kind: unknown kind 'gm'; allowed: auto, linear"),
        ("gmm:trend=3", "--solvers gmm:trend=3: trend: must be"),
        ("gmm:trend", "--solvers gmm:trend: --set trend: must be key=value"),
    ],
)
def test_a_wrong_label_is_told_with_what_is_allowed(label, said):
    with pytest.raises(ConfigError) as caught:
        solver_of(label)
    assert said in str(caught.value)


# --- what they do -------------------------------------------------------------------------------------------------
def test_every_solver_gets_every_goal_with_every_noise_whatever_the_number_of_processes():
    asked = BenchGoals({"kind": "twin"}, goals_of(STATE, CHANNELS, 2, 0), (0, 1), trials=12)
    told = []
    one = campaigns(asked, ["linear", "random"], 1, lambda done, of: told.append((done, of)))
    assert [(e.solver, e.goal, e.seed) for e in one] == [
        (solver, goal, seed) for solver in ("linear", "random") for goal in (0, 1) for seed in (0, 1)
    ]
    assert told[-1] == (8, 8)
    assert [e.outcome for e in one[:4]] == ["reached"] * 4
    assert {e.trials for e in one[4:]} == {None}
    two = campaigns(asked, ["linear", "random"], 2)
    assert [e._replace(ms=0.0) for e in two] == [e._replace(ms=0.0) for e in one]


def evidence(days=3, rows=12):
    """Readings of the twin on some days, the light a little stronger each day."""
    rng = np.random.default_rng(0)
    X = rng.uniform(0.1, 0.9, (days * rows, 3)).round(4)
    plant = Plant(STATE)
    Y = [list(plant.read(dict(zip("RGB", x.tolist(), strict=True)), i).readings.values()) for i, x in enumerate(X)]
    day = np.repeat([f"2026-01-0{d + 1}" for d in range(days)], rows)
    Y = np.array(Y, dtype=float)
    return Evidence(X, Y, np.full_like(Y, np.nan), np.repeat(np.arange(days), rows), day)


def test_settings_of_a_day_are_found_from_the_others():
    found = days_left_out(evidence(), STATE, CHANNELS, ["linear", "gmm"])
    assert [(m.solver, m.days, m.readings) for m in found] == [("linear", 3, 36), ("gmm", 3, 36)]
    assert all(0.0005 < m.rms < 0.01 for m in found)


def test_the_day_that_is_asked_for_is_not_learned_from():
    data = evidence(2)
    data.Y[data.day == "2026-01-02"] *= 0.5  # seen from one day, the other looks half as bright
    (miss,) = days_left_out(data, STATE, CHANNELS, ["linear"])
    assert miss.rms > 0.15


def test_one_day_tells_nothing_and_a_solver_that_cannot_says_why():
    assert days_left_out(evidence(1), STATE, CHANNELS, ["linear"]) == []
    (miss,) = days_left_out(evidence(2, 3), STATE, CHANNELS, ["linear"])
    assert math.isnan(miss.rms)
    assert "needed" in miss.why
    assert "needed" in days_table([miss])[1]


# --- what is told -------------------------------------------------------------------------------------------------
def ended(solver, trials, seeds=1):
    return [
        BenchCampaign(solver, i // seeds, i % seeds, t, "reached" if t else "spent", 10.0) for i, t in enumerate(trials)
    ]


def test_the_best_is_told_with_how_much_longer_the_others_take():
    best, other = summarise([*ended("slow", [6, 7, 8, 7]), *ended("quick", [5, 5, 6, 5])], 40)
    assert (best.solver, best.median, best.p95, best.mean, best.more) == ("quick", 5, 6, 5.25, 0)
    assert (other.solver, other.more) == ("slow", 1.75)
    assert other.error == pytest.approx(np.std([1, 2, 2, 2], ddof=1) / 2)


def test_a_goal_that_was_not_reached_counts_as_more_than_any_that_was():
    found = summarise([*ended("a", [5, 5, 5, None]), *ended("b", [30, 30, 30, 30])], 40)
    assert [line.solver for line in found] == ["a", "b"]
    assert (found[0].reached, found[0].p95, found[0].mean) == (3, math.inf, 14)


def test_seeds_of_one_goal_are_not_taken_for_goals():
    few = summarise([*ended("a", [5, 5, 5, 5], 2), *ended("b", [6, 6, 8, 8], 2)], 40)
    assert few[1].error == pytest.approx(1.0)


def line(solver, more=0.0, error=0.0, reached=10, ms=10.0):
    return SolverSummary(solver, 10, reached, 5, 6, 5 + more, more, error, ms)


def test_the_best_is_recommended_and_what_cannot_be_told_from_it_is_named():
    found = recommend([line("a"), line("b", 0.1, 0.1), line("c", 3.0, 0.5), line("d", 9.0, 0.5)], 20)
    assert (found.solver, found.as_good) == ("a", ("b",))
    assert "Take `a`: it reached 10 of 10 goals, half of them within 5 trials, 95 % within 6." in found.sentence
    assert "20 goals do not distinguish it from `b`" in found.sentence
    assert "`c` and those below it in the table take more trials (the first 3.0 ± 0.5 per goal" in found.sentence


def test_one_that_computes_ten_times_less_is_preferred_where_it_is_as_good():
    assert recommend([line("a", ms=500), line("b", 0.1, 0.1)], 20).solver == "b"
    assert recommend([line("a", ms=50), line("b", 0.1, 0.1)], 20).solver == "a"


def test_days_left_out_decide_among_those_that_the_twin_does_not_tell_apart():
    misses = [DaysScore("a", 0.02, 3, 30), DaysScore("b", 0.01, 3, 30), DaysScore("c", 0.001, 3, 30)]
    found = recommend([line("a"), line("b", 0.1, 0.1), line("c", 3.0, 0.5)], 20, misses)
    assert found.solver == "b"
    assert "best (error 0.0100 of an input's range)" in found.sentence


def test_where_nobody_reached_a_goal_nobody_is_recommended():
    found = recommend([line("a", reached=0), line("b", reached=0)], 20)
    assert found.solver == ""
    assert found.sentence.startswith("None of 2 solvers reached a goal")


def test_one_goal_does_not_tell_a_standard_error_and_nothing_is_called_worse():
    found = summarise([*ended("a", [5]), *ended("b", [9])], 40)
    assert recommend(found, 1).as_good == ("b",)


def test_a_table_has_a_line_for_each_solver():
    head, first, second = solver_table([line("quick"), replace(line("slow", 2.0, 0.5, 7), p95=math.inf)])
    assert head.split()[:2] == ["solver", "reached"]
    assert first.split() == ["quick", "10", "of", "10", "5", "6", "5.00", "10", "ms"]
    assert second.split() == ["slow", "7", "of", "10", "5", "never", "7.00", "+2.00", "±", "0.50", "10", "ms"]


def test_quantiles_are_trials_that_happened():
    assert quantile([5, None, 6, 7], 50) == 6
    assert quantile([5, None, 6, 7], 95) == math.inf
    assert quantile(list(range(1, 101)), 95) == 95


def test_a_markdown_table_is_one():
    text = markdown("case", ["x"], ["a", "b"], lambda row, column: row + column)
    assert text == "| case | a | b |\n|---|--:|--:|\n| x | xa | xb |\n"
