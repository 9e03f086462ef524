"""Readiness of a lab: whether it would accept and run a campaign now."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sdl.errors import SdlError
from sdl.lab.core.views import pause_reason
from sdl.lab.workers.base import Control
from sdl.store.plainfile import open_new

CACHE_SECONDS = 5.0  # seconds for which a result is reused, so that frequent queries do not write to the disk each time


def disk_free(folder: Path) -> float:
    """Bytes free at a folder or its nearest existing parent; infinity if unknown."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return float(shutil.disk_usage(place).free)
    return float("inf")


class Readiness:
    """The reasons why a lab could not run a campaign now.

    Args:
        control: the lab.
        record: directory of its journal.
        runs: directory of the runs.
        least: bytes that must be free.
        clock: monotonic seconds.
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
        self._checked, self._reasons = -float("inf"), list[str]()

    def __call__(self) -> list[str]:
        if self._clock() - self._checked > CACHE_SECONDS:
            self._reasons = [*self._disk(), *self._lab()]
            self._checked = self._clock()
        return list(self._reasons)

    def _disk(self) -> Iterator[str]:
        for folder in dict.fromkeys(self._folders):
            if (free := disk_free(folder)) < self._least:
                yield f"{folder}: {free / 1e6:.0f} MB free, {self._least / 1e6:.0f} MB needed"
            elif error := _write_error(folder):
                yield f"{folder}: cannot be written: {error}"

    def _lab(self) -> list[str]:
        try:
            status = self._control.status()
        except (SdlError, TimeoutError) as error:
            return [f"the lab does not answer: {error}"]
        if trouble := status.get("trouble"):
            return [str(trouble)]
        paused = {pause["what"]: pause_reason(pause["what"], pause["cause"]) for pause in status["held"]}
        if "lab" in paused:
            return [paused["lab"]]
        lost = {
            f"instrument {row['name']}": f"instrument {row['name']} does not answer: {row['lost']}"
            for row in status["instruments"]
            if row["lost"]
        }
        reasons = [reason for target, reason in (lost | paused).items() if target.startswith("instrument ")]
        return reasons if len(reasons) == len(status["instruments"]) else []


def _write_error(folder: Path) -> str:
    """The error of writing to a folder, empty if it can be written; the folder is not created."""
    probe = folder / f".ready-{os.getpid()}"
    try:
        try:
            with open_new(probe) as stream:
                stream.write(b"0" * 4096)
                os.fsync(stream.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return ""
