"""Commands of `sdl` in processes of their own, whose JSON is the answer of a tool.

Arguments never come from a client as they are: a run is a directory found below the runs, and a file is one that this
    server wrote.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sdl.errors import ConfigError, SdlError
from sdl.parallel import children

SECONDS = 300.0
MAX_AT_ONCE = 8  # more would occupy the threads of the server, and the processors, that a stop needs
_at_once = threading.BoundedSemaphore(MAX_AT_ONCE)


@contextmanager
def one_of_few() -> Iterator[None]:
    """Refuse a long computation while `MAX_AT_ONCE` others are running.

    Raises:
        ConfigError: too many are running.
    """
    if not _at_once.acquire(blocking=False):
        raise ConfigError(f"{MAX_AT_ONCE} computations are running already; ask again when one of them has ended")
    try:
        yield
    finally:
        _at_once.release()


def command(*words: str, seconds: float = SECONDS) -> dict[str, Any]:
    """The JSON object that a command prints with `--json`.

    Raises:
        ConfigError: the command refused, gave no answer or took longer than `seconds`, or too many others are running.
    """
    try:
        with one_of_few():
            done = children.finished((words[0], "--json", *words[1:]), seconds)
        given: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"it did not end within {seconds:g} s; reduce the request") from None
    except (OSError, ValueError) as error:
        raise SdlError(f"the command gave no answer: {error}") from error
    if "exit_code" in given:
        raise ConfigError(str(given.get("reason")))
    return given
