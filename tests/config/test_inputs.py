"""Inputs that a campaign fixes or narrows, and instruments in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import config
from sdl.config.inputs import CampaignInput, free_constraints
from sdl.errors import ConfigError
from sdl.grammar import parse_constraint
from sdl.types import Input, Outcome

RIG = """
kind: python
inputs: {a: {high: 100}, b: {high: 100, step: 5}, c: {high: 50}}
channels: {R: {}, Q: {}}
constraints: [a + b + c <= 180]
off: {a: 0, b: 0, c: 0}
function: my_rig.py:measure
"""
FUNCTION = """
def measure(settings):
    return {"R": 3 * settings["a"] + settings["c"], "Q": settings["a"] - 2 * settings["b"]}
"""
CAMPAIGN: dict[str, Any] = {
    "name": "rig", "instrument": {"use": "rigs/rig.yaml"}, "goal": {"R": 150, "Q": 20}, "tolerance": 1,
    "solver": "linear",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rigs").mkdir()
    (tmp_path / "rigs" / "rig.yaml").write_text(RIG)
    (tmp_path / "rigs" / "my_rig.py").write_text(FUNCTION)
    return tmp_path


def parsed(folder: Path, **keys: Any) -> config.CampaignFile:
    return config.parse({**CAMPAIGN, **keys}, base=folder)


def problems(folder: Path, **keys: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parsed(folder, **keys)
    return {problem.path: str(problem) for problem in caught.value.problems}


def test_fixed_inputs_are_sent_and_recorded_and_hidden_from_design_and_solver(folder: Path):
    seen: list[dict[str, float]] = []

    def measure(settings: dict[str, float]) -> dict[str, float]:
        seen.append(settings)
        return {"R": 3 * settings["a"] + settings["c"], "Q": settings["a"] - 2 * settings["b"]}

    campaign = parsed(folder, inputs={"c": 15, "a": {"low": 20, "high": 60}}, goal={"R": 150, "Q": 25})
    result = sdl.run(campaign, runs=folder / "runs", measure=measure)
    assert result.outcome is Outcome.REACHED
    assert {settings["c"] for settings in seen[:-1]} == {15}  # the last call switches it off
    assert all(20 <= settings["a"] <= 60 for settings in seen[:-1])
    run = sdl.open_run(str(result.run))
    assert all(set(trial.settings) == {"a", "b"} for trial in run.trials)
    assert all(event.applied["c"] == 15 for event in run.measured())
    assert result.applied is not None


def test_the_free_inputs_carry_the_limits_of_the_campaign(folder: Path):
    campaign = parsed(folder, inputs={"a": {"low": 20}, "b": {"high": 50}, "c": 30})
    assert [(item.name, item.low, item.high, item.step) for item in campaign.free_inputs] == [
        ("a", 20, 100, None), ("b", 0, 50, 5),
    ]  # fmt: skip
    assert campaign.complete({"b": 5.0, "a": 1.0}) == {"a": 1.0, "b": 5.0, "c": 30}
    (constraint,) = campaign.free_constraints
    assert (dict(constraint.coefficients), constraint.bound) == ({"a": 1, "b": 1}, 150)


def test_a_choice_is_fixed_or_narrowed():
    solvent = Input(name="solvent", choices=("water", "ethanol", "acetone"))
    assert CampaignInput.model_validate("water").fixed(solvent) == "water"
    assert CampaignInput.model_validate({"choices": ("water", "acetone")}).narrowed(solvent).choices == (
        "water",
        "acetone",
    )
    for given, message in (
        ("oil", "must be one of water, ethanol, acetone, not 'oil'"),
        (3, "must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            CampaignInput.model_validate(given).fixed(solvent)
    with pytest.raises(ValueError, match="unknown choice 'oil'"):
        CampaignInput.model_validate({"choices": ("water", "oil")}).narrowed(solvent)


def test_more_combinations_of_choices_than_can_be_searched_are_refused():
    inputs = {name: {"choices": list("abcdefghij")} for name in "vwxyz"}
    given = {"name": "many", "instrument": {"kind": "manual", "inputs": inputs}, "goal": {"445nm": 5}, "tolerance": 1}
    with pytest.raises(ConfigError, match="100,000 combinations of choices; at most 10,000"):
        config.parse(given)
    assert len(config.parse(given | {"inputs": {"v": "a"}}).free_inputs) == 4


def test_a_constraint_without_free_inputs_is_left_out():
    both = [parse_constraint("a + b <= 3"), parse_constraint("a <= 2"), parse_constraint("c <= 1")]
    assert [str(c) for c in free_constraints({"a": 1.0}, both)] == ["b <= 2", "c <= 1"]


def test_every_mistake_of_inputs_is_said(folder: Path):
    found = problems(
        folder,
        inputs={"a": 101, "b": 7, "c": {"low": 40, "high": 30}, "d": 3},
    )
    assert "outside the bounds [0, 100]" in found["inputs.a"]
    assert "must be on a step of b: 0 + n × 5" in found["inputs.b"]
    assert "low below high" in found["inputs.c"]
    assert "unknown input; allowed: a, b, c" in found["inputs.d"]


@pytest.mark.parametrize("given", [True, {}, [1], None, {"value": 3, "low": 2}, {"lowest": 3}])
def test_another_form_is_refused(folder: Path, given: Any):
    assert any(path.startswith("inputs.a") for path in problems(folder, inputs={"a": given}))


def test_one_input_stays_free(folder: Path):
    assert "every input is fixed" in problems(folder, inputs={"a": 1, "b": 5, "c": 1})["inputs"]


def test_narrowed_steps_stay_on_the_grid_of_the_instrument(folder: Path):
    assert "low must be on a step" in problems(folder, inputs={"b": {"low": 3}})["inputs.b"]


def test_the_written_form_reads_back(folder: Path):
    campaign = parsed(folder, inputs={"a": {"low": 20}, "b": 5})
    assert campaign.plain()["inputs"] == {"a": {"low": 20.0}, "b": 5.0}
    assert config.parse(campaign.plain()) == campaign


def test_prior_rows_at_other_values_of_fixed_inputs_are_left_out(folder: Path, caplog: pytest.LogCaptureFixture):
    rows = ["a,b,c,R,Q"]
    rows += [
        f"{a},{b},{c},{3 * a + c},{a - 2 * b}" for c in (10, 20) for a, b in [(10, 5), (20, 50), (60, 20), (70, 5)]
    ]
    (folder / "prior.csv").write_text("\n".join(rows))
    result = sdl.run(
        parsed(folder, inputs={"c": 10}, goal={"R": 150, "Q": 16.7}, prior=["prior.csv"]), runs=folder / "runs"
    )
    opened = sdl.open_run(str(result.run)).opened
    assert opened.prior[0]["rows"] == 4
    assert opened.prior[0]["left_out"] == {"at another c than this campaign": 4}
    assert result.outcome is Outcome.REACHED
    assert result.trials <= 2


def test_derived_channels_of_a_prior_are_computed(folder: Path):
    rows = [
        "a,b,c,R,Q",
        *(f"{a},{b},{c},{3 * a + c},{a - 2 * b}" for a, b, c in [(9, 5, 1), (20, 50, 9), (60, 20, 2), (70, 5, 30)]),
    ]
    (folder / "prior.csv").write_text("\n".join(rows))
    instrument = {"use": "rigs/rig.yaml", "derived": {"half": "R / 2", "again": "half + Q"}}
    campaign = parsed(folder, instrument=instrument, goal={"half": 75, "again": 95}, prior=["prior.csv"], seed=1)
    result = sdl.run(campaign, runs=folder / "runs")
    assert result.outcome is Outcome.REACHED
    assert result.trials <= 2


def test_a_file_of_its_own_gives_the_instrument_and_keys_beside_use_override_it(folder: Path):
    campaign = parsed(folder, instrument={"use": "rigs/rig.yaml", "takes": "3 s", "off": "nothing"})
    assert campaign.instrument.kind == "python"
    assert campaign.instrument.takes == 3
    assert campaign.instrument.off is None
    assert campaign.instrument.folder == str((folder / "rigs").absolute())


def test_the_resolved_campaign_needs_no_file_but_the_script(folder: Path):
    result = sdl.run(parsed(folder, stop={"trials": 2}), runs=folder / "runs")
    (folder / "rigs" / "rig.yaml").unlink()
    assert sdl.resume(str(result.run), changes=["stop.trials=20"]).outcome is Outcome.REACHED


def test_mistakes_in_a_file_of_its_own_name_that_file_and_line_and_all_are_said(folder: Path):
    text = RIG.replace("off: {a: 0, b: 0, c: 0}", "off: {a: 0, b: 0}\ncolour: 3")
    (folder / "rigs" / "rig.yaml").write_text(text)
    (folder / "my.yaml").write_text(
        "name: rig\ninstrument:\n  use: rigs/rig.yaml\n  takes: soon\ngoal: {R: 150, S: 20}\n"
    )
    with pytest.raises(ConfigError) as caught:
        config.load(folder / "my.yaml")
    said = str(caught.value).replace(str(folder), "")
    assert "/rigs/rig.yaml:7: colour: unknown key" in said
    assert "/my.yaml:4: instrument.takes: must be a time" in said
    (folder / "rigs" / "rig.yaml").write_text(text.replace("\ncolour: 3", ""))
    with pytest.raises(ConfigError, match=r"rigs/rig.yaml:6: off: must give every input; missing: c"):
        parsed(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must be a mapping"),
        ("use: other.yaml", "cannot name another file"),
        ("kind: [", "not YAML"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_instrument_is_refused(folder: Path, text: str | None, message: str):
    file = folder / "rigs" / "rig.yaml"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        parsed(folder)


def test_the_name_of_the_file_is_text(folder: Path):
    assert "must be the path of a file" in problems(folder, instrument={"use": 3})["instrument.use"]


COST = {"reading": 2, "trial": 1, "per": {"a": 0.01, "c": 0.1}}


def test_a_campaign_ends_when_its_money_is_spent_and_a_resume_knows_what_was_spent(folder: Path):
    instrument = {"use": "rigs/rig.yaml", "cost": COST}
    campaign = parsed(folder, instrument=instrument, inputs={"c": 10}, goal={"R": 150, "Q": 16.7}, stop={"cost": 8})
    result = sdl.run(campaign, runs=folder / "runs")
    assert result.outcome is Outcome.SPENT
    assert result.reason.startswith("cost ")
    run = sdl.open_run(str(result.run))
    spent = sum(2 + 0.01 * e.applied["a"] + 0.1 * e.applied["c"] for e in run.measured()) + len(run.trials)
    assert run.campaign.history.cost == pytest.approx(spent)
    assert spent < 8 + 0.6
    again = sdl.resume(str(result.run), changes=["stop.cost=100"])
    assert again.outcome is Outcome.REACHED


def test_a_limit_of_cost_needs_prices(folder: Path):
    assert "names no prices" in problems(folder, stop={"cost": 8})["stop.cost"]


def test_the_largest_cost_is_estimated_before_the_campaign(folder: Path):
    instrument = {"use": "rigs/rig.yaml", "cost": COST}
    campaign = parsed(folder, instrument=instrument, inputs={"c": 10, "a": {"high": 50}}, stop={"trials": 10})
    assert config.cost(campaign).price == pytest.approx(10 * 1 + 30 * (2 + 0.5 + 1))
    assert config.cost(parsed(folder, instrument=instrument, stop={"cost": 8})).price == pytest.approx(8 + 1 + 5)
    assert config.cost(parsed(folder)).price is None
