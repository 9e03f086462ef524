"""The pytest plugin: campaign files with an `expect:` block are tests, and there are fixtures for tests of your own.

    pytest          also runs every *.yaml and *.json with an `expect:` block: one item per seed, one for all seeds
    pytest fast.yaml::seed-7        one of them
    pytest --sdl-seeds 60           this many seeds instead of those in the files
    pytest --sdl-report out         the record (and the report) of every seed that fails, in out/
    pytest --sdl-limit 60           seconds that a campaign may take; 0: no limit, and in this process, for a debugger

    sdl_clock     a virtual clock                    sdl_runs    an empty directory for runs
    sdl_twin      opens a twin on that clock         sdl_run     runs a campaign there, gives the Run
    sdl_server    serves a twin, with faults, behind the real instrument's HTTP surface

pytest loads it wherever `sdl` is installed, so it imports nothing until something of it is used, and does not parse
YAML files without `expect:`. `-p no:sdl` switches it off.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sdl.testing import UNSURE

if TYPE_CHECKING:
    from sdl.testing.items import CampaignTests

pytest_plugins = ("sdl.testing.fixtures",)

EXPECTS = re.compile(rb"^[\"']?expect[\"']?[ \t]*:", re.MULTILINE)
CAMPAIGN = re.compile(rb"^[\"']?(?:instrument|goal)[\"']?[ \t]*:", re.MULTILINE)
# The same pattern for files in JSON.
IN_BRACES = [re.compile(rb"[{,\s][\"']?" + key + rb"[\"']?\s*:") for key in (b"expect", b"(?:instrument|goal)")]
LARGEST = 256 * 1024  # largest campaign file, bytes
LIMIT = 600.0  # real seconds that one campaign may take, as with `sdl verify`


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's own options."""
    group = parser.getgroup("sdl", "campaigns as tests")
    group.addoption("--sdl-seeds", type=_positive, metavar="N", help="seeds a campaign file, instead of those in it")
    group.addoption(
        "--sdl-report", metavar="DIR", help="keep the record, and write the report, of each seed that fails"
    )
    group.addoption(
        "--sdl-limit",
        type=_seconds,
        default=LIMIT,
        metavar="SECONDS",
        help=f"real time that one campaign may take, then it is killed and fails ({LIMIT:g}); 0: as long as it likes, "
        "and in pytest's own process, where a debugger reaches it",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


# --- campaign files as tests ------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CampaignTests | None:
    """The items of a campaign file with `expect:`."""
    if file_path.suffix not in (".yaml", ".yml", ".json"):
        return None
    try:
        with file_path.open("rb") as stream:
            head = stream.read(LARGEST + 1)
    except OSError:
        return None
    if len(head) > LARGEST or not _perhaps(head):
        return None
    from sdl.testing.items import CampaignTests

    tests: CampaignTests = CampaignTests.from_parent(parent, path=file_path)
    return tests


def _perhaps(text: bytes) -> bool:
    """A cheap check whether a file may be a campaign with `expect:`."""
    if not text.lstrip().startswith(b"{"):
        return bool(EXPECTS.search(text) and CAMPAIGN.search(text))
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):  # YAML in the style of JSON, or a mistake
        return all(key.search(text) for key in IN_BRACES)
    return isinstance(tree, dict) and "expect" in tree and bool({"instrument", "goal"} & tree.keys())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the medians and p95 that rest on too few seeds."""
    lines = [
        text
        for report in terminalreporter.stats.get("passed", ())
        for name, text in getattr(report, "user_properties", ())
        if name == UNSURE
    ]
    if lines:
        terminalreporter.section("sdl: too few seeds to tell", sep="-")
        for line in lines:
            terminalreporter.line(line)
