"""The commands on a campaign with an instrument of its own, fixed inputs and prices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Sdl = Callable[..., Any]

FILES = {
    "my_rig.py": "def measure(s):\n    return {'R': 3 * s['a'] + s['c'], 'Q': s['a'] - 2 * s['b']}\n",
    "rig.yaml": """
kind: python
function: my_rig.py:measure
inputs: {a: {high: 100, unit: mL}, b: {high: 100}, c: {choices: [x, y]}, d: {high: 5}}
channels: {R: {unit: counts}, Q: {}}
derived: {sum: R + Q}
constraints: [a + b + d <= 150]
off: {a: 0, b: 0, c: x, d: 0}
cost: {reading: 2, trial: 1, per: {a: 0.01, d: 1}}
""",
    "c.yaml": """
name: own
instrument: {use: rig.yaml}
inputs: {c: y, d: 1.5, a: {low: 20}}
goal: {sum: 170, Q: 20}
tolerance: 1
solver: linear
""",
}


@pytest.fixture
def campaign(sdl: Sdl) -> Sdl:
    """Runs a command beside the files."""
    for name, text in FILES.items():
        text = text.replace("s['c']", "(5 if s['c'] == 'x' else 10)")
        Path(name).write_text(text, encoding="utf-8")
    return sdl


def test_every_command_shows_what_was_fixed_and_what_it_cost(campaign: Sdl) -> None:
    valid = campaign("validate", "c.yaml")
    assert valid.code == 0, valid.err
    assert "; cost at most 580" in valid.out  # 40 trials, 120 readings of 2 + 1 + 1.5
    done = campaign("run", "c.yaml", "--quiet")
    assert done.code == 0, done.err
    assert "c y, d 1.500" in done.out
    assert "  cost:   " in done.out
    result = campaign("show", "latest", "--json").json
    assert result["applied"].keys() == {"a", "b", "c", "d"}
    assert result["settings"].keys() == {"a", "b"}
    assert result["cost"] > 0
    for words in (
        ("explain", "latest"),
        ("list",),
        ("report", "latest", "-o", "r.html"),
        ("export", "latest", "--to", "csv"),
        ("replay", "latest"),
        ("check", "latest"),
    ):
        assert campaign(*words).code == 0, words
    assert campaign("resume", "latest").code == 0


def test_measure_takes_the_free_inputs_alone(campaign: Sdl) -> None:
    done = campaign("measure", "c.yaml", "a=30", "b=5", "--json")
    assert done.code == 0, done.err
    assert campaign("show", "latest", "--json").json["applied"] == {"a": 30, "b": 5, "c": "y", "d": 1.5}
    assert "unknown input d" in campaign("measure", "c.yaml", "a=30", "b=5", "d=1").err


def test_a_campaign_that_ran_out_of_money_says_how_to_go_on(campaign: Sdl) -> None:
    done = campaign("run", "c.yaml", "--quiet", "--set", "stop.cost=6")
    assert done.code == 1
    assert "of 6 spent, and the next reading costs" in done.out
    assert "--set stop.cost=12" in done.out


def test_data_are_solved_for_a_derived_channel_within_the_inputs_of_the_campaign(campaign: Sdl) -> None:
    rows = [(a, b, c, d) for a in (0, 30, 60, 90) for b in (0, 20, 40) for c in "xy" for d in (0.5, 1.5)]
    lines = [f"{a},{b},{c},{d},{3 * a + (5 if c == 'x' else 10)},{a - 2 * b}" for a, b, c, d in rows]
    Path("rows.csv").write_text("\n".join(["a,b,c,d,R,Q", *lines]), encoding="utf-8")
    goal = ("--goal", "sum=170", "--goal", "Q=20", "--tolerance", "1", "--json")
    found = campaign("solve", "rows.csv", "--instrument", "c.yaml", *goal).json
    assert found["rows"] == 12  # of 48 those at c = y and d = 1.5
    (answer,) = found["answers"]
    settings = answer["settings"]
    assert (settings["c"], settings["d"]) == ("y", 1.5)
    assert 3 * settings["a"] + 10 + settings["a"] - 2 * settings["b"] == pytest.approx(170, abs=1)
    low = campaign("solve", "rows.csv", "--instrument", "c.yaml", "--goal", "R=40", *goal[4:]).json
    assert low["answers"][0]["settings"]["a"] >= 20  # the campaign's bound; 10 would reach it
    freely = campaign("solve", "rows.csv", "--instrument", "rig.yaml", "--goal", "sum=170", *goal[4:])
    assert freely.code == 0, freely.err
    assert freely.json["rows"] == 48


def test_a_mistake_in_the_inputs_of_the_campaign_is_told(campaign: Sdl) -> None:
    Path("rows.csv").write_text("a,b,c,d,R,Q\n1,1,x,1,8,-1\n", encoding="utf-8")
    wrong = FILES["c.yaml"].replace("c: y", "c: z")
    Path("wrong.yaml").write_text(wrong, encoding="utf-8")
    done = campaign("solve", "rows.csv", "--instrument", "wrong.yaml", "--goal", "R=40")
    assert (done.code, "inputs.c: must be one of x, y, not 'z'" in done.err) == (2, True), done.err
