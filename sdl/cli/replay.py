"""The command `sdl replay`: recompute the decisions of a record and report differences."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sdl.cli.options import LIMIT, RUNS, Json, Limit, RunName, Runs, campaign_run, emit, limit_of
from sdl.cli.terminal import say
from sdl.errors import SolverError
from sdl.formatting import count

if TYPE_CHECKING:
    from sdl.replay import Difference, Replayed, Shift

MOST = 10
"""Number of differences printed; `--json` has all of them."""


def replay(name: RunName, runs: Runs = RUNS, limit: Limit = LIMIT, json: Json = False) -> None:
    """Re-run the decisions of a record and report differences.

    \b
    sdl replay latest

    The recorded readings are fed back and every proposal is recomputed with the same random numbers, as are the
    readings of a twin. Nothing is measured on a real instrument and nothing is written; the run need not be finished.
    Exit code 1 if a decision differs, 4 if a solver hangs or ends its process.
    """
    found = _replayed(campaign_run(name, runs), limit_of(limit))
    if json:
        from sdl.replay import plain

        emit(plain(found))
    else:
        _tell(found)
    if not found.same:
        raise typer.Exit(1)


def _replayed(folder: Path, limit: float | None) -> Replayed:
    """The replay, in a process of its own if there is a limit.

    Raises:
        SolverError: it took longer, or ended its process.
    """
    from sdl import replay
    from sdl.parallel import pool
    from sdl.runs.runs import open_run

    def crashed(error: pool.Crashed) -> Replayed:
        solver = (open_run(folder).config.get("solver") or {}).get("kind", "none")
        said = f"the replay has no end: {str(error).partition(': ')[2]}: solver {solver}"
        raise SolverError(f"{folder}: {said}") from None

    done = pool.each(replay.replay, [folder], again=0, crashed=crashed, limit=limit)
    with contextlib.closing(done):
        return next(done)[1]


def _tell(found: Replayed) -> None:
    say(f"{found.run}: {_compared(found)}")
    if found.identical:
        say("identical: every decision and every figure is as recorded")
    elif found.same:
        size = f"by up to {100 * found.far:.2g} %" if found.far < 1 else "by 100 % or more"
        size += ", as between two processors" if found.equal else ""
        told = f"other figures (spread, expected readings) differ from trial {min(found.told)} on, {size}"
        say(f"the same decisions; {told}")
    _tell_decided(found)
    if found.loop:
        say(f"the campaign continues differently: {found.loop}", 2)
    if found.measured:
        say(f"the twin gives other values in {len(found.measured)} of {count(found.readings, 'reading')}:")
        for text in found.measured[:MOST]:
            say(f"  {text}", 4)
    if found.unasked:
        say(f"readings were not recomputed: {found.unasked}")
    changed = [f"{p} {then or 'none'} → {now or 'none'}" for p, (then, now) in found.versions.items()]
    say(f"versions changed: {', '.join(changed)}" if changed else "versions: unchanged")


def _compared(found: Replayed) -> str:
    parts = [count(found.proposals, "proposal")]
    parts += [f"{count(found.readings, 'reading')} of the twin"] if found.readings else []
    return f"{' and '.join(parts)} recomputed" + ("" if found.finished else "; the run is not finished")


def _tell_decided(found: Replayed) -> None:
    if not found.decided:
        return
    first = found.decided[0].trial
    say(f"different from trial {first} on: {len(found.decided)} of {count(found.proposals, 'proposal')}")
    for difference in found.decided[:MOST]:
        say(f"  trial {difference.trial}: {_said(difference)}", 4)
    if found.decided[MOST:]:
        say(f"  and {count(len(found.decided) - MOST, 'trial')} more: --json has them all")


def _said(difference: Difference) -> str:
    parts = [f"{name} {_shift(shift)}" for name, shift in difference.shifts.items()]
    return "; ".join(filter(None, [", ".join(parts), difference.what]))


def _shift(shift: Shift) -> str:
    spreads = "" if shift.spreads is None else f", {shift.spreads:.2g} spreads"
    return f"{shift.then:.6g} → {shift.now:.6g} ({100 * shift.part:+.2g} % of its range{spreads})"
