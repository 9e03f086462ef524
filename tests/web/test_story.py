"""The story of a live run: what its SVG shows of the readings, and how long a long run takes."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence

from sdl.core.events import Proposed
from sdl.core.goal import Band, Direction, Goal
from sdl.core.trials import Trial
from sdl.runs.pooled import PooledMean
from sdl.types import Reading, Verdict
from sdl.web import charts
from sdl.web.charts import ObjectivePoint
from sdl.web.story import BOTTOM, MOST_TRIALS, TOP, story

GOAL = Goal({"A": Band.around(100.0, 1.0), "B": Band.at_most(50.0, 2.0)})


def trial(n: int, readings: Sequence[tuple[float, float]], *, expected: float | None = None) -> Trial:
    verdict = None if expected is None else Verdict.REACHABLE
    given = {} if expected is None else {"A": expected}
    proposed = Proposed(n, {"x": 0.5}, {}, "gp", 0, "", {}, {}, given, verdict, (), float(n), expected_error={"A": 0.5})
    made = Trial(proposed, GOAL)
    for a, b in readings:
        made.add(Reading({"x": 0.5}, {"A": a, "B": b}))
    return made


def heights(path: str) -> list[float]:
    """The y of every marker of a path."""
    return [float(y) for y in re.findall(r"M[\d.]+,([\d.]+)m", path)]


def test_a_reading_lies_within_the_band_exactly_if_its_channel_is_within_tolerance() -> None:
    trials = [trial(0, [(130.0, 90.0)]), trial(1, [(99.5, 20.0)]), trial(2, [(101.0, 50.0), (101.2, 49.0)])]
    drawn = story(trials, GOAL, None, None)
    top, height = drawn["band"]
    assert math.isclose(top + height / 2, (TOP + BOTTOM) / 2, abs_tol=0.1), "the goal is in the middle"
    within = [[top <= y <= top + height for y in heights(line["dots"])] for line in drawn["lines"]]
    assert within == [[False, True, True, False], [False, True, True, True]]
    assert all(TOP <= y <= BOTTOM for line in drawn["lines"] for y in heights(line["dots"]))


def test_readings_of_one_trial_are_joined_and_expectation_and_mean_are_drawn_where_they_are_known() -> None:
    trials = [trial(0, [(130.0, 90.0)]), trial(1, [(99.5, 20.0), (100.5, 20.0)], expected=100.2)]
    bare, full = (
        story(trials, GOAL, None, mean)
        for mean in (None, PooledMean({"A": 100.0, "B": 20.0}, {"A": 0.2, "B": 0.1}, 2, 1))
    )
    assert [line["joined"].count("M") for line in full["lines"]] == [1, 1]
    assert [bool(line["expected"]) for line in full["lines"]] == [True, False]
    assert [line["mean"] is None for line in bare["lines"]] == [True, True]
    assert [line["mean"] is None for line in full["lines"]] == [False, False]
    assert full["solver"] is not None
    assert full["trials"][1][1] == "trial 1 (gp), 2 readings; A 0.00, B 0.00 × tolerance"


def test_nothing_is_drawn_without_a_target_or_a_reading() -> None:
    maximise = Goal({"A": Band.objective(Direction.MAXIMISE)})
    assert story([trial(0, [])], GOAL, None, None) is None
    assert story([trial(0, [(1.0, 1.0)])], maximise, None, None) is None
    assert story([], None, None, None) is None


def test_the_objective_is_drawn_by_trial_with_the_best_so_far() -> None:
    points = [ObjectivePoint(n, value, n != 2) for n, value in enumerate([10.0, math.nan, 30.0, 20.0, 40.0])]
    drawn = charts.objective("A", "counts", points, [(3, 12.0), (4, 25.0)])
    assert drawn is not None
    assert [kept for _, _, kept in drawn["points"]] == [True, False, True, True]
    heights = [y for _, y, _ in drawn["points"]]
    assert heights[0] > heights[2] > heights[1] > heights[3], "larger is higher"
    corners = [tuple(map(float, corner.split(","))) for corner in drawn["line"].split()]
    (a, b), (c, d), (e, f) = corners
    assert (b, c, e) == (d, e, c), "a step"
    assert a < c
    assert b > f
    assert drawn["summary"] == "trial 4: 40; best so far by the model 25"
    assert charts.objective("A", "", points[1:2], []) is None
    assert charts.objective("A", "", points[:1], [])["rows"]  # type: ignore[index]


def test_only_the_latest_trials_of_a_long_run_are_drawn() -> None:
    trials = [trial(n, [(100.0 + math.sin(n), 20.0)] * 3) for n in range(5000)]
    began = time.process_time()
    drawn = story(trials, GOAL, trials[7], None)
    taken = time.process_time() - began
    assert drawn["left_out"] == 5000 - MOST_TRIALS
    assert len(drawn["trials"]) == MOST_TRIALS
    assert taken < 0.3, f"{taken * 1000:.0f} ms, and 5 ms are usual"
