"""Perform a campaign's actions until none is outstanding.

Each action ends in one event; the event is written and fsynced before the campaign handles it and names the next
action. However this ends (reached, Ctrl-C, a full disk, a bug), the instrument is switched off and the record stays
resumable.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Protocol

from sdl.clock import Clock
from sdl.config import ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import (
    AbortAsked,
    Action,
    Continued,
    Event,
    Failed,
    Interrupted,
    Measure,
    Measured,
    Paused,
    Propose,
    Safe,
    Stop,
    Stopped,
)
from sdl.drivers.base import Driver, off_settings
from sdl.drivers.checks import BUGS, Repeats, checked_reading
from sdl.errors import ConfigError, InstrumentError, Interlock, RecordError, cut
from sdl.runner.exit_codes import CampaignInterrupted
from sdl.runner.gate import POLL_SECONDS, Abort, Decision, Gate, Pause, Proceed
from sdl.runner.observers import Watch, notify, with_twin_monitor
from sdl.runner.propose import Proposer
from sdl.runner.shutdown import WARN_AFTER, SwitchOff, SwitchOffPolicy, warn_given_up
from sdl.runner.signals import Signals
from sdl.runs.runs import Result, result_of
from sdl.types import Power, SafeState

log = logging.getLogger("sdl")

SIGNALS_WAITED_OUT = 2  # signals ignored during an attempt to switch off; between two attempts one ends them


class Log(Protocol):
    """Where events are written: a Record or a MemoryRecord."""

    @property
    def folder(self) -> Path | None: ...
    def append(self, event: Event) -> None: ...
    def close(self) -> None: ...


class MemoryRecord:
    """A record in memory, for sweeps and tests."""

    folder = None

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Nothing to release."""


