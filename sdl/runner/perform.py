"""Does what a campaign says is due, until nothing is.

Each action ends in one event; the event is written and fsynced; only then is the campaign told, and what it says is
done next. However this ends (reached, Ctrl-C, a full disk, a bug) the instrument is made safe and the record stays
resumable.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Literal, Protocol

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
from sdl.errors import ConfigError, InstrumentError, RecordError, cut
from sdl.runner.exit_codes import CampaignInterrupted
from sdl.runner.gate import POLL_SECONDS, Abort, Decision, Gate, Pause, Proceed
from sdl.runner.observers import Watch, with_twin_monitor
from sdl.runner.propose import Proposer
from sdl.runner.shutdown import WARN_AFTER, Patience, SwitchOff, warn_given_up
from sdl.runner.signals import Signals
from sdl.runs.runs import Result, result_of
from sdl.types import Power, SafeState

log = logging.getLogger("sdl")

SIGNALS_WAITED_OUT = 2
"""So many signals during one attempt to make the instrument safe are waited out; the next breaks it off. Between two
attempts one is enough."""


class Log(Protocol):
    """Where events go: a Record, or Memory."""

    @property
    def folder(self) -> Path | None: ...
    def append(self, event: Event) -> None: ...
    def close(self) -> None: ...


class MemoryRecord:
    """A record that is not on the disk, for sweeps and tests."""

    folder = None

    def __init__(self) -> None:
        self.events: list[Event] = []

    def append(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Nothing to give back."""


