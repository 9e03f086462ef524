"""An ended or interrupted run that is to be continued with changed rules, checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdl import config
from sdl.core.campaign import State
from sdl.drivers.trust import require_trust, submitted_problems
from sdl.errors import ConfigError
from sdl.formatting import display, is_external
from sdl.lab.http.auth import quoted
from sdl.runner.start import allowed_changes
from sdl.runs.runs import open_run
from sdl.store.lock import writing_process
from sdl.store.resolve import run_below
from sdl.types import GOOD_OUTCOMES


@dataclass(frozen=True, slots=True)
class ResumableRun:
    """A run that can be continued.

    Attributes:
        folder: its directory.
        identity: identity of its instrument.
        campaign: its configuration with the changes, as plain values.
        simulated: whether no real instrument is driven.
    """

    folder: Path
    identity: str
    campaign: Mapping[str, Any]
    simulated: bool


def resumable_run(runs: Path, run: str, changes: Sequence[str]) -> ResumableRun:
    """Check that a run can be continued with these changes.

    Args:
        runs: directory of the runs.
        run: `CAMPAIGN/RUN`.
        changes: `key=value` each.

    Raises:
        ConfigError: there is no such run, it is being written, it has reached its goal, it is driven by others, or a
            change is not allowed or not valid.
        Damaged: the record was altered.
    """
    if (folder := run_below(runs, run)) is None:
        raise ConfigError(f"no run {quoted(run)}")
    changed, given = allowed_changes(changes), dict[str, Any]()
    for path, value in changed.items():
        given = config.put(given, path, value)
    if wrong := submitted_problems(given):
        raise ConfigError(*wrong)
    opened = open_run(folder)
    if process := writing_process(folder):
        raise ConfigError(f"{run} is running now ({process})")
    if opened.campaign.state is State.STOPPED and opened.result.outcome in GOOD_OUTCOMES:
        raise ConfigError(f"{run}: {display(opened.result.outcome or '')}; there is nothing to continue: run it again")
    if is_external(opened.opened) or opened.opened.instrument["kind"] == "manual":
        raise ConfigError(f"{run} is driven by others: `sdl ask` continues it")
    tree = dict(opened.config)
    for path, value in changed.items():
        tree = config.put(tree, path, value)
    resolved = config.restore(tree)
    require_trust(resolved.instrument, folder, trusted=False)
    return ResumableRun(folder, str(opened.opened.instrument["identity"]), tree, resolved.instrument.simulated)
