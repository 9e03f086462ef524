"""The contract of an instrument as tests to inherit.

    class TestMine(InstrumentContract):
        @pytest.fixture
        def instrument(self):
            return MyInstrument(port="/dev/ttyUSB0")

Real readings are taken (some ten), so give it a simulated instrument or one that may be switched on. Override `clock`
or `settings` where the defaults (a clock of the instrument's kind; the middle of every input) do not suit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from sdl.clock import Clock, RealClock, VirtualClock
from sdl.drivers.base import Driver, Instrument, constraints_of, space_of
from sdl.errors import Rejected
from sdl.types import Channel, Frozen, Input, Power, Reading, SafeState, is_number


def need(holds: bool, otherwise: str) -> None:
    """Fail the test with a sentence unless `holds`; unlike `assert` also in packages that pytest does not rewrite."""
    if not holds:
        fail(otherwise)


def fail(sentence: str) -> NoReturn:
    """Fail the test with a sentence."""
    pytest.fail(sentence, pytrace=False)


def open_clock(instrument: Instrument) -> Clock:
    """A clock of the instrument's kind, at the beginning of its time."""
    return VirtualClock(getattr(instrument, "start_time", 0.0)) if instrument.virtual else RealClock()


class InstrumentContract:
    """Inherit, and override the fixture `instrument`."""

    @pytest.fixture
    def instrument(self) -> Instrument:
        """The YAML side of the instrument under test."""
        raise NotImplementedError("override the fixture `instrument`")

    @pytest.fixture
    def clock(self, instrument: Instrument) -> Clock:
        """The clock it is opened with."""
        return open_clock(instrument)

    @pytest.fixture
    def settings(self, instrument: Instrument) -> dict[str, Any]:
        """Settings that are harmless to measure at: the middle of every input, on a step where it has one.

        An input with choices gets its first one. If these settings break a constraint, the closest ones that keep it
        are taken.
        """
        middle: dict[str, Any] = {
            item.name: item.choices[0]
            if item.choices
            else item.low + (item.high - item.low) / 2 // (item.step or 1e-9) * (item.step or 1e-9)
            for item in instrument.inputs
        }
        return middle if not constraints_of(instrument) else dict(space_of(instrument).project(middle)[0])

    @pytest.fixture
    def driver(self, instrument: Instrument, clock: Clock) -> Iterator[Driver]:
        """The open instrument; made safe and closed at the end."""
        driver = instrument.open(clock)
        yield driver
        driver.safe()
        driver.close()

    # What is known without connecting

    def test_it_is_a_frozen_model_that_survives_a_round_trip(self, instrument: Instrument) -> None:
        if not isinstance(instrument, Frozen):
            fail(f"{type(instrument).__name__} must inherit sdl.types.Frozen: a YAML file names it")
        again = type(instrument).model_validate(instrument.model_dump())
        need(again == instrument, f"model_validate(model_dump()) gives {again!r} instead of {instrument!r}")
        text = type(instrument).model_validate_json(instrument.model_dump_json())
        need(text == instrument, f"through JSON it becomes {text!r} instead of {instrument!r}")
        with pytest.raises(ValueError, match="frozen"):
            setattr(instrument, "kind", "changed")  # noqa: B010  (the type checker must not know)

    def test_it_is_an_instrument(self, instrument: Instrument) -> None:
        need(isinstance(instrument, Instrument), "it lacks a member of sdl.drivers.base.Instrument")

    def test_kind_and_identity_are_words(self, instrument: Instrument) -> None:
        for name in ("kind", "identity"):
            value = getattr(instrument, name)
            need(isinstance(value, str) and bool(value.strip()), f"{name} must be a word, it is {value!r}")
        need(instrument.identity == instrument.identity, "identity must not change")

    def test_it_says_what_it_simulates_and_how_long_a_reading_takes(self, instrument: Instrument) -> None:
        need(isinstance(instrument.simulated, bool), "simulated must be True or False")
        need(isinstance(instrument.virtual, bool), "virtual must be True or False")
        need(instrument.simulated or not instrument.virtual, "only a simulated instrument can live in virtual time")
        need(
            math.isfinite(instrument.reading_seconds) and instrument.reading_seconds >= 0, "reading_seconds: 0 or more"
        )
        timeout: Any = getattr(instrument, "timeout_seconds", instrument.reading_seconds)
        least = instrument.reading_seconds
        need(math.isfinite(timeout) and timeout >= least, "timeout_seconds: reading_seconds or more")

    def test_inputs_and_channels_have_names_of_their_own(self, instrument: Instrument) -> None:
        for items, kind in ((instrument.inputs, Input), (instrument.channels, Channel)):
            names = [item.name for item in items]
            need(bool(names), f"it needs at least one {kind.__name__}")
            need(all(isinstance(item, kind) for item in items), f"each must be an sdl.types.{kind.__name__}")
            need(all(names) and len(set(names)) == len(names), f"names must be given and differ: {names}")

    # A reading

    def test_a_reading_gives_every_channel_and_every_input(
        self, instrument: Instrument, driver: Driver, settings: dict[str, Any]
    ) -> None:
        reading = driver.measure(settings)
        check_reading(reading, instrument)

    def test_settings_at_both_ends_of_every_input_can_be_measured(self, instrument: Instrument, driver: Driver) -> None:
        for end, choice in (("low", 0), ("high", -1)):
            ends: dict[str, Any] = {
                i.name: i.choices[choice] if i.choices else getattr(i, end) for i in instrument.inputs
            }
            if constraints_of(instrument):
                ends = dict(space_of(instrument).project(ends)[0])
            check_reading(driver.measure(ends), instrument)

    def test_the_settings_handed_in_are_left_alone(self, driver: Driver, settings: dict[str, Any]) -> None:
        before = dict(settings)
        driver.measure(settings)
        need(settings == before, f"measure changed its settings from {before} to {settings}")

    def test_the_same_time_gives_the_same_reading_where_it_is_simulated(
        self, instrument: Instrument, settings: dict[str, Any]
    ) -> None:
        if not (instrument.simulated and instrument.virtual):
            pytest.skip("not simulated in virtual time: two readings differ")
        runs = []
        for _ in range(2):
            driver = instrument.open(open_clock(instrument))
            runs.append([driver.measure(settings) for _ in range(3)])
            driver.safe()
            driver.close()
        need(
            runs[0] == runs[1], "opened twice at the same time it gives different readings: randomness from elsewhere?"
        )

    # What it refuses

    def test_settings_outside_the_bounds_are_refused_and_do_no_harm(
        self, instrument: Instrument, driver: Driver, settings: dict[str, Any]
    ) -> None:
        for item in instrument.inputs:
            width = item.high - item.low
            beyond: list[Any] = [item.low - width / 2, item.high + width / 2, math.nan, math.inf]
            for value in ["no such choice", 0.0] if item.choices else beyond:
                check_refused(driver, {**settings, item.name: value})
        check_reading(driver.measure(settings), instrument)

    def test_missing_and_unknown_inputs_are_refused(
        self, instrument: Instrument, driver: Driver, settings: dict[str, Any]
    ) -> None:
        check_refused(driver, {**settings, "no such input": settings[instrument.inputs[0].name]})
        for item in instrument.inputs:
            check_refused(driver, {name: value for name, value in settings.items() if name != item.name})

    # How it ends

    def test_it_can_be_made_safe_at_any_time_again_and_again(
        self, instrument: Instrument, driver: Driver, settings: dict[str, Any]
    ) -> None:
        for _ in range(2):
            check_safe(driver.safe(), instrument)
            check_safe(driver.safe(), instrument)
            check_reading(driver.measure(settings), instrument)
        check_safe(driver.safe(), instrument)

    def test_it_can_be_closed_twice_and_opened_again(
        self, instrument: Instrument, clock: Clock, settings: dict[str, Any]
    ) -> None:
        for _ in range(2):
            driver = instrument.open(clock)
            check_reading(driver.measure(settings), instrument)
            driver.safe()
            driver.close()
            driver.close()

    def test_it_can_be_closed_without_a_reading(self, instrument: Instrument, clock: Clock) -> None:
        driver = instrument.open(clock)
        driver.safe()
        driver.close()


