"""The page in Chromium: first paint of a live run, memory over an hour of updates, one of many runs found by a person.

    python benchmarks/page.py                       5,000 trials, 200,000 events, 3,600 updates, 10,000 runs
    python benchmarks/page.py --updates 200 --runs 500

It needs Playwright and Chromium. First paint is the entry `first-contentful-paint` of the browser, in a new context
each time; `cold` is the first request of a server that has not read the record. The hour is played faster: a writer
appends a trial, the page shows it, and the next one follows; a second of a run is one update. Heap and nodes are those
after a collection of garbage.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import scale
import web

import sdl
from sdl.core.events import Measured, Proposed, Stopped
from sdl.runs import notes
from sdl.store import record

REPEATS = 3
RUN = f"/runs/long/{scale.STAMP}-long"
QUICK = "import sdl.web.feeds as feeds; feeds.RunFeed.every = .02; from sdl.cli import main; main()"
"""A server that looks at records fifty times a second: an hour is played faster."""


def main() -> None:
    """Measures, and prints one JSON object."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5_000, help="of the live page")
    parser.add_argument("--events", type=int, default=200_000, help="of the long record")
    parser.add_argument("--updates", type=int, default=3_600)
    parser.add_argument("--runs", type=int, default=10_000)
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sdl-page-") as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        live, long, many = (Path(place, name, "runs") for name in ("live", "long", "many"))
        scale.write_long(live, given.trials, 1)
        scale.write_long(long, given.events // 2, 1)
        cut_off_end(live / "long" / f"{scale.STAMP}-long")
        told["live_page"] = first_paint(browser, live)
        told["long_record"] = first_paint(browser, long)
        told["hour"] = hour(browser, live, given.updates)
        web.fill(many, given.runs)
        told["find"] = find(browser, many, given.runs)
        browser.close()
    print(json.dumps(told, indent=2))


def cut_off_end(folder: Path) -> None:
    """Make a record that of a run which has not stopped."""
    events = sdl.open_run(folder).events
    shutil.rmtree(folder)
    rules = {**events[0].config, "stop": {**events[0].config["stop"], "trials": 1_000_000}}
    first = dataclasses.replace(events[0], config=rules)
    record.write_whole(folder, [first, *(event for event in events[1:] if not isinstance(event, Stopped))])


@contextmanager
def serving(runs: Path, *command: str) -> Iterator[tuple[str, int]]:
    """The address and the process of a server of the page."""
    environ = {**os.environ, "XDG_STATE_HOME": str(runs.parent), "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, *(command or ("-m", "sdl")), "web", "--runs", str(runs)]
    server = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0], server.pid
    finally:
        server.terminate()
        server.wait(60)


def first_paint(browser: Any, runs: Path) -> dict[str, float]:
    """Milliseconds until the browser has painted the page of the run, and the CPU time of the server for it."""
    cold, warm, spent = [], [], []
    for _ in range(REPEATS):
        with serving(runs) as (url, process):
            painted(browser, f"{url}/start")  # what every page needs is loaded
            before = web.spent(process)
            cold.append(painted(browser, url + RUN))
            spent.append(1e3 * (web.spent(process) - before))
            warm += [painted(browser, url + RUN) for _ in range(REPEATS)]
    middle = {"cold_ms": statistics.median(cold), "cold_cpu_ms": statistics.median(spent)}
    return {key: round(value) for key, value in (middle | {"again_ms": statistics.median(warm)}).items()}


def painted(browser: Any, url: str) -> float:
    """Milliseconds from the request to the first contentful paint."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(url)
        entry = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        until(page, entry)
        return float(page.evaluate(entry))
    finally:
        context.close()


def hour(browser: Any, runs: Path, updates: int) -> dict[str, Any]:
    """Memory of server and page at the beginning, in the middle and at the end of so many updates of the live page."""
    folder, states, taken = runs / "long" / f"{scale.STAMP}-long", [], []
    events = sdl.open_run(folder).events
    pairs = [(p, m) for p, m in itertools.pairwise(events) if isinstance(p, Proposed) and isinstance(m, Measured)]
    begun = sum(isinstance(event, Proposed) for event in events)
    del events
    with serving(runs, "-c", QUICK) as (url, process):
        page = browser.new_context().new_page()
        browser_memory = page.context.new_cdp_session(page)
        page.goto(url + RUN)
        shows(page, begun - 1)
        writer = record.Record.open(folder)
        begin = time.perf_counter()
        for number in range(updates):
            if number in (0, updates // 2):
                states.append(memory(browser_memory, process))
            proposed, measured = pairs[number % 80]
            writer.append(dataclasses.replace(proposed, trial=begun + number))
            writer.append(dataclasses.replace(measured, trial=begun + number))
            sent = time.perf_counter()
            shows(page, begun + number)
            taken.append(1e3 * (time.perf_counter() - sent))
        seconds = time.perf_counter() - begin
        states.append(memory(browser_memory, process))
        writer.close()
        page.context.close()
    shown = {"updates": updates, "seconds": round(seconds), "shown_after_ms": round(statistics.median(taken))}
    return shown | dict(zip(("begin", "middle", "end"), states, strict=True))


def shows(page: Any, trial: int) -> None:
    """Wait until the page shows a trial."""
    until(page, f"document.getElementById('main').textContent.includes('trial {trial}')")


def until(page: Any, expression: str, most: float = 120.0) -> None:
    """Wait until an expression is true in the page; the page's policy allows no function that Playwright would poll."""
    ends = time.monotonic() + most
    while not page.evaluate(expression):
        if time.monotonic() > ends:
            raise TimeoutError(expression)
        time.sleep(0.01)


def memory(session: Any, process: int) -> dict[str, float]:
    """Megabytes of the server and of the page's heap, and nodes of the page."""
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    heap, nodes = round(metrics["JSHeapUsedSize"] / 1e6, 1), int(metrics["Nodes"])
    return {"server_MB": round(web.memory(process) / 1e6, 1), "heap_MB": heap, "nodes": nodes}


def find(browser: Any, runs: Path, count: int) -> dict[str, Any]:
    """Find and open one of many runs by goal and tag, as a person does: clicks, typed words, seconds."""
    wanted = sorted(runs.glob("night-7/*"))[0]
    notes.write(wanted, "", ["blue"], 0, "benchmark", 0.0)
    other = sorted(runs.glob("night-8/*"))[0]
    notes.write(other, "", ["red"], 0, "benchmark", 0.0)
    with serving(runs) as (url, _):
        page = browser.new_context().new_page()
        page.goto(url)
        page.click("nav >> text=Runs")
        while "being read" in page.inner_text("main"):
            page.wait_for_timeout(500)
        page.goto(url)
        begun, clicks = time.perf_counter(), 0
        page.click("nav >> text=Runs")
        clicks += 1
        page.click("#goal")
        clicks += 1
        page.keyboard.type("445nm 16384", delay=60)  # ms between two keys, as a person types
        page.select_option("#tag", "blue")
        clicks += 2  # it opens the list, and chooses
        page.wait_for_selector("#found >> text=/^1 run$/")
        page.click("#found td.campaign a")
        clicks += 1
        page.wait_for_url(f"**/{wanted.name}")
        page.wait_for_selector("h1")
        seconds = time.perf_counter() - begun
        page.context.close()
    return {"runs": count, "clicks": clicks, "words_typed": 2, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    main()