class Runner:
    """Performs what a campaign says is due, until nothing is."""

    def __init__(
        self,
        chosen: ResolvedCampaign,
        campaign: Campaign,
        record: Log,
        clock: Clock,
        watch: Watch | None = None,
        *,
        unfinished: bool = False,
        gate: Gate | None = None,
        guarded: bool = False,
        interrupted: str = "",
        patience: Patience | None = None,
    ) -> None:
        self.config, self.campaign, self.record, self.clock = chosen, campaign, record, clock
        self._watch = with_twin_monitor(chosen, watch)
        self._gate = gate
        self._driver: Driver | None = None
        self._patience = patience or Patience()
        self._shutdown: SwitchOff | None = None  # of the open driver, or of the last one
        self._background_error = ""
        self._unfinished = unfinished  # a process died on it, perhaps with the light on
        self._proposer = Proposer(chosen, campaign, clock)
        self._off = off_settings(chosen.instrument)
        self._channels = frozenset(channel.name for channel in chosen.instrument.channels)
        self._repeats = Repeats(chosen.instrument)
        self._signals = Signals(clock, record.folder if guarded else None)
        if interrupted:
            self._signals.ask(interrupted)

    def go(self) -> Result:
        """Does what is due until nothing is.

        Raises:
            CampaignInterrupted: Ctrl-C or SIGTERM, after Interrupted is written and the instrument is safe, or said
                not to be.
        """
        interrupted, failed = False, True
        with self._signals:
            try:
                actions = self._while_held() if self.campaign.paused else self.campaign.due()
                while actions and not self._signals.asked:
                    wait = actions[0].wait if isinstance(actions[0], Measure) else 0.0
                    said = Proceed() if isinstance(actions[0], Stop) else self._wait(wait)
                    if not self._signals.asked:  # a back-off may last minutes
                        actions = self._apply(said, actions[0])
                failed = False
            except KeyboardInterrupt:
                if not self._signals.asked:
                    raise  # not of our making, such as a driver's or a watcher's own
                failed = False  # the second Ctrl-C: at once, still safe
            finally:
                with self._signals.shield(last=True):
                    self._make_safe(0.0)  # at once, before anything is written
                    try:
                        interrupted = self._signals.asked and bool(self.campaign.due() or self.campaign.paused)
                        if interrupted and not failed:
                            self.write(Interrupted(self._signals.name, self.clock.now()))
                    finally:
                        self._make_safe(self._patience.seconds, last=True)
            result = result_of(self.campaign, self.record.folder)
            if interrupted:
                raise CampaignInterrupted(self._signals.name, result)
        return result

    def write(self, event: Event) -> list[Action]:
        """Writes one event, folds it, tells who watches; what is due then."""
        with self._signals.shield():
            self.record.append(event)
            actions = self.campaign.handle(event)
        self._watch = notify(self._watch, event, self.campaign)
        return actions

    def _wait(self, seconds: float) -> Decision:
        """Waits, asking the gate on the way; what it said last."""
        if self._gate is None:
            self.clock.sleep(seconds)
            return Proceed()
        said = self._gate.ask(self.campaign, self.clock.now())
        while seconds > 0 and isinstance(said, Proceed) and not self._signals.asked:
            self.clock.sleep(min(seconds, POLL_SECONDS))
            seconds -= POLL_SECONDS  # counted, not looked up: the machine's time may be set meanwhile
            said = self._gate.ask(self.campaign, self.clock.now())
        return said

    def _apply(self, said: Decision, action: Action) -> list[Action]:
        """Does what is due, or pauses until the gate lets go, or ends the campaign; what is due then."""
        match said:
            case Pause(cause, by):
                self.write(Paused(cause, by, self.clock.now()))
                return self._while_held()
            case Abort(reason, by):
                return self.write(AbortAsked(by, reason, self.clock.now()))
        with self._signals.alone():
            event = self._execute(action)
        return self.write(event)

    def _while_held(self) -> list[Action]:
        """Waits with the instrument safe and given back; what is due when the pause is over, nothing after a signal."""
        self._make_safe(min(WARN_AFTER, self._patience.seconds))
        while self._gate is not None and not self._signals.asked:
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
        """One reading with the light off, by a connection of its own; None where there is none."""
        instrument = self.config.instrument
        if getattr(instrument, "background", None) is not None:
            instrument = instrument.model_copy(update={"background": "none"})  # one request, not two
        try:
            if self._driver is None:  # else it is not known to be off yet
                self._driver, self._shutdown = instrument.open(self.clock), None
            reading = checked_reading(self._driver.measure(self._off), self._off, self._channels)
            if reading.applied == self._off and self._shutdown is None:  # the light is off: nothing more to be asked
                self._close()
            return reading.background if reading.background is not None else reading.readings
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a driver lets through; it is asked again later
            if str(error) != self._background_error:  # through a night it may be the same every minute
                log.warning("no reading with the light off while paused: %s", error)
            self._background_error = str(error)
            return None
        finally:
            self._make_safe(0.0)

    def _execute(self, action: Action) -> Event:
        match action:
            case Propose():
                with self._signals.solving():
                    return self._proposer.propose(action.trial)
            case Measure():
                return self._measure(action)
            case Stop():
                best = self.campaign.history.best
                return Stopped(action.outcome, action.reason, best.trial if best else None, action.by, self.clock.now())

    def _measure(self, action: Measure) -> Measured | Failed:
        began = self.clock.monotonic()
        place = (action.trial, action.repeat, action.attempt)
        try:
            self._shutdown = None  # it may be on from here
            if self._driver is None:
                self._driver = self.config.instrument.open(self.clock)
            reading = checked_reading(self._driver.measure(action.settings), action.settings, self._channels)
            reading = self._repeats.checked(reading)
        except ConfigError as error:  # what only a person can mend, in the next trial neither
            return Failed(*place, "driver", cut(str(error)), False, False, self.clock.now())
        except InstrumentError as error:
            text = f"{type(error).__name__}: {error}"
            hopeless = self._driver is None and not error.retryable  # it cannot be opened, in the next trial neither
            stage: Literal["measure", "driver"] = "driver" if hopeless else "measure"
            maybe = error.maybe_measured and not hopeless
            return Failed(*place, stage, cut(text), error.retryable, maybe, self.clock.now())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever else a driver, perhaps somebody else's, lets through
            log.debug("the driver %s failed", self.config.instrument.kind, exc_info=error)
            if isinstance(error, (Exception, SystemExit)) and not isinstance(error, BUGS):
                return Failed(*place, "measure", cut(f"the driver failed: {error!r}"), False, True, self.clock.now())
            text = f"{type(error).__name__}: {error}{_place(error)}"  # asking again would only repeat it
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

    def _make_safe(self, seconds: float | None = None, *, last: bool = False) -> None:
        """Has the instrument switched off and given back; whatever goes wrong is told and recorded, nothing is raised.

        Args:
            seconds: for which off is pursued; once more by default. The driver stays open until off is proven.
            last: nobody here will ask again.
        """
        instrument, shutdown, signals = self.config.instrument, self._shutdown, self._signals.count
        if shutdown is None:
            if self._driver is None and not self._unfinished:
                return
            shutdown = self._shutdown = self._patience.switch_off(self._switch_off, instrument, self.clock)
        with self._signals.shield(patience=SIGNALS_WAITED_OUT):
            if seconds is None:
                state = shutdown.once_more()
            else:
                state = shutdown.until(seconds, lambda: self._signals.count > signals)
            if state.proven or last:
                self._close()
            if last and not state.proven:
                warn_given_up(shutdown)
            told = self.campaign.safe
            news = shutdown.warned and (told is None or told.state is not state.state)
            if news or (last and (told is not None or not state.proven or not instrument.virtual)):
                self._write_safe(shutdown)

    def _switch_off(self) -> SafeState | None:
        """One attempt."""
        if self._driver is None:
            self._driver = self.config.instrument.open(self.clock)
        if self._unfinished and not self.config.instrument.virtual:
            self._driver.measure(self._off)  # the process that died had another connection; this one knows nothing yet
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
        except RecordError as error:  # the end itself is written, or says why not
            log.warning("not recorded: %s", error)

    def _close(self) -> None:
        """Gives the connection back."""
        if self._driver is not None:
            with contextlib.suppress(Exception, SystemExit, GeneratorExit):
                self._driver.close()
            self._driver = None


def _place(error: BaseException) -> str:
    """Where in a driver it was raised: ` (my_lamp.py:41 in measure)`; libraries below the driver are left out."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    if not frames or frames[0].filename == checked_reading.__code__.co_filename:
        return ""  # of what it returned, not of what it did
    folder = PurePath(frames[0].filename).parent
    last = [frame for frame in frames if PurePath(frame.filename).parent == folder][-1]
    return f" ({PurePath(last.filename).name}:{last.lineno} in {last.name})"


def notify(watch: Watch | None, event: Event, campaign: Campaign) -> Watch | None:
    """Shows an event to who watches; returns who watches from now on."""
    if watch is None:
        return None
    try:
        watch(event, campaign)
    except OSError as error:  # a closed pipe or terminal ends the watching, not the campaign
        log.warning("no longer shown: %s", error)
        return None
    return watch
