"""Why a number is not the paper's: a sentence for each difference.

Each is made from the numbers found, so that it also holds on another day's readings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sdl.paper.pairs import STATE
from sdl.paper.published import BEYOND, INPUTS, METHODS, QUICK
from sdl.paper.tables import largest, number

if TYPE_CHECKING:
    from sdl.paper.work import Findings, Said, SolverAnswers

WELL = 1.0
"""Per cent of the goal that an answer may miss by to be counted as good."""
MOSTLY = 0.6
"""Part of the test rows from which on a leaning is one."""
NEARLY = 0.005
"""Settings that differ by less are the same to the digits that the paper prints."""


def raw_of(one: SolverAnswers) -> list[float]:
    """(3,) the settings of a solver's answer to the goal, as it gave them; NaN without one."""
    return list(one.goal.answer.raw.values()) if one.goal else [float("nan")] * len(INPUTS)


def doubt_of(said: Said | None) -> float | None:
    """The largest uncertainty of an answer; None where it is not known."""
    known = [value for value in (said.answer.uncertainty.values() if said else ()) if value is not None]
    return max(known, default=None)


def other_readings(found: Findings) -> str:
    """The pairs are not the paper's."""
    if found.pairs.state is None:
        return (
            "These readings are of another day than the paper's: the gains of the light and the light of the room "
            "are others, so the same settings are not to be expected."
        )
    if found.pairs.state != STATE:
        return (
            f"The twin's state {found.pairs.state} is another day than the paper's, with other gains and other "
            "light in the room, so the same settings are not to be expected."
        )
    return (
        f"The paper's readings are not public. The twin's state {STATE} was rebuilt from the numbers that the paper "
        "prints, so where answers agree they show that these methods do what the paper's do; they do not show that "
        "the twin is right."
    )


def through_origin(found: Findings) -> str:
    """The linear model has no intercept."""
    off = [a - b for a, b in zip(raw_of(found.paper[0]), raw_of(found.paper[1]), strict=True)]
    n = max(range(len(off)), key=lambda i: abs(off[i]))
    if abs(off[n]) < NEARLY:
        return (
            "The room gives little light here, so the plane through the origin answers nearly as partial least "
            "squares does; the paper's room gave more."
        )
    theirs = METHODS[0].answer[n] - METHODS[1].answer[n]
    return (
        f"The linear model has no intercept, so the light of the room has to go into its slopes: its {INPUTS[n]} is "
        f"{number(off[n])} away from that of partial least squares here, {number(theirs, 2)} in the paper."
    )


def trees(found: Findings) -> str:
    """ForestDiffusion answers in steps."""
    raw, lines = raw_of(found.paper[3]), raw_of(found.paper[1])
    theirs = largest(METHODS[3].answer, METHODS[1].answer)
    parity = found.parity["forest"]
    off = (parity.found - parity.known)[~parity.train]
    part = float(np.mean(off < 0))
    said = (
        f"ForestDiffusion is {number(largest(raw, lines))} away from partial least squares here, "
        f"{number(theirs, 2)} in the paper. Its trees answer in steps, with what belongs to one of the rows that "
        "they have seen"
    )
    if part >= MOSTLY:
        said += (
            ", and cut exactly at the values of rows, so that a reading between two rows is taken for the lower "
            f"one: of the settings drawn for test rows {part:.0%} are too low, by {number(-float(off.mean()))} on "
            "average"
        )
    said += "."
    if found.quick:
        small = ", ".join(f"{key} {value}" for key, value in QUICK.items())
        said += f" This forest is smaller than the paper's ({small}), and the worse for it."
    return said


def no_intercept(found: Findings) -> str:
    """What is left over below the parity plot of the linear model."""
    parity = found.parity["linear"]
    least = min(parity.columns, key=lambda name: parity.score(name, train=False).r2)
    return (
        "Without an intercept the light of the room becomes slope, most where it is large beside the response "
        f"(here {least}): what is left over runs across the whole range below the parity plot."
    )


def far_away(found: Findings) -> str:
    """Answers far outside the data."""
    parts = []
    for n, goal in enumerate(BEYOND):
        one = next(one for one in found.paper if one.key == goal.by)
        raw = list(one.beyond[n].answer.raw.values())
        parts.append(f"{number(largest(raw, goal.answer), 2)} ({one.name})")
    return (
        f"In the order of the tables ours are away from the paper's by at most {', '.join(parts)}. Lines carry the "
        "small differences of two days far out: a gain that differs by one per cent moves an answer of 4 by .04. "
        "Trees end in their outermost leaves, which are those of other rows here."
    )


def verdicts(found: Findings) -> str:
    """How often which verdict was given."""
    given = [said.answer.verdict for one in (*found.paper, *found.ours) for said in one.beyond]
    told = ", ".join(f"{kind} {given.count(kind)} times" for kind in dict.fromkeys(given))
    return f"Of the {len(given)} answers of every solver on this page to these goals the verdict is {told}."


def better(found: Findings) -> str:
    """How near our solvers come."""
    known = [(one.goal.miss, one.name) for one in found.ours if one.goal and one.goal.miss is not None]
    theirs = found.paper[3].goal.miss if found.paper[3].goal else None
    if known and theirs is not None:
        good = sum(miss <= WELL for miss, _ in known)
        most, farthest = max(known)
        return (
            f"{good} of {len(known)} miss the goal by at most {WELL:g} % without noise, most of all {farthest} with "
            f"{most:.2f} %. ForestDiffusion as in the paper has an error of {theirs:.2f} %; our default lets the "
            "trees learn only what straight lines leave over."
        )
    tested = [(float((one.rmse**2).mean() ** 0.5), one.name) for one in found.ours if one.rmse is not None]
    (least, near), (most, far) = min(tested), max(tested)
    return (
        f"On the test rows {near} is nearest, with {least:.4f} of full light (root mean square over R, G and B), "
        f"{far} farthest, with {most:.4f}. Nobody knows the settings that the goal really needs, so no miss can be "
        "told."
    )
