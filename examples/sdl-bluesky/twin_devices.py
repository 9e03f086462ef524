"""Simulated devices of ophyd-async: an LED with three colours, and a sensor that reads the twin of the Claude-Light."""

from __future__ import annotations

import asyncio

from bluesky.protocols import Triggerable
from ophyd_async.core import AsyncStatus, StandardReadable, soft_signal_r_and_setter, soft_signal_rw

from sdl.clock import VirtualClock
from sdl.drivers.twin.config import Twin

CHANNELS = {"445nm": "blue", "515nm": "green", "630nm": "red"}


class Led(StandardReadable):
    """Three inputs from 0 to 1."""

    def __init__(self, name: str = "") -> None:
        with self.add_children_as_readables():
            self.red = soft_signal_rw(float)
            self.green = soft_signal_rw(float)
            self.blue = soft_signal_rw(float)
        super().__init__(name)


class Sensor(StandardReadable, Triggerable):
    """Counts of three channels, from the twin at the present settings of the LED."""

    def __init__(self, led: Led, name: str = "") -> None:
        self._inputs = (led.red, led.green, led.blue)  # in a tuple: a device as an attribute would become a part
        self._twin = Twin().open(VirtualClock())
        self._set = {}
        with self.add_children_as_readables():
            self.blue, self._set["blue"] = soft_signal_r_and_setter(float)
            self.green, self._set["green"] = soft_signal_r_and_setter(float)
            self.red, self._set["red"] = soft_signal_r_and_setter(float)
        super().__init__(name)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        values = await asyncio.gather(*(signal.get_value() for signal in self._inputs))
        reading = self._twin.measure(dict(zip("RGB", values, strict=True)))
        for channel, colour in CHANNELS.items():
            self._set[colour](reading.readings[channel])


def arguments(led: Led, sensor: Sensor) -> dict[str, object]:
    """The devices of `campaign.yaml`, as arguments of `campaign_plan`."""
    return {
        "inputs": {"R": led.red, "G": led.green, "B": led.blue},
        "detectors": [sensor],
        "channels": {channel: f"{sensor.name}-{colour}" for channel, colour in CHANNELS.items()},
    }
