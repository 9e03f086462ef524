"""Ten thousand measurements over HTTP, one in twenty with a fault: does anything grow, and what does it cost?

The twin is served by a process of its own. Memory is the resident size after a garbage collection, descriptors are
counted in /proc; both after a warm-up and at the end. Throughput is over the measurements without a fault, against a
bare httpx loop (one client, its connection kept alive, the answer's JSON read and nothing checked); the two take turns,
a hundred requests each, so that both meet the same machine in the same mood: the median of the ratios of their medians.
A reading of the real instrument takes 780 ms, here 8 ms unless `--speed` says otherwise: 1000000 for a server that
answers at once. The driver uses a connection again where the server keeps it (when: sdl/drivers/http.py).
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

from sdl.clock import RealClock
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.errors import InstrumentError

FAULTS = (  # without those that only make the client wait
    *("reset-before", "reset-after", "truncated", "not-json", "missing-channel", "null-channel"),
    *("nan-channel", "negative-channel", "text-channel", "huge-channel", "clamp", "swapped-channels", "refused"),
)
CHUNK = 100
FEW = 5
NEVER = 1e-9
"""Chance of a fault on the bare loop's server: it looks for the same ones before every reading, and finds none."""


def memory() -> float:
    """Resident size, MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def serve(speed: float, chance: float) -> tuple[subprocess.Popen[str], str]:
    """A twin in a process of its own, and its address."""
    faults = [arg for name in FAULTS for arg in ("--faults", f"{name}={chance / len(FAULTS):g}")] if chance else []
    command = [sys.executable, "-m", "sdl", "twin", "serve", "--port", "0", "--speed", f"{speed:g}", *faults]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline() if process.stdout else ""
    return process, re.findall(r"http://\S+/api", line)[0]


def settings(n: int) -> dict[str, float]:
    """Other ones each time."""
    return {"R": n % 7 / 7, "G": n % 11 / 11, "B": n % 13 / 13}


def soak(asked: argparse.Namespace) -> int:
    """Runs it and prints what was found; 1 where a figure is not reached."""
    faulty, url = serve(asked.speed, asked.faults)
    clean, other = serve(asked.speed, min(asked.faults, NEVER))
    ends: Counter[str] = Counter()
    ours: list[float] = []
    bare: list[float] = []
    ratios: list[float] = []
    each: list[float] = []
    try:
        driver = ClaudeLight(
            url=url, background="none", connect_timeout=2, read_timeout=5, breaker=1000, requests_a_day=10**9
        ).open(RealClock())
        client = httpx.Client(trust_env=False)
        before = (0.0, 0)
        for n in range(asked.warm_up + asked.measurements):
            if n == asked.warm_up:
                before = (memory(), descriptors())
                ours.clear(), bare.clear(), ratios.clear(), ends.clear()
            began = time.perf_counter()
            try:
                reading = driver.measure(settings(n))
            except InstrumentError as error:
                ends[type(error).__name__] += 1
                if "refused" in str(error):
                    time.sleep(0.1)
            else:
                ends[reading.fault or "good"] += 1
                if reading.fault is None:
                    ours.append(time.perf_counter() - began)
            if n % CHUNK == CHUNK - 1:
                for k in range(CHUNK):
                    began = time.perf_counter()
                    client.get(other, params=settings(k)).json()
                    bare.append(time.perf_counter() - began)
                for k in range(FEW):
                    began = time.perf_counter()
                    httpx.get(other, params=settings(k), trust_env=False).json()
                    each.append(time.perf_counter() - began)
                ratios.append(statistics.median(bare[-CHUNK:]) / statistics.median(ours[-CHUNK:]))
        grown = memory() - before[0], descriptors() - before[1]
        driver.safe()
        driver.close()
        client.close()
    finally:
        for process in (faulty, clean):
            process.terminate()
            process.communicate()
    ratio = statistics.median(ratios)
    print(f"{sum(ends.values())} measurements: " + ", ".join(f"{count} {end}" for end, count in ends.most_common()))
    print(f"memory {before[0]:.1f} MB, grown by {grown[0]:+.2f} MB (less than 10)")
    print(f"descriptors {before[1]}, grown by {grown[1]:+d} (at most 1: a connection that is kept)")
    print(f"a reading {1e3 * statistics.median(ours):.2f} ms, bare httpx {1e3 * statistics.median(bare):.2f} ms")
    print(f"throughput {ratio:.2f} of bare httpx (0.7 or more)", end="; ")
    print(f"{statistics.median(each) / statistics.median(ours):.1f} of httpx.get, which makes a client each time")
    return int(grown[0] >= 10 or grown[1] > 1 or ratio < 0.7)


def main() -> int:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measurements", type=int, default=10_000)
    parser.add_argument("--warm-up", type=int, default=500)
    parser.add_argument("--faults", type=float, default=0.05, help="chance that a measurement has one")
    parser.add_argument("--speed", type=float, default=100.0, help="of the twin; 100: a reading takes it 8 ms")
    return soak(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
