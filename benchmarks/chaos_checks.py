"""What must hold after benchmarks/chaos.py, whatever was killed: read from journal, records and the twins' own logs.

starts      every time that was due has a start, and every start exactly one end: ended, missed with a cause, given up
readings    every reading in a record is one line in its twin's log, and every lit line of that log is in a record,
            or the record says what became of it: an attempt that failed and may have measured, or a process that
            died between the proposal and the reading
one at once the stretches of a twin's log that belong to one process of a campaign never overlap
light       off within 5 s of a campaign's death, or of the return of the server that was away then
records     all pass `sdl check`, and so does the lab's journal
"""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sdl.core.events import Event, Failed, Interrupted, Measured, Opened, Proposed, Resumed
from sdl.lab import journal
from sdl.lab.core.events import Died, Due, Ended, GaveUp, MadeSafe, Missed, Started
from sdl.store import record

LIGHT = 5.0
"""Seconds within which the light must be off."""
Row = tuple[str, bool | None, str]


def report(folder: Path) -> int:
    """Prints the table; 1 where something does not hold."""
    rows = [*_starts(folder), *_records(folder), *_readings(folder), *_light(folder)]
    width = max(len(what) for what, _, _ in rows)
    for what, good, says in rows:
        mark = {True: "ok", False: "NOT OK", None: ""}[good]
        print(f"{what:{width}}  {mark:6}  {says}")
    bad = [what for what, good, _ in rows if good is False]
    print(f"{folder}: {'all holds' if not bad else 'does NOT hold: ' + ', '.join(bad)}")
    return 1 if bad else 0


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a log whose writer may have been killed."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _config(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "lab.yaml").read_text()))


# Starts ------------------------------------------------------------------------------------------------------------
def _starts(folder: Path) -> Iterator[Row]:
    attacks = Counter(line["what"] for line in _lines(folder / "attacks.jsonl"))
    yield "attacks", None, ", ".join(f"{n} × {what}" for what, n in attacks.items()) or "none"
    events = list(journal.read(journal.folder(folder / "runs", "chaos")))
    due = {event.start: event for event in events if isinstance(event, Due)}
    ends: dict[int, list[Any]] = defaultdict(list)
    for event in events:
        if isinstance(event, (Ended, Missed, GaveUp)):
            ends[event.start].append(event)
    jobs = _config(folder)["jobs"]
    wanted = Counter({job: len(body["when"]["at"]) for job, body in jobs.items()})
    have = Counter(event.job for event in due.values())
    twice = len(due) - len({(event.job, event.due) for event in due.values()})
    yield "due", have == wanted and not twice, f"{sum(have.values())} of {sum(wanted.values())}, {twice} twice"
    wrong = {start: ends[start] for start in due if len(ends[start]) != 1}
    fates = Counter(type(ends[start][0]).__name__.lower() for start in due if ends[start])
    told = ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items()))
    yield "accounted for", not wrong, f"{told}; {len(wrong)} without exactly one end" + _some(wrong)
    missed = Counter(e.cause.split(":")[0].split(" by ")[0][:60] for e in events if isinstance(e, Missed))
    missed = Counter({"replaced by the later start" if k.startswith("replaced") else k: n for k, n in missed.items()})
    without = sum(not e.cause for e in events if isinstance(e, Missed))
    yield "missed", not without, ", ".join(f"{n} × {cause}" for cause, n in missed.most_common()) or "none"
    outcomes = Counter(e.outcome for e in events if isinstance(e, Ended))
    yield "outcomes", None, ", ".join(f"{n} {outcome}" for outcome, n in outcomes.most_common())
    deaths = Counter(e.cause.split(";")[0].split(":")[0].split(" for ")[0] for e in events if isinstance(e, Died))
    yield "deaths", None, ", ".join(f"{n} × {cause}" for cause, n in deaths.most_common()) or "none"
    gave = [f"{e.start}: {e.reason}" for e in events if isinstance(e, GaveUp)]
    yield "given up", None, "; ".join(gave[:3]) or "none"
    late = sorted(e.at - due[e.start].due for e in events if isinstance(e, Started) and e.attempt == 0)
    if late:
        p95 = late[min(len(late) - 1, round(0.95 * (len(late) - 1)))]
        yield "jitter", None, f"{len(late)} starts: median {statistics.median(late):.3f} s, p95 {p95:.3f} s late"
    unsafe = Counter(e.error.split(":")[0] for e in events if isinstance(e, MadeSafe) and e.error)
    safe = sum(not e.error for e in events if isinstance(e, MadeSafe))
    yield "made safe", None, f"{safe} times; not yet: {dict(unsafe)}"


def _some(wrong: Any) -> str:
    return f": {dict(list(wrong.items())[:3])}" if wrong else ""


# Records -----------------------------------------------------------------------------------------------------------
def _folders(folder: Path) -> list[Path]:
    return sorted(file.parent for file in (folder / "runs").glob("led-*/*/record.jsonl") if ".empty-" not in str(file))


