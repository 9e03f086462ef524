"""Mistakes that involve several keys: the goal, the design, the solver and the instrument together."""

from __future__ import annotations

import math

from sdl import registry
from sdl.config.goals import goal_problems, prefer_problems
from sdl.config.inputs import input_problems
from sdl.config.mistakes import short
from sdl.config.model import ResolvedCampaign
from sdl.designs.adaptive import Adaptive
from sdl.designs.filling import Points
from sdl.errors import ConfigError, Problem
from sdl.solvers.base import optimises, require_choices
from sdl.twin.led.state import known_state
from sdl.types import Input, Value

MAX_COMBINATIONS = 10_000  # of choices; memory and time grow with their number


def cross_check(campaign: ResolvedCampaign) -> list[Problem]:
    """All mistakes of a campaign that involve several keys."""
    problems: list[Problem] = []
    if campaign.instrument is not None:
        channels = {channel.name: channel for channel in campaign.instrument.channels}
        problems += input_problems(campaign.inputs, campaign.instrument.inputs)
        problems += goal_problems(campaign.goal or {}, campaign.tolerance, channels)
        if campaign.prefer is not None:
            problems += prefer_problems(campaign.prefer, campaign.free_inputs)
        if wrong := _choice_problems(campaign) or _constraint_problems(campaign):
            problems += wrong
        else:
            problems += _design_problems(campaign)
            problems += _solver_problems(campaign)
        problems += _channel_problems(campaign)
        if campaign.stop.cost is not None and campaign.prices is None:
            message = "the instrument names no prices; give it `cost: {reading: 2, trial: 1, per: {red: 0.01}}`"
            problems.append(Problem(message, "stop.cost"))
    problems += _objective_problems(campaign)
    if campaign.goal is not None and not campaign.goal:
        problems.append(Problem("empty; give a target for at least one channel: {R: 140}", "goal"))
    return problems


def _objective_problems(campaign: ResolvedCampaign) -> list[Problem]:
    """Keys that have no meaning with, or without, a channel to maximise or minimise; a solver that cannot do it."""
    objectives = [(name, target.objective) for name, target in (campaign.goal or {}).items() if target.objective]
    if not objectives:
        needed = "needs a channel to maximise or minimise, such as goal: {R: maximise}"
        return [Problem(needed, "stop.improvement")] if campaign.stop.improvement is not None else []
    (name, direction), problems = objectives[0], []
    if campaign.stop.stagnation is not None:
        message = f"counts tolerance ratios, and {name} has none; use stop.improvement"
        problems.append(Problem(message, "stop.stagnation"))
    if campaign.prefer is not None:
        problems.append(Problem(f"has no effect in a campaign that {direction}s {name}; remove it", "prefer"))
    solver = campaign.solver
    if solver is not None and not optimises(solver):
        options = " with these options" if solver.kind in ("auto", "linear") else ""
        message = f"{solver.kind} cannot {direction} {name}{options}; use auto, gp, quadratic or linear"
        problems.append(Problem(message, "solver"))
    return problems


def _choice_problems(campaign: ResolvedCampaign) -> list[Problem]:
    """More combinations of choices than designs and solvers can handle."""
    count = math.prod(len(item.choices or ()) or 1 for item in campaign.free_inputs)
    if count <= MAX_COMBINATIONS:
        return []
    message = f"{count:,} combinations of choices; at most {MAX_COMBINATIONS:,}: fix or narrow some of these inputs"
    return [Problem(message, "inputs")]


def _constraint_problems(campaign: ResolvedCampaign) -> list[Problem]:
    """Constraints that cannot be parsed, that name no numeric input, or that no settings keep."""
    if not getattr(campaign.instrument, "constraints", ()):
        return []
    try:
        space = campaign.space()
        if not space.is_empty():
            return []
        message = f"no settings keep {' and '.join(map(str, space.constraints))}"
    except ValueError as error:
        message = str(error)
    return [Problem(message, "instrument.constraints")]


def _channel_problems(campaign: ResolvedCampaign) -> list[Problem]:
    """Unknown channels in an option `channels` of the solver or the design."""
    known = [channel.name for channel in campaign.instrument.channels]
    return [
        Problem(f"unknown channel {name!r}; the instrument has: {', '.join(known)}", f"{key}.channels.{i}")
        for key in ("solver", "design")
        for i, name in enumerate(getattr(getattr(campaign, key), "channels", ()))
        if name not in known
    ]


def _solver_problems(campaign: ResolvedCampaign) -> list[Problem]:
    """A solver whose `needs` returns no number of design points, or that cannot work for the instrument."""
    solver, inputs, channels = campaign.solver, campaign.free_inputs, campaign.instrument.channels
    method = "needs"
    try:
        wanted: object = solver.needs(inputs) if hasattr(solver, "needs") else None
        if wanted is not None and not (isinstance(wanted, int) and wanted >= 0):
            message = f"its `needs` must give a number of design points, 0 or more, not {short(wanted)}"
            return [Problem(message, "solver")]
        if campaign.goal:
            require_choices(solver, inputs)
        method = "suits"
        if campaign.goal and hasattr(solver, "suits"):
            solver.suits(inputs, channels)
        if campaign.goal and getattr(solver, "knows", "nothing") == "twin":
            known_state(solver.state, [item.name for item in inputs], [item.name for item in channels])
    except ConfigError as error:
        return [Problem(problem.message, "solver") for problem in error.problems]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in solver may fail in any way
        return [Problem(f"its `{method}` failed: {error!r}", "solver")]
    return []


def _design_problems(campaign: ResolvedCampaign) -> list[Problem]:
    problems: list[Problem] = []
    inputs = {item.name: item for item in campaign.free_inputs}
    try:
        if campaign.design is not None:  # a factorial may be too large, another want more inputs
            campaign.planned_points()
            if isinstance(campaign.design, Adaptive):
                require_choices(registry.find("solvers", campaign.design.solver)(), campaign.free_inputs)
    except ConfigError as error:
        problems += [Problem(p.message, f"design.{p.path}".rstrip(".")) for p in error.problems]
    for i, point in enumerate(campaign.design.points if isinstance(campaign.design, Points) else ()):
        path = f"design.points.{i}"
        missing, unknown = [n for n in inputs if n not in point], [n for n in point if n not in inputs]
        if missing or unknown:
            wrong = [f"lacks {', '.join(missing)}"] if missing else []
            wrong += [f"unknown: {', '.join(unknown)}"] if unknown else []
            message = f"must give every input ({', '.join(inputs)}) and no other; {'; '.join(wrong)}"
            problems.append(Problem(message, path))
            continue
        wrong_values = [(name, why) for name, value in point.items() if (why := _why_not(inputs[name], value))]
        problems += [Problem(why, f"{path}.{name}") for name, why in wrong_values]
        if not wrong_values:
            broken = [one for one in campaign.free_constraints if not one.holds(point)]
            problems += [Problem(f"breaks the constraint {one}", path) for one in broken]
    return problems


def _why_not(item: Input, value: Value) -> str:
    """Why an input cannot be set to a value; empty where it can."""
    if item.choices:
        return "" if value in item.choices else f"{value!r} is none of the choices {', '.join(item.choices)}"
    if isinstance(value, str):
        return f"must be a number, not {short(value)}"
    inside = item.low <= value <= item.high
    return "" if inside else f"{value:g} lies outside the bounds [{item.low:g}, {item.high:g}]"
