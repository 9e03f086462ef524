"""Whether a lamp is off: the reply must say so, and its readings must not show the lamp's spectrum.

How bright a reply is does not tell: daylight moves readings by thousands of counts. Its colours do. What a reply reads
above the darkest background seen is fitted with the spectra of the lamp, none of them taken away: as the lamp was
seen in this campaign (readings less their own background), and as the twin has it, since a lamp that was seen at one
setting only may be stuck in another colour. Room light
leaves .41 to .70 of itself unexplained (daylight, office lamps and both, with and without `clear` and `nir`), light of
the lamp .06 (median of 418 readings, the room's light not even taken away; .32 for the dimmest 1 %), so the line is
drawn at a quarter. Where no background was seen and the twin does not know the lamp, a reply that repeats the last
reading with the lamp on, within its noise, is the lamp's too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from sdl.types import Channel, Input, Power, Reading, SafeState

SEEN = 500
"""Counts; 999 of 1,000 pairs of readings less than a second apart differ by less, day and night."""
UNEXPLAINED = 0.25
"""Part of what is read above the background that the lamp may leave unexplained and still be what is seen."""
LIT, NOISE, FAINT = 0.05, 0.05, 50
"""Part of an input's range from which on the lamp is on for certain; how far its readings scatter there: a part, and
counts."""
FEWEST = 3  # channels below the end of their range that are needed to say anything
KEPT = 30  # readings with the lamp on that are remembered

UNTOUCHED = SafeState(Power.NOT_NEEDED, None, "nothing was asked of it over this connection")
TOUCHED = SafeState(Power.UNKNOWN, None, "something was asked of it since")


class Lamp:
    """Observe every reading of one instrument, and judge the reply to a request to switch off.

    Args:
        inputs: all of them are brightness, off at their low end.
        channels: with their high ends.
        twin: the state of the twin whose spectra are meant.
    """

    def __init__(self, inputs: Sequence[Input], channels: Sequence[Channel], twin: str) -> None:
        self._inputs = inputs
        self._full = {item.name: item.high or float("inf") for item in channels}
        self._twin = twin
        self._darkest: dict[str, float] = {}
        self._seen: deque[dict[str, float]] = deque(maxlen=KEPT)
        self._last: Mapping[str, float] | None = None

    def observe(self, reading: Reading) -> Reading:
        """Remember a reading, and return it unchanged."""
        off, dark = self._off(reading.applied), reading.background
        if dark is not None:
            self._darkest = {name: min(value, self._darkest.get(name, value)) for name, value in dark.items()}
        if not off and dark is not None:
            net = {name: v - dark[name] for name, v in reading.readings.items() if v < self._full[name]}
            if len(net) >= FEWEST and max(net.values()) >= SEEN:
                self._seen.append(net)
        bright = any(reading.applied[item.name] >= item.low + LIT * (item.high - item.low) for item in self._inputs)
        self._last = reading.readings if bright else self._last
        return reading

    def judge(self, reply: Reading) -> SafeState:
        """Decide from the reply to a request to switch off whether the lamp is off."""
        applied = ", ".join(f"{name} = {value:g}" for name, value in reply.applied.items())
        if not self._off(reply.applied):
            return SafeState(Power.ON, reply.applied, f"asked to be off, it says that it applied {applied}")
        telling = [name for name, value in reply.readings.items() if value < self._full[name]]
        if len(telling) < FEWEST:
            why = f"it says that it applied {applied}, but its channels read full scale, so its light cannot be judged"
            return SafeState(Power.UNKNOWN, reply.applied, why)
        darkest = self._darkest if not self._is_lamp(self._darkest, self._twins()) else {}  # it was on from the first
        rise = {name: reply.readings[name] - darkest.get(name, 0.0) for name in telling}
        brightest = max(rise, key=lambda name: rise[name])
        if self._is_lamp(rise, [*self._seen, *self._twins()]) or self._repeats(reply.readings, telling):
            dark = darkest.get(brightest)
            than = f", and {dark:g} was seen with the light off" if dark is not None else ""
            why = (
                f"it says that it applied {applied}, but its readings are those of the lit lamp: {brightest} reads "
                f"{reply.readings[brightest]:g}{than}"
            )
            return SafeState(Power.ON, reply.applied, why)
        return SafeState(Power.OFF, reply.applied)

    def _off(self, applied: Mapping[str, float]) -> bool:
        return all(applied[item.name] == item.low for item in self._inputs)

    def _is_lamp(self, light: Mapping[str, float], spectra: Sequence[Mapping[str, float]]) -> bool:
        """Whether these spectra explain most of the light."""
        names = [name for name in light if all(name in spectrum for spectrum in spectra)]
        if len(names) < FEWEST:
            spectra, names = self._twins(), list(light)
        if not names or max(light.values()) < SEEN:
            return False
        import numpy as np
        from scipy.optimize import nnls

        seen = np.array([light[name] for name in names])
        _, residual = nnls(np.array([[spectrum[name] for spectrum in spectra] for name in names]), seen)
        return bool(residual < UNEXPLAINED * np.linalg.norm(seen))

    def _repeats(self, readings: Mapping[str, float], telling: Sequence[str]) -> bool:
        """Whether the readings repeat the last ones with the lamp on; False once a background was seen."""
        last = self._last
        if last is None or self._darkest:
            return False
        return max(last.values()) >= SEEN and all(
            abs(readings[name] - last[name]) <= NOISE * last[name] + FAINT for name in telling
        )

    def _twins(self) -> list[dict[str, float]]:
        from sdl.twin.state import load

        channels = load(self._twin).channels
        return [{name: channels[name].gain[item.name] for name in channels} for item in self._inputs]
