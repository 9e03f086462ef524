"""Campaigns of sdl as Bluesky plans: sdl is asked for settings and told the readings, Bluesky moves and reads.

The RunEngine emits the documents, with one event per reading. The record of the campaign is written beside them: a
plan that was stopped anywhere asks for the same settings when it is run again.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.protocols import Movable, Readable
from bluesky.utils import FailedStatus, Msg

import sdl
from sdl import OpenCampaign, Request, Result
from sdl.errors import ConfigError

STREAM = "primary"


def campaign_plan(
    campaign: Any,
    inputs: Mapping[str, Movable],
    detectors: Sequence[Readable],
    channels: Mapping[str, str],
    *,
    runs: str = "runs",
    md: Mapping[str, Any] | None = None,
) -> Generator[Msg, Any, Result]:
    """Run a campaign to its end as one Bluesky run.

    Args:
        campaign: a campaign file (`.yaml`), a run, or an open campaign; as for `sdl.open_campaign`.
        inputs: the device that sets each input of the campaign.
        detectors: the devices that are triggered and read.
        channels: the data key of each channel of the campaign, such as `{"515nm": "sensor-green"}`.
        runs: directory of the records.
        md: further metadata of the run.

    Returns:
        The result of the campaign.

    Raises:
        ConfigError: a device or a data key is missing.
    """
    opened = campaign if isinstance(campaign, OpenCampaign) else sdl.open_campaign(campaign, runs=runs)
    _require("inputs", [item.name for item in opened.config.instrument.inputs], inputs)
    _require("channels", [channel.name for channel in opened.told_channels], channels)
    asked = _Asked()
    devices = [*dict.fromkeys((*inputs.values(), *detectors))]
    known = {
        "plan_name": "campaign_plan",
        "detectors": [device.name for device in detectors],
        "motors": [device.name for device in inputs.values()],
        "sdl": {"campaign": opened.config.name, "run": opened.folder.name, "goal": _goal(opened)},
    }

    def whole() -> Generator[Msg, Any, Result]:
        yield from bps.open_run({**known, **(md or {})})
        while (request := opened.ask()) is not None:
            yield from _reading(opened, asked.set(request), inputs, [*devices, asked], channels)
        result = opened.result
        yield from bps.close_run(exit_status="success", reason=f"{result.outcome}: {result.reason}")
        return result

    return (yield from bpp.stage_wrapper(whole(), devices))


def _reading(
    opened: OpenCampaign,
    request: Request,
    inputs: Mapping[str, Movable],
    devices: Sequence[Any],
    channels: Mapping[str, str],
) -> Generator[Msg, Any, None]:
    """Set, trigger, read and tell; a device that fails ends the trial as failed."""
    try:
        yield from bps.mv(*(part for name, value in request.settings.items() for part in (inputs[name], value)))
        reading = yield from bps.trigger_and_read(devices, name=STREAM)
    except FailedStatus as error:
        opened.tell(request, failed=repr(error.__cause__ or error))
        return
    if missing := [key for key in channels.values() if key not in reading]:
        raise ConfigError(f"channels: no device reads {', '.join(missing)}; read are {', '.join(reading)}")
    readings = {name: float(reading[key]["value"]) for name, key in channels.items()}
    applied = {name: reading[device.name]["value"] for name, device in inputs.items() if device.name in reading}
    opened.tell(request, readings, applied=applied)


class _Asked:
    """The request as a device, so that each event says which trial it belongs to."""

    name = "sdl"
    parent = None

    def set(self, request: Request) -> Request:
        """Take the values of a request."""
        self._values = {"sdl_trial": request.trial, "sdl_repeat": request.repeat, "sdl_why": request.why}
        return request

    def read(self) -> dict[str, Any]:
        return {key: {"value": value, "timestamp": time.time()} for key, value in self._values.items()}

    def describe(self) -> dict[str, Any]:
        dtypes = {int: "integer", str: "string"}
        return {
            key: {"source": "sdl", "dtype": dtypes[type(value)], "shape": []} for key, value in self._values.items()
        }


def _goal(opened: OpenCampaign) -> dict[str, Any]:
    """The goal as plain values; empty without one."""
    goal = opened.config.goals()
    return {} if goal is None else {name: band.plain() for name, band in goal.bands.items()}


def _require(what: str, names: Sequence[str], given: Mapping[str, Any]) -> None:
    wrong = [f"{name} is missing" for name in names if name not in given]
    wrong += [f"{name} is unknown" for name in given if name not in names]
    if wrong:
        raise ConfigError(f"{what}: {', '.join(wrong)}; the campaign has {', '.join(names)}")
