"""The limits of an agent, such as a language model: the key `agents` of a lab file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from sdl import registry
from sdl.config.inputs import CampaignInput, input_problems
from sdl.drivers.base import Instrument
from sdl.errors import Problem
from sdl.notify.model import DaySpan
from sdl.types import Frozen, Input, Value

Tier = Literal["read", "rehearse", "submit"]


class AgentLimits(Frozen):
    """What one agent may do. It may always stop a run on these instruments."""

    tier: Tier = Field(
        "read",
        description="read: look at everything; rehearse: also run campaigns on the twin; submit: also submit campaigns",
    )
    instruments: Mapping[str, Mapping[str, CampaignInput]] = Field(
        min_length=1,
        description="the instruments that it may use, each with bounds of its inputs, as `inputs` of a campaign: "
        "`{rig: {red: {high: 200}, yellow: 0}}`; `{rig: {}}`: the bounds of the instrument",
    )
    readings_per_day: int | None = Field(
        None,
        ge=1,
        description="largest number of readings of its campaigns in 24 hours; an unfinished campaign "
        "counts with the most it can take",
    )
    cost_per_day: float | None = Field(
        None, gt=0, description="most that its campaigns may cost in 24 hours, in the unit of `cost` of the instruments"
    )
    hours: DaySpan | None = Field(
        None, description='local times at which it may submit and its campaigns measure, "08:00-18:00"'
    )
    solvers: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="kinds of solvers that it may use; by default all"
    )
    approve: Literal["always", "unrehearsed"] = Field(
        "always",
        description="always: a person approves every submission; unrehearsed: only those without a valid rehearsal",
    )


def agent_problems(limits: AgentLimits, instruments: Mapping[str, Instrument]) -> Iterator[Problem]:
    """Mistakes in the limits of an agent; paths start below its name.

    Args:
        limits: the agent's limits.
        instruments: the valid ones of the lab, by name.
    """
    for name, bounds in limits.instruments.items():
        if name in instruments:
            for problem in input_problems(bounds, instruments[name].inputs):
                path = problem.path.removeprefix("inputs").lstrip(".")
                yield Problem(problem.message, f"instruments.{name}.{path}".rstrip("."))
    known = registry.kinds("solvers")
    for i, kind in enumerate(limits.solvers):
        if kind not in known:
            yield Problem(f"unknown {kind!r}; allowed: {', '.join(known)}", f"solvers.{i}")
    used = [instruments[name] for name in limits.instruments if name in instruments]
    if limits.cost_per_day is not None and used and not any(_has_prices(instrument) for instrument in used):
        text = "none of its instruments names prices; give one `cost: {reading: 2, trial: 1, per: {red: 0.01}}`"
        yield Problem(text, "cost_per_day")


def _has_prices(instrument: Instrument) -> bool:
    prices = getattr(instrument, "cost", None)
    return prices is not None and not prices.free


def bound_inputs(
    given: Mapping[str, CampaignInput], bounds: Mapping[str, CampaignInput], inputs: Sequence[Input]
) -> tuple[dict[str, CampaignInput], list[Problem]]:
    """The inputs of a campaign within the bounds of its agent, and a problem for each input that exceeds them.

    Args:
        given: the key `inputs` of the campaign.
        bounds: the agent's bounds on this instrument.
        inputs: the instrument's inputs.
    """
    result, problems = dict(given), list[Problem]()
    for item in inputs:
        if (bound := bounds.get(item.name)) is None:
            continue
        wanted = given.get(item.name)
        if wanted is not None and (excess := exceeds(wanted, bound, item)):
            problems.append(Problem(f"{excess}; allowed: {describe_bound(bound, item)}", f"inputs.{item.name}"))
        else:
            result[item.name] = _narrower(wanted, bound, item)
    return result, problems


def exceeds(wanted: CampaignInput, bound: CampaignInput, item: Input) -> str:
    """How an input of a campaign exceeds a bound; empty if it does not."""
    if (value := wanted.value) is not None:
        text = repr(value) if isinstance(value, str) else f"{value:g}"
        return "" if _allows(bound, item, value) else f"{text} lies outside the bounds of the agent"
    if wanted.choices is not None:
        outside = [choice for choice in wanted.choices if not _allows(bound, item, choice)]
        return f"{outside[0]!r} is not allowed to the agent" if outside else ""
    for value in (wanted.low, wanted.high):
        if value is not None and not _allows(bound, item, value):
            return f"{value:g} lies outside the bounds of the agent"
    return ""


def is_within(wanted: CampaignInput | None, bound: CampaignInput, item: Input) -> bool:
    """Whether the whole range of an input of a resolved campaign lies within a bound."""
    if wanted is None:
        return False
    if wanted.value is not None or wanted.choices is not None:
        return not exceeds(wanted, bound, item)
    low = item.low if wanted.low is None else wanted.low
    high = item.high if wanted.high is None else wanted.high
    return not item.choices and _allows(bound, item, low) and _allows(bound, item, high)


def describe_bound(bound: CampaignInput, item: Input) -> str:
    """A bound as text: `0 … 200`, `water, ethanol` or `40`."""
    if bound.value is not None:
        return f"{bound.value}"
    if bound.choices is not None:
        return ", ".join(bound.choices)
    low, high = _ends(bound, item)
    return f"{low:g} … {high:g}"


def _allows(bound: CampaignInput, item: Input, value: Value) -> bool:
    if bound.value is not None:
        return value == bound.value
    if bound.choices is not None:
        return value in bound.choices
    low, high = _ends(bound, item)
    return not isinstance(value, str) and low <= value <= high


def _ends(bound: CampaignInput, item: Input) -> tuple[float, float]:
    return item.low if bound.low is None else bound.low, item.high if bound.high is None else bound.high


def _narrower(wanted: CampaignInput | None, bound: CampaignInput, item: Input) -> CampaignInput:
    """The campaign's limits of an input, which the bound allows; where it gives none, those of the bound."""
    if wanted is None or bound.value is not None:
        return bound
    if wanted.value is not None or wanted.choices is not None:
        return wanted
    low, high = _ends(bound, item)
    low, high = low if wanted.low is None else wanted.low, high if wanted.high is None else wanted.high
    return CampaignInput(value=low) if low == high else CampaignInput(low=low, high=high)
