"""Before the first action: the clock, the instrument's lease, the priors' rows, versions, and the first event."""

from __future__ import annotations

import contextlib
import functools
import getpass
import logging
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sdl import yamlfile
from sdl.clock import Clock, RealClock, VirtualClock
from sdl.config import CampaignFile, ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import SCHEMA, Failed, Opened, Proposed
from sdl.drivers.base import Instrument, names, session_gap
from sdl.drivers.declared.derived import with_derived
from sdl.errors import ConfigError, Problem
from sdl.extras import versions_of
from sdl.runner.perform import MemoryRecord
from sdl.runs.runs import unopened_campaign
from sdl.store import datasets
from sdl.store.lease import lease
from sdl.store.record import FILE, PRIOR, Record, read, write_file

log = logging.getLogger("sdl")
HEAD = "# The configuration of this run with every default written out. A copy; the record is authoritative.\n"


def clock_for(instrument: Instrument, at: float | None = None) -> Clock:
    """The clock for an instrument: real time, or a virtual time that continues at `at`."""
    if not instrument.simulated:
        return RealClock()
    start = at if at is not None else float(getattr(instrument, "start_time", 0.0))
    return VirtualClock(start, paced=not instrument.virtual)


def instrument_lease(instrument: Instrument, purpose: str) -> contextlib.AbstractContextManager[None]:
    """The lease of an instrument, as a context manager; an instrument in virtual time needs none.

    Raises:
        ConfigError: something on this machine, such as an environment variable, would make every reading fail.
        InUse: another campaign on this machine uses the instrument.
    """
    if (ready := getattr(instrument, "ready", None)) is not None:
        ready()
    if instrument.virtual or not instrument.identity:
        return contextlib.nullcontext()
    return lease(instrument.identity, f"({purpose}, {user()})", names(instrument))


NUMERICS = ("numpy", "scipy", "scikit-learn", "gmr", "ForestDiffusion", "emcee", "pydoe", "xgboost", "xgboost-cpu")
_versions = functools.cache(lambda: versions_of(*NUMERICS, "pydantic"))  # slower than a campaign of a sweep


def versions() -> dict[str, str]:
    """Versions of the packages that influence proposals, as kept in every record."""
    return dict(_versions())


def user() -> str:
    """The user of this process; `unknown` if the system does not say."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # ImportError: no module pwd, as on Windows and in a browser
        return "unknown"


def opened_event(
    config: CampaignFile, name: str, record: Record | MemoryRecord, priors: Sequence[datasets.Dataset], clock: Clock
) -> Opened:
    """The first event; also copies the priors' rows into the run's directory."""
    copy_sha = datasets.save(record.folder / PRIOR, priors) if priors and record.folder else ""
    prior = tuple(
        {"source": p.source, "sha256": p.sha256, "rows": len(p.rows), "left_out": p.left_out, "copy_sha256": copy_sha}
        for p in priors
    )
    instrument = config.instrument
    described = {
        "kind": instrument.kind,
        "identity": instrument.identity,
        "inputs": [item.model_dump(mode="json") for item in config.free_inputs],
        "channels": [item.model_dump(mode="json") for item in instrument.channels],
    }
    if fixed := [item for item in instrument.inputs if item.name in config.fixed]:
        described["fixed"] = [item.model_dump(mode="json") for item in fixed]
    if constraints := config.free_constraints:
        described["constraints"] = [str(one) for one in constraints]
    return Opened(
        SCHEMA,
        name,
        config.name,
        config.plain(),
        prior,
        described,
        clock.kind,
        versions(),
        instrument.simulated,
        user(),
        clock.now(),
    )


def begin(
    config: CampaignFile, name: str, record: Record | MemoryRecord, priors: Sequence[datasets.Dataset], clock: Clock
) -> tuple[Opened, Campaign]:
    """Write the first event, and beside it a readable configuration file; return the campaign after that event."""
    opened = opened_event(config, name, record, priors, clock)
    record.append(opened)
    if isinstance(record, Record):
        write_file(record.folder / "campaign.yaml", HEAD + yamlfile.dump(config.plain()))
    return opened, started_campaign(config, opened, record.folder, priors)


def new_name() -> str:
    """A name for a new run that sorts by time, as `latest` requires."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}"


def started_campaign(
    config: ResolvedCampaign, opened: Opened, folder: Path | None, priors: Sequence[datasets.Dataset]
) -> Campaign:
    """The campaign after its first event; without a folder the priors' rows come from `priors`."""
    campaign = unopened_campaign(opened, folder, config.plan(config.prices))
    if priors and folder is None:
        campaign.history.add_prior([(row.reading, session) for _, row, session in datasets.number_sessions(priors)])
    campaign.handle(opened)
    return campaign


def load_priors(config: CampaignFile) -> list[datasets.Dataset]:
    """The rows of every prior.

    Raises:
        ConfigError: a prior cannot be read or has no usable row.
    """
    instrument, wanted, gap = config.instrument, tuple(config.goal or ()), session_gap(config.instrument)
    derived = getattr(instrument, "derived", {})
    derive = partial(with_derived, formulas=derived, strict=False) if derived else None
    priors = []
    for prior in config.prior:
        columns = datasets.ColumnNames(prior.inputs, prior.channels)
        rows = datasets.load(
            prior.source, instrument.inputs, instrument.channels, wanted, columns=columns, session_gap=gap,
            derive=derive, derived=derived, held=config.fixed,
        )  # fmt: skip
        priors.append(rows)
        if not rows.rows:
            why = "; ".join(rows.omissions)
            message = f"no usable row: {why}" if why else f"contains no reading{_trials(Path(rows.source))}"
            raise ConfigError(Problem(message, "prior", rows.source))
    return priors


def warn_of_lines(priors: Sequence[datasets.Dataset]) -> None:
    """Log the lines of priors that are no readings."""
    for prior in priors:
        for text in prior.warnings:
            log.warning("prior %s: %s", prior.source, text)


def _trials(source: Path) -> str:
    """Number of trials in a record without readings, as text; empty for another kind of file."""
    if not (source.is_dir() or source.name == FILE):
        return ""
    events = list(read(source))
    trials = len({event.trial for event in events if isinstance(event, (Proposed, Failed))})
    failed = len({event.trial for event in events if isinstance(event, Failed)})
    return f": {trials} trial{'' if trials == 1 else 's'}, {failed} failed"
