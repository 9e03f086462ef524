"""Refuse replies that an LED and a light sensor cannot produce.

Each rule compares a reading with the last ones or with its background, so none needs a model of the instrument. Lit
readings are compared with lit ones and dark with dark, because the two may alternate. What fails here is no row for a
solver; whether it is tried again is the campaign's decision.

    too dark    the light is on and no channel reads more than `FAINT`
    frozen      every channel repeats an earlier reply, though the settings changed; or three replies are the same
    no light    the light is on and no channel reads more than its background
    darker      a channel reads less than its background: the room changed between the two readings
"""

from __future__ import annotations

from collections.abc import Mapping

from sdl.drivers.checks import SAME
from sdl.errors import BadReply
from sdl.types import Reading

LIT = 0.05
"""Setting from which on the light must be seen: the weakest colour gives some 1,400 counts there."""
FAINT = 50  # counts that the sensor shows by itself in a dark room, with a margin; 14 were seen
MOVED = 0.01  # change of a setting that no reply can hide: 290 counts of the weakest colour
FALL, FALL_PART = 250, 0.05
"""How far a channel may fall below its background, in counts and as a part of it: 999 of 1,000 pairs taken less than a
second apart, day and night, differ by less."""
FEWEST = 3  # channels below saturation that are needed to say anything


class Plausible:
    """Check every reply of one instrument in turn.

    Args:
        full_scale: reading of a saturated channel.
    """

    def __init__(self, full_scale: int) -> None:
        self._full = full_scale
        self._last: dict[bool, Reading] = {}  # the last reply with the light on, and the last with the light off
        self._times = {True: 0, False: 0}

    def reply(self, reading: Reading) -> Reading:
        """Return a plausible reply unchanged.

        Raises:
            BadReply: it is too dark, or the sensor repeats itself.
        """
        telling = [name for name, count in reading.readings.items() if count < self._full]
        lit = any(reading.applied.values())
        equal = {on: last for on, last in self._last.items() if last.readings == reading.readings}
        moved = any(_moved(reading.applied, last.applied) for last in equal.values())
        self._times[lit] = self._times[lit] + 1 if lit in equal else 1
        self._last[lit] = reading
        brightest = max(reading.readings.values())
        if brightest <= FAINT and self._lit(reading):
            raise BadReply(f"with the light on no channel reads more than {brightest:g}: the LED or the sensor is dead")
        if len(telling) < FEWEST or brightest <= FAINT:
            return reading
        if moved:
            raise BadReply(
                "every channel repeats an earlier reading, taken at other settings: the sensor is frozen, or a cache "
                "between here and the instrument answers"
            )
        if self._times[lit] >= SAME:
            raise BadReply(
                f"{self._times[lit]} readings in a row with the light {'on' if lit else 'off'} are the same in every "
                "channel: the sensor is frozen, or a cache between here and the instrument answers"
            )
        return reading

    def pair(self, reading: Reading) -> Reading:
        """Return a reading with a plausible background unchanged.

        Raises:
            BadReply: the light makes no difference, or the room changed between the two.
        """
        dark = reading.background
        if dark is None:
            return reading
        more = {name: reading.readings[name] - dark[name] for name in dark if dark[name] < self._full}
        if len(more) < FEWEST:
            return reading
        if self._lit(reading) and all(value <= FAINT + FALL_PART * dark[name] for name, value in more.items()):
            raise BadReply(
                "with the light on no channel reads more than with the light off: the LED is dead, or it is always on"
            )
        name = min(more, key=lambda name: more[name] + FALL_PART * dark[name])
        if more[name] < -FALL - FALL_PART * dark[name]:
            raise BadReply(
                f"{name} reads {reading.readings[name]:g} with the light on and {dark[name]:g} with the light off: "
                "the room changed between the two"
            )
        return reading

    @staticmethod
    def _lit(reading: Reading) -> bool:
        return any(value >= LIT for value in reading.applied.values())


def _moved(settings: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return any(abs(value - other[name]) > MOVED for name, value in settings.items())
