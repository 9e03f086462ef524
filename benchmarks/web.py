"""The page over many runs: how long the index takes from records alone, how long pages take, what idle streams cost.

    python benchmarks/web.py                    10,000 runs
    python benchmarks/web.py --runs 500         fewer

The runs are copies of one campaign of the twin under other names and times, written through `sdl.store.record`. Times
of
pages are those that a client on the same machine sees; medians of 30.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

import sdl
from sdl.core.events import Opened
from sdl.store import record

CAMPAIGN = {
    "name": "night", "instrument": {"kind": "twin", "seed": 1}, "goal": {"445nm": 16384}, "solver": "linear",
    "stop": {"trials": 12},
}  # fmt: skip
PAGES = {
    "first page": "/runs",
    "last page": "/runs?page={last}",
    "words": "/runs?q=night-7+16384",
    "outcome and dates": "/runs?outcome=reached&solver=linear&from=2026-02-01&to=2026-03-01",
    "a run": "{run}",
    "home": "/",
}


def main() -> None:
    """Measures, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sdl-web-") as place:
        runs = Path(place) / "runs"
        begun = time.perf_counter()
        size = fill(runs, given.runs)
        told: dict[str, object] = {"runs": given.runs, "MB": round(size / 1e6), "written_s": since(begun)}
        environ = {**os.environ, "XDG_STATE_HOME": place, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "sdl", "web", "--runs", str(runs)]
        server = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[0]
            with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
                told |= measured(http, given.runs, server.pid, runs)
        finally:
            server.terminate()
            server.wait(30)
    print(json.dumps(told, indent=2))


def fill(runs: Path, count: int) -> int:
    """Copies of one campaign, an hour apart; how many bytes they are."""
    done = sdl.open_run(sdl.run(CAMPAIGN, runs=runs / "first").run)
    opened, *rest = done.events
    assert isinstance(opened, Opened)
    size = 0
    for n in range(count):
        name, when = f"night-{n % 40}", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n / 2)
        stamp = f"{when:%Y%m%dT%H%M%S.000000Z}-{n:06x}"
        record.write_whole(runs / name / stamp, [dataclasses.replace(opened, run=stamp, campaign=name), *rest])
        size = size or (runs / name / stamp / record.FILE).stat().st_size
    return size * count


def measured(http: httpx.Client, count: int, process: int, runs: Path) -> dict[str, object]:
    """Index, pages, streams."""
    found: dict[str, object] = {}
    begun = time.perf_counter()
    http.get("/runs")
    found["first_page_while_it_reads_ms"] = round(1e3 * (time.perf_counter() - begun), 1)
    waits = []
    while "being read" in (text := timed(http, "/runs", waits)):
        time.sleep(0.5)
    found["index_from_records_s"] = since(begun)
    found["page_while_it_reads_ms"] = round(1e3 * statistics.median(waits), 1)
    link = re.search(r'href="(/runs/night[^"]+)"', text)
    assert link is not None
    assert f"{count} runs" in text or f"{count + 1} runs" in text, "all of them are there"
    for name, path in PAGES.items():
        taken: list[float] = []
        for _ in range(30):
            timed(http, path.format(last=-(-count // 50), run=link[1]), taken)
            time.sleep(0.05)
        found[f"{name}_ms"] = {"median": ms(statistics.median(taken)), "most": ms(max(taken))}
    changed = next(runs.glob("night-7/*"))
    (changed / "notes.json").write_text('{"note": "", "tags": ["new"], "version": 1, "by": "", "at": 0}')
    begun = time.perf_counter()
    while "1 run<" not in http.get("/runs?tag=new").text:
        time.sleep(0.05)
    found["one_changed_s"] = since(begun)
    before, cpu = memory(process), spent(process)
    base = http.base_url
    streams = []
    for _ in range(50):
        one = socket.create_connection((base.host, base.port))
        one.sendall(f"GET /events HTTP/1.1\r\nHost: {base.host}:{base.port}\r\n\r\n".encode())
        streams.append(one)
    time.sleep(10)
    found["50_streams"] = {
        "cpu_percent": round(10 * (spent(process) - cpu), 1),
        "more_MB": round((memory(process) - before) / 1e6, 1),
    }
    for one in streams:
        one.close()
    return found


def timed(http: httpx.Client, path: str, taken: list[float]) -> str:
    """A page, and the seconds that it took."""
    begun = time.perf_counter()
    answer = http.get(path)
    taken.append(time.perf_counter() - begun)
    assert answer.status_code == 200, answer.text
    return answer.text


def since(begun: float) -> float:
    """Seconds from then on."""
    return round(time.perf_counter() - begun, 1)


def ms(seconds: float) -> float:
    """In milliseconds."""
    return round(1e3 * seconds, 1)


def memory(process: int) -> float:
    """Resident bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def spent(process: int) -> float:
    """CPU seconds."""
    parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
