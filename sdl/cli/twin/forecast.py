"""The command `sdl forecast`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from sdl import config
from sdl.cli.options import RUNS, CampaignPath, Json, Runs, Set, emit, option
from sdl.cli.terminal import say

MOST_FOLDERS = 200  # runs that are searched for those of the instrument: the newest


def forecast(
    file: CampaignPath,
    changes: Set = None,
    campaigns: Annotated[int, option("--campaigns -n", "Number of simulated campaigns.", min=1, max=1000)] = 5,
    seconds: Annotated[float, option("--seconds", "Time after which no further one begins.", min=1, max=86400)] = 30,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Simulate a campaign: how many trials will it take?

    \b
    sdl forecast my.yaml
    sdl forecast my.yaml --set tolerance=0.5% -n 20

    It runs on the twin of the instrument; where it has none, on one that is fitted to its latest runs. Nothing is
    measured or recorded.
    """
    from sdl.runner.forecast import earlier_runs
    from sdl.runner.forecast import forecast as forecast_campaign
    from sdl.store.resolve import folders

    campaign = config.load(file, changes or (), runs=runs)
    newest = folders(runs)[: -MOST_FOLDERS - 1 : -1]
    sources = [] if campaign.instrument.simulated else earlier_runs(newest, campaign.instrument.identity)
    found = forecast_campaign(campaign, campaigns=campaigns, seconds=seconds, sources=sources)
    if json:
        emit({**asdict(found), "good": found.good, "text": found.text()})
    else:
        say(found.text())
