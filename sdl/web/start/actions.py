"""The actions that the page offers for a run: the advice as a button, and the changes that a resume may make."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sdl.advice import NextStep, affordable_average
from sdl.core.campaign import State
from sdl.formatting import is_external
from sdl.types import GOOD_OUTCOMES, Outcome

if TYPE_CHECKING:
    from sdl.core.campaign import Campaign
    from sdl.core.events import Opened


class Field(NamedTuple):
    """A number that the dialog of an action asks for: the key that it changes, its label and its first value."""

    key: str
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Action:
    """Continue a run with changes.

    Attributes:
        text: text of the button.
        command: a command that does the same, without the changes of `fields`.
        changes: `key=value` each.
        fields: further changes, whose values are typed.
        main: whether it is the advised action.
    """

    text: str
    command: str
    changes: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    main: bool = False


def continuations(campaign: Campaign, opened: Opened, tree: Mapping[str, Any], advice: NextStep) -> list[Action]:
    """The ways to continue a run that no process is writing to; none where it has reached its goal.

    Args:
        campaign: its state.
        opened: its first event.
        tree: its configuration.
        advice: what to do next.
    """
    if is_external(opened) or opened.instrument["kind"] in ("manual", "replay"):
        return []
    outcome = campaign.history.outcome if campaign.state is State.STOPPED else None
    if outcome in GOOD_OUTCOMES:
        return []
    actions = [] if (first := _advised(advice)) is None else [first]
    base = f"sdl resume {opened.run}" if first is None else shlex.join(shlex.split(first.command)[:3])
    stop, history = tree.get("stop", {}), campaign.history
    if outcome is not None or campaign.plan.goal is not None:
        trials = max(2 * history.trials, int(stop.get("trials") or 0))
        fields = [Field("stop.trials", "Trials at most, including those taken", str(trials))]
        if stop.get("minutes"):
            fields.append(Field("stop.minutes", "Minutes at most, from now on", f"{stop['minutes']:g}"))
        if stop.get("cost"):
            fields.append(Field("stop.cost", "Cost at most, for the whole run", f"{2 * stop['cost']:g}"))
        actions.append(Action("Raise the budget…", base, fields=tuple(fields)))
    if campaign.plan.goal is not None:
        needed = next((t.proposed.readings_needed for t in reversed(history.closed) if t.by_solver), None)
        most, average = affordable_average(campaign, stop), campaign.plan.average
        wanted = min(needed, most) if needed and most > average else 2 * average
        more = (f"stop.trials={2 * history.trials}",) if outcome is Outcome.SPENT else ()
        field = Field("average", "Readings per trial", str(wanted))
        actions.append(Action("Continue with another average…", base, more, (field,)))
    return actions


def _advised(advice: NextStep) -> Action | None:
    """The advice as a button, where it is a resume."""
    words = shlex.split(advice.command)
    if words[:2] != ["sdl", "resume"] or len(words) < 3:
        return None
    options = words[3:]
    if options[::2] != ["--set"] * len(options[::2]) or len(options) % 2:
        return None
    changes = tuple(options[1::2])
    return Action(f"Continue{' with ' if changes else ''}{', '.join(changes)}", advice.command, changes, main=True)
