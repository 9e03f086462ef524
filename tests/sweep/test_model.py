"""A sweep file: what it may say, and every mistake of it and of its campaigns at once, with its place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT

from sdl.errors import ConfigError
from sdl.sweep import Draw, load

BASE = """\
name: led
instrument: {kind: twin}
goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
solver: {kind: linear}
stop: {trials: 12}
"""


@pytest.fixture
def planned(tmp_path):
    """Plans a sweep of the base campaign; the text is what follows its first two lines."""
    (tmp_path / "led.yaml").write_text(BASE)

    def of(text, head="name: many\ncampaign: led.yaml\n"):
        file = tmp_path / "many.yaml"
        file.write_text(head + text)
        return load(file)

    return of


def problems(planned, text, **more):
    with pytest.raises(ConfigError) as caught:
        planned(text, **more)
    return [(Path(p.file).name, p.line, p.path, p.message) for p in caught.value.problems]


def test_the_campaigns_are_every_combination_in_the_order_of_the_file(planned):
    found = planned("grid: {solver.kind: [linear, pls], tolerance: [1%, 2%]}\nseeds: [7, 3]\n")
    places = [found.place(number) for number in range(len(found))]
    said = [(p.values["solver.kind"], p.values["tolerance"], seed) for p, seed, _ in places]
    assert said == [(k, t, s) for k in ("linear", "pls") for t in ("1%", "2%") for s in (7, 3)]


def test_the_trees_are_whole_campaigns_whose_parts_take_the_campaign_s_seed(planned):
    found = planned("grid: {solver.kind: [gmm]}\nseeds: 3\n")
    task = found.task(2, None)
    assert task.tree["seed"] == 2
    assert task.tree["solver"]["kind"] == "gmm"
    assert task.tree["instrument"]["seed"] is None
    assert task.tree["stop"]["trials"] == 12


def test_a_kind_is_set_before_its_options_whatever_their_order(planned):
    found = planned("grid: {solver.components: [2], solver.kind: [gmm]}\n")
    assert found.points[0].tree["solver"]["components"] == 2


def test_an_id_stays_when_values_and_seeds_are_added_and_differs_for_all(planned):
    small = planned("grid: {solver.kind: [linear, pls]}\nseeds: 2\n")
    large = planned("grid: {solver.kind: [gmm, pls, linear]}\nseeds: 4\n")
    assert set(small.ids()) < set(large.ids())
    assert max(Counter(large.ids()).values()) == 1


def test_an_id_is_what_the_campaign_says_not_what_it_is_called(planned, tmp_path):
    first = list(planned("seeds: 2\n").ids())
    (tmp_path / "led.yaml").write_text(BASE.replace("name: led", "name: other\ndescription: the same"))
    assert list(planned("seeds: 2\n").ids()) == first
    (tmp_path / "led.yaml").write_text(BASE.replace("trials: 12", "trials: 13"))
    assert not set(planned("seeds: 2\n").ids()) & set(first)


def test_draws_are_the_same_every_time_and_a_further_key_moves_none(planned):
    text = "random:\n  draws: 3\n  seed: 5\n  keys:\n    goal.515nm: {low: 8000, high: 24000}\n"
    one = [point.values["goal.515nm"] for point in planned(text).points]
    two = planned(text + "    tolerance: {choose: [1%, 2%]}\n")
    assert [point.values["goal.515nm"] for point in two.points] == one
    assert len(set(one)) == 3
    assert all(8000 <= value <= 24000 for value in one)
    assert {point.values["tolerance"] for point in two.points} <= {"1%", "2%"}


def test_the_values_of_a_draw_have_not_changed():
    assert Draw(low=0.0, high=1.0).value(0, 0, "a.b") == 0.719567
    assert Draw(low=0.001, high=1.0, log=True).value(3, 1, "a.b") == 0.0224107


def test_whole_numbers_are_all_as_likely_and_stay_whole():
    one = Draw(low=1.0, high=3.0, whole=True)
    found = Counter(one.value(0, draw, "k") for draw in range(3000))
    assert set(found) == {1, 2, 3}
    assert all(isinstance(value, int) for value in found)
    assert min(found.values()) > 900


def test_a_logarithmic_draw_is_even_in_the_logarithm():
    one = Draw(low=0.01, high=100.0, log=True)
    below = sum(one.value(0, draw, "k") < 1 for draw in range(2000))
    assert 900 < below < 1100


def test_every_mistake_of_the_file_is_told_at_once_with_its_line(planned):
    found = problems(planned, "grid: {solver.kind: []}\nseeds: 0\nrepeat: 3\nkeep: all\n")
    assert [(line, path) for _, line, path, _ in found] == [(3, "grid"), (4, "seeds"), (5, "repeat"), (6, "keep")]
    assert "allowed: name, description, campaign, grid" in found[2][3]


def test_a_wrong_value_of_the_grid_is_told_at_its_key_and_a_mistake_of_the_base_in_the_base(planned, tmp_path):
    (tmp_path / "led.yaml").write_text(BASE + "confirm: -1\n")
    text = "grid:\n  solver.kind: [linear, gm]\n  goal.600nm: [3, 4]\n"
    found = problems(planned, text)
    assert ("led.yaml", 6, "confirm") in [place[:3] for place in found]
    by_key = {path: (file, line, said) for file, line, path, said in found if file == "many.yaml"}
    assert by_key["grid.solver.kind"][1] == 4
    assert "unknown kind 'gm'" in by_key["grid.solver.kind"][2]
    assert "did you mean 'gmm'?" in by_key["grid.solver.kind"][2]
    assert "(with solver.kind='gm', goal.600nm=3, and 1 more)" in by_key["grid.solver.kind"][2]
    assert by_key["grid.goal.600nm"][1] == 5
    assert len(found) == 3


def test_an_unknown_key_is_told_with_the_allowed_ones(planned):
    ((_, line, path, said),) = problems(planned, "grid:\n  solver.intercep: [true]\n")
    assert (line, path) == (4, "grid.solver.intercep")
    assert "did you mean 'intercept'?" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grid: {seed: [1]}", "the seeds are listed under `seeds`"),
        ("grid: {a..b: [1]}", "is not a dotted key"),
        ("grid: {tolerance: [1%, 1%]}", "the same value twice"),
        ("seeds: [1, 1]", "different whole numbers"),
        ("grid: {tolerance: [1%]}\nrandom: {draws: 2, keys: {tolerance: {choose: [1%]}}}", "among the random keys"),
        ("random: {draws: 2, keys: {confirm: {low: 1}}}", "give low and high"),
        ("random: {draws: 2, keys: {confirm: {low: 2, high: 1}}}", "low 2 must be below high 1"),
        ("random: {draws: 2, keys: {confirm: {low: 0, high: 1, log: true}}}", "a low above 0"),
        ("random: {draws: 1000000, keys: {confirm: {low: 0, high: 1}}}\nseeds: 1000", "allowed: up to 10000000"),
        ("repeats: 2", "take more `seeds`"),
    ],
)
def test_what_makes_no_sense_is_refused(planned, text, said):
    found = problems(planned, text + "\n")
    assert said in found[0][3]
    assert found[0][1] is not None


def test_the_base_may_be_written_in_the_sweep_s_own_file(planned):
    inside = "name: many\ncampaign:\n" + "".join(f"  {line}\n" for line in BASE.splitlines())
    assert len(planned("seeds: 3\n", head=inside)) == 3
    ((file, line, path, _),) = problems(planned, "", head=inside.replace("trials: 12", "trials: 0"))
    assert (file, line, path) == ("many.yaml", 7, "campaign.stop.trials")


def test_a_base_that_is_not_there_is_told_by_its_path(planned):
    with pytest.raises(ConfigError, match=r"gone\.yaml: cannot be read"):
        planned("", head="name: many\ncampaign: gone.yaml\n")


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "sweeps").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_examples_are_valid(file):
    assert len(load(file)) > 0