def check_reading(reading: Any, instrument: Instrument) -> None:
    """Fail unless a reading keeps the contract."""
    if not isinstance(reading, Reading):
        fail(f"measure must return an sdl.types.Reading, not {reading!r}")
    channels = {item.name for item in instrument.channels}
    choices = {item.name: item.choices for item in instrument.inputs if item.choices}
    for part, names, values in (
        ("applied", {item.name for item in instrument.inputs}, reading.applied),
        ("readings", channels, reading.readings),
        ("background", channels, reading.background),
    ):
        if values is None and part == "background":
            continue
        if values is None or set(values) != names:
            fail(f"{part} must hold exactly {sorted(names)}: {values}")
        for name in names:
            value: Any = values[name]
            if part == "applied" and name in choices:
                need(value in choices[name], f"{part}[{name!r}] = {value!r} is none of {', '.join(choices[name])}")
                continue
            number = is_number(value) and math.isfinite(value)
            need(number, f"{part}[{name!r}] = {value!r} is not a finite int or float")
    need(set(reading.saturated) <= channels, f"saturated names unknown channels: {reading.saturated}")
    for item in instrument.channels:
        count, named = reading.readings[item.name], item.name in reading.saturated
        if item.high is not None and (count >= item.high) != named:
            fail(f"{item.name} reads {count:g} of {item.high:g}, but saturated is {reading.saturated}")
    need(reading.fault is None or bool(reading.fault), "fault must be None or a word")


def check_safe(answer: Any, instrument: Instrument) -> None:
    """Fail unless what `safe` returned keeps the contract."""
    if not isinstance(answer, SafeState):
        fail(f"safe must return an sdl.types.SafeState, not {answer!r}; None counts as unknown")
    need(isinstance(answer.state, Power), f"state must be an sdl.types.Power, not {answer.state!r}")
    need(answer.proven or bool(answer.why), f"safe says {answer.state}, so it must also say why")
    names = {item.name for item in instrument.inputs}
    need(answer.applied is None or set(answer.applied) == names, f"applied must hold exactly {sorted(names)}")


def check_refused(driver: Driver, settings: dict[str, Any]) -> None:
    """Fail unless the driver refuses the settings before it measures."""
    try:
        reading = driver.measure(settings)
    except Rejected as error:
        need(not error.maybe_measured, f"{settings} was refused, yet the error says it may have been measured")
        need(not error.retryable, f"{settings} was refused, yet the error says that asking again may help")
    else:
        fail(f"{settings} must raise sdl.errors.Rejected; it gave {reading}")
