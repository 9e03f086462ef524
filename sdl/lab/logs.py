"""The lab's log: one JSON object a line, rotated, with start, job, run and trial in each; people get a line of text.

    {"at": "2026-11-23T14:00:00.123+00:00", "level": "WARNING", "where": "sdl.lab.loop", "message": "…", "start": 12, …}

The record is the truth, this is for finding out why. A full disk loses lines and ends nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from sdl.store.plainfile import open_fd, what_happened

FILE = "lab.log"
MAX_BYTES, KEPT = 5_000_000, 5
LOGGERS = ("sdl", "uvicorn")
KEYS = ("start", "job", "instrument", "run", "trial")
_about: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - never changed, only replaced


@contextlib.contextmanager
def log_context(**what: Any) -> Iterator[None]:
    """Puts start, job, instrument, run, trial into every line that is logged inside, in this thread.

    Raises:
        TypeError: another key.
    """
    if wrong := set(what) - set(KEYS):
        raise TypeError(f"about({', '.join(sorted(wrong))}=…): allowed: {', '.join(KEYS)}")
    mark = _about.set({**_about.get(), **what})
    try:
        yield
    finally:
        _about.reset(mark)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "where": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in _about.get().items() if value not in (None, "")}
        line |= {key: getattr(record, key) for key in KEYS if getattr(record, key, None) not in (None, "")}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`14:00:00 WARNING start 12 job night: message`, local time."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        told = {**_about.get(), **{key: getattr(record, key) for key in KEYS if hasattr(record, key)}}
        who = " ".join(f"{key} {told[key]}" for key in ("start", "job", "trial") if told.get(key) not in (None, ""))
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        text = f"{clock} {record.levelname} {who}{': ' if who else ''}{record.getMessage()}"
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class LogFile(logging.handlers.RotatingFileHandler):
    """The rotated file. What cannot be written is left out: no traceback, no end of the lab.

    Where it was deleted or replaced, the next line begins it anew.
    """

    def _open(self) -> TextIOWrapper:
        fd = open_fd(Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return os.fdopen(fd, "a", encoding=self.encoding)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line, into the file that has the name now."""
        if self.stream is not None:
            fd = self.stream.fileno()
            if what_happened(fd, Path(self.baseFilename), os.fstat(fd).st_size):
                self.stream.close()
                self.stream = None
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk, most likely."""


def open_log(folder: Path, *, level: int = logging.INFO) -> LogFile:
    """Has everything that `sdl` and its HTTP server say written to `lab.log` in a folder as well.

    Args:
        folder: the lab's; made where it is not there.
        level: of what is written.

    Raises:
        OSError: the file cannot be opened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = LogFile(folder / FILE, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", delay=False)
    handler.setFormatter(JsonFormatter())
    handler.setLevel(level)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    logger = logging.getLogger("sdl")
    if logger.getEffectiveLevel() > level:
        logger.setLevel(level)
    return handler


def close_log(handler: LogFile) -> None:
    """Takes the file out again and closes it."""
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    handler.close()
