"""The text of a report on a run, not yet escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sdl import formatting, yamlfile
from sdl.advice import advise
from sdl.core.events import Corrected
from sdl.core.goal import Band
from sdl.core.trials import Trial
from sdl.report import style
from sdl.report.table import TrialTable, unit_of_time
from sdl.runs.runs import Run
from sdl.store import trial_files
from sdl.store.lock import writing_process
from sdl.store.resolve import start_time
from sdl.types import GOOD_OUTCOMES

SHORT = 60
"""Longest reason of a proposal that stands in its row; a longer one is unfolded by a click."""

ENDS = 12
"""Number of trials shown at the beginning and at the end of a long campaign, with the best one between them."""

MOST_ROWS = 1200  # most trials that can be unfolded: a page with 5,000 would weigh more than its figures

MOST_WORDS = 600  # characters of the remarks on one trial; `sdl explain` prints all of them


def summary(table: TrialTable) -> dict[str, Any]:
    """All values that `templates/pieces.html.j2` needs."""
    run, result, final = table.run, table.run.result, table.final
    unit, length = unit_of_time(table.seconds)
    settings = []
    if final:
        requested, applied = table.spec.settings(final.settings), table.spec.settings(final.applied or {})
        titles = {name: table.spec.title(name) for name in table.inputs}
        settings = [{"name": titles[n], "asked": requested[n], "applied": applied.get(n, "?")} for n in table.inputs]
    process = "" if result.outcome else writing_process(run.folder)
    not_off = formatting.not_off(result.safe)
    advice = advise(result, run.campaign, run.opened, run.config)
    reasons = filter(None, [advice.reason, not_off])
    beside = _beside(run)
    rows = [_row(table, trial, beside.get(trial.trial, ())) for trial in table.trials]
    coloured = any(row["rgb"] for row in rows)
    return {
        "campaign": run.opened.campaign,
        "instrument": formatting.instrument_line(run.opened),
        "when": _when(table),
        "counts": f"{formatting.counts(result)} in {table.seconds / length:.3g} {unit}",
        "description": str(run.config.get("description") or ""),
        "outcome": formatting.display(result.outcome or ("running" if process else "unfinished")),
        "good": result.outcome in GOOD_OUTCOMES and not not_off,
        "reason": f"running now ({process})" if process else formatting.truncate("; ".join(reasons), 3 * MOST_WORDS),
        "mean": advice.mean,
        "next": None if process else advice.next,
        "goal": formatting.goal_line(table.goal),
        "has_goal": table.goal is not None,
        "settings_title": f"Settings of trial {final.trial}, the {table.final_name}" if final else "Settings",
        "rgb": style.swatch(final.shown_settings, table.run.opened.instrument["inputs"]) if final else None,
        "settings": settings,
        "channels": channel_cells(final, table.goal_channels, table.units) if final and final.readings else [],
        "inputs": table.inputs,
        "coloured": coloured,
        "width": 3 + coloured + len(table.inputs) + 2 * (table.goal is not None),
        **_shortened(rows, run.folder.name.rpartition("-")[2]),
        "provenance": _provenance(table),
        "config": yamlfile.dump(dict(run.config)),
        "versions": sorted(run.opened.versions.items()),
        "sdl": run.opened.versions.get("sdl", "unknown"),
        "run": f"{run.folder.parent.name}/{run.folder.name}",
        "sha": run.sha,
    }


def _when(table: TrialTable) -> str:
    stamp = start_time(table.run.folder.name) or datetime.fromtimestamp(table.start, UTC).isoformat(timespec="seconds")
    return f"{stamp[:10]} {stamp[11:19]} UTC{stamp[19:].replace('+00:00', '')}"


def channel_cells(trial: Trial, channels: Sequence[str], units: dict[str, str]) -> list[dict[str, str]]:
    """A row for each channel of a trial: name, unit, reading; with a goal also target, error and tolerance ratio."""
    rows = []
    for name in channels:
        band = trial.goal.bands[name] if trial.goal else None
        value, saturated = trial.mean.get(name, math.nan), name in trial.saturated
        reading = "not read" if math.isnan(value) else formatting.reading(value, band)
        cells = {"name": name, "reading": reading + (", saturated" if saturated else ""), "unit": units[name]}
        if band is not None:
            miss = math.inf if saturated else band.miss(value)
            cells |= (
                {"goal": str(band), "error": "", "ratio": "", "mark": ""}
                if band.direction is not None
                else {
                    "goal": str(band).replace("± ", "±\u00a0"),
                    "error": _error(band, value),
                    "ratio": formatting.ratio(miss),
                    "mark": "good" if miss <= 1 else "bad",
                }
            )
        rows.append(cells)
    return rows


def _error(band: Band, value: float) -> str:
    """`−0.78 %` of the target; in the channel's unit where the target is 0 or there is none."""
    if math.isnan(value):
        return ""
    if band.target:
        return f"{'−' if value < band.target else '+'}{formatting.percent(abs(value - band.target) / abs(band.target))}"
    beyond = value - band.target if band.target is not None else value - min(max(value, band.low), band.high)
    return f"{'−' if beyond < 0 else '+'}{formatting.reading(abs(beyond), band)}" if beyond else "0"


