"""What pages watch: one run by its record, and the lab with everything in it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdl.errors import RecordError, SdlError
from sdl.lab.workers.base import Control
from sdl.runs.listing import holder
from sdl.store.resolve import FILE
from sdl.store.tail import TailReader
from sdl.web import render, sse
from sdl.web.index import Index
from sdl.web.query import Query
from sdl.web.run_view import RunView

STATUS_SECONDS = 0.5
"""Seconds for which the lab is not asked again, however many pages want to know."""
HOLDER_SECONDS = 2.0
"""Seconds between two looks whether the process of a run is still there."""
PAST_ROWS, NEXT, LATEST_ROWS = 8, 12, 10
CACHED_RUNS, OTHER_RUNS = 24, 12
"""Runs that are kept folded, and of those on the home page that no lab started."""


class LabFeed:
    """The lab as pages see it: asked at most twice a second, from any thread.

    Args:
        control: of the lab; None where there is none.
    """

    def __init__(self, control: Control | None) -> None:
        self.control = control
        self._lock, self._at = threading.Lock(), -float("inf")
        self._known: dict[str, Any] = {}

    def status(self) -> Mapping[str, Any]:
        """Status, queue and the last ends; `trouble` where it does not answer; empty where there is no lab."""
        if self.control is None:
            return {}
        with self._lock:
            if time.monotonic() - self._at > STATUS_SECONDS:
                self._known = self._ask(self.control)
                self._at = time.monotonic()
            return self._known

    def forget(self) -> None:
        """The next question goes to the lab."""
        self._at = -float("inf")

    def start_of(self, run: str) -> Mapping[str, Any] | None:
        """The start that runs in a run's directory, `campaign/run`."""
        return next((row for row in self.status().get("running", ()) if row["run"] == run), None)

    def _ask(self, control: Control) -> dict[str, Any]:
        try:
            return {**control.status(), "queue": list(control.queue()), "past": list(control.history(PAST_ROWS))}
        except (SdlError, TimeoutError) as error:
            known = self._known or {key: [] for key in ("instruments", "running", "held", "queue", "past", "jobs")}
            return {"lab": "", "timezone": "UTC", "at": time.time(), **known, "trouble": f"the lab: {error}"}


class RunFeed:
    """A run: its record as it grows, and who writes to it."""

    every = sse.POLL_SECONDS

    def __init__(self, folder: Path, asked: LabFeed) -> None:
        self.folder, self._asked = folder, asked
        self.picture = RunView(folder)
        self._tail = TailReader(folder)
        self._one = threading.Lock()
        self._size = -1
        self._process, self._looked = "", -float("inf")
        self._told: Any = None

    @property
    def ended(self) -> bool:
        """Whether it has stopped; it may be resumed, which another page then shows."""
        return self.picture.ended

    def look(self) -> Mapping[str, Any] | None:
        """The parts of the page that have to be drawn anew; None where nothing has changed."""
        grown = self._read()
        if not grown and time.monotonic() - self._looked < HOLDER_SECONDS:
            return None
        self._looked = time.monotonic()
        process = holder(self.folder)
        start = self._asked.start_of(f"{self.folder.parent.name}/{self.folder.name}")
        told = (process, start and [start[key] for key in ("start", "paused", "pauses", "resumable")])
        if not grown and told == self._told:
            return None
        self._told, self._process = told, process
        return self.parts(start)

    def _read(self) -> bool:
        """Folds what is new in the record, and says whether there was anything."""
        try:
            size = os.stat(self.folder / FILE).st_size
        except OSError as error:
            raise RecordError(f"{self.folder.name}: its record is gone: {error.strerror}") from error
        if size == self._size:
            return False
        self._size = size
        for event in self._tail.new():
            self.picture.take(event)
        return True

    def brief(self) -> Mapping[str, Any]:
        """What it does now, in a colour and a sentence; several threads may ask."""
        with self._one:
            self._read()
            return self.picture.brief()

    def whole(self) -> Mapping[str, Any]:
        """Every part as it is now; several threads may ask."""
        with self._one:
            self.look()
            return self.parts(self._asked.start_of(f"{self.folder.parent.name}/{self.folder.name}"))

    def parts(self, start: Mapping[str, Any] | None) -> dict[str, Any]:
        """Every part of the page that changes, by the id of its element; `said` for those who cannot see it."""
        live = self.picture.shown(self._process)
        values = {"live": live, "start": start, "zone": self._asked.status().get("timezone", "")}
        names = ("state", "now", "channels", "spectrum", "error", "trials")
        drawn = {f"live-{name}": render.text(f"live/{name}.html.j2", **values) for name in names}
        return {"parts": drawn, "said": f"{live['state']['word']}: {live['state']['text']}"}


