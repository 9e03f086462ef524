"""The texts that describe a pause, and the mappings that `Control` returns to API, commands, metrics and page.

    status       lab, at, timezone, process, since, trouble, instruments, running, held (the pauses), next, jobs,
                 submissions
    instrument   name, identity, lost (why it could not be switched off), busy (the start that uses it), readings_today
    running      start, job, instrument, run, since, attempt, readings, paused (the cause; empty while it measures),
                 pauses (the requested ones that cover it, widest first), resumable (whether it has a pause of its own)
    pause        what (lab, instrument NAME, job NAME or start N), cause, by, at
    queue, next  start (None: a scheduled time), job, instrument, due, why (it waits), begun (it can be aborted, not
                 skipped)
    submissions  submission (its number), agent, instrument, campaign (name), readings and cost (the most it can take),
                 rehearsal, decision (accepted, waits, refused, approved), reasons, at, by, why and decided (of the
                 review); in the status those that wait, with `plain`, the campaign without its
                 instrument, and `changed`, how its instrument differs now (empty: not at all; else it cannot be
                 approved)
    history      start, job, instrument, run, due, begun, ended, fate (ended, missed, gave up), outcome, reason,
                 readings

Times are seconds since 1970 UTC; `run` is the directory of a run below the lab's runs, empty before it has one.
Further keys may be added; readers ignore unknown ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REQUESTED = re.compile(r"(?:the whole lab|(?:instrument|job|start) \S+) is paused\b")


def display_target(target: str) -> str:
    """A target as text within a sentence."""
    return "the whole lab" if target == "lab" else target


def pause_reason(target: str, cause: str) -> str:
    """The reason given by a requested pause: `the whole lab is paused: person in enclosure`."""
    return f"{display_target(target)} is paused" + (f": {cause}" if cause else "")


def is_requested_pause(cause: str) -> bool:
    """Whether the cause of a campaign's pause is a requested pause (`pause_reason`)."""
    return _REQUESTED.match(cause) is not None


def describe_pause(pause: Mapping[str, Any], target: str) -> str:
    """A pause as described for a target that it covers: `paused with the whole lab by ada: person in enclosure`."""
    wider = "" if pause["what"] == target else f" with {display_target(pause['what'])}"
    by, cause = (f" by {pause['by']}" if pause["by"] else ""), (f": {pause['cause']}" if pause["cause"] else "")
    return f"paused{wider}{by}{cause}"
