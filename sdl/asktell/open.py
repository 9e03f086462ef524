"""Open a campaign for asking and telling: by its file, or by the name of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdl.asktell.campaign import OpenCampaign, wait_for_lock
from sdl.clock import RealClock
from sdl.config import CampaignFile
from sdl.core.campaign import State
from sdl.errors import ConfigError, RecordError, SdlError, translated_os_errors
from sdl.runner.observers import Watch
from sdl.runner.setup import begin, load_priors, new_name, warn_of_lines
from sdl.runner.start import allowed_changes, resolve_campaign
from sdl.runs.runs import open_run
from sdl.store import datasets
from sdl.store.lock import Lock
from sdl.store.record import Record
from sdl.store.resolve import FILE, RUNS, find

SUFFIXES = (".yaml", ".yml")
LOCK = "ask.lock"  # in the directory of a campaign: held while it is decided which run is meant


def open_campaign(
    campaign: str | Path | Mapping[str, Any] | CampaignFile,
    *,
    runs: str | Path = RUNS,
    changes: Sequence[str] = (),
    new: bool = False,
    collect: bool = False,
    watch: Watch | None = None,
) -> OpenCampaign:
    """Open a campaign for those who drive their instrument themselves: `c.ask()`, `c.tell(…)`.

    Args:
        campaign: a campaign file (`.yaml`), its content as a mapping or a model: its newest unfinished run, or a new
            one where there is none. Otherwise a run: its directory or its name.
        runs: directory of the runs.
        changes: `a.b=value` each, as for `--set`; for a run only those that `sdl resume` accepts.
        new: begin a new run.
        collect: measure the design only, without the goal.
        watch: receives every event, including those already recorded and those that others write.

    Raises:
        ConfigError: a mistake in the campaign, or no such run. RecordError: the record cannot be read or written.
    """
    below = Path(runs)
    if isinstance(campaign, (str, Path)) and Path(campaign).suffix not in SUFFIXES:
        if new or collect:
            raise ConfigError(f"{campaign} is not a campaign file (.yaml), so it cannot begin a new run")
        opened = OpenCampaign(find(campaign, below), watch)
        if changes:
            opened.change(allowed_changes(changes))
        return opened
    resolved = resolve_campaign(campaign, changes, collect=collect, runs=below)
    place = below / resolved.name
    with translated_os_errors(place, "created", RecordError):
        place.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(place):
        folder = None if new else _unfinished(place, resolved)
        return OpenCampaign(folder or begin_run(resolved, place / new_name()), watch)


def begin_run(campaign: CampaignFile, folder: Path) -> Path:
    """Begin a run in real time in a new directory, and return the directory."""
    priors = load_priors(campaign)
    warn_of_lines(priors)
    with contextlib.closing(Record.create(folder)) as record:
        begin(campaign, folder.name, record, priors, RealClock())
        return record.folder


def _unfinished(place: Path, campaign: CampaignFile) -> Path | None:
    """The newest unfinished run of the same campaign; the key `notify` may differ."""
    wanted = _without_messages(campaign.stored())
    for folder in sorted((file.parent for file in place.glob(f"*/{FILE}")), reverse=True):
        with contextlib.suppress(SdlError, OSError):  # another run's damage is none of ours
            opened = datasets.read_opened(folder / FILE)
            same = opened is not None and _without_messages(opened.config) == wanted and opened.clock == RealClock.kind
            if same and open_run(folder).campaign.state is not State.STOPPED:
                return folder
    return None


def _without_messages(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "notify"}


@contextlib.contextmanager
def _one_at_a_time(place: Path) -> Iterator[None]:
    """Lock the campaign's directory, so that two processes that open it at once get the same run.

    Raises:
        InUse: it takes another process too long.
    """
    lock = wait_for_lock(lambda: Lock(place / LOCK))
    try:
        yield
    finally:
        lock.release()
