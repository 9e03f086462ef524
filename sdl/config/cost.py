"""Upper bounds of the trials, readings and time of a campaign, and cautions about valid but doubtful settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sdl.config.expect import why_untestable
from sdl.config.model import CampaignFile, ResolvedCampaign
from sdl.core.trials import MANY_READINGS
from sdl.drivers.base import constraints_of, off_settings

MIN_HIT_RATE = 0.95
"""Fraction of trials at the best settings that should lie within tolerance; fewer give a caution."""
MAX_AVERAGE = 1001  # exclusive upper limit of the suggested `average`


@dataclass(frozen=True, slots=True)
class Cost:
    """Upper bounds of trials, readings, time and price of a campaign, without computing time.

    Attributes:
        trials: design points included.
        readings: if each succeeds at the first attempt.
        seconds: duration of these readings at the instrument's usual pace.
        tries: attempts, if each reading succeeds only at its last one.
        longest: seconds for these attempts, with a full time-out and wait for every failure.
        price: price of these readings, each with the inputs at their most expensive; None if nothing has a price.
    """

    trials: int
    readings: int
    seconds: float
    tries: int
    longest: float
    price: float | None = None


def cost(campaign: CampaignFile) -> Cost:
    """The upper bound for a campaign; `stop.minutes` and `stop.cost` limit it."""
    trials, retry, instrument = campaign.stop.trials, campaign.retry, campaign.instrument
    confirming = campaign.average * campaign.confirm if campaign.goal else 0
    readings = trials * (campaign.average + confirming)
    if (goal := campaign.goals()) is not None and goal.objective is not None:  # a trial confirms, or it does not
        readings = trials * max(campaign.average, confirming)
    usual = instrument.reading_seconds
    timeout = max(float(getattr(instrument, "timeout_seconds", usual)), usual)
    waits = sum(min(retry.wait * 2**n, retry.longest) for n in range(retry.times))
    limit = campaign.stop.minutes * 60 if campaign.stop.minutes is not None and campaign.goal else float("inf")
    return Cost(
        trials,
        readings,
        min(readings * usual, limit),
        readings * (1 + retry.times),
        min(readings * (usual + retry.times * timeout + waits), limit),
        _price(campaign, trials, readings),
    )


def _price(campaign: CampaignFile, trials: int, readings: int) -> float | None:
    """The largest price. `stop.cost` limits it, but the price of the last reading's settings may exceed that limit."""
    prices = campaign.prices
    if prices is None:
        return None
    most = prices.of_reading({i.name: max(abs(i.low), abs(i.high)) for i in campaign.free_inputs if i.numeric})
    price = trials * prices.trial + readings * most
    if campaign.stop.cost is None:
        return price
    return min(price, max(campaign.stop.cost, prices.trial + prices.reading) + most - prices.reading)


def design_points(campaign: ResolvedCampaign) -> int:
    """Number of design points that are measured before the solver is asked for the first time.

    All of them, unless the solver has a method `needs(inputs) -> int | None` that returns another number: 0 for a
    solver that knows its instrument beforehand, more for one that needs more rows. None means the whole design.
    """
    inputs = campaign.free_inputs
    needs = getattr(campaign.solver, "needs", None)
    wanted: int | None = needs(inputs) if needs is not None else None
    return campaign.planned_points() if wanted is None else wanted


def cautions(campaign: CampaignFile) -> list[str]:
    """Sentences about settings that are valid but probably not intended."""
    sentences = [f"expect: {why}"] if (why := why_untestable(campaign)) else []
    off = off_settings(campaign.instrument)
    sentences += [
        f"off: {', '.join(f'{name} = {off[name]}' for name in one.coefficients)} breaks the constraint {one}"
        for one in constraints_of(campaign.instrument)
        if not one.holds(off)
    ]
    if not campaign.goal:
        return sentences
    first, trials, solver = design_points(campaign), campaign.stop.trials, campaign.solver.kind
    if trials <= first and not campaign.prior:
        sentences.append(
            f"stop.trials: {trials} leaves no trial for the solver {solver}: the design {campaign.design.kind} takes "
            f"{first}; give {first + 1} or more"
        )
    goal = campaign.goals()
    if goal is not None and goal.objective is not None and campaign.stop.improvement is None:
        sentences.append(
            f"stop.improvement: not given, so that all {trials} trials are used; with 1% it is done when less than 1 % "
            "more is to be expected"
        )
    if first == 0 and campaign.design.kind != "axis":  # the default, perhaps not a choice
        sentences.append(f"design: not used, because the solver {solver} answers from the first trial on")
    return sentences + _unresolved(campaign) + _narrow(campaign)


def _unresolved(campaign: CampaignFile) -> list[str]:
    """Cautions about tolerances narrower than half a step of the readings, which a mean meets by chance alone."""
    goal, steps = campaign.goals(), {one.name: one.resolution for one in campaign.instrument.channels}
    return [
        f"goal.{name}: the tolerance is narrower than half the resolution of the channel ({step:g}); widen it"
        for name, band in (goal.bands if goal is not None else {}).items()
        if band.target is not None
        and (step := steps.get(name)) is not None
        and min(band.high - band.target, band.target - band.low) < 0.499 * step
    ]


def _narrow(campaign: CampaignFile) -> list[str]:
    """Cautions about a tolerance that noise alone often exceeds; only for instruments with `reading_noise`."""
    noise, goal = getattr(campaign.instrument, "reading_noise", None), campaign.goals()
    if noise is None or goal is None:
        return []
    widths = [
        (min(band.high - band.target, band.target - band.low), noise(name, band.target))
        for name, band in goal.bands.items()
        if band.target is not None
    ]

    def passes(readings: int) -> float:
        return math.prod(math.erf(width / sd * math.sqrt(readings / 2)) for width, sd in widths if sd > 0)

    share = passes(campaign.average)
    if share >= MIN_HIT_RATE:
        return []
    enough = next((n for n in range(campaign.average, MAX_AVERAGE) if passes(n) >= MIN_HIT_RATE), None)
    remedy = f"average {enough} readings per trial, or" if enough else "averaging is not enough;"
    if enough is not None and enough > max(campaign.stop.trials * campaign.average, MANY_READINGS):
        remedy = f"averaging alone would need {enough} readings per trial;"
    return [
        f"tolerance: even at the best settings only {100 * share:.0f} % of trials would lie within it, "
        f"because readings are noisy; {remedy} widen the tolerance"
    ]
