"""Model selection on densities that are given: margins, caps and the reasons, without a fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from led import CHANNELS, data, hypercube
from scipy import stats

from sdl.arrays import Floats
from sdl.models.data import Data
from sdl.models.model_selection import _before, _log_probability_of_bounds, predictive_score, select_model


@dataclass
class Told:
    """A candidate that predicts sum(x) × 1000 + off ± sd, and knows the leave-one-out densities it is given."""

    off: Any = 0.0
    sd: float = 10.0
    densities: Floats | None = None

    def fit(self, data: Data) -> Told:
        if self.densities is not None:
            densities = self.densities
            self.leave_one_out = lambda: densities
        return self

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        return X.sum(axis=1, keepdims=True) * 1000 + self.off, np.full((len(X), 1), self.sd)


def rows(n: int) -> Data:
    X = hypercube(n, np.random.default_rng(0))
    return data(X, X.sum(axis=1, keepdims=True) * 1000, channels=CHANNELS[:1])


def density(n: int, each: float) -> Floats:
    return np.full((n, 1), each)


@pytest.mark.parametrize(("n", "gain", "taken"), [(12, 2.9, "simple"), (12, 3.1, "general"), (4, 0.1, "general")])
def test_a_general_model_must_beat_a_simple_one_by_the_margin_of_its_rows(n: int, gain: float, taken: str) -> None:
    """Three nats with three times as many rows as coefficients; none with as many."""
    candidates = {"simple": Told(densities=density(n, 0.0)), "general": Told(densities=density(n, gain / n))}
    assert select_model(rows(n), candidates, 4).why.startswith(f"{taken}: ")


def test_half_the_rows_beyond_the_coefficients_ask_for_half_the_margin() -> None:
    for gain, taken in ((1.45, "simple"), (1.55, "general")):
        candidates = {"simple": Told(densities=density(8, 0.0)), "general": Told(densities=density(8, gain / 8))}
        assert select_model(rows(8), candidates, 4).why.startswith(f"{taken}: ")


def test_one_row_that_a_model_predicts_badly_costs_it_eight_nats_and_no_more() -> None:
    """12.5 nats better on the other rows is enough although one reading is impossible by the model; 10 are not."""
    for other, taken in ((12.5, "general"), (10.0, "simple")):
        bad = density(13, other / 12)
        bad[0] = -1000.0
        candidates = {"simple": Told(densities=density(13, 0.0)), "general": Told(densities=bad)}
        assert select_model(rows(13), candidates, 4).why.startswith(f"{taken}: ")


def test_rows_that_a_candidate_cannot_predict_count_for_none() -> None:
    unknown = density(12, -1.0)
    unknown[:2] = np.nan
    better = density(12, -0.5)
    better[:2] = -50.0
    candidates = {"simple": Told(densities=unknown), "general": Told(densities=better)}
    assert select_model(rows(12), candidates, 4).why.startswith("general: ")  # 10 rows, half a nat each


def test_an_error_counts_up_to_eight_standard_deviations() -> None:
    """With the same standard deviation for all, the score is minus half the square of the error, at most 32 each."""
    given = [Told(50.0), Told(60.0), Told(63.0), Told(1000.0)]
    scores, settings = predictive_score(given, rows(9), 3)
    assert settings == 3
    assert scores == pytest.approx([-3 * 0.5 * z**2 for z in (5.0, 6.0, 6.3, np.sqrt(25 + 16))])
    (one, other), _ = predictive_score([Told(90.0), Told(900.0)], rows(9), 3)
    assert one == pytest.approx(other)


def test_one_bad_prediction_of_the_latest_costs_a_candidate_eight_nats_against_the_best() -> None:
    """A wrong row among the latest must not decide for the candidate whose standard deviation is the largest."""
    given = rows(9)
    given.Y[-1] += 900.0
    (narrow, wide), settings = predictive_score([Told(sd=10.0), Told(sd=300.0)], given, 3)
    lead = np.log(30.0)  # of the narrow one, on each of the other two
    assert (settings, narrow - wide) == (3, pytest.approx(2 * lead - 8.0))


def test_wrong_rows_among_the_latest_are_not_predicted() -> None:
    given = rows(40)
    given.Y[[20, 37]] += 900.0
    scores, settings = predictive_score([Told(sd=10.0), Told(sd=300.0)], given, 3)
    assert settings == 3
    assert scores == pytest.approx([0.0, -3 * np.log(30.0)])


def test_a_larger_standard_deviation_costs_its_logarithm() -> None:
    scores, _ = predictive_score([Told(5.0, 10.0), Told(5.0, 20.0)], rows(9), 2)
    assert scores[1] - scores[0] == pytest.approx(2 * (-0.5 * 0.25**2 - np.log(2.0) + 0.5 * 0.5**2))


def test_a_linear_model_that_lacks_fit_gives_later_candidates_no_credit_for_sharing_it() -> None:
    """The static model must be beaten on the latest settings by one nat, plus what the linear one lost on as many."""
    n = 12
    statics = {"linear": Told(densities=density(n, -2.0)), "curved": Told(15.0, densities=density(n, 0.0))}
    # On each of the last 2 settings `curved` loses half of 1.5² = 1.125 nats to a perfect candidate.
    assert select_model(rows(n), {**statics, "later": Told(0.0)}, 2).why.startswith("curved: ")  # 2.25 < 1 + 2 × 2
    far = {**statics, "curved": Told(35.0, densities=density(n, 0.0))}
    assert select_model(rows(n), {**far, "later": Told(0.0)}, 2).why.startswith("later: ")  # 12.25 > 5


def test_a_candidate_that_knows_no_noise_meets_a_bound_with_the_nominal_one() -> None:
    """0.4 % of the reading; a bound above the mean of the readings is a lower one, a bound below it an upper one."""
    plain = rows(9)
    X, Y = np.vstack([plain.X, [[0.9, 0.9, 0.8], [0.1, 0.1, 0.1]]]), np.vstack([plain.Y, [[2600.0], [300.0]]])
    cut = np.zeros((11, 1), bool)
    cut[9:] = True
    full = replace(data(X, Y, channels=CHANNELS[:1]), saturated=cut)
    exact = stats.norm(0, 0.004 * 2600).logcdf(2602.0 - 2600.0) + stats.norm(0, 0.004 * 300).logcdf(300.0 - 302.0)
    found = _log_probability_of_bounds({"unknown": Told(2.0, np.nan), "none": Told(2.0, 0.0), "sure": Told()}, full)
    assert found["unknown"] == found["none"] == pytest.approx(exact)
    assert found["sure"] == pytest.approx(2 * np.log(0.5))
    far = _log_probability_of_bounds({"sure": Told(), "far": Told(-1000.0)}, full)
    assert far["far"] == pytest.approx(np.log(0.5) - 8.0)  # 8 below the other at the first bound, sure of the second


def test_of_the_bounds_of_the_last_session_each_costs_a_candidate_eight_nats_at_most() -> None:
    plain = rows(9)
    X, Y = np.vstack([plain.X, [[0.9, 0.9, 0.8]] * 2]), np.vstack([plain.Y, [[2600.0]] * 2])
    cut = np.arange(11)[:, None] >= 9
    full = replace(data(X, Y, channels=CHANNELS[:1]), saturated=cut)
    candidates = {"far": Told(-1000.0), "right": Told(1000.0)}
    assert _log_probability_of_bounds(candidates, full) == pytest.approx({"far": -16.0, "right": 0.0})
    earlier = replace(full, session=np.arange(11) // 10 * 1.0)  # one of them belongs to the session before
    assert _log_probability_of_bounds(candidates, earlier) == pytest.approx({"far": -8.0, "right": 0.0})
    none = replace(full, saturated=np.zeros((11, 1), bool))
    assert _log_probability_of_bounds(candidates, none) == {"far": 0.0, "right": 0.0}


def test_before_a_reading_the_rows_before_it_were_known_and_its_session_had_begun() -> None:
    session = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 2.0])
    known = _before(replace(rows(6), session=session, current_session=7.0), 3)
    assert (len(known.X), len(known.Y), len(known.saturated)) == (3, 3, 3)
    assert known.age.tolist() == [2.0, 1.0, 0.0]
    assert known.session.tolist() == [0.0, 0.0, 0.0]
    assert known.current_session == 1.0
