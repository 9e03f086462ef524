"""The form of a campaign, and its YAML: each is made from the other, so that both can be edited.

A form is a mapping of texts as they are typed. Keys that the form has no field for stay in the YAML unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdl import config, yamlfile
from sdl.errors import ConfigError

Form = Mapping[str, Any]

LIMITS = {"at least": "at least", "at most": "at most"}
OBJECTIVES = ("maximise", "minimise")
OTHER = "other"
"""Stands for a goal or an input that the form has no field for; it is kept as the YAML has it."""
IMPROVEMENT = "1%"
"""`stop.improvement` of a new goal to maximise or minimise: without it all trials are used."""
HIDDEN = ("instrument", "expect", "notify", "watch")
"""Keys of a recorded campaign that another one does not take over: the page gives the instrument, others are answered
elsewhere."""


def apply_form(tree: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """The plain values of a campaign with those of the form.

    Args:
        tree: the campaign so far; keys that the form has no field for are kept.
        form: texts by field: `name`, `tolerance`, `solver`, `trials`, `minutes`, `average`, `prior`; `goal` by channel
            (`how`, `value`, `high`, `tolerance`), `inputs` by name (`low`, `high`).
    """
    after = dict(tree)
    _put(after, "name", _text(form, "name") or None)
    _put(after, "inputs", _inputs(after.get("inputs"), _mapping(form, "inputs")))
    _put(after, "goal", _goal(after.get("goal"), _mapping(form, "goal")))
    for key in ("tolerance", "average"):
        _put(after, key, _value(_text(form, key)))
    _put(after, "solver", _solver(after.get("solver"), _text(form, "solver")))
    _put(after, "stop", _stop(after.get("stop"), form, after.get("goal")))
    _put(after, "prior", [name.strip() for name in _text(form, "prior").split(",") if name.strip()] or None)
    order = [key for key in config.KEYS if key in after]
    return {key: after[key] for key in [*order, *(key for key in after if key not in order)]}


def form_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The form that shows a campaign given as plain values; parts that it cannot show are `other`."""
    stop = tree.get("stop") if isinstance(tree.get("stop"), Mapping) else {}
    solver, prior = tree.get("solver", "auto"), tree.get("prior")
    goal, inputs = tree.get("goal"), tree.get("inputs")
    priors = [one for one in prior if isinstance(one, str)] if isinstance(prior, Sequence) else []
    return {
        "name": _shown(tree.get("name")),
        "tolerance": _shown(tree.get("tolerance")),
        "average": _shown(tree.get("average")),
        "solver": _shown(solver.get("kind") if isinstance(solver, Mapping) else solver),
        "trials": _shown((stop or {}).get("trials")),
        "minutes": _shown((stop or {}).get("minutes")),
        "prior": ", ".join(priors),
        "goal": {str(k): _goal_row(v) for k, v in goal.items()} if isinstance(goal, Mapping) else {},
        "inputs": {str(k): _input_row(v) for k, v in inputs.items()} if isinstance(inputs, Mapping) else {},
    }


def of_run(plain: Mapping[str, Any], runs: Path) -> dict[str, Any]:
    """The campaign of a run as a starting point for another one: short, without defaults and without paths.

    Args:
        plain: the recorded configuration.
        runs: directory of the runs; priors elsewhere are left out.
    """
    tree = {key: value for key, value in plain.items() if key not in HIDDEN and value not in (None, {}, [], "")}
    default = config.parse({"name": "x", "instrument": "twin"}, collect=True).plain()
    default["stop"]["trials"] = config.CampaignRules().stop.trials  # a campaign without a goal has those of its design
    for key in ("tolerance", "confirm", "average", "retry", "seed", "design", "solver", "stop", "description"):
        if key not in tree:
            continue
        given, usual = tree[key], default[key]
        if isinstance(given, Mapping):
            kind = {"kind": given["kind"]} if "kind" in given else {}
            least = config.parse_kind(key, kind).model_dump(mode="json") if kind and not _needs(key, kind) else usual
            given = kind | {name: value for name, value in given.items() if least.get(name) != value}
        if given == usual or given in ({}, {"kind": usual.get("kind") if isinstance(usual, Mapping) else None}):
            del tree[key]
        else:
            tree[key] = given
    tree["prior"] = [name for one in tree.get("prior", ()) if (name := _name_of(one, runs))]
    if not tree["prior"]:
        del tree["prior"]
    if isinstance(tree.get("goal"), Mapping):
        tree["goal"] = {name: _short_target(target) for name, target in tree["goal"].items()}
    return {key: _whole(value) for key, value in tree.items()}


