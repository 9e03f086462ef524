"""What a campaign has cost, and the rule that ends it there."""

from __future__ import annotations

from core_kit import SETTINGS, failed, measured, new_campaign, opened, play, proposed

from sdl.core.prices import Prices
from sdl.core.stopping import CostLimit
from sdl.types import Outcome

PRICES = Prices(reading=2, trial=1, per={"R": 0.5, "G": 4})  # at SETTINGS a reading costs 2 + 0.25 + 1


def test_the_price_of_a_reading_counts_what_it_uses():
    assert PRICES.of_reading(SETTINGS) == 3.25
    assert PRICES.of_reading({"R": -1, "solvent": "water"}) == 2.5
    assert Prices(reading=1, per={"solvent": 2}).of_reading({"solvent": "water"}) == 1
    assert Prices(per={"R": 0.0}).free
    assert not PRICES.free


def test_fixed_inputs_are_part_of_the_price_of_every_reading():
    fixed = PRICES.with_fixed({"G": 0.25})
    assert (fixed.reading, fixed.trial, fixed.per) == (3.0, 1.0, {"R": 0.5})
    assert fixed.of_reading(SETTINGS) == PRICES.of_reading(SETTINGS)


def test_trials_readings_and_what_may_have_been_a_reading_cost():
    campaign = new_campaign(prices=PRICES)
    play(campaign, opened(), proposed())
    assert campaign.history.cost == 1
    play(campaign, failed(retryable=True, maybe_measured=False))
    assert campaign.history.cost == 1
    play(campaign, failed(attempt=1, retryable=True, maybe_measured=True))
    assert campaign.history.cost == 1 + 3.25
    play(campaign, measured(attempt=2, applied={"R": 1.0, "G": 0.25}))
    assert campaign.history.cost == 1 + 3.25 + 3.5


def test_the_rule_ends_a_campaign_whose_cost_is_reached():
    campaign = new_campaign(prices=PRICES, rules=(CostLimit(limit=7.5),))
    play(campaign, opened(), proposed(), measured())
    assert campaign.stop is None
    play(campaign, measured(repeat=1))
    assert campaign.stop is not None
    assert (campaign.stop.outcome, campaign.stop.by) == (Outcome.SPENT, "cost")
    assert campaign.stop.reason.startswith("cost 7.5 of 7.5 spent")


def test_no_reading_is_begun_that_is_certain_to_exceed_the_limit():
    campaign = new_campaign(prices=PRICES, rules=(CostLimit(limit=7.4),))
    play(campaign, opened(), proposed(), measured())
    assert campaign.stop is not None
    assert campaign.stop.reason.startswith("cost 4.25 of 7.4 spent, and the next reading costs 3.25 or more")
