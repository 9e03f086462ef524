"""The figures of a run: drawn for every end that a campaign can have, and right where a number can be checked."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report import kit
from sdl.core.events import Measured
from sdl.errors import ConfigError
from sdl.report import style
from sdl.report.figures import KINDS, draw
from sdl.report.figures.parity import score
from sdl.report.table import TrialTable
from sdl.runs.runs import Run
from sdl.store import record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TrialTable]:
    below = tmp_path_factory.mktemp("runs")
    refused = {"kind": "twin", "faults": [{"name": "refused", "after": 0}]}
    spent = kit.campaign(below, "spent", tolerance="0.01%", average=2, stop={"trials": 8})
    folders = {
        "reached": kit.campaign(below, "reached"),
        "failed": kit.campaign(below, "failed", instrument=refused),
        "unreachable": kit.campaign(below, "unreachable", goal=kit.GOAL | {"445nm": 60000}),
        "spent": spent,
        "maximised": kit.campaign(
            below,
            "maximised",
            goal={"445nm": "maximise", "515nm": {"at most": 20000}},
            solver="linear",
            stop={"trials": 10, "improvement": "1%"},
        ),
        "aborted": kit.aborted(spent, below / "aborted" / "20260101T000000Z-abc123"),
        "collected": kit.campaign(
            below, "collected", collect=True, goal=None, design={"kind": "latin-hypercube", "trials": 12}
        ),
    }
    return {name: TrialTable(Run(folder)) for name, folder in folders.items()}


MODEL = {"slices", "contours", "importance", "posterior"}
EMPTY = {
    "reached": {"spread", "objective"},  # four rows leave a plane hardly any uncertainty
    "failed": {"story", "error", "objective", "spectrum", "parity", "pairs", "spread", "conditions", "predictions"}
    | MODEL,
    "unreachable": {"objective"},
    "spent": {"objective"},
    "maximised": {"error", "spread", "posterior", "predictions"},
    "aborted": {"objective"},
    "collected": {"story", "error", "objective", "spread", "predictions"} | MODEL,
}


@pytest.mark.parametrize("name", EMPTY)
def test_every_end_has_its_figures_and_every_axis_says_what_it_shows(name: str, runs: dict[str, TrialTable]) -> None:
    empty = set()
    for kind in KINDS:
        figure = draw(runs[name], kind)
        if figure is None:
            empty.add(kind)
            continue
        texts = " ".join(text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()))
        unit = {
            "story": "(tolerances)",
            "slices": "(counts)",
            "predictions": "(sd)",
            "error": "× tolerance",
            "spectrum": "(counts)",
            "parity": "(counts)",
            "pairs": "(counts)",
        }
        unit |= {"conditions": "(s)", "timeline": "(s)"}
        assert unit.get(kind, "") in texts
        assert texts.strip()
    assert empty == EMPTY[name]


def test_the_error_is_that_which_the_campaign_ranked_by(runs: dict[str, TrialTable]) -> None:
    table = runs["spent"]
    history = table.run.campaign.history
    assert table.best is not None
    assert history.best is not None
    assert table.best is history.best
    assert np.nanmin(table.tolerance_ratios) == history.best.miss
    assert list(np.minimum.accumulate(table.tolerance_ratios)) == history.misses
    figure = draw(table, "error")
    assert figure is not None
    (axes,) = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert sorted([*drawn["by the design"], *drawn["by the solver"]]) == pytest.approx(sorted(table.tolerance_ratios))
    assert min(drawn["best so far"]) == pytest.approx(history.best.miss)


def test_parity_knows_train_from_test(runs: dict[str, TrialTable]) -> None:
    from sdl.report.figures.parity import parity_sets

    train, test = parity_sets(runs["spent"])
    assert (train.name, len(train.measured)) == ("train", 4 * 2)  # the design's readings, each on its own
    assert (test.name, len(test.measured)) == ("test", 4)  # the solver's trials, their means
    assert [part.name for part in parity_sets(runs["reached"])] == ["test"]  # a plane fits four points exactly
    assert [side.name for side in parity_sets(runs["collected"])] == ["train"]


def test_the_ticks_of_parity_stay_away_from_the_corners_where_two_labels_would_overlap(
    runs: dict[str, TrialTable],
) -> None:
    for name in ("reached", "unreachable", "collected"):
        figure = draw(runs[name], "parity")
        assert figure is not None
        for axes in (one for one in figure.axes if one.get_visible()):
            low, high = axes.get_xlim()
            places = [(float(tick) - low) / (high - low) for tick in axes.get_xticks()]
            assert all(0.15 < place < 0.9 for place in places)
            assert list(axes.get_xticks()) == list(axes.get_yticks())


def test_the_scores_are_the_textbook_s() -> None:
    e, m = np.array([1.0, 2.0, 4.0, np.nan]), np.array([1.0, 3.0, 3.0, 9.0])
    n, r2, mae, rmse = score(e, m)
    assert n == 3
    assert mae == pytest.approx(2 / 3)
    assert rmse == pytest.approx(math.sqrt(2 / 3))
    assert r2 == pytest.approx(1 - 2 / (8 / 3))
    assert math.isnan(score(e[:2], m[:2]).r2)
    assert score(e[3:], m[3:]).n == 0


def test_the_spectrum_s_goal_and_reading_stand_beside_each_other(runs: dict[str, TrialTable]) -> None:
    table = runs["reached"]
    figure = draw(table, "spectrum")
    assert figure is not None
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert table.final is not None
    assert heights == [table.final.mean[name] for name in table.channels]  # the twin's are in the order of wavelength
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()][:3] == ["415", "445", "480"]


def test_pauses_and_aborts_are_on_the_time_line(runs: dict[str, TrialTable]) -> None:
    figure = draw(runs["aborted"], "timeline")
    assert figure is not None
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["design", "solver", "abort", "paused"]
    (bar,) = [path.get_extents() for path in figure.axes[0].collections[0].get_paths()]
    assert bar.width == pytest.approx(19)  # seconds


@pytest.mark.parametrize("schema", ["schema-1", "schema-2"])
def test_the_records_of_every_schema_have_figures(schema: str) -> None:
    table = TrialTable(Run(Path(__file__).parent.parent / "golden" / schema))
    assert len([name for name in KINDS if draw(table, name) is not None]) > 6


def test_many_points_are_an_image_and_the_file_stays_small(runs: dict[str, TrialTable]) -> None:
    run = copy.copy(runs["spent"].run)
    run.trials = run.trials * 400
    table = TrialTable(run)
    for kind in ("error", "settings", "space"):
        figure = draw(table, kind)
        assert figure is not None
        drawn = style.svg(figure)
        assert drawn.count(b"<image") >= 1
        assert len(drawn) < 400_000


def test_the_same_figure_is_the_same_file(runs: dict[str, TrialTable]) -> None:
    one, two = (draw(runs["reached"].run, "error") for _ in range(2))
    assert one is not None
    assert two is not None
    assert style.svg(one) == style.svg(two)


def test_a_figure_that_does_not_exist_lists_those_that_do(runs: dict[str, TrialTable]) -> None:
    with pytest.raises(ConfigError, match="no figure 'err'; allowed: story, error, objective, slices"):
        draw(runs["reached"], "err")


# --- the style ----------------------------------------------------------------------------------------------------


def test_the_caller_s_own_look_is_put_back(runs: dict[str, TrialTable]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 31}):
        draw(runs["reached"], "error")
        assert matplotlib.rcParams["font.size"] == 31


def test_a_page_s_svg_follows_light_and_dark_and_keeps_its_letters(runs: dict[str, TrialTable]) -> None:
    figure = draw(runs["reached"], "error")
    assert figure is not None
    plain = style.svg(figure)
    themed = style.themed(plain)
    assert b"prefers-color-scheme:dark" in themed
    assert themed.count(style.INK.encode()) == 1  # in the style sheet alone
    assert themed.count(b"scale(0.015625)") == plain.count(b"scale(0.015625)") > 0
    assert len(themed) < len(plain)


def test_channels_with_a_wavelength_have_its_colour_and_no_two_others_are_alike() -> None:
    result = style.channel_colours(["445nm", "515nm", "630nm", "clear"])
    assert result == {"445nm": "#0072b2", "515nm": "#009e73", "630nm": "#d55e00", "clear": style.FAINT}
    others = style.channel_colours(["x", "y", "z"])
    assert len(set(others.values())) == 3
    assert style.wavelength("clear") is None
    assert style.wavelength("515nm") == 515


def test_a_swatch_is_for_colours_alone() -> None:
    inputs = [{"name": name, "low": 0, "high": 2} for name in "RGB"]
    assert style.swatch({"R": 2.0, "G": 0.5, "B": -1.0}, inputs) == (255, 128, 0)
    assert style.swatch({"R": 2.0, "G": 0.5}, inputs) is None
    assert style.swatch({"x": 1.0}, [{"name": "x", "low": 0, "high": 1}]) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (16250, 16384), (-3e5, -2.9e5), (1e-300, 9e-300), (3118, 32000)])
def test_two_ticks_are_away_from_the_ends_of_a_small_axis(low: float, high: float) -> None:
    places = [(tick - low) / (high - low) for tick in style.two_ticks(low, high)]
    assert 0.1 < places[0] < 0.4
    assert 0.6 < places[1] < 0.9


@pytest.mark.parametrize(("low", "high"), [(5.0, 5.0), (-1e308, 1e308), (0.0, 0.0)])
def test_where_there_is_no_room_between_them_there_is_one_tick(low: float, high: float) -> None:
    assert style.two_ticks(low, high) == [low]


def test_thinning_keeps_both_ends() -> None:
    assert style.thinned(5, 9) == [0, 1, 2, 3, 4]
    picked = style.thinned(5000, 100)
    assert (picked[0], picked[-1], len(picked)) == (0, 4999, 100)


def test_names_from_a_record_are_no_formula_and_break_no_label() -> None:
    assert style.plain("$\\frac{1}$\n\x00x") == "\\$\\frac{1}\\$  x"
    assert len(style.plain("x" * 900)) == 40
    figure = style.canvas()
    figure.axes[0].set_xlabel(style.plain("$^ \ud800 漢字"))
    assert style.png(figure)


def test_every_figure_can_be_drawn_without_a_word(runs: dict[str, TrialTable]) -> None:
    for kind in KINDS.keys() - {"objective"}:  # that run has none; warnings are errors
        figure = draw(runs["spent"], kind)
        assert figure is not None
        assert style.png(figure, dpi=30).startswith(b"\x89PNG")


def test_a_run_s_figures_can_be_files(runs: dict[str, TrialTable], tmp_path: Path) -> None:
    from sdl.report.page import figure_files

    (tmp_path / "error.png").write_text("old")
    files = figure_files(runs["failed"], tmp_path, ["png"])
    assert sorted(file.name for file in files) == sorted(f"{name}.png" for name in ("settings", "space", "timeline"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        figure_files(runs["failed"], tmp_path / "file", ["png"])


def test_four_inputs_keep_their_colours_and_their_labels_and_are_all_drawn(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"instrument": {"kind": "twin", "variant": "rgbw"}, "solver": {"kind": "random"}}
    table = TrialTable(Run(kit.campaign(tmp_path, "white", **changes, tolerance="0.01%", stop={"trials": 8})))
    drawn = draw(table, "settings")
    assert drawn is not None
    assert [axes.get_ylabel() for axes in drawn.axes[1:]] == list("RGBW")
    # Ticks that matplotlib chooses again after its layout cut the labels off in an SVG.
    assert [list(axes.get_yticks()) for axes in drawn.axes[1:]] == [[0.0, 1.0]] * 4
    assert style.input_colours(list("RGBW"))["R"] == style.input_colours(list("RGB"))["R"]
    space, pairs = draw(table, "space"), draw(table, "pairs")
    assert space is not None
    assert pairs is not None
    assert len(space.axes) == 6
    assert len(pairs.axes) == 28  # four inputs and three channels


def test_white_light_is_in_the_colour_of_a_setting() -> None:
    inputs = [{"name": name, "low": 0.0, "high": 1.0} for name in "RGBW"]
    assert style.swatch({"R": 0.0, "G": 0.25, "B": 0.0, "W": 0.0}, inputs) == (0, 128, 0)
    assert style.swatch({"R": 0.0, "G": 0.25, "B": 0.0, "W": 1.0}, inputs) == (255, 255, 255)


def test_channels_named_as_sdl_light_names_them_have_their_wavelength() -> None:
    assert style.wavelength("ch510") == 510
    assert style.channel_colours(["ch510"])["ch510"] == style.channel_colours(["515nm"])["515nm"]
    assert style.wavelength("channel7") is None


def test_a_name_that_is_too_long_loses_its_middle() -> None:
    assert style.axis_label("temperature of heater 1", "K", 20) == "temperat…eater 1 (K)"
    assert style.axis_label("R", "", 20) == "R"
    assert len(style.axis_label("x" * 90, "u" * 90, 20)) == 20


@pytest.mark.slow
def test_readings_and_settings_beyond_all_bounds_break_no_figure(tmp_path: Path) -> None:
    source = kit.campaign(tmp_path, "c", tolerance="0.01%", solver={"kind": "random"}, stop={"trials": 8})
    events = list(record.read(source))
    for n, key in enumerate(("readings", "applied")):
        huge = [
            dataclasses.replace(e, **{key: dict.fromkeys(getattr(e, key), 1e300)}) if isinstance(e, Measured) else e
            for e in events
        ]
        table = TrialTable(Run(kit.written(tmp_path / "huge" / f"20260101T000000Z-abc12{n}", huge)))
        for kind in KINDS:  # warnings are errors
            drawn = draw(table, kind)
            assert drawn is None or style.svg(drawn)


def test_without_a_goal_no_figure_speaks_of_one(tmp_path: Path) -> None:
    table = TrialTable(Run(kit.campaign(tmp_path, "data", collect=True, goal=None, design={"kind": "axis"})))
    for name, kind in KINDS.items():
        title, text = kind.caption(table)
        if draw(table, name) is not None:
            assert "goal" not in title + text
            assert "best" not in title + text


def test_the_objective_is_drawn_with_what_broke_a_constraint_and_the_best_by_the_model(
    runs: dict[str, TrialTable],
) -> None:
    table = runs["maximised"]
    figure = draw(table, "objective")
    assert figure is not None
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    column = table.channels.index("445nm")
    (broken,) = [line for label, line in lines.items() if label.startswith("a constraint broken")]
    over = table.Y[:, table.channels.index("515nm")] > 20000
    assert over.any()
    assert broken.get_xydata().tolist() == np.column_stack([table.numbers, table.Y[:, column]])[over].tolist()
    (best,) = [line for label, line in lines.items() if label.startswith("best so far")]
    expected = [t.proposed.estimate for t in table.trials if t.proposed.estimate is not None]
    assert best.get_ydata().tolist() == expected


def test_the_story_has_every_reading_of_the_goal_s_channels_in_tolerances(runs: dict[str, TrialTable]) -> None:
    table = runs["reached"]
    goal = table.goal
    assert goal is not None
    figure = draw(table, "story")
    assert figure is not None
    (axes,) = figure.axes
    drawn = {value for line in axes.lines if line.get_linestyle() == "None" for value in np.asarray(line.get_ydata())}
    for event in table.run.measured():
        for name, band in goal.bands.items():
            value = band.deviation(event.readings[name])
            assert any(math.isclose(value, one, rel_tol=1e-9, abs_tol=1e-12) for one in drawn), (event.trial, name)
    best = table.run.campaign.history.best
    assert best is not None
    assert {text.get_text().strip() for text in axes.texts} == {"design", "solver", "mean"}


def test_the_story_of_a_maximising_run_shows_its_objective_above_the_limits(runs: dict[str, TrialTable]) -> None:
    table = runs["maximised"]
    goal = table.goal
    assert goal is not None
    assert goal.objective is not None
    figure = draw(table, "story")
    assert figure is not None
    above, *below = figure.axes
    assert above.get_ylabel().startswith(goal.objective)
    drawn = {value for line in above.lines if line.get_linestyle() == "None" for value in np.asarray(line.get_ydata())}
    assert {trial.mean[goal.objective] for trial in table.trials if trial.readings} == drawn
    assert len(below) == bool(goal.limited)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("best so far" in text for text in texts)
    assert [text.partition(",")[0] for text in texts if text.startswith("below")] == [
        f"below: {n}" for n in goal.limited
    ]
