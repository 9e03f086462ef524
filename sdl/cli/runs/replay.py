"""The command `sdl replay`: recompute the decisions of a record and report differences."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sdl.cli.options import LIMIT, RUNS, Json, Limit, RunName, Runs, Trust, campaign_run, emit
from sdl.cli.terminal import say
from sdl.errors import SolverError
from sdl.formatting import count
from sdl.parallel import pool

if TYPE_CHECKING:
    from sdl.replay import Replayed, Shift

MOST_DIFFERENCES = 10  # printed; `--json` has all of them


def replay(name: RunName, runs: Runs = RUNS, limit: Limit = LIMIT, json: Json = False, trust: Trust = False) -> None:
    """Re-run the decisions of a record and report differences.

    \b
    sdl replay latest

    The recorded readings are fed back and every proposal is recomputed with the same random numbers, as are the
    readings of a twin. Nothing is measured on a real instrument and nothing is written; the run need not be finished.
    Exit code 1 if a decision differs, 4 if a solver hangs or ends its process.
    """
    replayed = _replayed(campaign_run(name, runs), limit, trust)
    if json:
        from sdl.replay import plain

        emit(plain(replayed))
    else:
        for text, indent in _lines(replayed):
            say(text, indent)
    if not replayed.same:
        raise typer.Exit(1)


def _replayed(folder: Path, limit: float | None, trust: bool) -> Replayed:
    """Replay the run, in a separate process if there is a limit.

    Raises:
        SolverError: it took longer, or ended its process.
    """
    from sdl import replay
    from sdl.runs.runs import open_run

    def crashed(error: pool.Crashed) -> Replayed:
        solver = (open_run(folder).config.get("solver") or {}).get("kind", "none")
        message = f"the replay has no end: {str(error).partition(': ')[2]}: solver {solver}"
        raise SolverError(f"{folder}: {message}") from None

    with contextlib.closing(
        pool.each(partial(replay.replay, trust=trust), [folder], again=0, crashed=crashed, limit=limit)
    ) as done:
        return next(done)[1]


def _lines(replayed: Replayed) -> Iterator[tuple[str, int]]:
    """The lines of the report, each with the indentation of its continuation."""
    twin = f" and {count(replayed.readings, 'reading')} of the twin" if replayed.readings else ""
    unfinished = "" if replayed.finished else "; the run is not finished"
    yield f"{replayed.run}: {count(replayed.proposals, 'proposal')}{twin} recomputed{unfinished}", 2
    if replayed.identical:
        yield "identical: every decision and every figure is as recorded", 2
    elif replayed.same:
        size = f"by up to {100 * replayed.far:.2g} %" if replayed.far < 1 else "by 100 % or more"
        size += ", as between two processors" if replayed.equal else ""
        first = min(replayed.told)
        yield f"the same decisions; other figures (spread, expected readings) differ from trial {first} on, {size}", 2
    if decided := replayed.decided:
        proposals = count(replayed.proposals, "proposal")
        yield f"different from trial {decided[0].trial} on: {len(decided)} of {proposals}", 2
        for difference in decided[:MOST_DIFFERENCES]:
            shifts = ", ".join(f"{name} {_shift(shift)}" for name, shift in difference.shifts.items())
            yield f"  trial {difference.trial}: {'; '.join(filter(None, [shifts, difference.what]))}", 4
        if decided[MOST_DIFFERENCES:]:
            yield f"  and {count(len(decided) - MOST_DIFFERENCES, 'trial')} more: --json has them all", 2
    if replayed.loop:
        yield f"the campaign continues differently: {replayed.loop}", 2
    if replayed.measured:
        yield f"the twin gives other values in {len(replayed.measured)} of {count(replayed.readings, 'reading')}:", 2
        yield from ((f"  {text}", 4) for text in replayed.measured[:MOST_DIFFERENCES])
    if replayed.unasked:
        yield f"readings were not recomputed: {replayed.unasked}", 2
    changed = [f"{p} {then or 'none'} → {now or 'none'}" for p, (then, now) in replayed.versions.items()]
    yield f"versions changed: {', '.join(changed)}" if changed else "versions: unchanged", 2


def _shift(shift: Shift) -> str:
    spreads = "" if shift.spreads is None else f", {shift.spreads:.2g} spreads"
    return f"{shift.then:.6g} → {shift.now:.6g} ({100 * shift.part:+.2g} % of its range{spreads})"
