"""Alive is not ready: whether the loop goes round, and whether a campaign would be accepted and run now."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from sdl.errors import SdlError
from sdl.lab.core.views import pause_reason
from sdl.lab.workers.base import Control
from sdl.store.plainfile import anew

CACHE_SECONDS = 5.0
"""How long an answer is used again: whoever asks every second does not write to the disk every second."""


def disk_free(folder: Path) -> float:
    """Bytes free where a folder is, or its nearest parent that is there; inf where the system does not say."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return float(shutil.disk_usage(place).free)
    return float("inf")


class Readiness:
    """Why the lab would not run a campaign now.

    Args:
        control: the lab.
        record: the folder of its record.
        runs: where the runs go.
        least: bytes that must be free.
        clock: seconds that never jump.
    """

    def __init__(
        self,
        control: Control,
        record: Path,
        runs: Path,
        *,
        least: float = 50e6,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control, self._folders, self._least, self._clock = control, (record, runs), least, clock
        self._looked, self._found = -float("inf"), list[str]()

    def __call__(self) -> list[str]:
        """The reasons; empty where it would."""
        if self._clock() - self._looked > CACHE_SECONDS:
            self._found = [*self._disk(), *self._lab()]
            self._looked = self._clock()
        return list(self._found)

    def _disk(self) -> list[str]:
        found = []
        for folder in dict.fromkeys(self._folders):
            if (free := disk_free(folder)) < self._least:
                found.append(f"{folder}: {free / 1e6:.0f} MB free, {self._least / 1e6:.0f} MB needed")
            elif why := _unwritable(folder):
                found.append(f"{folder}: cannot be written: {why}")
        return found

    def _lab(self) -> list[str]:
        try:
            status = self._control.status()
        except (SdlError, TimeoutError) as error:
            return [f"the lab does not answer: {error}"]
        if trouble := status.get("trouble"):
            return [str(trouble)]
        held = {hold["what"]: hold["cause"] for hold in status.get("held", ())}
        if "lab" in held:
            return [pause_reason("lab", held["lab"])]
        out: dict[str, str] = {}
        benches = status.get("instruments", ())
        for bench in benches:
            name = bench["name"]
            if (why := held.get(f"instrument {name}")) is not None:
                out[name] = pause_reason(f"instrument {name}", why)
            elif bench.get("lost"):
                out[name] = f"instrument {name} does not answer: {bench['lost']}"
        return list(out.values()) if benches and len(out) == len(benches) else []


def _unwritable(folder: Path) -> str:
    """Why nothing can be written to a folder, tried; empty where it can. One that is not there is not made."""
    probe = folder / f".ready-{os.getpid()}"
    try:
        try:
            with anew(probe) as stream:
                stream.write(b"0" * 4096)
                os.fsync(stream.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return ""
