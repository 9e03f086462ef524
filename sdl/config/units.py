"""Units in the goal of a campaign file: `3 mS/cm` is the number 3 where the channel is in mS/cm.

A unit is a text that must be equal to that of the channel; nothing is converted. `2%` as a tolerance stays relative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from unicodedata import normalize

from sdl.errors import Problem
from sdl.types import Channel

QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\s\d.].*?)\s*")
UNIT_KEYS = ("target", "tolerance", "between", "at most", "at least", "at_most", "at_least")


def strip_units(tree: Mapping[str, Any], channels: Mapping[str, Channel]) -> tuple[dict[str, Any], list[Problem]]:
    """Replace texts such as `3 mS/cm` in `goal` and `tolerance` by numbers; also return the wrong units as problems.

    Args:
        tree: plain values of a campaign.
        channels: channels of its instrument, by name; the unit of an unknown channel is not checked.
    """
    plain, goal = dict(tree), tree.get("goal")
    if not isinstance(goal, Mapping):
        return plain, []
    problems: list[Problem] = []
    plain["goal"] = {}
    for name, target in goal.items():
        units: list[str] = []
        plain["goal"][name] = _numbers(target, units)
        problems += _mismatches(units, {name: channels.get(name)}, f"goal.{name}")
    if "tolerance" in tree:
        units = []
        plain["tolerance"] = _tolerance(tree["tolerance"], units)
        using = [n for n, target in goal.items() if not (isinstance(target, Mapping) and "tolerance" in target)]
        problems += _mismatches(units, {name: channels.get(name) for name in using}, "tolerance")
    return plain, problems


def _numbers(value: Any, units: list[str]) -> Any:
    """The value without units, which are appended to `units`."""
    if isinstance(value, Mapping):
        return {
            key: _tolerance(item, units) if key == "tolerance" else _numbers(item, units) if key in UNIT_KEYS else item
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return tuple(_numbers(item, units) for item in value)
    if isinstance(value, str) and (match := QUANTITY.fullmatch(value)):
        units.append(match[2])
        return float(match[1])
    return value


def _tolerance(value: Any, units: list[str]) -> Any:
    """As `_numbers`, for a tolerance; a percentage has no unit."""
    absolute = isinstance(value, str) and not value.strip().endswith("%")
    return _numbers(value, units) if absolute else value


def _mismatches(units: list[str], channels: Mapping[str, Channel | None], path: str) -> list[Problem]:
    """A mistake for the first unit that is not that of a channel."""
    for unit in units:
        for name, channel in channels.items():
            if channel is not None and normalize("NFKC", unit) != normalize("NFKC", channel.unit):
                known = f"is in {channel.unit}" if channel.unit else "has no unit"
                return [Problem(f"{name} {known}, not in {unit!r}", path)]
    return []
