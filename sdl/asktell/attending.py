"""Attend a campaign whose readings others tell: ask for each reading and wait for it, until the campaign ends.

A person tells the readings on the page, a script over HTTP or with `sdl tell`. The process that attends the campaign
asks for the next reading as soon as the last one is told, pauses or aborts when its gate says so, and notifies people
of each request. It does not lock the record while it waits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from sdl.asktell.campaign import OpenCampaign, Request
from sdl.config import ResolvedCampaign
from sdl.core.campaign import State
from sdl.core.events import AbortAsked, Continued, Paused
from sdl.errors import ConfigError, Problem
from sdl.runner.gate import Abort, Decision, Gate, Pause, Proceed
from sdl.runner.setup import instrument_lease
from sdl.runs.results import Result
from sdl.store.lock import ATTENDED, Lock

POLL_SECONDS = 0.25  # between two looks at the record
KINDS = ("manual", "external")  # of instruments whose readings others tell


def attend(
    campaign: OpenCampaign,
    *,
    gate: Gate | None = None,
    on_request: Callable[[Request], None] = lambda request: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Result:
    """Ask for readings until the campaign has ended; others tell them.

    Args:
        campaign: a campaign whose instrument is of kind manual or external.
        gate: decides whether to proceed, pause or abort, as for `sdl.run`.
        on_request: receives every reading that is asked for, again after a pause.
        on_wait: called several times a second.

    Raises:
        ConfigError: the instrument is of another kind, or needs background readings, which cannot be asked for here.
        InUse: another process attends the campaign, or uses the instrument.
    """
    require_told(campaign.config)
    last: Request | None = None
    with _alone(campaign):
        while campaign.campaign.state is not State.STOPPED:
            now = time.time()
            decision = Proceed() if gate is None else gate.ask(campaign.campaign, now)
            _apply(campaign, decision, now)
            if isinstance(decision, Pause):
                last = None
                if decision.sample_background and gate is not None:
                    gate.on_background(None, now)
            elif (request := campaign.ask()) is None:
                break
            elif request != last:
                on_request(request)
                last = request
            on_wait()
            time.sleep(POLL_SECONDS)
    return campaign.result


def _apply(campaign: OpenCampaign, decision: Decision, now: float) -> None:
    """Write down a pause, its end, or an abort."""
    paused = campaign.campaign.paused
    match decision:
        case Pause(cause, by) if not paused:
            campaign.write(Paused(cause, by, now))
        case Proceed(by) if paused:
            campaign.write(Continued(by or "sdl", now))
        case Abort(reason, by):
            campaign.write(AbortAsked(by, reason, now))


def require_told(campaign: ResolvedCampaign) -> None:
    """Check that the readings of a campaign can be told by others.

    Raises:
        ConfigError: its instrument is of another kind, or needs background readings, which cannot be asked for here.
    """
    instrument = campaign.instrument
    if instrument.kind not in KINDS:
        text = f"kind {instrument.kind} is driven by sdl; others tell the readings of kinds {' and '.join(KINDS)}"
        raise ConfigError(Problem(text, "instrument.kind"))
    if (background := getattr(instrument, "background", "none")) != "none":
        text = f"{background} is asked for at the terminal only; on the page: none"
        raise ConfigError(Problem(text, "instrument.background"))


@contextlib.contextmanager
def _alone(campaign: OpenCampaign) -> Iterator[None]:
    """Lock the run, and lease the instrument that a person drives.

    Raises:
        InUse: another process has one of them.
    """
    lock = Lock(campaign.folder / ATTENDED, what=str(campaign.folder))
    try:
        with contextlib.ExitStack() as stack:
            if campaign.config.instrument.kind == "manual":
                stack.enter_context(instrument_lease(campaign.config.instrument, campaign.folder.name))
            yield
    finally:
        lock.release()
