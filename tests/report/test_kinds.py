"""The report of every kind of run: small, self-contained, and with the figures that say something about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import sdl
from report import kit
from sdl.errors import ConfigError
from sdl.report import page
from sdl.report.figures import KINDS
from sdl.report.figures.relevance import RULES, speaks
from sdl.report.table import TrialTable
from sdl.runs.runs import Run

MOST_BYTES = 600_000

REFUSES = {"kind": "twin", "faults": [{"name": "refused", "after": 9}]}
CAMPAIGNS: dict[str, dict[str, Any]] = {
    "reached": {"confirm": 2, "solver": "auto"},
    "used up": {"tolerance": "0.05%", "solver": "pls", "stop": {"trials": 40}},
    "below noise": {"goal": dict.fromkeys(kit.GOAL, 4000), "tolerance": "0.4%", "stop": {"trials": 30}},
    "unreachable": {"goal": kit.GOAL | {"445nm": 60000}, "solver": "auto"},
    "failed": {"instrument": REFUSES, "tolerance": "0.05%"},
    "aborted": {"tolerance": "0.01%", "solver": "gp", "stop": {"trials": 20}},
    "maximising": {
        "goal": {"445nm": "maximise", "515nm": {"at most": 20000}},
        "solver": "auto",
        "stop": {"trials": 20, "improvement": "1%"},
    },
}
HEATER = """
import random
_random = random.Random(3)

def measure(settings):
    power = settings["power"]
    return {"T": 21 + 0.62 * power - 0.001 * power**2 + _random.gauss(0, 0.08)}
"""


def heater(below: Path) -> Path:
    """A run on an instrument with one input and one channel."""
    (below / "heater.py").write_text(HEATER)
    instrument = {
        "kind": "python",
        "function": str(below / "heater.py") + ":measure",
        "inputs": {"power": {"low": 0, "high": 100, "unit": "W"}},
        "channels": {"T": {"unit": "°C"}},
        "off": "nothing",
    }
    tree = {"name": "heater", "instrument": instrument, "goal": {"T": 45}, "tolerance": 0.3, "stop": {"trials": 20}}
    return Path(sdl.run(tree, runs=below).run)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[TrialTable, str]]:
    below = tmp_path_factory.mktemp("runs")
    folders = {name: kit.campaign(below, name.replace(" ", "-"), **tree) for name, tree in CAMPAIGNS.items()}
    folders["aborted"] = kit.aborted(folders["aborted"], below / "aborted" / "20260101T000000Z-abc123")
    folders["one channel"] = heater(below)
    tables = {name: TrialTable(Run(folder)) for name, folder in folders.items()}
    return {name: (table, page.run_page(table)) for name, table in tables.items()}


KIND_NAMES = [*CAMPAIGNS, "one channel"]


def test_the_runs_ended_as_their_names_say(reports: dict[str, tuple[TrialTable, str]]) -> None:
    ends = {name: table.run.result.outcome for name, (table, _) in reports.items()}
    assert ends == {
        "reached": "reached", "used up": "spent", "below noise": "spent", "unreachable": "unreachable",
        "failed": "failed", "aborted": "aborted", "maximising": "done", "one channel": "reached",
    }  # fmt: skip


@pytest.mark.parametrize("name", KIND_NAMES)
def test_a_report_is_small_and_needs_nothing_from_outside(
    name: str, reports: dict[str, tuple[TrialTable, str]]
) -> None:
    _, text = reports[name]
    assert len(text.encode()) <= MOST_BYTES
    seen = kit.Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(seen.tags)
    assert all(source.startswith("data:image/svg+xml;base64,") for source in seen.all("img", "src"))
    assert not re.search(r"https?://(?!www\.w3\.org/)", re.sub(r'src="data:[^"]*"', "", text))


SHOWN = {
    "reached": "story error slices contours settings spectrum importance",
    "used up": "story error slices contours settings spectrum importance predictions posterior spread",
    "below noise": "story error slices contours settings spectrum importance predictions posterior spread",
    "unreachable": "story error slices contours settings spectrum importance predictions spread",
    "maximising": "story slices contours settings spectrum importance parity",
    "one channel": "story slices settings predictions posterior spread",
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_report_shows_the_figures_that_say_something(name: str, reports: dict[str, tuple[TrialTable, str]]) -> None:
    table, text = reports[name]
    titles = re.findall(r"<figure><h3>([^<]*)", text)
    assert titles == [KINDS[kind].caption(table)[0] for kind in SHOWN[name].split()]
    for kind in KINDS.keys() - SHOWN[name].split():
        assert f"{kind}," in text or f"{kind}. Each" in text  # named below the figures


def test_failures_and_an_abort_are_on_the_timeline(reports: dict[str, tuple[TrialTable, str]]) -> None:
    for name in ("failed", "aborted"):
        assert "<h3>Timeline</h3>" in reports[name][1]


def test_figures_that_are_asked_for_are_drawn_and_no_others(reports: dict[str, tuple[TrialTable, str]]) -> None:
    table, _ = reports["reached"]
    assert not speaks(table, "pairs")
    text = page.run_page(table, ["pairs", "story"])
    assert re.findall(r"<figure><h3>([^<]*)", text) == [KINDS["pairs"].title, KINDS["story"].title]
    with pytest.raises(ConfigError, match="no figure 'x'; allowed: story"):
        page.run_page(table, ["x"])


def test_every_rule_is_about_a_figure_that_exists() -> None:
    assert RULES.keys() <= KINDS.keys()


def test_units_of_another_instrument_are_its_own(reports: dict[str, tuple[TrialTable, str]]) -> None:
    table, text = reports["one channel"]
    seen = kit.Page(text).text
    assert "T °C" in seen
    assert "counts" not in seen
    assert "nm" not in re.findall(r"<th[^>]*>([^<]*)", text)
    assert table.units == {"power": "W", "T": "°C"}