def _records(folder: Path) -> Iterator[Row]:
    wrong = []
    for run in _folders(folder):
        try:
            record.check(run)
        except Exception as error:
            wrong.append(f"{run.name}: {error}")
    yield "records", not wrong, f"{len(_folders(folder))} checked, {len(wrong)} damaged {'; '.join(wrong[:3])}"
    try:
        lines = journal.check(journal.folder(folder / "runs", "chaos")).lines
        yield "journal", True, f"{lines} lines"
    except Exception as error:
        yield "journal", False, str(error)


# Readings ----------------------------------------------------------------------------------------------------------
def _stretches(events: Sequence[Event]) -> list[list[Event]]:
    """The events of each process that worked on a record."""
    found: list[list[Event]] = []
    for event in events:
        if isinstance(event, (Opened, Resumed)):
            found.append([])
        found[-1].append(event)
    return found


def _key(settings: Any, readings: Any) -> tuple[Any, ...]:
    return (*(round(float(v), 12) for v in settings), *sorted(readings.items()))


def _readings(folder: Path) -> Iterator[Row]:
    recorded = invented = explained = overlaps = 0
    lost: list[str] = []
    for name, bench in _config(folder)["instruments"].items():
        port = bench["instrument"]["url"].split(":")[2].split("/")[0]
        log = _lines(folder / f"{port}.readings.jsonl")
        at: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for n, line in enumerate(log):
            at[_key(line["in"], line["out"])].append(n)
        owner: dict[int, tuple[str, int]] = {}
        maybe: Counter[tuple[float, ...]] = Counter()  # settings of requests that may have measured, unrecorded
        for run in _folders(folder):
            if run.parent.name != f"led-{name}":
                continue
            for part, events in enumerate(_stretches(list(record.read(run)))):
                asked: tuple[float, ...] | None = None
                hand: tuple[float, ...] | None = _in_hand(run, part)
                for event in events:
                    if isinstance(event, Proposed):
                        hand = tuple(round(v, 12) for v in event.settings.values())
                    elif isinstance(event, Measured):
                        recorded += 1
                        lines = at[_key(event.applied.values(), event.readings)]
                        if lines:
                            owner[lines.pop(0)] = (run.name, part)
                        else:
                            invented += 1
                    elif isinstance(event, Failed) and event.maybe_measured and hand is not None:
                        maybe[hand] += 1
                if hand is not None:
                    asked = hand
                    maybe[asked] += 1  # the process may have ended between the request and its line
                    if isinstance(events[-1], Interrupted):
                        maybe[asked] += 1
        for n, line in enumerate(log):
            if n in owner or not any(line["in"]):
                continue
            settings = tuple(round(float(v), 12) for v in line["in"])
            if maybe[settings]:
                maybe[settings] -= 1
                explained += 1
            else:
                lost.append(f"{name} line {n + 1}: {settings}")
        order = [owner[n] for n in range(len(log)) if n in owner]
        changes = [here for here, before in zip(order, [None, *order], strict=False) if here != before]
        overlaps += len(changes) - len(set(changes))
    says = f"{recorded} recorded, {invented} that no twin took; {explained} taken for requests that failed or died"
    yield "readings", not lost and not invented, f"{says}; {len(lost)} lost {'; '.join(lost[:3])}"
    yield "one at a time", not overlaps, f"{overlaps} campaigns between the readings of another's process"


def _in_hand(run: Path, part: int) -> tuple[float, ...] | None:
    """The settings that were proposed and not yet done when a process took over."""
    hand = None
    for stretch in _stretches(list(record.read(run)))[:part]:
        for event in stretch:
            if isinstance(event, Proposed):
                hand = tuple(round(v, 12) for v in event.settings.values())
    return hand


# Light -------------------------------------------------------------------------------------------------------------
def _light(folder: Path) -> Iterator[Row]:
    """Every stretch of light that no living campaign was there for ends within the limit."""
    attacks = _lines(folder / "attacks.jsonl")
    deaths = [line["at"] for line in attacks if line["what"] in ("kill campaign", "kill lab", "kill warm")]
    worst, late, lit_at_death = 0.0, [], 0
    last = 0.0
    for bench in _config(folder)["instruments"].values():
        port = int(bench["instrument"]["url"].split(":")[2].split("/")[0])
        light = _lines(folder / f"{port}.light.jsonl")
        for death in deaths:
            before = [line for line in light if line["at"] <= death]
            if not before or not before[-1]["lit"]:
                continue
            lit_at_death += 1
            off = next((line["at"] for line in light if line["at"] > death and not line["lit"]), None)
            since = max([death, *(a["at"] for a in attacks if a["what"] == "twin up" and a["port"] == port
                                  and death < a["at"] < (off or 9e99))])  # fmt: skip
            took = (off - since) if off is not None else float("inf")
            worst = max(worst, took)
            if took > LIGHT:
                late.append(f"{port} at {death:.1f}: {took:.1f} s")
        last += bool(light and light[-1]["lit"])
    says = f"on at {lit_at_death} deaths, off after {worst:.1f} s at most; {len(late)} later than {LIGHT:g} s"
    yield "light", not late, f"{says} {'; '.join(late[:4])}"
    yield "light at the end", not last, f"on at {last:g} instruments"
