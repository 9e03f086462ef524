"""An open twin: the time that a reading takes and the faults of the instrument, with the outcomes of a real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from sdl.clock import Clock
from sdl.drivers.base import Instrument, OpenDriver, constraints_of, off_settings
from sdl.drivers.baseline import Background, BaselineSampler
from sdl.drivers.checks import checked
from sdl.errors import BadReply, Busy, Rejected, Unreachable
from sdl.twin.faults import BUSY_LIMIT, CLIENT_TIMEOUT, Fault, due, spoil
from sdl.twin.led.ambient import Sky
from sdl.twin.led.model import Plant
from sdl.twin.simulation import Simulation
from sdl.types import Power, Reading, SafeState, Settings, Value

if TYPE_CHECKING:
    from sdl.drivers.twin.config import Twin

# Seconds: two readings never share a microsecond, because the noise is a function of the time.
SHORTEST = 1e-6
CONNECT = 0.05  # seconds until a connection is refused or breaks


def plant_of(twin: Twin) -> Plant:
    """The physics of a configured twin."""
    seed = twin.seed or 0
    return Plant(twin.condition, seed, Sky(twin.room, seed) if twin.room else None, twin.drift, twin.noise)


class SimulatedInstrument(Instrument, Protocol):
    """The parts of a configured twin that the driver uses."""

    @property
    def faults(self) -> tuple[Fault, ...]: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def background(self) -> Background: ...
    @property
    def start_time(self) -> float: ...
    def latency_at(self, now: float) -> float:
        """Duration in seconds of a reading that begins at a given time."""
        ...


class TwinDriver(OpenDriver):
    """An open twin.

    Args:
        twin: its options.
        simulation: the instrument that it simulates.
        clock: clock on which a reading takes time.

    Attributes:
        plant: the physics, for evaluating an answer without noise.
        lit: whether the light is on: `measure` switches it on, `safe` off. After the fault html-500 the light stays on
            and the LED in use until the next request has failed too, as on the published server (`sdl.twin.led.world`).
    """

    def __init__(self, twin: SimulatedInstrument, simulation: Simulation, clock: Clock) -> None:
        self.plant = simulation
        self.lit = self._left_open = False
        self._twin, self._inputs, self._constraints = twin, twin.inputs, constraints_of(twin)
        self._off = off_settings(twin)
        self._baseline = BaselineSampler(twin.background, self._off)
        self._clock, self._start = clock, twin.start_time
        self._count = 0
        self._last: Reading | None = None

    def measure(self, settings: Settings) -> Reading:
        """Take one reading after `latency` seconds, with its background if configured.

        Raises:
            Rejected: settings outside bounds or constraints, or not exactly the inputs.
            Unreachable, Busy, BadReply: a configured fault.
        """
        self.require_open()
        values = checked(settings, self._inputs)
        if values != self._off and (broken := [str(c) for c in self._constraints if not c.holds(values)]):
            raise Rejected(f"the settings break the constraint {broken[0]}")
        return self._baseline.reading(self._read, values)

    def _read(self, values: dict[str, Value]) -> Reading:
        faults = due(self._twin.faults, self._twin.seed or 0, self._count, self._clock.now() - self._start)
        self._count += 1
        _before(faults, self._clock)
        if self._left_open:
            self._give_up()
            raise BadReply("the LED is still in use by the reading that failed: an error page (500) (fault html-500)")
        self.lit = True
        if any(fault.name == "html-500" for fault in faults):
            self._clock.sleep(BUSY_LIMIT)
            self._left_open = True
            raise BadReply("the sensor failed: an error page (500) (fault html-500)")
        began = self._clock.now()
        self._clock.sleep(max(self._twin.latency_at(began), SHORTEST))
        reading = self.plant.respond(values, began, self._clock.now(), faults)
        if faults:
            reading = _after(faults, reading, self._last, self.plant, self._clock)
        self._last = reading
        return reading

    def safe(self) -> SafeState:
        if self._left_open:
            self._give_up()
        self.lit = False
        self.plant.switch_off(self._clock.now())
        return SafeState(Power.OFF, self._off)

    def _give_up(self) -> None:
        """Wait as long as the server tries to use an LED that a failed reading left open; then the LED is free."""
        self._clock.sleep(BUSY_LIMIT)
        self._left_open = self.lit = False


def _before(faults: Sequence[Fault], clock: Clock) -> None:
    """Apply the faults that precede the measurement.

    Raises:
        Unreachable, Busy: there is no measurement.
    """
    for fault in faults:
        match fault.name:
            case "clock-jump":
                clock.sleep(fault.duration)
            case "refused" | "reset-before":
                clock.sleep(CONNECT)
                # After a reset the client cannot know whether the server had begun to measure.
                word, unknown = ("refused", False) if fault.name == "refused" else ("reset", True)
                raise Unreachable(f"the twin {word} the connection (fault {fault.name})", maybe_measured=unknown)
            case "busy":
                clock.sleep(min(fault.duration, BUSY_LIMIT))
                if fault.duration >= BUSY_LIMIT:
                    raise Busy(f"another user has the twin for {fault.duration:g} s (fault busy)")


def _after(faults: Sequence[Fault], reading: Reading, last: Reading | None, plant: Simulation, clock: Clock) -> Reading:
    """Apply the faults that change a reading on its way back.

    `last` is the previous reading, for a frozen sensor.

    Raises:
        Unreachable: there is no answer, although the twin measured.
        BadReply: the answer is not a reading.
    """
    out: dict[str, Any] = dict(reading.readings)
    for fault in faults:
        lost = ""
        match fault.name:
            case "reset-after":
                lost = "broke the connection"
            case "time-out":
                clock.sleep(fault.duration)
                lost = f"did not answer within {fault.duration:g} s"
            case "slow-drip":
                clock.sleep(min(fault.duration, CLIENT_TIMEOUT))
                if fault.duration >= CLIENT_TIMEOUT:
                    lost = f"had not answered in full after {CLIENT_TIMEOUT:g} s"
            case "truncated" | "not-json":
                what = "is cut off" if fault.name == "truncated" else "is not JSON"
                raise BadReply(f"the answer {what} (fault {fault.name})")
            case "frozen":
                out = dict((last or reading).readings)
            case _:
                out = spoil(fault, out)
        if lost:
            raise Unreachable(f"the twin {lost} (fault {fault.name})", maybe_measured=True)
    for name in reading.readings:
        if name not in out:
            raise BadReply(f"channel {name} is missing (fault missing-channel)")
    if why := plant.refuse(out):
        raise BadReply(why)
    return replace(reading, readings=out, saturated=plant.full(out))
