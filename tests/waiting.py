"""How long a test waits for something that a process, a thread or a server does: in one place for all of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

PATIENCE = 300.0
"""Seconds after which it hangs: ten times what the slowest of them needs beside 15 busy loops on two cores."""

T = TypeVar("T")


def until(true: Callable[[], T], process: subprocess.Popen[Any] | None = None) -> T:
    """Waits until something is true, and gives it.

    Raises:
        AssertionError: it never came, or the process that was to bring it has ended.
    """
    ends = time.monotonic() + PATIENCE
    while not (found := true()):
        assert process is None or process.poll() is None, "the process has ended"
        assert time.monotonic() < ends, f"it did not come about within {PATIENCE:g} s"
        time.sleep(0.002)
    return found
