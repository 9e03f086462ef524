"""The log of a lab: a rotated file with one JSON object per line, and plain text on a terminal.

    {"at": "2026-11-23T14:00:00.123+00:00", "level": "WARNING", "where": "sdl.lab.loop", "message": "…", "start": 12, …}

The log is for diagnosis; records and journal hold the facts. A full disk loses log lines and has no other effect.
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

from sdl.store.plainfile import describe_change, open_fd

FILE = "lab.log"
MAX_BYTES, KEPT = 5_000_000, 5
LOGGERS = ("sdl", "uvicorn")
KEYS = ("start", "job", "instrument", "run", "trial")
_context: ContextVar[dict[str, Any]] = ContextVar("log_context", default={})  # noqa: B039 - replaced, never changed


@contextlib.contextmanager
def log_context(**fields: Any) -> Iterator[None]:
    """Add start, job, instrument, run or trial to every line logged inside, in this thread.

    Raises:
        TypeError: an unknown field.
    """
    if wrong := set(fields) - set(KEYS):
        raise TypeError(f"log_context({', '.join(sorted(wrong))}=…): allowed: {', '.join(KEYS)}")
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "where": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The known fields of the context and of the line itself."""
    fields = {**_context.get(), **{key: getattr(record, key) for key in KEYS if hasattr(record, key)}}
    return {key: value for key, value in fields.items() if value not in (None, "")}


class TextFormatter(logging.Formatter):
    """`14:00:00 WARNING start 12 job night: message`, local time."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        prefix = " ".join(f"{key} {fields[key]}" for key in ("start", "job", "trial") if key in fields)
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        text = f"{clock} {record.levelname} {prefix}{': ' if prefix else ''}{record.getMessage()}"
        return text + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class LogFile(logging.handlers.RotatingFileHandler):
    """The rotated log file. Lines that cannot be written are dropped silently.

    If the file was deleted or replaced, the next line creates it again.
    """

    def _open(self) -> TextIOWrapper:
        fd = open_fd(Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return os.fdopen(fd, "a", encoding=self.encoding)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line to the file that has the log's name at present."""
        if self.stream is not None:
            fd = self.stream.fileno()
            if describe_change(fd, Path(self.baseFilename), os.fstat(fd).st_size):
                self.stream.close()
                self.stream = None
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore the error, most likely a full disk."""


def open_log(folder: Path) -> LogFile:
    """Write the log of `sdl` and its HTTP server also to `lab.log` in a folder, which is created if missing.

    Raises:
        OSError: the file cannot be opened.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = LogFile(folder / FILE, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", delay=False)
    handler.setFormatter(JsonFormatter())
    handler.setLevel(logging.INFO)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    logger = logging.getLogger("sdl")
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    return handler


def close_log(handler: LogFile) -> None:
    """Detach and close the log file."""
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    handler.close()
