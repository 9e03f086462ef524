"""The instruments of a lab as plain values: what an agent must know to write a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdl import config
from sdl.drivers.base import constraints_of, off_settings


def describe_instrument(name: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Name, kind, identity, inputs, channels, constraints and safe settings of an instrument given as plain values."""
    instrument = config.parse_kind("instrument", dict(plain))
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
