"""What the page of a run costs: CPU seconds of the whole command, imports included, and megabytes.

    python benchmarks/report.py [--trials 5000] [--keep DIR]

Five campaigns on the twin: reached in a few trials, failed, unreachable, aborted, and one of many trials. Where there
is a Chromium, each page is opened in it without a network and its log is searched for errors. Exit code 1 where a page
takes more than 5 s or 3 MB, names another host, or is not silent in the browser.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MOST_SECONDS, MOST_BYTES = 5.0, 3_000_000
GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}


def campaigns(runs: Path, trials: int) -> dict[str, Path]:
    """The five, by name; each the directory of its run."""
    import sdl

    def run(name: str, **changes: Any) -> Path:
        tree = {"name": name, "instrument": {"kind": "twin"}, "goal": GOAL, "solver": {"kind": "gmm"}, "seed": 0}
        return Path(sdl.run(tree | changes, runs=runs).run)

    dark = {"kind": "twin", "faults": [{"name": "refused", "after": 0}]}
    never = {"tolerance": "0.01%", "solver": {"kind": "random"}}
    stop = {"trials": trials, "stagnation": None, "minutes": None}
    return {
        "reached": run("reached"),
        "failed": run("failed", instrument=dark),
        "unreachable": run("unreachable", goal=GOAL | {"445nm": 60000}, solver={"kind": "linear"}),
        "aborted": aborted(run("stopped", **never, stop={"trials": 30}), runs / "aborted" / "20260101T000000Z-abc123"),
        "long": run("long", **never, stop=stop),
    }


def aborted(source: Path, folder: Path) -> Path:
    """The same run, ended after half of it by somebody who pauses and aborts."""
    from sdl.core.events import AbortAsked, Continued, Paused, Stopped
    from sdl.store import record
    from sdl.types import Outcome

    events = list(record.read(source))
    half = events[: 2 * (len(events) // 4) + 1]  # Opened, then a proposal and a reading each
    at = half[-1].at
    with_end = [
        *half,
        Paused("lunch", "ada", at + 1),
        Continued("ada", at + 20),
        AbortAsked("ada", "the lamp smells", at + 21),
        Stopped(Outcome.ABORTED, "asked by ada: the lamp smells", None, "ada", at + 21),
    ]
    made = record.Record.create(folder)
    for event in with_end:
        made.append(event)
    made.close()
    return folder


def command(folder: Path, page: Path) -> float:
    """CPU seconds of `sdl report` in a process of its own."""
    before = os.times()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    subprocess.run(
        [sys.executable, "-m", "sdl", "report", str(folder), "-o", str(page), "--quiet"],
        check=True, env={**os.environ, **threads}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def elsewhere(page: Path) -> list[str]:
    """Addresses that the page would load; names of XML dialects inside pictures are none."""
    return re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*|url\((?!#)[^)]*|@import[^;]*""", page.read_text("utf-8"))


def browser(page: Path) -> list[str]:
    """What Chromium complains of, without a network; one line that says so where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        return ["(no Chromium here: not looked at)"]
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                found, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
            ],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return lines if "</html>" in done.stdout else [*lines, "the page did not come up"]


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="directory for the pages")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as below:
        keep = asked.keep or Path(below)
        keep.mkdir(parents=True, exist_ok=True)
        began, n = time.process_time(), 0
        for i in range(5_000_000):
            n += i
        print(f"this machine now: 5,000,000 additions in {time.process_time() - began:.2f} s of CPU")
        good = True
        for name, folder in campaigns(Path(below) / "runs", asked.trials).items():
            page = keep / f"{name}.html"
            seconds = command(folder, page)
            size, outside, said = page.stat().st_size, elsewhere(page), browser(page)
            told = [line for line in said if not line.startswith("(")]
            good &= seconds <= MOST_SECONDS and size <= MOST_BYTES and not outside and not told
            print(f"{name:12} {seconds:5.2f} s CPU  {size / 1e6:4.2f} MB  {' '.join([*outside, *said])}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