class RunCache:
    """Runs that are kept folded, so that nobody reads the same 5,000 trials twice; may be asked from any thread."""

    def __init__(self, runs: Path, asked: LabFeed) -> None:
        self._runs, self._asked = runs, asked
        self._lock = threading.Lock()
        self._folded: dict[Path, RunFeed] = {}

    def of(self, folder: Path) -> RunFeed:
        """A run by its directory."""
        with self._lock:
            source = self._folded.pop(folder, None) or RunFeed(folder, self._asked)
            self._folded[folder] = source  # the newest last
            if len(self._folded) > CACHED_RUNS:
                del self._folded[next(iter(self._folded))]
            return source

    def forget(self, folder: Path) -> None:
        """What could not be read is read from the beginning the next time."""
        with self._lock:
            self._folded.pop(folder, None)

    def briefly(self, run: str) -> Mapping[str, Any]:
        """What the run `campaign/run` of a start does now; empty where that cannot be told."""
        folder = self._runs / run
        try:
            return self.of(folder).brief() if run else {}
        except SdlError:  # its own page tells
            self.forget(folder)
            return {}


class HomeFeed:
    """The lab, or without one the runs that are under way and the newest; `zone` as of the site."""

    every = 1.0
    ended = False

    def __init__(self, asked: LabFeed, index: Index, kept: RunCache, zone: str = "") -> None:
        self._asked, self._index, self._kept, self._zone = asked, index, kept, zone

    def look(self) -> Mapping[str, Any] | None:
        """All parts; the hub sends them where they have changed."""
        complete, known, total = self._index.poke(0.05), self._index.known, self._index.total
        status = self._asked.status()
        live = self._index.live()
        latest = self._index.page(Query(), 1, LATEST_ROWS)[0] if self._asked.control is None else []
        running = status.get("running", ())
        others = [row for row in live if not _own(row, running)]
        doings = [
            self._kept.briefly(f"{row['campaign']}/{row['run']}") if n < OTHER_RUNS else {}
            for n, row in enumerate(others)
        ]
        values = {
            "status": status,
            "zone": self._zone,
            "latest": latest,
            "reading": (known, total) if not complete and (known < total or not latest) else None,
            "live": [row | {"doing": doing} for row, doing in zip(others, doings, strict=True)],
            "doing": {start["start"]: self._kept.briefly(start["run"]) for start in running},
        }
        drawn = {f"home-{name}": render.text(f"home/{name}.html.j2", **values) for name in ("now", "next", "past")}
        return {"parts": drawn, "said": self._said(status, live)}

    def _said(self, status: Mapping[str, Any], live: Sequence[Any]) -> str:
        if status.get("trouble"):
            return str(status["trouble"])
        running = status.get("running", live)
        paused = sum(bool(row.get("paused")) for row in running)
        return f"{len(running)} running" + (f", {paused} of them paused" if paused else "")


def _own(row: Mapping[str, Any], running: Sequence[Mapping[str, Any]]) -> bool:
    return any(start["run"] == f"{row['campaign']}/{row['run']}" for start in running)
