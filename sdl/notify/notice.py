"""A message about an event of a lab, before it is addressed."""

from __future__ import annotations

from dataclasses import dataclass

from sdl.notify.model import Kind


@dataclass(frozen=True, slots=True)
class Notice:
    """A message about one event.

    Attributes:
        id: determined by the event, so that folding the events again gives the same id.
        kind: by which recipients are selected.
        subject: `job NAME`, `instrument NAME` or `lab`.
        title: one line, beginning with the lab's name.
        body: sentences.
        at: seconds since 1970 UTC.
        job: the job concerned; empty if none.
    """

    id: str
    kind: Kind
    subject: str
    title: str
    body: str
    at: float
    job: str = ""
