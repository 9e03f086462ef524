"""What a page says about a run in words and numbers: plain values, everything formatted, nothing escaped yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sdl import formatting
from sdl.report import style
from sdl.report.digest import unit_of_time
from sdl.runs.listing import holder, started
from sdl.types import Outcome

if TYPE_CHECKING:
    from sdl.core.goal import Band
    from sdl.report.digest import Row, TrialTable

ENDS = 12
"""So many trials are shown at the beginning and at the end of a long campaign, with the best between them."""

MOST_ALL = 1200
"""So many more can be unfolded: a page of 5,000 would weigh more than its figures."""

MOST_WORDS = 600
"""Characters of what is said of a trial; `sdl explain` has it whole."""


def facts(told: TrialTable) -> dict[str, Any]:
    """Everything that `templates/pieces.html.j2` asks for."""
    run, done, final = told.run, told.run.result, told.final
    running = "" if done.outcome else holder(run.folder)
    on = formatting.not_off(done.safe)
    said = filter(None, [formatting.cause(done.reason), on])
    rows = [_row(told, row) for row in told.rows]
    rgb = style.swatch(_settings(final), run.opened.instrument["inputs"]) if final else None
    coloured = any(row["rgb"] for row in rows)
    return {
        "campaign": run.opened.campaign,
        "instrument": f"{run.opened.instrument['identity']}{' (simulated)' if run.opened.simulated else ''}",
        "when": _when(told),
        "taken": _taken(told),
        "description": str(run.config.get("description") or ""),
        "outcome": formatting.display(done.outcome or ("running" if running else "unfinished")),
        "good": done.outcome in (Outcome.REACHED, Outcome.DONE) and not on,
        "reason": f"it is running now ({running})" if running else _cut("; ".join(said), 3 * MOST_WORDS),
        "goal": formatting.goal_line(told.goal),
        "has_goal": told.goal is not None,
        "which": _which(told),
        "rgb": rgb,
        "settings": _inputs(told, final) if final else [],
        "channels": _channels(told, final) if final and final.mean else [],
        "inputs": told.inputs,
        "coloured": coloured,
        "width": 3 + coloured + len(told.inputs) + 2 * (told.goal is not None),
        **_thinned(rows, run.folder.name.rpartition("-")[2]),
        "about": _about(told),
        "config": _config(told),
        "versions": sorted(run.opened.versions.items()),
        "sdl": run.opened.versions.get("sdl", "unknown"),
        "run": f"{run.folder.parent.name}/{run.folder.name}",
        "sha": run.sha,
    }


def _when(told: TrialTable) -> str:
    stamp = started(told.run.folder.name) or datetime.fromtimestamp(told.start, UTC).isoformat(timespec="seconds")
    return f"{stamp[:10]} {stamp[11:19]} UTC{stamp[19:].replace('+00:00', '')}"


def _taken(told: TrialTable) -> str:
    done = told.run.result
    unit, length = unit_of_time(told.seconds)
    parts = [formatting.count(done.trials, "trial"), formatting.count(done.readings, "reading")]
    parts += [f"{done.failed} failed"] if done.failed else []
    return f"{', '.join(parts)} in {told.seconds / length:.3g} {unit}"


def _which(told: TrialTable) -> str:
    if told.final is None:
        return "Settings"
    kind = "best" if told.best is not None else "last"
    return f"Settings of trial {told.final.proposed.trial}, the {kind}"


def _settings(row: Row) -> dict[str, float]:
    return dict(row.applied or row.proposed.settings)


def _inputs(told: TrialTable, row: Row) -> list[dict[str, str]]:
    found = []
    for name in told.inputs:
        about, unit = told.about[name], told.units[name]
        applied = "?" if row.applied is None else formatting.setting(row.applied[name], about)
        asked = formatting.setting(row.proposed.settings[name], about)
        found.append({"name": f"{name} ({unit})" if unit else name, "asked": asked, "applied": applied})
    return found


def _channels(told: TrialTable, row: Row) -> list[dict[str, str]]:
    full = {name for event in row.readings for name in event.saturated}
    found = []
    for name in told.wanted:
        band = told.goal.bands[name] if told.goal else None
        value = row.mean.get(name, math.nan)
        reading = "not read" if math.isnan(value) else formatting.reading(value, band)
        cells = {"name": name, "reading": reading + (", saturated" if name in full else ""), "unit": told.units[name]}
        if band is not None:
            miss = math.inf if name in full else band.miss(value)
            judged = {"off": _off(band, value), "miss": "?" if math.isinf(miss) else formatting.times(miss)}
            cells |= {"goal": str(band).replace("± ", "±\u00a0"), **judged, "mark": "good" if miss <= 1 else "bad"}
        found.append(cells)
    return found


def _off(band: Band, value: float) -> str:
    """`−0.78 %`; in the channel's unit where the target is 0 or there is none."""
    if math.isnan(value):
        return ""
    if band.target:
        return f"{'−' if value < band.target else '+'}{formatting.percent(abs(value - band.target) / abs(band.target))}"
    beyond = value - band.target if band.target is not None else value - min(max(value, band.low), band.high)
    return f"{'−' if beyond < 0 else '+'}{formatting.reading(abs(beyond), band)}" if beyond else "0"


