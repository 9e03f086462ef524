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
    replayed = _replayed(campaign_run(name, runs), limit_of(limit))
    if json:
        from sdl.replay import plain

        emit(plain(replayed))
    else:
        _tell(replayed)
    if not replayed.same:
        raise typer.Exit(1)


def _replayed(folder: Path, limit: float | None) -> Replayed:
    """Replay the run, in a separate process if there is a limit.

    Raises:
        SolverError: it took longer, or ended its process.
    """
    from sdl import replay
    from sdl.parallel import pool
    from sdl.runs.runs import open_run

    def crashed(error: pool.Crashed) -> Replayed:
        solver = (open_run(folder).config.get("solver") or {}).get("kind", "none")
        message = f"the replay has no end: {str(error).partition(': ')[2]}: solver {solver}"
        raise SolverError(f"{folder}: {message}") from None

    done = pool.each(replay.replay, [folder], again=0, crashed=crashed, limit=limit)
    with contextlib.closing(done):
        return next(done)[1]


def _tell(replayed: Replayed) -> None:
    say(f"{replayed.run}: {_compared(replayed)}")
    if replayed.identical:
        say("identical: every decision and every figure is as recorded")
    elif replayed.same:
        size = f"by up to {100 * replayed.far:.2g} %" if replayed.far < 1 else "by 100 % or more"
        size += ", as between two processors" if replayed.equal else ""
        figures = f"other figures (spread, expected readings) differ from trial {min(replayed.told)} on, {size}"
        say(f"the same decisions; {figures}")
    _tell_decided(replayed)
    if replayed.loop:
        say(f"the campaign continues differently: {replayed.loop}", 2)
    if replayed.measured:
        say(f"the twin gives other values in {len(replayed.measured)} of {count(replayed.readings, 'reading')}:")
        for text in replayed.measured[:MOST]:
            say(f"  {text}", 4)
    if replayed.unasked:
        say(f"readings were not recomputed: {replayed.unasked}")
    changed = [f"{p} {then or 'none'} → {now or 'none'}" for p, (then, now) in replayed.versions.items()]
    say(f"versions changed: {', '.join(changed)}" if changed else "versions: unchanged")


def _compared(replayed: Replayed) -> str:
    parts = [count(replayed.proposals, "proposal")]
    parts += [f"{count(replayed.readings, 'reading')} of the twin"] if replayed.readings else []
    return f"{' and '.join(parts)} recomputed" + ("" if replayed.finished else "; the run is not finished")


def _tell_decided(replayed: Replayed) -> None:
    if not replayed.decided:
        return
    first = replayed.decided[0].trial
    say(f"different from trial {first} on: {len(replayed.decided)} of {count(replayed.proposals, 'proposal')}")
    for difference in replayed.decided[:MOST]:
        say(f"  trial {difference.trial}: {_said(difference)}", 4)
    if replayed.decided[MOST:]:
        say(f"  and {count(len(replayed.decided) - MOST, 'trial')} more: --json has them all")


def _said(difference: Difference) -> str:
    parts = [f"{name} {_shift(shift)}" for name, shift in difference.shifts.items()]
    return "; ".join(filter(None, [", ".join(parts), difference.what]))


def _shift(shift: Shift) -> str:
    spreads = "" if shift.spreads is None else f", {shift.spreads:.2g} spreads"
    return f"{shift.then:.6g} → {shift.now:.6g} ({100 * shift.part:+.2g} % of its range{spreads})"
