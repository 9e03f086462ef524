"""The campaign file: its schema, and `load`, which finds every mistake at once and says where it is.

    model     what a campaign file may say: a tree of frozen models
    reading   load and parse: a file, or a mapping, becomes that model
    expect    what a campaign should come to, for tests
    goals     what is to be reached: a target or limits for each of some channels
    changes   `--set a.b=value`
    mistakes  what pydantic finds, in words that help
    across    what no single key can know, such as a goal on a channel that the instrument lacks
    cost      what a campaign will ask of its instrument
    schema    the JSON Schema, for editors

Whatever has a `kind` is looked up in the registry before it is validated, so that only the named one is imported and a
mistyped kind lists the allowed ones. Nothing here touches the instrument.
"""

from sdl.config.cost import Cost, cautions, cost, design_points
from sdl.config.expect import Expect, instrument_tested_on, seeds_of, why_untestable
from sdl.config.goals import Prefer, Target
from sdl.config.load_file import load, parse, parse_kind, restore
from sdl.config.model import CHANGEABLE, GROUPS, KEYS, CampaignFile, CampaignRules, Prior, ResolvedCampaign, Retry
from sdl.config.overrides import override, put, split
from sdl.config.schema import schema

__all__ = [
    "CHANGEABLE",
    "GROUPS",
    "KEYS",
    "CampaignFile",
    "CampaignRules",
    "Cost",
    "Expect",
    "Prefer",
    "Prior",
    "ResolvedCampaign",
    "Retry",
    "Target",
    "cautions",
    "cost",
    "design_points",
    "instrument_tested_on",
    "load",
    "override",
    "parse",
    "parse_kind",
    "put",
    "restore",
    "schema",
    "seeds_of",
    "split",
    "why_untestable",
]
