"""The worked example of docs/explanation/goals.md: limits, a preference, and a goal that cannot be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import yamlfile
from sdl.config import put
from sdl.core.events import Event, Proposed
from sdl.types import Outcome, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "goals.md"


@pytest.fixture
def example() -> dict[str, Any]:
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("```yaml\nname: white-light\n")
    tree: dict[str, Any] = yamlfile.parse("name: white-light\n" + rest.partition("```")[0]).value
    return tree


def proposals(tree: dict[str, Any]) -> tuple[Any, list[Proposed]]:
    printed: list[Event] = []
    done = sdl.run(tree, runs=None, watch=lambda event, _: printed.append(event))
    return done, [event for event in printed if isinstance(event, Proposed) and event.verdict is not None]


def test_the_example_is_reached_with_the_least_power(example: dict[str, Any]) -> None:
    done, requested = proposals(example)
    assert done.outcome is Outcome.REACHED
    assert done.settings["W"] == 0
    assert done.measured["clear"] <= 45000
    assert "the preferred among the settings that hit" in requested[-1].why


def test_with_the_most_white_it_is_reached_too_and_the_limit_is_kept(example: dict[str, Any]) -> None:
    done, _ = proposals(put(example, "prefer", {"maximise": "W"}))
    assert done.outcome is Outcome.REACHED
    assert done.settings["W"] > 0.1
    assert done.measured["clear"] <= 45000


@pytest.mark.parametrize("kind", ["linear", "pls", "gmm", "gp", "bayes"])
def test_more_than_the_instrument_has_ends_before_the_budget_with_the_shortfall(
    example: dict[str, Any], kind: str
) -> None:
    tree = put(put(example, "goal", {"445nm": 40000, "515nm": 16384}), "solver", {"kind": kind})
    tree = put(tree, "instrument", {"kind": "twin"})
    done, requested = proposals(tree)
    assert done.outcome is Outcome.UNREACHABLE
    assert done.trials <= 13  # 2 d + 3 rows, and the nearest settings measured twice
    assert "Closest readings: 445nm 3" in done.reason
    last = requested[-1]
    assert last.verdict is Verdict.UNREACHABLE
    short = last.shortfall["445nm"]
    assert (short["low"], short["high"]) == (39200, 40800)
    assert short["nearest"] == pytest.approx(30500, rel=0.03)
    assert short["by"] == pytest.approx(39200 - short["nearest"])
    assert last.shortfall["515nm"]["by"] == 0
    assert "out of reach on these readings (probability 0 %): the nearest are 445nm" in last.why


def test_the_campaign_of_the_page_about_maximising_is_done_with_what_the_page_prints() -> None:
    page = (PAGE.parents[1] / "how-to" / "maximise.md").read_text(encoding="utf-8")
    done = sdl.run(yamlfile.parse(page.partition("```yaml\n")[2].partition("```")[0]).value, runs=None)
    assert done.outcome is Outcome.DONE
    assert f"done: {done.reason}" in page
