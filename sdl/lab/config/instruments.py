"""The instruments of a lab: from their plain values, and what an agent must know of them to write a campaign."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sdl import config
from sdl.drivers.base import Instrument, constraints_of, off_settings


def instrument_of(plain: Mapping[str, Any]) -> Instrument:
    """The instrument that plain values describe."""
    return _parsed(json.dumps(plain, sort_keys=True))


@lru_cache(maxsize=256)
def _parsed(text: str) -> Instrument:
    instrument: Instrument = config.parse_kind("instrument", json.loads(text))
    return instrument


def describe_instrument(name: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Name, kind, identity, inputs, channels, constraints and safe settings of an instrument given as plain values."""
    instrument = instrument_of(plain)
    prices = getattr(instrument, "cost", None)
    return {
        "name": name,
        "kind": instrument.kind,
        "identity": instrument.identity,
        "simulated": instrument.simulated,
        "inputs": [one.model_dump(mode="json", exclude_none=True) for one in instrument.inputs],
        "channels": [one.model_dump(mode="json", exclude_none=True) for one in instrument.channels],
        "constraints": [str(one) for one in constraints_of(instrument)],
        "off": off_settings(instrument),
        "cost": None if prices is None or prices.free else prices.model_dump(mode="json"),
        "reading_seconds": instrument.reading_seconds,
    }
