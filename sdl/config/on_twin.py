"""A campaign with its instrument replaced by the twin of that instrument."""

from __future__ import annotations

from sdl import registry
from sdl.config.model import CampaignFile
from sdl.errors import ConfigError, Problem


def on_twin(campaign: CampaignFile) -> CampaignFile:
    """The campaign on the twin that its instrument names; on a simulated instrument it stays as it is.

    Raises:
        ConfigError: the kind of the instrument has no twin, or the instrument names no twin that fits it.
    """
    instrument = campaign.instrument
    if instrument.simulated and instrument.virtual:
        return campaign
    if not hasattr(instrument, "simulation"):
        message = f"{instrument.kind} has no twin to run on; allowed: {', '.join(kinds_with_twin())}"
        raise ConfigError(Problem(message, "instrument.kind"))
    return campaign.model_copy(update={"instrument": instrument.simulation(None, campaign.seed)})


def kinds_with_twin() -> list[str]:
    """The kinds of instruments of ours that have a twin."""
    return [kind for kind in registry.OURS["drivers"] if hasattr(registry.find("drivers", kind), "simulation")]
