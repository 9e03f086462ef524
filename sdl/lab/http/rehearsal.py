"""A campaign on the twin of its instrument, and whether the instrument still matches that twin.

Both are commands in processes of their own (`sdl run --on-twin`, `sdl twin check`), so that neither a long computation
nor a fault in a solver reaches the lab.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdl import config, yamlfile
from sdl.config.on_twin import on_twin
from sdl.errors import ConfigError, SdlError
from sdl.parallel import children
from sdl.store.record import write_file

SECONDS = 120.0  # after which a rehearsal is ended


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The end of a campaign on the twin.

    Attributes:
        outcome, reason: outcome and reason, as for every run.
        trials, readings: numbers taken.
        run: directory of its record.
        best: settings, readings and tolerance ratio of its best trial.
    """

    outcome: str
    reason: str
    trials: int
    readings: int
    run: str
    best: Mapping[str, Any]


def rehearse(campaign: config.CampaignFile, folder: Path) -> Rehearsal:
    """Run a resolved campaign on the twin of its instrument.

    Args:
        campaign: on the real instrument.
        folder: a new directory for the record.

    Raises:
        ConfigError: there is no twin, or the campaign did not end within `SECONDS`.
    """
    on_twin(campaign)  # or there is none
    folder.mkdir(parents=True)
    file = folder / "campaign.yaml"
    write_file(file, yamlfile.dump(campaign.plain()))
    done = _command("run", str(file), "--on-twin", "--runs", str(folder), "--json", "--quiet")
    if done.get("outcome") is None:
        raise ConfigError(f"the rehearsal did not end: {done.get('reason') or done.get('error') or 'no answer'}")
    best = {key: done.get(key) for key in ("settings", "measured", "miss", "worst")}
    return Rehearsal(
        str(done["outcome"]), str(done["reason"]), int(done["trials"]), int(done["readings"]), str(done["run"]), best
    )


def remove_oldest(folder: Path, kept: int) -> None:
    """Remove the oldest rehearsals in a directory; `kept` of them remain."""
    with contextlib.suppress(FileNotFoundError):
        places = sorted(folder.iterdir(), key=lambda place: place.stat().st_mtime)
        for place in places[: max(len(places) - kept, 0)]:
            shutil.rmtree(place, ignore_errors=True)


def twin_mismatch(campaign: config.CampaignFile, run: Path | None) -> str:
    """Why an instrument, by its latest run, no longer matches its twin; empty if it matches or this is unknown.

    Args:
        campaign: on the real instrument.
        run: directory of its latest run; None: there is none.
    """
    instrument = campaign.instrument
    if run is None or (instrument.simulated and instrument.virtual):
        return ""
    try:
        state = getattr(on_twin(campaign).instrument, "state", None)
    except SdlError:
        return ""
    if state is None:
        return ""
    done = _command("twin", "check", str(run), "--twin", str(state), "--json")
    return str(done.get("verdict")) if done.get("divergent") else ""


def _command(*words: str) -> dict[str, Any]:
    """The JSON object that a command prints.

    Raises:
        ConfigError: it printed none, or took too long.
    """
    try:
        done = children.finished(words, SECONDS)
        return dict(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        raise ConfigError(f"it did not end within {SECONDS:g} s; give it fewer trials or a faster solver") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"the command gave no answer: {error}") from error
