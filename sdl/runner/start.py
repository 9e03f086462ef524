"""`run` and `resume`: fold what is recorded, then perform what is due."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sdl import config
from sdl.config import CampaignFile, ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import Continued, Opened, Resumed
from sdl.drivers.python_function import Measure, PythonFunction
from sdl.drivers.trust import require_trust
from sdl.errors import ConfigError, Problem, RecordError
from sdl.formatting import is_external
from sdl.runner.gate import Gate
from sdl.runner.messages import both, messenger, require_recipients
from sdl.runner.observers import Watch, notify
from sdl.runner.perform import MemoryRecord, Runner
from sdl.runner.setup import begin, clock_for, instrument_lease, load_priors, new_name, user, versions, warn_of_lines
from sdl.runner.shutdown import SwitchOffPolicy
from sdl.runs.runs import Result, fold_stepwise, plan_of, result_of
from sdl.store.record import Record
from sdl.store.resolve import RUNS
from sdl.types import GOOD_OUTCOMES

C = TypeVar("C", bound=ResolvedCampaign)
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
    switch_off: SwitchOffPolicy | None = None,
    measure: Measure | None = None,
    off: Measure | None = None,
) -> Result:
    """Run a campaign to its end.

    Args:
        campaign: path of a YAML file, its content as a mapping, or a model.
        runs: directory for the record; None keeps everything in memory.
        changes: `a.b=value` each, as for `--set`.
        watch: receives every event.
        collect: measure the design only, without the goal.
        gate: decides whether to proceed (`sdl.runner.gate`).
        folder: the run's directory, which must not exist; by default a new one below `runs`.
        guarded: let a second process kill this one if its solver continues after SIGTERM, switch the instrument off and
            record the interruption; in the main thread, with a record, on POSIX.
        switch_off: how long to try to switch the instrument off at the end; two minutes by default.
        measure: for an instrument of kind python: the function from settings to readings, both by name.
        off: for the same kind: the function that takes the settings `off` and switches the instrument off.

    Returns:
        The result; its `safe` says whether the instrument is off.

    Raises:
        CampaignInterrupted: Ctrl-C or SIGTERM; the run can be resumed, and its `result.safe` says whether the
            instrument is off.
        InUse: another campaign on this machine uses the instrument; nothing was started.
        ConfigError: a mistake in the campaign; nothing was started.
        RecordError: the record could not be written; the instrument was told to switch off, and the run can be resumed.
    """
    below = Path(runs) if runs is not None else RUNS
    resolved = _with_functions(resolve_campaign(campaign, changes, collect=collect, runs=below), measure, off)
    require_recipients(resolved)
    priors = load_priors(resolved)
    warn_of_lines(priors)
    name = new_name()
    place = Path(folder) if folder is not None else Path(runs) / resolved.name / name if runs is not None else None
    name = place.name if place is not None else name
    with (
        instrument_lease(resolved.instrument, name),
        contextlib.closing(Record.create(place) if place else MemoryRecord()) as record,
        messenger(resolved, record.folder) as people,
    ):
        watch = both(people, watch)
        clock = clock_for(resolved.instrument)
        opened, state = begin(resolved, name, record, priors, clock)
        watch = notify(watch, opened, state)
        return Runner(resolved, state, record, clock, watch, gate=gate, guarded=guarded, switch_off=switch_off).go()


def resume(
    folder: str | Path,
    *,
    changes: Sequence[str] = (),
    watch: Watch | None = None,
    gate: Gate | None = None,
    guarded: bool = False,
    interrupted: str = "",
    switch_off: SwitchOffPolicy | None = None,
    measure: Measure | None = None,
    off: Measure | None = None,
    trust: bool = False,
) -> Result:
    """Continue a run after Ctrl-C, `kill -9`, a power cut, or with changed rules.

    A run that has reached its goal is left unchanged, but its instrument is switched off if the record does not prove
    that it is off.

    Args:
        folder: the run's directory.
        changes: such as `stop.trials=80`; only keys in `sdl.config.CHANGEABLE`.
        watch: receives every event, including those already recorded.
        gate: decides whether to proceed; a paused run stays paused until the gate says so.
        guarded: as for `run`.
        interrupted: the signal for which its process was killed; the run is not continued, only the instrument switched
            off and the interruption recorded.
        switch_off: how long to try to switch the instrument off at the end.
        measure: as for `run`.
        off: as for `run`.
        trust: continue also a run that another account wrote and whose instrument names a program, code or an address.

    Raises:
        ConfigError: a change that a resume cannot make. Damaged: the record was altered.
        InUse: the run is active, or another campaign uses its instrument.
        CampaignInterrupted: as for `run`.
    """
    record = Record.open(Path(folder))
    with contextlib.closing(record), contextlib.ExitStack() as stack:
        for note in record.notes:
            log.warning("%s: %s", record.folder, note)
        folded = None
        for event, folded in fold_stepwise(iter(record.events), record.folder):
            watch = notify(watch, event, folded.campaign)
        if folded is None:
            raise RecordError(f"{record.folder}: empty: run the campaign again")
        changed = allowed_changes(changes)
        tree = dict(folded.tree)
        for path, value in changed.items():
            tree = config.put(tree, path, value)
        # The priors' rows are in the run's own copy; their sources may be gone by now.
        resolved = _with_functions(config.restore(tree), measure, off)
        require_trust(resolved.instrument, record.folder, trusted=trust)
        final = folded.campaign.history.outcome in GOOD_OUTCOMES
        unfinished = not folded.campaign.history.outcome or left_on(folded.opened, folded.campaign)
        if final and not unfinished:
            return result_of(folded.campaign, record.folder)
        stack.enter_context(instrument_lease(resolved.instrument, record.folder.name))
        watch = both(stack.enter_context(messenger(resolved, record.folder)), watch)
        clock = clock_for(resolved.instrument, folded.at)
        runner = Runner(
            resolved, folded.campaign, record, clock, watch, unfinished=unfinished, gate=gate,
            guarded=guarded and not interrupted, interrupted=interrupted, switch_off=switch_off,
        )  # fmt: skip
        if interrupted:
            log.warning("the solver continued after %s, so its process was killed", interrupted)
        if final or interrupted:
            return runner.go()  # which only switches the instrument off
        folded.campaign.plan = plan_of(tree)
        runner.write(Resumed(versions(), changed, clock.now()))
        if folded.campaign.paused and gate is None:
            runner.write(Continued(user(), clock.now()))
        return runner.go()


def left_on(opened: Opened, campaign: Campaign) -> bool:
    """Whether the instrument may still be on: the process died before it was confirmed off, or gave up.

    False for records before schema 3, which cannot tell, and for simulated instruments and those that others drive.
    """
    proven = opened.schema < 3 or opened.simulated or is_external(opened)
    return not proven and (campaign.safe is None or not campaign.safe.proven)


def _with_functions(resolved: C, measure: Measure | None, off: Measure | None) -> C:
    """The campaign whose instrument calls these functions.

    Raises:
        ConfigError: its instrument is of another kind than python.
    """
    if measure is None and off is None:
        return resolved
    if not isinstance(resolved.instrument, PythonFunction):
        raise ConfigError(f"measure and off go with instrument kind python, not {resolved.instrument.kind}")
    return resolved.model_copy(update={"instrument": resolved.instrument.with_functions(measure, off)})


def resolve_campaign(
    campaign: str | Path | Mapping[str, Any] | CampaignFile, changes: Sequence[str], *, collect: bool, runs: Path
) -> CampaignFile:
    """The campaign of a file, a mapping or a model, with changes; without its goal if only the design is measured.

    Raises:
        ConfigError: lists every mistake.
    """
    if isinstance(campaign, (str, Path)):
        resolved = config.load(campaign, changes, collect=collect, runs=runs)
    else:
        tree = campaign.plain() if changes and isinstance(campaign, CampaignFile) else campaign
        for change in changes:
            tree = config.override(tree, change)
        resolved = config.parse(tree, collect=collect, runs=runs)
    return resolved.without_goal() if collect and resolved.goal is not None else resolved


def allowed_changes(changes: Sequence[str]) -> dict[str, Any]:
    """Changes of a run, by dotted key.

    Raises:
        ConfigError: a key is not in `sdl.config.CHANGEABLE`.
    """
    changed = dict(map(config.split, changes))
    for path in changed:
        if path.split(".")[0] not in config.CHANGEABLE:
            allowed = ", ".join(config.CHANGEABLE)
            raise ConfigError(Problem(f"cannot be changed in an existing run; allowed: {allowed}", f"--set {path}"))
    return changed
