"""Refuse replies that an LED and a light sensor cannot produce.

Each rule compares a reading with the previous ones or with its background, so that no model of the instrument is
needed. Readings with the light on and off may alternate, so each is compared with its own kind. The campaign decides
whether to retry.

    too dark    the light is on and no channel reads more than `FAINT`
    frozen      every channel repeats an earlier reply although the settings changed, or three replies are equal
    no light    the light is on and no channel reads more than its background
    darker      a channel reads less than its background: the ambient light changed between the two readings
"""

from __future__ import annotations

from sdl.drivers.checks import SAME
from sdl.errors import BadReply
from sdl.types import Reading, numbers

LIT = 0.05  # setting from which the light must be visible: the weakest colour gives some 1,400 counts there
FAINT = 50  # counts of the sensor itself in a dark room, with a margin; 14 were seen
MOVED = 0.01  # change of a setting that every reply must show: 290 counts of the weakest colour
# How far a channel may fall below its background, in counts and as a fraction: 999 of 1,000 pairs less than a second
# apart, day and night, differ by less.
FALL, FALL_PART = 250, 0.05
FEWEST = 3  # channels below saturation that a decision needs
FROZEN = "the sensor is frozen, or a cache between here and the instrument answers"


class Plausible:
    """Checks every reply of one instrument in turn.

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
        lit = any(reading.applied.values())
        equal = {on: last for on, last in self._last.items() if last.readings == reading.readings}
        moved = any(
            abs(v - numbers(last.applied)[name]) > MOVED
            for last in equal.values()
            for name, v in numbers(reading.applied).items()
        )
        times = self._times[lit] = self._times[lit] + 1 if lit in equal else 1
        self._last[lit] = reading
        brightest = max(reading.readings.values())
        if brightest <= FAINT and _is_lit(reading):
            raise BadReply(f"with the light on no channel reads more than {brightest:g}: the LED or the sensor is dead")
        if brightest <= FAINT or sum(count < self._full for count in reading.readings.values()) < FEWEST:
            return reading
        if moved:
            raise BadReply(f"every channel repeats an earlier reading, taken at other settings: {FROZEN}")
        if times >= SAME:
            light = "on" if lit else "off"
            raise BadReply(f"{times} readings in a row with the light {light} are the same in every channel: {FROZEN}")
        return reading

    def pair(self, reading: Reading) -> Reading:
        """Return a reading with a plausible background unchanged.

        Raises:
            BadReply: the light makes no difference, or the ambient light changed between the two.
        """
        dark = reading.background or {}
        more = {name: reading.readings[name] - dark[name] for name in dark if dark[name] < self._full}
        if len(more) < FEWEST:
            return reading
        if _is_lit(reading) and all(value <= FAINT + FALL_PART * dark[name] for name, value in more.items()):
            raise BadReply(
                "with the light on no channel reads more than with the light off: the LED is dead, or it is always on"
            )
        name = min(more, key=lambda name: more[name] + FALL_PART * dark[name])
        if more[name] < -FALL - FALL_PART * dark[name]:
            raise BadReply(
                f"{name} reads {reading.readings[name]:g} with the light on and {dark[name]:g} with the light off: "
                "the ambient light changed between the two"
            )
        return reading


def _is_lit(reading: Reading) -> bool:
    return any(value >= LIT for value in numbers(reading.applied).values())
