"""One thing to tell people."""

from __future__ import annotations

from dataclasses import dataclass

from sdl.notify.model import Kind


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell.

    Attributes:
        id: the same for the same happening, however often it is folded.
        kind: who wants to know is chosen by it.
        about: `job NAME`, `instrument NAME` or `lab`.
        title: one line, the lab's name first.
        body: what happened, in sentences.
        at: seconds since 1970 UTC.
        job: the job it concerns; empty where it is none's.
    """

    id: str
    kind: Kind
    about: str
    title: str
    body: str
    at: float
    job: str = ""
