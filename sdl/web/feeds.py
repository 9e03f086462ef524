"""The feeds behind live pages: one run, and the home page with the lab."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdl import formatting
from sdl.errors import RecordError, SdlError
from sdl.lab.http.control import Controller
from sdl.runs.index import Index
from sdl.runs.query import Query
from sdl.runs.runs import without_collection
from sdl.store import lease, trial_files
from sdl.store.lock import is_attended, writing_process
from sdl.store.resolve import FILE
from sdl.store.tail import TailReader
from sdl.store.trial_files import FOLDER
from sdl.web import person, render
from sdl.web.run_view import RunView
from sdl.web.start.launcher import Launcher

STATUS_SECONDS = 0.5
"""Seconds for which a status of the lab is shared by all pages."""
HOLDER_SECONDS = 2.0
"""Seconds between checks whether the process of a run is alive."""
READ_SECONDS, READ_EVENTS = 0.4, 200
"""Seconds for which a record is read at a time, and events between two looks at the clock: a page does not wait for a
long record."""
PAST_ROWS, LATEST_ROWS = 8, 10
CACHED_RUNS, OTHER_RUNS = 24, 12
"""Folded runs in the cache; runs on the home page that no lab started."""


class LabFeed:
    """The status of the lab for all pages, queried at most twice a second, from any thread.

    Args:
        control: commands and queries of the lab; None without a lab.
        launcher: starts campaigns where there is no lab; None: nothing does.
    """

    def __init__(self, control: Controller | None, launcher: Launcher | None = None) -> None:
        self.control, self.launcher = control, launcher
        self._lock, self._at = threading.Lock(), -float("inf")
        self._status: dict[str, Any] = {}

    def status(self) -> Mapping[str, Any]:
        """Status, queue and recently ended starts; only `trouble` if the lab does not answer; empty without a lab."""
        if self.control is None:
            return {}
        with self._lock:
            if time.monotonic() - self._at > STATUS_SECONDS:
                self._status = self._ask(self.control)
                self._at = time.monotonic()
            return self._status

    def start_of(self, run: str) -> Mapping[str, Any] | None:
        """The running start of a run `campaign/run`."""
        return next((row for row in self.status().get("running", ()) if row["run"] == run), None)

    @property
    def starts(self) -> bool:
        """Whether campaigns can be started and continued from the page."""
        return self.control is not None or self.launcher is not None

    def stoppable(self, run: str) -> bool:
        """Whether a run `campaign/run` was started by this server and can be interrupted."""
        return self.launcher is not None and self.launcher.is_running(run)

    def _ask(self, control: Controller) -> dict[str, Any]:
        try:
            return {**control.status(), "queue": list(control.queue()), "past": list(control.history(PAST_ROWS))}
        except (SdlError, TimeoutError) as error:
            last = self._status or {key: [] for key in ("instruments", "running", "held", "queue", "past", "jobs")}
            return {"lab": "", "timezone": "UTC", "at": time.time(), **last, "trouble": f"the lab: {error}"}


class RunFeed:
    """The feed of one run: its growing record, and whether the process that writes it is alive."""

    every = 0.25

    def __init__(self, folder: Path, lab: LabFeed) -> None:
        self.folder, self._lab = folder, lab
        self.view = RunView(folder)
        self._tail = TailReader(folder)
        self._lock = threading.Lock()
        self._size = -1
        self._process, self._checked = "", -float("inf")
        self._shown: Any = None

    @property
    def ended(self) -> bool:
        return self.view.ended and self.view.read_part is None

    def look(self) -> Mapping[str, Any] | None:
        """The parts of the page, rendered again; None if nothing has changed."""
        grown = self._read()
        if not grown and time.monotonic() - self._checked < HOLDER_SECONDS:
            return None
        self._checked = time.monotonic()
        process, start = writing_process(self.folder), self._start()
        self.view.attended, self.view.at_terminal = self._asker()
        row = start and [start[key] for key in ("start", "paused", "pauses", "resumable")]
        state = (process, self.view.attended, self.view.at_terminal, _changed(self.folder / FOLDER), row)
        if not grown and state == self._shown:
            return None
        self._shown, self._process = state, process
        return self.parts(start)

    def _read(self) -> bool:
        """Fold the new events of the record, of a long one for a moment only; whether there were any."""
        try:
            size = os.stat(self.folder / FILE).st_size
        except OSError as error:
            raise RecordError(f"{self.folder.name}: the record is gone: {error.strerror}") from error
        if size == self._size and self.view.read_part is None:
            return False
        self._size, self.view.read_part = size, None
        until = time.monotonic() + READ_SECONDS
        with without_collection(), contextlib.closing(self._tail.each()) as events:
            for number, event in enumerate(events, 1):
                self.view.take(event)
                if number % READ_EVENTS == 0 and time.monotonic() > until:
                    self.view.read_part = min(self._tail.offset / max(size, 1), 1.0)
                    break
        return True

    def _start(self) -> Mapping[str, Any] | None:
        return self._lab.start_of(f"{self.folder.parent.name}/{self.folder.name}")

    def _asker(self) -> tuple[bool, bool]:
        """Whether a process asks for readings that others tell, and whether they are typed at a terminal.

        Not taken from the lock of the record, which is also held for the moment of every call.
        """
        opened = self.view.opened
        if opened is None or not formatting.told_by_others(opened) or self.view.ended:
            return False, False
        if is_attended(self.folder):
            return True, False
        with contextlib.suppress(SdlError):
            holder = lease.holder(str(opened.instrument["identity"]))
            return False, holder is not None and self.folder.name in holder.name
        return False, False

    def brief(self) -> Mapping[str, Any]:
        """The present state as a colour and a sentence; thread-safe."""
        with self._lock:
            self._read()
            return self.view.brief()

    def count(self) -> int:
        """Number of trials that were proposed; thread-safe."""
        with self._lock:
            self._read()
            while self.view.read_part is not None:
                self._read()
            return self.view.trials[-1].trial + 1 if self.view.trials else 0

    def whole(self) -> Mapping[str, Any]:
        """All parts of the page as of now; thread-safe."""
        with self._lock:
            self.look()
            return self.parts(self._start())

    def parts(self, start: Mapping[str, Any] | None) -> dict[str, Any]:
        """The changing parts of the page, by the id of their element; screen readers read the `announcement` aloud."""
        live, now = self.view.shown(self._process), time.time()
        if self._process and live["opened"] and not live["ended"]:
            live["times"] = self.view.times(now, _changed(self.folder / FILE) / 1e9)
        if start and start["pauses"] and live["state"]["word"] == "running":
            live["state"] = {**live["state"], "word": "pausing"}
        beside = trial_files.files(self.folder)
        path = f"/runs/{render.part(self.folder.parent.name)}/{render.part(self.folder.name)}"
        name = f"{self.folder.parent.name}/{self.folder.name}"
        idle = not self._process and not start and self._lab.starts
        values = {
            "now": now, "run": name, "actions": self.view.actions() if idle else [],
            "stoppable": bool(self._process) and not live["ended"] and self._lab.stoppable(name),
            "can_start": self._lab.starts, "live": live, "start": start, "path": path,
            "zone": self._lab.status().get("timezone", ""),
            "ask": person.request(self.view), "told": person.told(self.view, beside),
        }  # fmt: skip
        names = ("state", "actions", "ask", "story", "now", "channels", "spectrum", "error", "trials", "told")
        drawn = {f"live-{name}": render.text(f"live/{name}.html.j2", **values) for name in names}
        announcement = f"{live['state']['word']}: {live['state']['text']}"
        return {"parts": drawn, "announcement": announcement, "asked": self.view.asked()}


def _changed(folder: Path) -> int:
    """When a folder was changed; 0 where there is none."""
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


class RunCache:
    """Folded runs, so that a long record is read only once; thread-safe."""

    def __init__(self, runs: Path, lab: LabFeed) -> None:
        self._runs, self._lab = runs, lab
        self._lock = threading.Lock()
        self._folded: dict[Path, RunFeed] = {}

    def of(self, folder: Path) -> RunFeed:
        with self._lock:
            feed = self._folded.pop(folder) if folder in self._folded else RunFeed(folder, self._lab)
            self._folded[folder] = feed  # the newest last
            if len(self._folded) > CACHED_RUNS:
                del self._folded[next(iter(self._folded))]
            return feed

    def forget(self, folder: Path) -> None:
        """Read this run from the beginning the next time."""
        with self._lock:
            self._folded.pop(folder, None)

    def brief(self, run: str) -> Mapping[str, Any]:
        """The present state of the run `campaign/run`; empty if it cannot be read."""
        folder = self._runs / run
        try:
            return self.of(folder).brief() if run else {}
        except SdlError:  # reported by the page of the run
            self.forget(folder)
            return {}


class HomeFeed:
    """The feed of the home page: the lab's status, or without a lab the running and the newest runs.

    `zone` is the time zone of all times on the page, `runs` the directory of the runs as people name it.
    """

    every, ended = 1.0, False

    def __init__(self, lab: LabFeed, index: Index, cache: RunCache, zone: str = "", runs: str = "runs") -> None:
        self._lab, self._index, self._cache, self._zone, self._runs = lab, index, cache, zone, runs

    def look(self) -> Mapping[str, Any]:
        """All parts of the page."""
        complete, known, total = self._index.poke(0.05), self._index.known, self._index.total
        status, live = self._lab.status(), self._index.live()
        latest = self._index.page(Query(), 1, LATEST_ROWS)[0] if self._lab.control is None else []
        running = status.get("running", ())
        of_lab = {start["run"] for start in running}
        others = {run: row for row in live if (run := f"{row['campaign']}/{row['run']}") not in of_lab}
        values = {
            "status": status,
            "zone": self._zone,
            "runs": self._runs,
            "latest": latest,
            "reading": (known, total) if not complete and (known < total or not latest) else None,
            "live": [
                row | {"doing": self._cache.brief(run) if n < OTHER_RUNS else {}}
                for n, (run, row) in enumerate(others.items())
            ],
            "doing": {start["start"]: self._cache.brief(start["run"]) for start in running},
        }
        drawn = {
            f"home-{name}": render.text(f"home/{name}.html.j2", **values) for name in ("review", "now", "next", "past")
        }
        rows = running if status else live
        paused = sum(bool(row.get("paused")) for row in rows)
        announcement = f"{len(rows)} running" + (f", {paused} of them paused" if paused else "")
        if waiting := len(status.get("submissions", ())):
            announcement += f", {waiting} waiting for approval"
        return {"parts": drawn, "announcement": str(status.get("trouble") or announcement)}
