"""Shared code for instruments of LEDs and a light sensor: whole counts, and the proof by a reply that the lamp is off.

A reply proves that the lamp is off if it says that all inputs are at zero, and its readings do not show the lamp's
spectrum. Brightness is no criterion, because daylight changes readings by thousands of counts.

To test for the lamp's spectrum, the readings above the darkest background so far are fitted with a sum of the lamp's
spectra with coefficients of at least 0. The spectra are the readings above background of this campaign, and the gains
of the twin, because a lamp that was seen at one setting only may be stuck in another colour. The criterion is the
fraction of the light that the fit leaves unexplained:

    ambient light (daylight, office lamps, both; with and without `clear` and `nir`)    0.41 to 0.70
    the lamp, with ambient light not subtracted                                         0.06 (median of 418 readings)
    the same, dimmest 1 % of readings                                                   0.32

The limit is 0.25. Without a background, the lamp also counts as on if a reply repeats the last reading with the lamp on
within its noise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sdl.drivers.base import OpenDriver
from sdl.errors import BadReply, InstrumentError
from sdl.types import Channel, Input, Power, Reading, SafeState, Settings, is_number, numbers

FULL_SCALE = 65535  # counts
SEEN = 500  # counts; 999 of 1,000 pairs of readings less than a second apart differ by less, day and night
UNEXPLAINED = 0.25  # largest fraction of the light above background that the lamp's spectra may leave unexplained
LIT = 0.05  # fraction of an input's range above which the lamp is certainly on
NOISE, FAINT = 0.05, 50  # scatter of readings with the lamp on: as a fraction, and in counts
FEWEST = 3  # channels below full scale that a decision needs
KEPT = 30  # remembered readings with the lamp on

UNTOUCHED = SafeState(Power.NOT_NEEDED, None, "nothing was requested over this connection")
TOUCHED = SafeState(Power.UNKNOWN, None, "a reading was requested since")
CLOSED = SafeState(Power.UNKNOWN, None, "the connection was closed before an answer said that the light is off")


def is_count(value: object, highest: int = FULL_SCALE) -> bool:
    """Whether a value of a reply is a whole number from 0 to `highest`; JSON also writes one as 12.0."""
    return is_number(value) and 0 <= value <= highest and not value % 1


def counts(values: Mapping[str, Any], names: Sequence[str], what: str = "") -> dict[str, float]:
    """The counts of the channels `names` in a reply.

    Raises:
        BadReply: a channel is missing or not a count; `what` precedes the message.
    """
    for name in names:
        if name not in values:
            raise BadReply(f"{what}channel {name} is missing")
        if not is_count(values[name]):
            value = str(values[name])[:40]
            raise BadReply(f"{what}channel {name} = {value!r} is not a whole number from 0 to {FULL_SCALE}")
    return {name: int(values[name]) for name in names}


class Lamp:
    """Observes every reading of one instrument, and judges the reply to a request to switch off.

    Args:
        inputs: all of them set a brightness and are off at their low end.
        channels: all channels, with the upper ends of their ranges.
        twin: state of the twin that has the lamp's spectra.
    """

    def __init__(self, inputs: Sequence[Input], channels: Sequence[Channel], twin: str) -> None:
        self._inputs, self._twin = inputs, twin
        self._full = {item.name: item.high or float("inf") for item in channels}
        self._darkest: dict[str, float] = {}
        self._seen: deque[dict[str, float]] = deque(maxlen=KEPT)
        self._last: Mapping[str, float] | None = None

    def observe(self, reading: Reading) -> Reading:
        """Remember a reading, and return it unchanged."""
        dark = reading.background
        if dark is not None:
            self._darkest = {name: min(value, self._darkest.get(name, value)) for name, value in dark.items()}
            net = {name: v - dark[name] for name, v in reading.readings.items() if v < self._full[name]}
            if not self._off(reading.applied) and len(net) >= FEWEST and max(net.values()) >= SEEN:
                self._seen.append(net)
        applied = numbers(reading.applied)
        if any(applied[item.name] >= item.low + LIT * (item.high - item.low) for item in self._inputs):
            self._last = reading.readings
        return reading

    def judge(self, reply: Reading) -> SafeState:
        """Decide from the reply to a request to switch off whether the lamp is off."""
        applied = ", ".join(f"{name} = {value:g}" for name, value in numbers(reply.applied).items())
        if not self._off(reply.applied):
            return SafeState(Power.ON, reply.applied, f"told to switch off, it says that it applied {applied}")
        telling = [name for name, value in reply.readings.items() if value < self._full[name]]
        if len(telling) < FEWEST:
            why = f"it says that it applied {applied}, but its channels read full scale, so its light cannot be judged"
            return SafeState(Power.UNKNOWN, reply.applied, why)
        twin = self._twin_spectra()
        darkest = {} if self._is_lamp(self._darkest, twin) else self._darkest  # it may have been on from the start
        rise = {name: reply.readings[name] - darkest.get(name, 0.0) for name in telling}
        if not self._is_lamp(rise, [*self._seen, *twin]) and not self._repeats(reply.readings, telling):
            return SafeState(Power.OFF, reply.applied)
        brightest = max(rise, key=lambda name: rise[name])
        seen = f"{brightest} reads {reply.readings[brightest]:g}"
        seen += f", and {darkest[brightest]:g} was seen with the light off" if brightest in darkest else ""
        why = f"it says that it applied {applied}, but its readings are those of the lit lamp: {seen}"
        return SafeState(Power.ON, reply.applied, why)

    def _off(self, applied: Settings) -> bool:
        return all(applied[item.name] == item.low for item in self._inputs)

    def _is_lamp(self, light: Mapping[str, float], spectra: Sequence[Mapping[str, float]]) -> bool:
        """Whether these spectra explain most of the light."""
        names = [name for name in light if all(name in spectrum for spectrum in spectra)]
        if len(names) < FEWEST:
            spectra, names = self._twin_spectra(), list(light)
        if not names or max(light.values()) < SEEN:
            return False
        import numpy as np  # here, since `sdl validate` loads this module
        from scipy.optimize import nnls

        seen = np.array([light[name] for name in names])
        _, residual = nnls(np.array([[spectrum[name] for spectrum in spectra] for name in names]), seen)
        return bool(residual < UNEXPLAINED * np.linalg.norm(seen))

    def _repeats(self, readings: Mapping[str, float], telling: Sequence[str]) -> bool:
        """Whether the readings repeat the last ones with the lamp on; False once a background was seen."""
        last = self._last
        if last is None or self._darkest or max(last.values()) < SEEN:
            return False
        return all(abs(readings[name] - last[name]) <= NOISE * last[name] + FAINT for name in telling)

    def _twin_spectra(self) -> list[dict[str, float]]:
        from sdl.twin.led.state import load

        channels = load(self._twin).channels
        return [{name: channels[name].gain[item.name] for name in channels} for item in self._inputs]


class LampDriver(OpenDriver):
    """Base of drivers of such instruments: it knows whether a request may have left the lamp on."""

    def __init__(self, lamp: Lamp) -> None:
        self._lamp, self._known = lamp, UNTOUCHED

    def request(self, ask: Callable[[], Reading]) -> Reading:
        """Return the reading of one request, after which the lamp may be on."""
        self.require_open()
        before, self._known = self._known, TOUCHED
        try:
            return ask()
        except InstrumentError as error:
            self._known = TOUCHED if error.maybe_measured else before
            raise

    def dark_reading(self) -> Reading:
        """Request one reading with the lamp off, regardless of rate limits."""
        raise NotImplementedError  # each instrument has its own request

    def safe(self) -> SafeState:
        """Request a dark reading unless the lamp is known to be off; return what the reply proves.

        Raises:
            InstrumentError: there is no usable reply.
        """
        if not self._known.proven and self.closed:
            return CLOSED
        if not self._known.proven:
            self._known = self._lamp.judge(self.dark_reading())
        return self._known
