"""The time limit for waits on processes, threads and servers, one for all tests; and the tests that take minutes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

# Seconds that tell a hang from an end: ten times what the slowest wait needs beside 15 busy loops on two cores.
TIMEOUT = PATIENCE = 300.0

# The whole of a property test of which the suite runs a part; such a test takes minutes.
LONG = pytest.mark.skipif(not os.environ.get("SDL_LONG"), reason="takes minutes: SDL_LONG=1 runs it")

T = TypeVar("T")


def some(seeds: int, first: int) -> list[Any]:
    """The seeds 0, 1, … for a parameter; the suite runs the first ones, and `SDL_LONG=1` all of them."""
    return [pytest.param(seed, marks=() if seed < first else LONG) for seed in range(seeds)]


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
