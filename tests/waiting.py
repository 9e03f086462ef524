"""The time limit for waits on processes, threads and servers, one for all tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

# Seconds that tell a hang from an end: ten times what the slowest wait needs beside 15 busy loops on two cores.
TIMEOUT = PATIENCE = 300.0

T = TypeVar("T")


def until(true: Callable[[], T], process: subprocess.Popen[Any] | None = None) -> T:
    """Wait until `true()` is true, and return it.

    Raises:
        AssertionError: it is not in time, or the process has ended.
    """
    ends = time.monotonic() + TIMEOUT
    while not (value := true()):
        assert process is None or process.poll() is None, "the process has ended"
        assert time.monotonic() < ends, f"it did not happen within {TIMEOUT:g} s"
        time.sleep(0.002)
    return value
