"""The campaign file: its schema, and `load`, which reports every mistake at once with its line.

    model            the campaign as frozen models: CampaignFile (a file), ResolvedCampaign (what a run needs of it)
    load_file        load, parse and restore: from a file, plain values or a record to those models
    goals            the goal: a target with a tolerance, or limits, for each of some channels
    inputs           inputs that the campaign fixes or narrows
    units            units in goals and tolerances: `3 mS/cm`
    instrument_file  an instrument in a file of its own
    on_twin          the campaign on the twin of its instrument
    expect           the expected result of a campaign, for tests
    overrides        `--set a.b=value`
    mistakes         pydantic's errors as messages that say what would be right
    cross_checks     mistakes that involve several keys, such as a goal on a channel that the instrument lacks
    cost             upper bounds of the trials, readings and time of a campaign, and cautions
    schema           the JSON Schema, for editors

Anything with a `kind` is looked up in the registry before it is validated, so that only the named class is imported and
a mistyped kind lists the allowed ones. Nothing here touches the instrument.
"""

from sdl.config.cost import cautions, cost, design_points
from sdl.config.expect import Expect, instrument_tested_on, seeds_of, why_untestable
from sdl.config.goals import Prefer, Target
from sdl.config.load_file import load, parse, parse_kind, restore
from sdl.config.model import CHANGEABLE, GROUPS, KEYS, CampaignFile, CampaignRules, ResolvedCampaign, prices_of
from sdl.config.on_twin import on_twin
from sdl.config.overrides import override, put, split
from sdl.config.schema import schema

__all__ = [
    "CHANGEABLE", "GROUPS", "KEYS", "CampaignFile", "CampaignRules", "Expect", "Prefer",
    "ResolvedCampaign", "Target", "cautions", "cost", "design_points", "instrument_tested_on", "load",
    "on_twin", "override", "parse", "parse_kind", "prices_of", "put", "restore", "schema", "seeds_of", "split",
    "why_untestable",
]  # fmt: skip
