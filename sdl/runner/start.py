"""The two doors: `run` and `resume`. Behind both: replay what is written, then do what is due."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdl import config, yamlfile
from sdl.config import CampaignFile
from sdl.core.events import Continued, Resumed
from sdl.errors import ConfigError, Problem, RecordError
from sdl.runner.gate import Gate
from sdl.runner.observers import Watch
from sdl.runner.perform import MemoryRecord, Runner, notify
from sdl.runner.setup import clock_for, instrument_lease, load_priors, opened_event, started_campaign, user, versions
from sdl.runner.shutdown import Patience
from sdl.runs.runs import Folded, Result, fold_stepwise, result_of, rules_of
from sdl.store.record import Record, write_file
from sdl.store.resolve import RUNS
from sdl.types import Outcome

log = logging.getLogger("sdl")


def run(
    campaign: str | Path | Mapping[str, Any] | CampaignFile,
    *,
    runs: str | Path | None = RUNS,
    changes: Sequence[str] = (),
    watch: Watch | None = None,
    collect: bool = False,
    gate: Gate | None = None,
    folder: str | Path | None = None,
    guarded: bool = False,
    patience: Patience | None = None,
) -> Result:
    """Runs a campaign to its end.

    Args:
        campaign: path of a YAML file, or the same as a mapping, or a model.
        runs: directory for the record; None keeps everything in memory and writes nothing.
        changes: `a.b=value` each, as `--set` takes them.
        watch: told of every event.
        collect: only the design is measured, the goal is left out.
        gate: asked whether to go on (`sdl.runner.gate`).
        folder: the run's directory, which must not exist yet; below `runs`, under a name of its own, by default.
        guarded: have a second process end this one where its solver goes on after SIGTERM, make the instrument safe and
            write the interruption down; in the main thread, with a record, on POSIX.
        patience: how long the instrument is asked to be off at the end; two minutes by default.

    Returns:
        What came of it; `safe` says whether the instrument is off.

    Raises:
        CampaignInterrupted: Ctrl-C or SIGTERM; the run can be resumed, and its `result.safe` says whether the
            instrument is off.
        InUse: another campaign on this machine drives the instrument; nothing was started.
        ConfigError: a mistake in the campaign; nothing was started.
        RecordError: the disk; the instrument was asked to be off, and the run can be resumed.
    """
    below = Path(runs) if runs is not None else RUNS
    if isinstance(campaign, (str, Path)):
        chosen = config.load(campaign, changes, collect=collect, runs=below)
    else:
        tree = campaign.plain() if changes and isinstance(campaign, CampaignFile) else campaign
        for change in changes:
            tree = config.override(tree, change)
        chosen = config.parse(tree, collect=collect, runs=below)
    if collect and chosen.goal is not None:
        chosen = chosen.without_goal()
    priors = load_priors(chosen)
    for prior in priors:
        for text in prior.warnings:
            log.warning("prior %s: %s", prior.source, text)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}"  # sorts by time, which `latest` relies on
    place = Path(folder) if folder is not None else Path(runs) / chosen.name / name if runs is not None else None
    name = place.name if place is not None else name
    with (
        instrument_lease(chosen.instrument, name),
        contextlib.closing(Record.create(place) if place else MemoryRecord()) as record,
    ):
        clock = clock_for(chosen.instrument)
        opened = opened_event(chosen, name, record, priors, clock)
        record.append(opened)
        if isinstance(record, Record):
            text = "# What this run was started with, every default written out. A copy: the record is what counts.\n"
            write_file(record.folder / "campaign.yaml", text + yamlfile.dump(chosen.plain()))
        state = started_campaign(chosen, opened, record.folder, priors)
        watch = notify(watch, opened, state)
        more: dict[str, Any] = {"gate": gate, "patience": patience, "guarded": guarded}
        return Runner(chosen, state, record, clock, watch, **more).go()


def resume(
    folder: str | Path,
    *,
    changes: Sequence[str] = (),
    watch: Watch | None = None,
    gate: Gate | None = None,
    guarded: bool = False,
    interrupted: str = "",
    patience: Patience | None = None,
) -> Result:
    """Goes on with a run where it was left: after Ctrl-C, `kill -9`, a power cut, or with changed rules.

    Args:
        folder: the run's directory.
        changes: `stop.trials=80` and the like; only the keys in `sdl.config.CHANGEABLE`.
        watch: told of every event, those already written first.
        gate: asked whether to go on; one that paused when it was left then stays so until the gate lets go.
        guarded: as of `run`.
        interrupted: the signal that its process was ended for; it is not gone on with, only made safe, and the
            interruption is written down.
        patience: how long the instrument is asked to be off at the end.

    Raises:
        ConfigError: a change that a resume cannot make. Damaged: its record was changed.
        InUse: it is running, or another campaign drives its instrument.
        CampaignInterrupted: as of `run`.
    """
    record = Record.open(Path(folder))
    with contextlib.closing(record), contextlib.ExitStack() as stack:
        for note in record.notes:
            log.warning("%s: %s", record.folder, note)
        folded = None
        for event, folded in fold_stepwise(iter(record.events), record.folder):
            watch = notify(watch, event, folded.campaign)
        if folded is None:
            raise RecordError(f"{record.folder}: empty: run the campaign anew")
        changed = _changes(folded, changes)
        tree = dict(folded.tree)
        for path, value in changed.items():
            tree = config.put(tree, path, value)
        # The priors' rows are in the run's own copy; their sources may be gone by now.
        chosen = config.restore(tree)
        if folded.campaign.history.outcome in (Outcome.REACHED, Outcome.DONE):
            return result_of(folded.campaign, record.folder)
        stack.enter_context(instrument_lease(chosen.instrument, record.folder.name))
        clock = clock_for(chosen.instrument, folded.at)
        unfinished = not folded.campaign.history.outcome
        more: dict[str, Any] = {"unfinished": unfinished, "gate": gate, "patience": patience}
        if interrupted:
            log.warning("the solver went on after %s, so its process was ended", interrupted)
            return Runner(chosen, folded.campaign, record, clock, watch, interrupted=interrupted, **more).go()
        runner = Runner(chosen, folded.campaign, record, clock, watch, guarded=guarded, **more)
        folded.campaign.plan = rules_of(tree).plan()
        runner.write(Resumed(versions(), changed, clock.now()))
        if folded.campaign.paused and gate is None:
            runner.write(Continued(user(), clock.now()))
        return runner.go()


def _changes(folded: Folded, changes: Sequence[str]) -> dict[str, Any]:
    changed = dict(map(config.split, changes))
    for path in changed:
        if path.split(".")[0] not in config.CHANGEABLE:
            allowed = ", ".join(config.CHANGEABLE)
            raise ConfigError(Problem(f"cannot be changed in a run that exists; allowed: {allowed}", f"--set {path}"))
    return changed
