"""The `expect:` block of a campaign file: what it may say, and what a run makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import config, twin
from sdl.errors import ConfigError
from sdl.runner import start
from sdl.types import Outcome

BASE: dict[str, Any] = {"name": "led", "instrument": "twin", "goal": {"445nm": 16384}, "solver": "linear"}


def expecting(expect: Any, **changes: Any) -> config.CampaignFile:
    return config.parse({**BASE, **changes, "expect": expect}, collect=True)


def test_a_value_by_itself_is_the_most_for_every_seed() -> None:
    expect = expecting({"trials": 9, "error": "2%"}).expect
    assert expect is not None
    assert (expect.trials.given(), expect.error.given()) == ({"most": 9}, {"most": 0.02})


def test_every_form_survives_being_written_down() -> None:
    full = {"outcome": "unreachable", "trials": {"median": 5, "p95": 6.5}, "error": {"most": "1.5%"}}
    result = expecting({**full, "verdict": "unreachable", "seeds": (1, 4), "instrument": {"kind": "twin"}})
    assert config.parse(result.plain(), collect=True) == result


def test_without_one_nothing_is_expected() -> None:
    assert config.parse(BASE).expect is None


@pytest.mark.parametrize(
    ("expect", "path", "words"),
    [
        ({"outcome": "reachd"}, "expect.outcome", "must be 'reached', 'done'"),
        ({"trials": {}}, "expect.trials", "empty; give one or more of median, p95, most"),
        ({"trials": {"median": 9, "p95": 6}}, "expect.trials", "must not fall from median to p95"),
        ({"trials": 0}, "expect.trials", "must be 1 or more"),
        ({"error": 2}, "expect.error", "a percentage of the target such as 2%, not 2"),
        ({"error": "-2%"}, "expect.error", "must be a percentage of the target such as 2%, not '-2%'"),
        ({"error": "300%"}, "expect.error", "at most 100%"),
        ({"error": "300"}, "expect.error", "a percentage of the target such as 2%"),
        ({"verdict": "good"}, "expect.verdict", "'below the noise'"),
        ({"seeds": 0}, "expect.seeds", "from 1 to 100000"),
        ({"seeds": (3, 3)}, "expect.seeds", "seed 3 is listed twice"),
        ({"trails": 9}, "expect.trails", "did you mean 'trials'?"),
        ({"outcome": "done"}, "expect.outcome", "only a campaign without a goal"),
        ({"instrument": "twinn"}, "expect.instrument.kind", "did you mean 'twin'?"),
        ({"instrument": {"kind": "twin", "variant": "green"}}, "expect.instrument", "goal.445nm: unknown channel"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(expect: Any, path: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expecting(expect)
    places = {problem.path: problem.message for problem in caught.value.problems}
    assert any(place.startswith(path) and words in message for place, message in places.items()), places


def test_a_wrong_seed_in_a_list_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        expecting({"seeds": (3, -1)})
    assert [(p.path, p.message) for p in caught.value.problems] == [
        ("expect.seeds.1", "must be a number of at least 0, not -1")
    ]


def test_without_a_goal_a_campaign_can_only_be_expected_to_be_done() -> None:
    assert expecting({"outcome": "done"}, goal=None).expect is not None
    with pytest.raises(ConfigError, match="without a goal a campaign ends as done"):
        expecting({"outcome": "reached"}, goal=None)
    with pytest.raises(ConfigError, match="needs a goal"):
        expecting({"outcome": "done", "error": "2%"}, goal=None)


def test_seeds_count_from_the_campaigns_own_or_are_as_listed() -> None:
    assert config.seeds_of(expecting({"seeds": 3}, seed=5)) == (5, 6, 7)
    assert config.seeds_of(expecting({"seeds": (9, 2)}, seed=5)) == (9, 2)
    assert config.seeds_of(expecting({"seeds": (9, 2)}, seed=5), 2) == (5, 6)


def test_an_expectation_on_a_real_instrument_is_odd_but_no_mistake_because_a_run_ignores_it() -> None:
    real = expecting({"trials": 9}, instrument="claude-light")
    assert any("no test drives" in sentence for sentence in config.cautions(real))
    twin = expecting({"trials": 9, "instrument": "twin"}, instrument="claude-light")
    assert not any("expect" in sentence for sentence in config.cautions(twin))


def test_a_run_ignores_it_and_is_resumed_where_its_instrument_is_gone(tmp_path: Path) -> None:
    state = tmp_path / "mine.toml"
    shutil.copy(Path(twin.__file__).parent / "led" / "states" / "night-2025-10.toml", state)
    there = {"kind": "twin", "state": str(state)}
    expect = {"outcome": "unreachable", "trials": 1, "error": "0.001%", "instrument": there}
    done = sdl.run({**BASE, "stop": {"trials": 4}, "expect": expect}, runs=tmp_path)
    assert done.outcome is Outcome.SPENT
    record = Path(done.run) / "record.jsonl"
    assert '"expect": {"outcome": "unreachable"' in record.read_text()
    state.unlink()
    assert start.resume(done.run, changes=["stop.trials=40"]).outcome is Outcome.REACHED
