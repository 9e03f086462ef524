"""What a person is asked on the page of a run: the settings, the form for the readings, the readings told so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdl import formatting
from sdl.core.goal import format_reading
from sdl.core.trials import Trial
from sdl.durations import format_duration
from sdl.store.trial_files import TrialFile
from sdl.web.run_view import RunView


def request(view: RunView) -> dict[str, Any]:
    """The request to a person, for the template; `kind` is empty if there is nothing to do.

    `reading` is a form; `next` is where the next settings are being computed, or to be asked for; `safe` is what to
    leave the instrument at, after the end.
    """
    opened, campaign = view.opened, view.campaign
    if opened is None or campaign is None or not view.told_by_others or campaign.paused:
        return {"kind": ""}
    if view.ended:
        off = _off(view)
        return {"kind": "safe" if off else "", "off": off}
    if (asked := view.asked()) is None:
        return {"kind": "next", "attended": view.attended, "ends": campaign.stop is not None}
    units, specs = view.spec.units, view.spec.specs
    settings = {**asked["settings"], **_fixed(view)}
    before = formatting.settings_before(view.trials, asked["trial"])
    return {
        "kind": "reading",
        "attended": view.attended,
        "trial": asked["trial"],
        "repeat": asked["repeat"],
        "why": formatting.cause(view.trials[-1].proposed.why),
        "settings": formatting.asked_settings(settings, before, opened),
        "inputs": [{"name": name, "unit": units[name], "choices": specs[name].get("choices")} for name in settings],
        "channels": [
            {"name": name, "unit": units[name], "range": _range(specs[name]), "signed": _is_signed(specs[name])}
            for name in _raw_channels(view)
        ],
        "wait": _wait(view),
    }


def told(view: RunView, files: Sequence[TrialFile]) -> dict[str, Any]:
    """The readings that were told in the latest trials, the newest first, with their notes and files."""
    if view.opened is None or not formatting.told_by_others(view.opened):
        return {"rows": [], "channels": []}
    raw, rows = _raw_channels(view), []
    for trial in reversed(view.trials):
        beside = [one for one in files if one.trial == trial.trial]
        readings = [_told_row(view, trial, repeat, raw) for repeat in reversed(range(trial.taken))]
        if not readings and (beside or trial.over):
            readings = [{"repeat": None, "excluded": False, "cells": [""] * len(view.spec.channels), "note": ""}]
        rows += [{"trial": trial.trial, "files": beside if i == 0 else [], **row} for i, row in enumerate(readings)]
    return {"channels": [view.spec.title(name) for name in view.spec.channels], "rows": rows}


def _told_row(view: RunView, trial: Trial, repeat: int, raw: Sequence[str]) -> dict[str, Any]:
    reading = trial.reading(repeat)
    values = {} if reading is None else dict(reading.readings)
    return {
        "repeat": repeat,
        "excluded": reading is None,
        "cells": [format_reading(values[name]) if name in values else "" for name in view.spec.channels],
        "values": [(name, values.get(name)) for name in raw],  # in order, which an object would not keep
        "note": getattr(reading, "note", ""),
    }


def _fixed(view: RunView) -> dict[str, Any]:
    """The inputs that the campaign keeps as they are."""
    given = view.tree.get("inputs") or {}
    return {name: value for name, value in given.items() if not isinstance(value, Mapping) and name in view.spec.specs}


def _raw_channels(view: RunView) -> list[str]:
    """The channels that are read; those of formulas are computed."""
    derived = view.tree["instrument"].get("derived") or {}
    return [name for name in view.spec.channels if name not in derived]


def _wait(view: RunView) -> str:
    """How long to wait between setting and reading; empty where nothing is said."""
    settle = view.tree["instrument"].get("settle")
    return format_duration(settle) if isinstance(settle, (int, float)) and settle > 0 else ""


def _off(view: RunView) -> str:
    """The settings at which a person is to leave the instrument; empty where it may be left as it is."""
    instrument, specs = view.tree["instrument"], view.spec.specs
    off = instrument.get("off")
    if view.opened is None or instrument.get("kind") != "manual" or not isinstance(off, Mapping):
        return ""
    inputs = [name for name in specs if name not in view.spec.channels]
    rest = {name: specs[name]["choices"][0] if specs[name].get("choices") else specs[name]["low"] for name in inputs}
    return ", ".join(map(str, formatting.asked_settings({**rest, **off}, None, view.opened)))


def _range(channel: Mapping[str, Any]) -> str:
    """`0 … 255`, `at least 0`, `at most 14`; empty where a channel has no ends."""
    low, high = channel.get("low"), channel.get("high", channel.get("saturation"))
    if low is not None and high is not None:
        return f"{low:g} … {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else ""


def _is_signed(channel: Mapping[str, Any]) -> bool:
    """Whether its readings may be negative: not every phone's keypad of digits has a minus sign."""
    return channel.get("low") is None or channel["low"] < 0