def _whole(value: Any) -> Any:
    """The same with 16384 for 16384.0, as people write it."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _needs(key: str, kind: Mapping[str, Any]) -> bool:
    """Whether a kind has options without a default, or is not installed any more."""
    try:
        config.parse_kind(key, kind)
    except ConfigError:
        return True
    return False


def _short_target(target: Any) -> Any:
    if not isinstance(target, Mapping):
        return target
    given = {key: value for key, value in target.items() if value is not None}
    return given["target"] if set(given) == {"target"} else given.get("objective", given)


def _name_of(prior: Any, runs: Path) -> str:
    """The name `CAMPAIGN/RUN` of a prior below the runs; empty for another."""
    source = prior.get("source") if isinstance(prior, Mapping) else prior
    try:
        parts = Path(str(source)).resolve().relative_to(runs.resolve()).parts
    except ValueError:
        return ""
    return "/".join(parts[:2]) if len(parts) >= 2 else ""


# From the form ----------------------------------------------------------------------------------------------------
def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        tree.pop(key, None)
    else:
        tree[key] = value


def _text(form: Form, key: str) -> str:
    value = form.get(key, "")
    return value.strip() if isinstance(value, str) else ""


def _mapping(form: Form, key: str) -> Mapping[str, Mapping[str, Any]]:
    value = form.get(key)
    return {k: v for k, v in value.items() if isinstance(v, Mapping)} if isinstance(value, Mapping) else {}


def _value(text: str) -> Any:
    """A typed text as YAML has it: a number, or the text, whose mistake the validation explains; None if empty."""
    try:
        value = yamlfile.scalar(text)
    except ConfigError:
        return text
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else text or None


def _goal(before: Any, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    kept = before if isinstance(before, Mapping) else {}
    goal = {}
    for channel, row in rows.items():
        how = _text(row, "how")
        value, high, tolerance = (_value(_text(row, key)) for key in ("value", "high", "tolerance"))
        if how == OTHER:
            if channel in kept:
                goal[channel] = kept[channel]
        elif how in OBJECTIVES:
            goal[channel] = how
        elif how in LIMITS:
            goal[channel] = {how: value}
        elif how == "between":
            goal[channel] = {"between": [value, high]}
        elif how == "target":
            goal[channel] = value if tolerance is None else {"target": value, "tolerance": tolerance}
    return goal or None


def _inputs(before: Any, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    kept = before if isinstance(before, Mapping) else {}
    inputs: dict[str, Any] = {}
    for name, row in rows.items():
        low, high = (_value(_text(row, key)) for key in ("low", "high"))
        choices = [word.strip() for word in _text(row, "choices").split(",") if word.strip()]
        if _text(row, "how") == OTHER:
            if name in kept:
                inputs[name] = kept[name]
        elif len(choices) == 1:
            inputs[name] = choices[0]
        elif choices:
            inputs[name] = {"choices": choices}
        elif low is not None and low == high:
            inputs[name] = low
        elif low is not None or high is not None:
            inputs[name] = {key: value for key, value in (("low", low), ("high", high)) if value is not None}
    return inputs or None


def _solver(before: Any, kind: str) -> Any:
    if not kind:
        return None
    same = isinstance(before, Mapping) and before.get("kind") == kind
    return before if same else None if kind == "auto" else kind


def _stop(before: Any, form: Form, goal: Any) -> dict[str, Any] | None:
    stop = dict(before) if isinstance(before, Mapping) else {}
    for key in ("trials", "minutes"):
        _put(stop, key, _value(_text(form, key)))
    optimises = isinstance(goal, Mapping) and any(target in OBJECTIVES for target in goal.values())
    if optimises:
        stop.setdefault("improvement", IMPROVEMENT)
    else:
        stop.pop("improvement", None)
    return stop or None


# To the form --------------------------------------------------------------------------------------------------------
def _shown(value: Any) -> str:
    if value is None or isinstance(value, (Mapping, list, tuple)):
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _goal_row(target: Any) -> dict[str, str]:
    row = {"how": OTHER, "value": "", "high": "", "tolerance": ""}
    if target in OBJECTIVES:
        return row | {"how": target}
    if not isinstance(target, Mapping):
        return row | {"how": "target", "value": _shown(target)} if target is not None else row | {"how": "target"}
    keys = {key for key, value in target.items() if value is not None}
    if keys in ({"target"}, {"target", "tolerance"}):
        return row | {"how": "target", "value": _shown(target["target"]), "tolerance": _shown(target.get("tolerance"))}
    if len(keys) == 1 and (how := next(iter(keys))) in LIMITS:
        return row | {"how": how, "value": _shown(target[how])}
    between = target.get("between")
    if keys == {"between"} and isinstance(between, (list, tuple)) and len(between) == 2:
        return row | {"how": "between", "value": _shown(between[0]), "high": _shown(between[1])}
    return row


def _input_row(given: Any) -> dict[str, str]:
    row = {"how": "", "low": "", "high": "", "choices": ""}
    if isinstance(given, str):
        return row | {"choices": given}
    if not isinstance(given, Mapping):
        return row | {"low": _shown(given), "high": _shown(given)}
    choices = given.get("choices")
    if set(given) == {"choices"} and isinstance(choices, (list, tuple)):
        return row | {"choices": ", ".join(map(str, choices))}
    if set(given) <= {"low", "high"}:
        return row | {"low": _shown(given.get("low")), "high": _shown(given.get("high"))}
    return row | {"how": OTHER}
