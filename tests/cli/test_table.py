"""The table of trials fits any terminal and never cuts a number."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest

from sdl.cli.display.table import trial_table
from sdl.core.campaign import Plan
from sdl.core.events import Opened, Proposed
from sdl.core.goal import Band, Goal, format_with_error
from sdl.core.trials import Trial, TrialState
from sdl.formatting import off, percent, ratio, reading, readings, setting, setting_error, tolerance_ratio
from sdl.types import Reading, Verdict

NAMES = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")


def opened(channels: tuple[str, ...]) -> Opened:
    description: dict[str, Any] = {"inputs": [{"name": name, "low": 0, "high": 1} for name in "RGB"]}
    description["channels"] = [{"name": name} for name in channels]
    return Opened(1, "r", "c", {}, (), description, "virtual", {}, True, "me", 0.0)


SETTINGS = {"R": 0.5315, "G": 0.2464, "B": 1.0}
LOW = 18666.0
"""65535 is 251 % above this target."""


def plan(channels: tuple[str, ...], *, goal: bool) -> Plan:
    bands = {name: Band.around(65035, 1278.6) for name in channels} | {channels[0]: Band.around(LOW, 373.3)}
    return Plan(Goal(bands) if goal else None)


def trials(channels: tuple[str, ...], goal: Goal | None) -> list[Trial]:
    def trial(number: int, by: str, verdict: Verdict | None = None) -> Trial:
        return Trial(Proposed(number, SETTINGS, {}, by, 0, "", {}, {}, {}, verdict, (), 0.0), goal)

    far, near, failed = trial(0, "latin-hypercube", Verdict.UNREACHABLE), trial(1, "gmm"), trial(12345, "gmm")
    far.add(Reading(SETTINGS, dict.fromkeys(channels, 65535.0), fault="not-applied"))
    far.state = TrialState.CLOSED
    near.add(Reading(SETTINGS, dict.fromkeys(channels, 65535.0) | {channels[0]: LOW}))
    near.state = TrialState.REACHED
    failed.fail("no answer: refused by the other side")
    failed.state = TrialState.FAILED
    return [far, near, failed]


def lines(channels: tuple[str, ...], columns: int, *, goal: bool, colour: bool = True) -> list[str]:
    requested = plan(channels, goal=goal)
    shown = trials(channels, requested.goal)
    return [text.plain for text in trial_table(shown, opened(channels), requested, columns, colour=colour)]


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("goal", [True, False])
@pytest.mark.parametrize("channels", [NAMES[:3], NAMES])
@pytest.mark.parametrize("columns", [20, 40, 80, 100, 120, 200])
def test_a_table_is_no_wider_than_the_terminal_and_cuts_no_number(
    columns: int, channels: tuple[str, ...], goal: bool, colour: bool
) -> None:
    shown = lines(channels, columns, goal=goal, colour=colour)
    assert max(map(len, shown)) <= columns
    assert [line.split()[0] for line in shown] == ["trial", "0", "1", "12345"]
    for head, text in zip(shown[0].split()[1:], shown[2].split()[1:], strict=False):
        assert not re.fullmatch(r"\d+…", text), (head, text)
    if columns >= 80:
        assert "0.5315 0.2464 1.0000" in shown[1]
        assert "65535 65535 65535" in shown[1]


def test_at_80_columns_three_channels_keep_the_worst_the_error_and_the_end() -> None:
    head, first, second, last = lines(NAMES[:3], 80, goal=True)
    assert head.split() == ["trial", "by", "R", "G", "B", *NAMES[:3], "worst", "error", "×", "tol."]
    assert "415nm  251 %    126 not-ap…" in first
    assert second.endswith("0.77 %   0.39 reached")
    assert last.endswith("failed…")
    assert "…  " in last  # no reading


def test_what_is_left_out_is_counted() -> None:
    assert "+" not in lines(NAMES, 200, goal=True)[0]
    head = lines(NAMES, 80, goal=True)[0]
    missing = [name for name in NAMES if name not in head]
    assert missing
    assert f"+{len(missing)}" in head.split()


def test_what_is_left_out_first_matters_least() -> None:
    kept = [set(lines(NAMES[:3], columns, goal=True)[0].split()) for columns in range(200, 25, -1)]
    assert all(later <= earlier | {"+1", "+2", "+3"} for earlier, later in itertools.pairwise(kept))
    order = ["worst", "by", "error", "480nm", "445nm", "415nm", "B"]
    gone = [min(i for i, heads in enumerate(kept) if name not in heads) for name in order]
    assert gone == sorted(gone)


def test_without_colour_there_is_no_swatch() -> None:
    assert "██" in lines(NAMES[:3], 120, goal=True)[1]
    assert "██" not in "".join(lines(NAMES[:3], 120, goal=True, colour=False))


@pytest.mark.parametrize(
    ("value", "as_percent", "as_ratio"),
    [
        (0.00394, "0.39 %", "0.00"),
        (0.0995, "9.95 %", "0.10"),
        (0.09996, "10.0 %", "0.10"),
        (0.9996, "100 %", "1.00"),
        (9.96, "996 %", "9.96"),
        (9.996, "1000 %", "10.0"),
        (123.4, "12340 %", "123"),
    ],
)
def test_three_figures_are_enough(value: float, as_percent: str, as_ratio: str) -> None:
    assert (percent(value), ratio(value)) == (as_percent, as_ratio)
    assert tolerance_ratio(value) == f"{as_ratio} × tolerance"


@pytest.mark.parametrize(
    ("band", "value", "message"),
    [
        (Band.around(16384, 327.68), 16257, "off by −0.78 % (tolerance ± 2 %)"),
        (Band(1000, 900, 1400), 1100, "off by +100 (tolerance +400)"),
        (Band(1000, 900, 1400), 950, "off by −50 (tolerance −100)"),
        (Band.around(0, 30), -12, "off by −12 (tolerance ± 30)"),
        (Band.around(50.5, 0.4), 50.4999999, "off by 0.00 (tolerance ± 0.4)"),
        (Band.around(16384, 327.68), 16384.01, "off by 0.00 % (tolerance ± 2 %)"),
        (Band.at_most(12000, 240), 16181, "reads 16181, 4181 above 12000"),
        (Band.at_least(500, 10), 480, "reads 480, 20 below 500"),
        (Band.between(100, 200), 150, "reads 150, inside 100 … 200"),
        (Band(None, -math.inf, 200), 150, "reads 150.0, within its limit, at most 200"),
        (Band.around(5, 1), float("nan"), "not read"),
    ],
)
def test_how_far_off_is_said_with_the_tolerance_of_that_side(band: Band, value: float, message: str) -> None:
    assert off(band, value) == message


@pytest.mark.parametrize(
    ("value", "band", "message"),
    [
        (16384.4, None, "16384"),
        (12.0, None, "12"),
        (12.5, None, "12.5"),
        (0.4831, None, "0.483"),
        (0.4831, Band.around(0.5, 0.01), "0.483"),
        (1.0, Band.around(1.2, 0.1), "1.00"),
        (250.12, Band.around(250, 0.5), "250.12"),
        (12.3, Band.around(16384, 328), "12"),
        (0.0, None, "0"),
    ],
)
def test_a_reading_has_the_digits_that_its_tolerance_or_size_needs(
    value: float, band: Band | None, message: str
) -> None:
    assert reading(value, band) == message


def test_the_readings_of_a_column_have_the_same_digits() -> None:
    assert readings([0.5, 3.31], None) == ["0.50", "3.31"]
    assert readings([12.5, 16384.0], None) == ["12", "16384"]
    assert readings([], None) == []


@pytest.mark.parametrize(
    ("value", "low", "high", "step", "message"),
    [
        (0.4706, 0, 1, None, "0.4706"),
        (0.5, 0, 1, 0.0001, "0.5000"),
        (34.0, 0, 255, 1.0, "34"),
        (0.25, 0, 1, 0.25, "0.25"),
        (127.25, 0, 255, None, "127.25"),
    ],
)
def test_a_setting_has_the_digits_that_its_step_or_range_needs(
    value: float, low: float, high: float, step: float | None, message: str
) -> None:
    assert setting(value, {"low": low, "high": high, "step": step}) == message


def test_numbers_are_printed_with_the_decimals_that_their_range_or_tolerance_needs() -> None:
    volt = {"name": "bias", "low": 0.0, "high": 2e-3}
    assert setting(0.00124413, volt) == "0.0012441"
    assert setting_error(5.8e-6, volt) == "5.8e-06"
    assert setting_error(None, volt) == "?"
    assert setting(25.65, {"name": "NaOH", "low": 0.0, "high": 50.0, "step": 0.05}) == "25.65"
    ampere = Band(2.03e-9, 1.83e-9, 2.23e-9)
    assert readings([2.04e-9, 0.0], ampere) == ["2.04e-09", "0"]
    assert off(ampere, 2.08e-9, "A") == "off by +5e-11 A (tolerance ± 2e-10 A)"
    photons = Band(4e9, 3.8e9, 4.2e9)
    assert readings([3978444962.0, 646484682.0], photons) == ["3.98e+09", "6.5e+08"]
    assert reading(179.52, Band(180.0, 179.0, 181.0)) == "179.5"
    assert reading(16384.4, Band(16384.0, 16056.3, 16711.7)) == "16384"
    assert format_with_error(2.03e-9, 1e-11) == "2.030e-09 ± 1.0e-11"
    assert format_with_error(128.03, 1.2) == "128.0 ± 1.2"
