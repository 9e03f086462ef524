"""One judge for all solvers: the same verdict whoever answers, and none without being sure."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from led import GAINS, LOW, ask, axis, data, measure, night, space, targets

import sdl
from sdl.models.data import Targets
from sdl.models.forward.gaussian_process import fit_gaussian_process
from sdl.models.inversion.search import Bands
from sdl.models.reachability import assess
from sdl.models.training_set import TrainingSet
from sdl.models.verdict import Judge
from sdl.registry import find, kinds
from sdl.solvers.gmm import Gmm
from sdl.solvers.gp import Gp
from sdl.solvers.linear import Linear
from sdl.types import Channel, Input, Verdict

MODELS = ("linear", "pls", "gmm", "forest")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("n", [9, 12, 30])
def test_twice_the_brightest_is_unreachable_once_the_rows_exclude_a_turn(kind, n):
    answer = ask(find("solvers", kind)(), night(n), [60000.0, 16384.0, 16384.0])
    assert answer.verdict == (Verdict.UNREACHABLE,)
    assert "out of reach" in answer.why[0]
    assert answer.nearest[0] == pytest.approx([30357, 16384, 16384], rel=0.01)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("n", [4, 8])
def test_fewer_than_2d_plus_3_rows_call_nothing_unreachable(kind, n):
    assert Verdict.UNREACHABLE not in ask(find("solvers", kind)(), night(n), [60000.0, 16384.0, 16384.0]).verdict


@pytest.mark.parametrize("kind", MODELS)
def test_a_little_above_the_brightest_is_unreachable_once_the_rows_can_tell(kind):
    goal = [31500.0, 16384.0, 16384.0]  # 2 % below it is 30870; the brightest is 30357
    solver = find("solvers", kind)()
    assert ask(solver, night(5), goal).verdict != (Verdict.UNREACHABLE,)
    assert ask(solver, night(20), goal).verdict == (Verdict.UNREACHABLE,)


@pytest.mark.parametrize("n", [4, 5, 6, 8, 12, 20])
@pytest.mark.parametrize("tolerance", [0.02, 0.005])
def test_goals_at_the_very_edge_of_what_is_possible_raise_no_alarm(n, tolerance):
    for seed in range(20):
        u = np.random.default_rng(seed).uniform(size=3)
        u[seed % 3] = (0.0, 1.0)[seed % 2]
        assert ask(Linear(), night(n, seed), GAINS @ u, tolerance=tolerance).verdict != (Verdict.UNREACHABLE,)


@pytest.mark.parametrize("seed", [16, 45, 46])
def test_rows_in_one_place_call_nothing_unreachable_that_a_surface_which_turns_may_reach(seed):
    """Inputs that act together, rows on the axes and around one point, and the reading of settings far from both."""
    rng = np.random.default_rng(seed)
    A, Q = rng.normal(size=(3, 3)), 2 * rng.normal(size=(3, 3, 3))

    def surface(X):
        return 1000 * (10 + X @ A.T + np.einsum("ki,mij,kj->km", X - 0.5, Q, X - 0.5))

    near, far = rng.uniform(0.1, 0.4, 3), rng.uniform(0.6, 0.9, 3)
    X = np.vstack([axis(), near + rng.uniform(-0.08, 0.08, (6, 3))])
    rows = data(X, surface(X) * (1 + 0.002 * rng.standard_normal((10, 3))))
    target = Targets(*(part[0] for part in targets(surface(far[None]), 0.015)))
    model = fit_gaussian_process(rows)
    region = model.training.region(rows.space)
    u = model.training.nearest(target, region)
    assert assess(model, Bands.of(model.training, target), u, region).is_unreachable
    assert Judge(model.training, model).assess_goal(target, region, u).verdict is not Verdict.UNREACHABLE


def test_a_step_without_repeated_settings_is_no_noise():
    """Seven readings of a titration: a parabola leaves residuals of more than a tolerance of 0.1."""
    x = np.array([10, 90, 49.73, 72.44, 54.77, 63.26, 57.49])[:, None]
    y = np.array([3.03, 11.03, 3.0, 10.98, 2.98, 9.9, 3.04])[:, None]
    acid, ph = (Input(name="acid", low=0.0, high=100.0),), (Channel(name="pH"),)
    rows, goal = data(x, y, inputs=acid, channels=ph), targets([[7.0]], 0.1 / 7)
    for kind in ("quadratic", "auto"):
        found = find("solvers", kind)().fit(rows).propose(goal, rows.space, np.random.default_rng(0))
        assert found.verdict == (Verdict.REACHABLE,)


def test_faint_goals_of_a_curved_instrument_are_seldom_called_below_the_noise():
    """20 rows do not tell whether faint readings are as precise in counts or in per cent."""
    called = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, u = rng.random((20, 3)), rng.uniform(0.2, 0.5, 3)
        Y = (X**1.8 @ GAINS.T) * (1 + 0.0035 * rng.standard_normal((20, 3)))
        called += ask(Gp(), data(X, Y), GAINS @ u**1.8, tolerance=0.01).verdict
    assert called.count(Verdict.BELOW_NOISE) <= 4


def test_channels_that_contradict_each_other_are_unreachable():
    answer = ask(Linear(), night(20), [300.0, 60000.0, 300.0])  # green alone gives 1241 at 630 nm
    assert answer.verdict == (Verdict.UNREACHABLE,)
    assert answer.settings[0] == pytest.approx([0, 0.94, 0], abs=0.01)  # its nearest settings give up no channel
    assert answer.probability.tolist() == [0.0]
    assert ask(Linear(), night(20), [16384.0] * 3).probability.tolist() == [1.0]


def test_one_channel_out_of_two_may_pull_the_other_to_the_edge_of_its_band_and_still_be_reachable():
    # The best compromise in squares misses one band; some settings miss none.
    gains = np.array([[10000.0], [10200.0], [10200.0], [10200.0]])
    inputs, channels = axis_of_one(4)
    rng = np.random.default_rng(0)
    X = np.linspace(0, 1, 30)[:, None]
    rows = data(X, X @ gains.T + rng.normal(size=(30, 4)), inputs=inputs, channels=channels)
    low, high = np.zeros(1), np.ones(1)
    value = np.array([[5100.0, 5000.0, 5000.0, 5000.0]])
    half = np.array([[101.0, 101.0, 101.0, 101.0]])
    fitted = Linear().fit(rows)
    wanted = type(targets([1.0]))(value, value - half, value + half)
    assert fitted.propose(wanted, space(low, high), rng).verdict == (Verdict.REACHABLE,)
    narrow = type(wanted)(value, value - half / 2, value + half / 2)
    assert fitted.propose(narrow, space(low, high), rng).verdict == (Verdict.UNREACHABLE,)


def axis_of_one(channels):
    from sdl.types import Channel, Input

    return (Input(name="x", low=0.0, high=1.0, step=None),), tuple(Channel(name=f"c{i}") for i in range(channels))


@pytest.mark.parametrize("kind", MODELS)
def test_an_answer_far_from_every_setting_seen_is_outside_the_data(kind):
    rng = np.random.default_rng(0)
    X = 0.4 + 0.2 * rng.uniform(size=(20, 3))
    rows = data(X, measure(X, rng))
    answer = ask(find("solvers", kind)(), rows, GAINS @ [0.9, 0.5, 0.5])
    assert answer.verdict == (Verdict.OUTSIDE,)
    assert "30 % of the range" in answer.why[0]
    near = ask(find("solvers", kind)(), rows, GAINS @ [0.65, 0.5, 0.5])
    assert near.verdict == (Verdict.REACHABLE,)


def test_the_axis_points_cry_no_wolf_inside_the_bounds():
    for u in ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.5]):
        assert ask(Gmm(), night(4), GAINS @ u).verdict != (Verdict.UNREACHABLE,)


def test_narrower_bounds_make_a_goal_unreachable():
    fitted = Linear().fit(night(20))
    goal = targets(GAINS @ [0.5, 0.5, 0.9])
    assert fitted.propose(goal, space(LOW, np.ones(3)), np.random.default_rng(0)).verdict == (Verdict.REACHABLE,)
    inside = fitted.propose(goal, space(LOW, np.full(3, 0.6)), np.random.default_rng(0))
    assert inside.verdict == (Verdict.UNREACHABLE,)
    assert inside.settings.max() <= 0.6


def test_a_one_sided_band_is_judged_on_its_side_only():
    value, low, high = targets(GAINS @ [0.5, 0.5, 0.5])
    value[0, 2], low[0, 2], high[0, 2] = np.nan, -np.inf, 40000.0  # at most: no target of its own
    wanted = type(targets([1.0]))(value, low, high)
    fitted = Linear().fit(night(20))
    assert fitted.propose(wanted, space(LOW, np.ones(3)), np.random.default_rng(0)).verdict == (Verdict.REACHABLE,)
    high[0, 2] = -3000.0
    assert fitted.propose(wanted, space(LOW, np.ones(3)), np.random.default_rng(0)).verdict == (Verdict.UNREACHABLE,)


def test_the_sentence_says_how_many_rows_were_left_out_and_why():
    X = np.vstack([axis(), axis() * 0.5, [[0.3, 0.3, 0.3]]])
    Y = measure(X, np.random.default_rng(0))
    Y[4, 1], Y[5, 0], Y[6, 2] = 65535, 65535, np.nan
    why = ask(Gmm(), data(X, Y), [16384.0] * 3).why[0]
    assert why == "joint Gaussian, 6 readings (2 saturated, 1 incomplete left out)"


def test_how_far_a_goal_is_out_of_reach_is_said_in_its_own_tolerances() -> None:
    """Not in the percent of the response that a miss is weighed in, which is sixty times as much here."""
    answer = ask(Linear(), night(4), [30457.0, 16384.0, 16384.0], tolerance=5 / 30457)
    assert answer.verdict == (Verdict.REACHABLE,)
    said = re.search(r"the model misses it by (\S+) × tolerance", answer.why[0])
    assert said is not None
    reads = answer.expected[0, 0]
    assert float(said[1]) == pytest.approx((30452 - reads) / 5, rel=0.1)


@pytest.mark.parametrize("tolerance", [5 / 30457, 0.001])
def test_readings_in_another_unit_get_the_same_verdict_in_the_same_words(tolerance: float) -> None:
    for n in (4, 60):
        rows = night(n)
        for goal in ([30457.0, 16384.0, 16384.0], [16384.0] * 3):
            one = ask(Linear(), rows, goal, tolerance=tolerance)
            other = ask(Linear(), data(rows.X, rows.Y * 1e-4), np.array(goal) * 1e-4, tolerance=tolerance)
            assert (other.verdict, other.why) == (one.verdict, one.why)


def test_inputs_in_another_unit_have_settings_spread_and_uncertainty_in_that_unit() -> None:
    rows, unit = night(30), np.full(3, 250.0)
    inputs = tuple(item.model_copy(update={"low": -50.0, "high": 200.0}) for item in rows.inputs)
    one, fitted = ask(Linear(), rows, [16384.0] * 3), Linear().fit(data(rows.X * 250.0 - 50.0, rows.Y, inputs=inputs))
    other = fitted.propose(targets([16384.0] * 3), space(-unit / 5, unit * 4 / 5), np.random.default_rng(0))
    assert other.settings == pytest.approx(one.settings * 250.0 - 50.0, abs=1e-3)
    assert other.spread == pytest.approx(one.spread * 250.0, rel=1e-4)
    assert other.uncertainty == pytest.approx(one.uncertainty * 250.0, rel=1e-4)
    assert other.verdict == one.verdict


def test_the_expected_error_is_that_of_the_mean_of_the_readings_of_a_trial() -> None:
    """The uncertainty of the model, and the noise of one reading over the root of their number."""
    rows = replace(night(40), average=9)
    answer = ask(Linear(), rows, [16384.0] * 3)
    prediction = Judge(TrainingSet.from_data(rows)).model.predict(answer.settings)
    exact = np.sqrt(prediction.model_var + prediction.noise_var / 9)
    assert answer.expected_error == pytest.approx(exact, rel=1e-6)
    assert (answer.expected_error < 0.5 * np.sqrt(prediction.noise_var)).all()


# The noise of one reading: the least of three estimates ------------------------------------------------------------
@pytest.mark.parametrize(("times", "told"), [(5, True), (4, False)])
def test_noise_is_that_of_replicates_where_they_have_four_degrees_of_freedom(times: int, told: bool) -> None:
    rng, u = np.random.default_rng(0), np.full(3, 0.5)
    X = np.vstack([rng.random((30, 3)), np.tile(u, (times, 1))])
    scatter = np.where(np.arange(30 + times) < 30, 300.0, 20.0)[:, None]  # a restless instrument that came to rest
    Y = 2000 + X @ GAINS.T + scatter * rng.standard_normal((30 + times, 3))
    judge = Judge(TrainingSet.from_data(data(X, Y)))
    noise, dof = judge.noise(u)
    if told:
        assert dof.tolist() == [4.0] * 3
        assert noise == pytest.approx(Y[30:].std(axis=0, ddof=1), rel=0.2)  # less a drift between them
    else:
        assert dof == pytest.approx(judge.model.residual_dof + 2.0)
        assert (noise > 100).all()


def test_lack_of_fit_is_told_where_it_is_more_than_the_tolerance() -> None:
    """Of a wave, which no quadratic surface follows; readings repeat to a tenth of that."""
    rng, u = np.random.default_rng(0), np.array([0.3, 0.5, 0.5])
    X = np.repeat(np.vstack([rng.random((24, 3)), u]), 3, axis=0)
    wave = lambda X: 20000 + X @ GAINS.T / 10 + 400 * np.sin(9 * X[:, :1])  # noqa: E731
    rows = data(X, wave(X) + 10 * rng.standard_normal(X.shape))
    value = Judge(TrainingSet.from_data(rows)).model.mean(u[None])[0]
    lack = ask(Linear(), rows, value, tolerance=0.002).lack_of_fit[0].max()
    assert lack > 50
    for tolerance, told in ((0.8, True), (1.5, False)):
        half = np.full((1, 3), tolerance * lack)
        goal = Targets(value[None], value[None] - half, value[None] + half)
        verdict = Judge(TrainingSet.from_data(rows)).assess_goal(
            Targets(*(part[0] for part in goal)), TrainingSet.from_data(rows).own_region, u
        )
        assert (verdict.verdict is Verdict.LACK_OF_FIT) == told


def test_four_rows_tell_nothing_of_the_noise_so_that_no_tolerance_is_called_too_narrow_for_it() -> None:
    answer = ask(Linear(), night(4), [16384.0] * 3, tolerance=0.001)
    assert answer.verdict == (Verdict.REACHABLE,)
    assert np.isnan(answer.readings_needed).all()
    assert ask(Linear(), night(20), [16384.0] * 3, tolerance=0.001).verdict == (Verdict.BELOW_NOISE,)


@pytest.mark.parametrize(("n", "told"), [(8, True), (7, False)])
def test_noise_is_that_of_the_stillest_session_about_a_line_of_its_own(n: int, told: bool) -> None:
    """Against statsmodels: the scatter of the readings, or of the residuals of the model, whichever is less."""
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    X, session = rng.random((30 + n, 3)), np.where(np.arange(30 + n) < 30, 0.0, 1.0)
    Y = 2000 + X @ GAINS.T + np.where(session == 0, 300.0, 20.0)[:, None] * rng.standard_normal((30 + n, 3))
    judge = Judge(TrainingSet.from_data(replace(data(X, Y), session=session)))
    training, u = judge.training, np.full((1, 3), 0.5)
    shape = np.sqrt(training.linear.variance(u)[0])
    found = judge._by_session(shape)
    assert len(found) == (2 if told else 1)
    residual = training.Y - judge.model.predict(training.U).mean
    for (sd, dof), number in zip(found, (0.0, 1.0), strict=False):
        rows = session == number
        design, weight = sm.add_constant(X[rows]), 1.0 / training.linear.variance(X[rows])
        for c in range(3):
            fits = [sm.WLS(y[rows, c], design, weight[:, c]).fit() for y in (training.Y, residual)]
            assert sd[c] == pytest.approx(shape[c] * np.sqrt(min(fit.mse_resid for fit in fits)), rel=1e-6)
            assert dof[c] == rows.sum() - 4
    noise, dof = judge.noise(u[0])
    assert (dof == 4.0).all() == told
    assert (noise < 60).all() == told
    one = Judge(TrainingSet.from_data(data(X, Y)))
    assert one._by_session(shape) == []


def test_rows_that_are_saturated_in_a_channel_say_nothing_of_the_noise_of_a_session() -> None:
    rng, session = np.random.default_rng(0), np.repeat([0.0, 1.0], [20, 14])
    X = rng.random((34, 3))
    rows = replace(data(X, 2000 + X @ GAINS.T + 20 * rng.standard_normal((34, 3))), session=session)
    rows.saturated[[22, 25], 0] = True
    judge = Judge(TrainingSet.from_data(rows, by_channel=True))
    (_, first), (sd, second) = judge._by_session(np.sqrt(judge.training.linear.variance(np.full((1, 3), 0.5))[0]))
    assert (first[0], second[0]) == (16.0, 8.0)
    assert (sd < 60).all()


@pytest.mark.parametrize("kind", sorted(set(kinds("solvers")) - {"random"}))
def test_a_light_that_never_goes_on_is_a_goal_out_of_reach_and_no_failure(kind: str) -> None:
    """Every reading of a dark night is the same then."""
    dark = {"kind": "twin", "faults": [{"name": "dead-led", "after": 0}]}
    goal = {"445nm": 16384, "515nm": 16384, "630nm": 16384}
    result = sdl.run({"name": "dark", "instrument": dark, "goal": goal, "solver": {"kind": kind}}, runs=None)
    assert str(result.outcome) == "unreachable"
