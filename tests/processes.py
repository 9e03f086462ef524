"""The real command in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from waiting import TIMEOUT

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "sdl")


def environment(**changes: str) -> dict[str, str]:
    """Ours, and where the package is, and one thread."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8", **threads, **changes}


def sdl(*args: object, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end; nothing on its stdin, no terminal."""
    return subprocess.run(
        [*COMMAND, *map(str, args)],
        cwd=cwd, env=environment(**changes), capture_output=True, text=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, check=False, timeout=TIMEOUT,
    )  # fmt: skip


def python(*args: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs Python to its end."""
    return subprocess.run(
        [sys.executable, *args],
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )


def start(*args: object, cwd: Path, **changes: str) -> subprocess.Popen[str]:
    """Starts the command; its stdout and stderr are pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        cwd=cwd, env=environment(**changes), text=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def lines_of(record: Path) -> list[dict[str, Any]]:
    """The whole lines of a record that may still be written, its hashes unchecked; none where there is no file."""
    try:
        text = record.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def the_record(runs: Path) -> Path | None:
    """The only record below `runs`, once it is there."""
    found = list(runs.glob("*/*/record.jsonl"))
    assert len(found) <= 1, found
    return found[0] if found else None


def wait_for(runs: Path, count: int, process: subprocess.Popen[str], kind: str | None = None) -> Path | None:
    """Waits until the only record below `runs` has `count` lines (of one kind); None where the process ends first."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        record = the_record(runs)
        if record:
            have = lines_of(record) if kind else record.read_bytes().splitlines()
            if sum(1 for line in have if not kind or line["event"] == kind) >= count:
                return record
        if process.poll() is not None:
            return None
        time.sleep(0.0005)
    raise TimeoutError(f"no {count} lines of {kind} within {TIMEOUT:g} s")
