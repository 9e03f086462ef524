"""What a campaign will ask of its instrument, and what is odd about that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sdl.config.expect import why_untestable
from sdl.config.model import CampaignFile, ResolvedCampaign

MIN_HIT_RATE = 0.95
"""How often perfect settings should hit."""
MAX_AVERAGE = 1001
"""Readings that are averaged are fewer."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a campaign asks of its instrument at most; the solver's own time is left out.

    Attributes:
        trials: design points included.
        readings: where each succeeds at the first try.
        seconds: of these, at the instrument's usual pace.
        tries: readings where each succeeds at its last try only.
        longest: seconds of these: every failure takes the instrument's whole time-out, every wait is waited.
    """

    trials: int
    readings: int
    seconds: float
    tries: int
    longest: float


def cost(campaign: CampaignFile) -> Cost:
    """The most that a campaign can ask of its instrument; `stop.minutes` cuts it short."""
    trials, retry, instrument = campaign.stop.trials, campaign.retry, campaign.instrument
    confirming = campaign.average * campaign.confirm if campaign.goal else 0
    readings = trials * (campaign.average + confirming)
    usual = instrument.reading_seconds
    timeout = max(float(getattr(instrument, "timeout_seconds", usual)), usual)
    waits = sum(min(retry.wait * 2**n, retry.longest) for n in range(retry.times))
    most = campaign.stop.minutes * 60 if campaign.stop.minutes is not None and campaign.goal else float("inf")
    return Cost(
        trials,
        readings,
        min(readings * usual, most),
        readings * (1 + retry.times),
        min(readings * (usual + retry.times * timeout + waits), most),
    )


def design_points(campaign: ResolvedCampaign) -> int:
    """How many points of the design are measured before the solver is asked first.

    All of them, unless the solver has a method `needs(inputs) -> int | None` that gives another number: 0 for one that
    knows its instrument beforehand, more where fewer rows tell it nothing. None is the whole design.
    """
    inputs = campaign.instrument.inputs
    needs = getattr(campaign.solver, "needs", None)
    wanted: int | None = needs(inputs) if needs is not None else None
    return campaign.design.size(inputs) if wanted is None else wanted


def cautions(campaign: CampaignFile) -> list[str]:
    """What is valid but hardly meant, a sentence each."""
    found = [f"expect: {why}"] if (why := why_untestable(campaign)) else []
    if not campaign.goal:
        return found
    first, trials, solver = design_points(campaign), campaign.stop.trials, campaign.solver.kind
    if trials <= first and not campaign.prior:
        found.append(
            f"stop.trials: {trials} leaves no trial for the solver {solver}: the design {campaign.design.kind} takes "
            f"{first}; give {first + 1} or more"
        )
    if first == 0 and campaign.design.kind != "axis":  # the default; nobody may have asked for it
        found.append(f"design: not used, because the solver {solver} answers from the first trial on")
    return found + _narrow(campaign)


def _narrow(campaign: CampaignFile) -> list[str]:
    """A tolerance that perfect settings would often miss, where the instrument knows its noise (`reading_noise`)."""
    noise, goal = getattr(campaign.instrument, "reading_noise", None), campaign.goals()
    if noise is None or goal is None:
        return []
    widths = [
        (min(band.high - band.target, band.target - band.low), noise(name, band.target))
        for name, band in goal.bands.items()
        if band.target is not None
    ]

    def passes(readings: int) -> float:
        return math.prod(math.erf(room / sd * math.sqrt(readings / 2)) for room, sd in widths if sd > 0)

    if passes(campaign.average) >= MIN_HIT_RATE:
        return []
    enough = next((n for n in range(campaign.average, MAX_AVERAGE) if passes(n) >= MIN_HIT_RATE), None)
    many = f"average: {enough} would do" if enough else "no number of readings would do"
    return [
        f"tolerance: perfect settings would hit in only {passes(campaign.average):.0%} of trials, because readings are "
        f"noisy; {many}, or a wider tolerance"
    ]