def _row(told: TrialTable, row: Row) -> dict[str, Any]:
    proposed = row.proposed
    judged = told.goal is not None and math.isfinite(row.miss)
    said = [formatting.cause(proposed.why)]
    if proposed.verdict is not None and proposed.verdict != "reachable":
        said.append(formatting.display(proposed.verdict))
    if proposed.clipped:
        said.append(f"clipped: {', '.join(proposed.clipped)}")
    said += sorted({event.fault for event in row.readings if event.fault})
    if row.failed:
        said.append(f"failed: {formatting.cause(row.failed)}")
    elif row.failures:
        said.append(f"after {formatting.count(len(row.failures), 'failed attempt')}")
    if len(row.readings) > 1:
        said.append(f"mean of {len(row.readings)} readings")
    return {
        "trial": proposed.trial,
        "by": proposed.by,
        "rgb": style.swatch(_settings(row), told.run.opened.instrument["inputs"]),
        "settings": [formatting.setting(proposed.settings[name], told.about[name]) for name in told.inputs],
        "worst": _worst(told, row) if judged else "",
        "miss": formatting.times(row.miss) if judged else "",
        "mark": "" if not judged else "good" if row.miss <= 1 else "bad",
        "why": _cut("; ".join(filter(None, said)), MOST_WORDS),
        "best": told.goal is not None and proposed.trial == told.run.result.best,
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _worst(told: TrialTable, row: Row) -> str:

    return told.goal.worst_channel(row.mean) if told.goal is not None else ""


def _thinned(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The trials to show at once, and those behind a click."""
    n = len(rows)
    if n <= 3 * ENDS:
        return {"some": list(rows), "all": [], "all_said": ""}
    best = next((i for i, row in enumerate(rows) if row["best"]), 0)
    some = _pieces(rows, sorted({*range(ENDS), best, *range(n - ENDS, n)}))
    if n <= MOST_ALL:
        return {"some": some, "all": list(rows), "all_said": f"All {n} trials"}
    half = MOST_ALL // 2
    said = f"The first {half} and the last {half} of {n} trials; every one: sdl explain {name}"
    return {"some": some, "all": _pieces(rows, [*range(half), *range(n - half, n)]), "all_said": said}


def _pieces(rows: Sequence[dict[str, Any]], kept: Sequence[int]) -> list[dict[str, Any]]:
    found, last = [], -1
    for i in kept:
        if i > last + 1:
            found.append({"gap": formatting.count(i - last - 1, "trial")})
        found.append(rows[i])
        last = i
    return found


def _about(told: TrialTable) -> list[tuple[str, str]]:
    run, opened = told.run, told.run.opened
    solver = run.config.get("solver", {}).get("kind", "") if told.goal else ""
    prior = [f"{part['rows']} rows of {part['source']}, sha256 {part['sha256']}" for part in opened.prior]
    found = [
        ("run", f"{run.folder.parent.name}/{run.folder.name}"),
        ("record", f"{formatting.count(len(run.events), 'event')}, sha {run.sha}"),
        ("instrument", f"{opened.instrument['kind']}, {opened.instrument['identity']}"),
        ("solver", solver),
        ("design", str(run.config.get("design", {}).get("kind", ""))),
        ("seed", str(run.config.get("seed", ""))),
        ("prior", "; ".join(prior)),
        ("clock", opened.clock),
        ("by", opened.user),
        ("ended by", run.result.by),
    ]
    return [(name, text) for name, text in found if text]


def _config(told: TrialTable) -> str:
    from sdl import yamlfile

    return yamlfile.dump(dict(told.run.config))