def _beside(run: Run) -> dict[int, list[str]]:
    """What people did to the trials of a run, by trial: corrections with their reasons, and files."""
    texts: dict[int, list[str]] = {}
    for event in run.events:
        if isinstance(event, Corrected):
            what = "excluded" if event.readings is None else "corrected"
            text = f"reading {event.repeat + 1} {what} by {event.by}: {formatting.visible(event.why)}"
            texts.setdefault(event.trial, []).append(text)
    for one in trial_files.files(run.folder):
        texts.setdefault(one.trial, []).append(f"file: {one.title}")
    return texts


def _row(table: TrialTable, trial: Trial, beside: Sequence[str]) -> dict[str, Any]:
    why = formatting.truncate(formatting.cause(trial.proposed.why), MOST_WORDS)
    remarks = [why] if len(why) <= SHORT else []
    remarks += formatting.trial_remarks(trial, table.run.campaign.plan)
    if trial.readings > 1:
        remarks.append(f"mean of {trial.readings} readings")
    remarks += [*formatting.reading_notes(trial), *beside]
    return {
        **trial_cells(trial, table.spec),
        "remarks": formatting.truncate("; ".join(filter(None, remarks)), MOST_WORDS),
        "why": why if len(why) > SHORT else "",
        "best": table.goal is not None and trial is table.best,
    }


def trial_cells(trial: Trial, spec: formatting.InstrumentSpec) -> dict[str, Any]:
    """The cells of every table of trials: number, origin, colour, settings, worst channel and its tolerance ratio."""
    settings = spec.settings(trial.settings)
    has_ratio = trial.judged and trial.goal is not None and bool(trial.goal.limited)
    return {
        "rgb": style.swatch(trial.shown_settings, [spec.specs[name] for name in spec.inputs]),
        "settings": [settings[name] for name in spec.inputs],
        "trial": trial.trial,
        "by": trial.proposed.by,
        "worst": trial.worst if has_ratio else "",
        "ratio": formatting.ratio(trial.miss) if has_ratio else "",
        "mark": "" if not has_ratio else "good" if trial.miss <= 1 else "bad",
    }


def _shortened(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """The trials that are shown, and those that a click unfolds."""
    n = len(rows)
    if n <= 3 * ENDS:
        return {"some": list(rows), "all": [], "all_title": ""}
    best = next((i for i, row in enumerate(rows) if row["best"]), 0)
    some = _with_gaps(rows, sorted({*range(ENDS), best, *range(n - ENDS, n)}))
    if n <= MOST_ROWS:
        return {"some": some, "all": list(rows), "all_title": f"All {n} trials"}
    half = MOST_ROWS // 2
    title = f"The first {half} and the last {half} of {n} trials; sdl explain {name} prints all of them"
    return {"some": some, "all": _with_gaps(rows, [*range(half), *range(n - half, n)]), "all_title": title}


def _with_gaps(rows: Sequence[dict[str, Any]], kept: Sequence[int]) -> list[dict[str, Any]]:
    """The rows that are kept, and between them how many are left out."""
    shown: list[dict[str, Any]] = []
    for last, i in zip([-1, *kept], kept, strict=False):
        gap = [{"gap": formatting.count(i - last - 1, "trial")}] if i > last + 1 else []
        shown += [*gap, rows[i]]
    return shown


def _provenance(table: TrialTable) -> list[tuple[str, str]]:
    run, opened = table.run, table.run.opened
    prior = [f"{part['rows']} rows of {part['source']}, sha256 {part['sha256']}" for part in opened.prior]
    items = [
        ("run", f"{run.folder.parent.name}/{run.folder.name}"),
        ("record", f"{formatting.count(len(run.events), 'event')}, sha {run.sha}"),
        ("instrument", f"{opened.instrument['kind']}, {opened.instrument['identity']}"),
        ("solver", run.config.get("solver", {}).get("kind", "") if table.goal else ""),
        ("design", str(run.config.get("design", {}).get("kind", ""))),
        ("seed", str(run.config.get("seed", ""))),
        ("prior", "; ".join(prior)),
        ("clock", opened.clock),
        ("by", opened.user),
        ("ended by", run.result.by),
    ]
    return [(name, text) for name, text in items if text]