class Runner:
    """Performs a campaign's actions until none is outstanding."""

    def __init__(
        self,
        config: ResolvedCampaign,
        campaign: Campaign,
        record: Log,
        clock: Clock,
        watch: Watch | None = None,
        *,
        unfinished: bool = False,
        gate: Gate | None = None,
        guarded: bool = False,
        interrupted: str = "",
        switch_off: SwitchOffPolicy | None = None,
    ) -> None:
        self.config, self.campaign, self.record, self.clock = config, campaign, record, clock
        self._watch = with_twin_monitor(config, watch)
        self._gate = gate
        self._driver: Driver | None = None
        self._policy = switch_off or SwitchOffPolicy()
        self._shutdown: SwitchOff | None = None  # for the open driver, or the last one
        self._background_error = ""
        self._unfinished = unfinished  # a process died during it, perhaps with the instrument on
        self._proposer = Proposer(config, campaign, clock)
        self._off = off_settings(config.instrument)
        self._channels = frozenset(channel.name for channel in config.instrument.channels)
        self._repeats = Repeats(config.instrument)
        self._signals = Signals(clock, record.folder if guarded else None)
        if interrupted:
            self._signals.request(interrupted)

    def go(self) -> Result:
        """Perform the campaign to its end.

        Raises:
            CampaignInterrupted: Ctrl-C or SIGTERM, after Interrupted is written and the instrument is off or reported
                as not confirmed off.
        """
        interrupted, failed = False, True
        with self._signals:
            try:
                actions = self._while_held() if self.campaign.paused else self.campaign.due()
                while actions and not self._signals.received:
                    wait = actions[0].wait if isinstance(actions[0], Measure) else 0.0
                    decision = Proceed() if isinstance(actions[0], Stop) else self._wait(wait)
                    if not self._signals.received:  # a back-off may last minutes
                        actions = self._apply(decision, actions[0])
                failed = False
            except KeyboardInterrupt:
                if not self._signals.received:
                    raise  # not from our signal handler, but from a driver or an observer
                failed = False  # the second Ctrl-C: end at once, with the instrument switched off
            finally:
                with self._signals.shield(last=True):
                    self._make_safe(0.0)  # at once, before anything is written
                    try:
                        interrupted = self._signals.received and bool(self.campaign.due() or self.campaign.paused)
                        if interrupted and not failed:
                            self.write(Interrupted(self._signals.name, self.clock.now()))
                    finally:
                        self._make_safe(self._policy.seconds, last=True)
            result = result_of(self.campaign, self.record.folder)
            if interrupted:
                raise CampaignInterrupted(self._signals.name, result)
        return result

    def write(self, event: Event) -> list[Action]:
        """Write one event, fold it, notify the observer; returns the actions that are due then."""
        with self._signals.shield():
            self.record.append(event)
            actions = self.campaign.handle(event)
        self._watch = notify(self._watch, event, self.campaign)
        return actions

    def _wait(self, seconds: float) -> Decision:
        """Wait, asking the gate meanwhile; returns its last decision."""
        if self._gate is None:
            self.clock.sleep(seconds)
            return Proceed()
        decision = self._gate.ask(self.campaign, self.clock.now())
        while seconds > 0 and isinstance(decision, Proceed) and not self._signals.received:
            self.clock.sleep(min(seconds, POLL_SECONDS))
            seconds -= POLL_SECONDS  # counted, because the machine's clock may be set meanwhile
            decision = self._gate.ask(self.campaign, self.clock.now())
        return decision

    def _apply(self, decision: Decision, action: Action) -> list[Action]:
        """Perform the action, or pause, or abort, as decided; returns the actions that are due then."""
        match decision:
            case Pause(cause, by):
                self.write(Paused(cause, by, self.clock.now()))
                return self._while_held()
            case Abort(reason, by):
                return self.write(AbortAsked(by, reason, self.clock.now()))
        with self._signals.alone():
            event = self._execute(action)
        return self.write(event)

    def _while_held(self) -> list[Action]:
        """Wait with the instrument off and released; returns the actions due after the pause, none after a signal."""
        self._make_safe(min(WARN_AFTER, self._policy.seconds))
        while self._gate is not None and not self._signals.received:
            match self._gate.ask(self.campaign, self.clock.now()):
                case Proceed(by):
                    return self.write(Continued(by or "sdl", self.clock.now()))
                case Abort(reason, by):
                    return self.write(AbortAsked(by, reason, self.clock.now()))
                case Pause(sample_background=wanted, poll_after=seconds):
                    if wanted:
                        self._gate.on_background(self._sample_background(), self.clock.now())
                    self.clock.sleep(seconds)
                    self._make_safe()  # where it is not yet
        return []

    def _sample_background(self) -> Mapping[str, float] | None:
        """One reading with the instrument off, over a new connection; None if it fails."""
        instrument = self.config.instrument
        if getattr(instrument, "background", None) is not None:
            instrument = instrument.model_copy(update={"background": "none"})  # one request, not two
        try:
            if self._driver is None:  # otherwise off is not confirmed yet
                self._driver, self._shutdown = instrument.open(self.clock), None
            reading = checked_reading(self._driver.measure(self._off), self._off, self._channels)
            if reading.applied == self._off and self._shutdown is None:  # off is confirmed
                self._close()
            return reading.background if reading.background is not None else reading.readings
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a driver may raise anything; it is asked again later
            if str(error) != self._background_error:  # through a night it may repeat every minute
                log.warning("no background reading during the pause: %s", error)
            self._background_error = str(error)
            return None
        finally:
            self._make_safe(0.0)

    def _execute(self, action: Action) -> Event:
        match action:
            case Propose(trial, confirm):
                with self._signals.solving():
                    return self._proposer.propose(trial, confirm)
            case Stop():
                return stopped_event(self.campaign, action, self.clock.now())
        return self._measure(action)

    def _measure(self, action: Measure) -> Measured | Failed:
        began = self.clock.monotonic()
        place = (action.trial, action.repeat, action.attempt)
        try:
            self._shutdown = None  # from here on it may be on
            if self._driver is None:
                self._driver = self._open()
            settings = self.config.complete(action.settings)
            reading = checked_reading(self._driver.measure(settings), settings, self._channels)
            reading = self._repeats.checked(reading)
        except ConfigError as error:  # only a person can correct it
            return Failed(*place, "driver", cut(str(error)), False, False, self.clock.now())
        except InstrumentError as error:
            text, again = cut(f"{type(error).__name__}: {error}"), error.retryable
            if isinstance(error, Interlock):
                return Failed(*place, "interlock", cut(str(error)), False, True, self.clock.now())
            if self._driver is None and not again:  # it cannot be opened
                return Failed(*place, "driver", text, again, False, self.clock.now())
            return Failed(*place, "measure", text, again, error.maybe_measured, self.clock.now())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in driver may raise anything
            log.debug("the driver %s failed", self.config.instrument.kind, exc_info=error)
            if isinstance(error, (Exception, SystemExit)) and not isinstance(error, BUGS):
                return Failed(*place, "measure", cut(f"the driver failed: {error!r}"), False, True, self.clock.now())
            text = f"{type(error).__name__}: {error}{_place(error)}"  # a retry would only repeat it
            return Failed(*place, "driver", cut(text), False, True, self.clock.now())
        self._unfinished = False
        return Measured(
            *place,
            reading.applied,
            reading.readings,
            reading.background,
            reading.saturated,
            reading.fault,
            round(self.clock.monotonic() - began, 6),
            self.clock.now(),
        )

    def _open(self) -> Driver:
        """Open a new connection; tell the driver if a process that died may have left the instrument on."""
        driver: Driver = self.config.instrument.open(self.clock)
        if self._unfinished and (assume_on := getattr(driver, "assume_on", None)) is not None:
            assume_on()
        return driver

    def _make_safe(self, seconds: float | None = None, *, last: bool = False) -> None:
        """Switch the instrument off and release it; errors are logged and recorded, none is raised.

        Args:
            seconds: for further attempts; one more attempt by default. The driver stays open until off is confirmed.
            last: whether this call is the last one.
        """
        instrument, shutdown, signals = self.config.instrument, self._shutdown, self._signals.count
        if shutdown is None:
            if self._driver is None and not self._unfinished:
                return
            shutdown = self._shutdown = self._policy.attempts(self._switch_off, instrument, self.clock)
        with self._signals.shield(delayed=SIGNALS_WAITED_OUT):
            if seconds is None:
                state = shutdown.once_more()
            else:
                state = shutdown.until(seconds, lambda: self._signals.count > signals)
            if state.proven or last:
                self._close()
            if last and not state.proven:
                warn_given_up(shutdown)
            recorded = self.campaign.safe
            changed = shutdown.warned and (recorded is None or recorded.state is not state.state)
            if changed or (last and (recorded is not None or not state.proven or not instrument.virtual)):
                self._write_safe(shutdown)

    def _switch_off(self) -> SafeState | None:
        if self._driver is None:
            self._driver = self._open()
        if self._unfinished and not self.config.instrument.virtual and not hasattr(self._driver, "assume_on"):
            self._driver.measure(self._off)  # a new connection does not know what the dead process set
        self._unfinished = False
        return self._driver.safe()

    def _write_safe(self, shutdown: SwitchOff) -> None:
        state, at = shutdown.state, self.clock.now()
        if state.state is Power.NOT_NEEDED:
            return
        try:
            self.write(
                Safe(state.state, state.applied, cut(state.why), shutdown.attempts, round(shutdown.seconds, 3), at)
            )
        except RecordError as error:  # the end itself is recorded, or its error reported
            log.warning("not recorded: %s", error)

    def _close(self) -> None:
        if self._driver is not None:
            with contextlib.suppress(Exception, SystemExit, GeneratorExit):
                self._driver.close()
            self._driver = None


def stopped_event(campaign: Campaign, stop: Stop, at: float) -> Stopped:
    """The end of a campaign."""
    best = campaign.history.best
    return Stopped(stop.outcome, stop.reason, best.trial if best else None, stop.by, at)


def _place(error: BaseException) -> str:
    """Where in a driver an error was raised: ` (my_lamp.py:41 in measure)`; libraries it calls are skipped."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    if not frames or frames[0].filename == checked_reading.__code__.co_filename:
        return ""  # the error is in what it returned
    ours = PurePath(checked_reading.__code__.co_filename).parent
    frames = [frame for frame in frames if ours not in PurePath(frame.filename).parents] or frames
    folder = PurePath(frames[0].filename).parent
    last = [frame for frame in frames if PurePath(frame.filename).parent == folder][-1]
    return f" ({PurePath(last.filename).name}:{last.lineno} in {last.name})"
