"""The instruments that a campaign from the page of `sdl web` may be started on, by name.

The page names one of these; it never says what an instrument is. Without a lab file they are those of the files that
`sdl web` was given, the twins of `sdl`, the installed kinds that need no options and name no program, code or address,
and the instrument of an earlier run of this account, for the same campaign again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdl import config, registry
from sdl.config.model import CampaignFile
from sdl.drivers.trust import named_by, require_trust
from sdl.errors import ConfigError
from sdl.lab.config.file import UNSUITABLE_KINDS
from sdl.lab.config.instruments import describe_instrument
from sdl.lab.http.auth import quoted
from sdl.runs.runs import open_run
from sdl.store.resolve import run_below
from sdl.twin.led.state import shipped

SHOWN = ("name", "identity", "simulated", "inputs", "channels")
"""What the form shows of an instrument."""
RUN = "run "
"""Begins the name of the instrument of a run: `run CAMPAIGN/RUN`."""
DRIVEN_BY_OTHERS = {**UNSUITABLE_KINDS, "manual": "is driven by a person (`sdl run FILE --page`)"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@lru_cache(maxsize=1)
def installed() -> Mapping[str, Mapping[str, Any]]:
    """Plain values by name: the twins, then every other kind that needs no options; loaded once."""
    found: dict[str, Mapping[str, Any]] = {"twin": {"kind": "twin"}}
    default = config.parse_kind("instrument", "twin").state
    found |= {f"twin-{state}": {"kind": "twin", "state": state} for state in shipped() if state != default}
    for kind in registry.kinds("drivers"):
        if kind in ("twin", *DRIVEN_BY_OTHERS) or named_by({"kind": kind}) or not _NAME.fullmatch(kind):
            continue
        try:
            config.parse_kind("instrument", {"kind": kind})
        except ConfigError:
            continue  # it needs options, which only a file can give, or its package is broken
        found[kind] = {"kind": kind}
    return found


def of_files(loaded: Mapping[Path, CampaignFile]) -> Mapping[str, Mapping[str, Any]]:
    """The instruments of campaigns or of files of instruments, as plain values by the name of the file without `.yaml`.

    Raises:
        ConfigError: two of one name, or a name or kind that the page cannot offer.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for file, campaign in loaded.items():
        name, plain = file.stem, dict(campaign.plain()["instrument"])
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{file}: the page cannot offer {quoted(name)}; use letters, digits, '.', '_', '-'")
        if name in installed() or name in found:
            raise ConfigError(f"{file}: there is another instrument {quoted(name)}; rename the file")
        if reason := DRIVEN_BY_OTHERS.get(str(plain["kind"])):
            raise ConfigError(f"{file}: kind {plain['kind']} {reason}; it cannot be started from the page")
        found[name] = plain
    return found


def plain_instrument(name: str, runs: Path, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """An instrument by its name on the page, as plain values; `own` are those of files.

    Raises:
        ConfigError: there is no instrument of that name, or only its owner may start it.
    """
    if name.startswith(RUN):
        return _of_run(name.removeprefix(RUN), runs)
    if name not in (known := {**own, **installed()}):
        raise ConfigError(f"unknown instrument {quoted(name)}; allowed: {', '.join(known)}")
    return known[name]


def _of_run(run: str, runs: Path) -> Mapping[str, Any]:
    if (folder := run_below(runs, run)) is None:
        raise ConfigError(f"no run {quoted(run)}")
    plain = dict(open_run(folder).config["instrument"])
    if reason := DRIVEN_BY_OTHERS.get(str(plain.get("kind"))):
        raise ConfigError(f"kind {plain['kind']} {reason}; it cannot be started from this page")
    require_trust(plain, folder, trusted=False)
    return plain


def described(name: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows of an instrument: inputs, channels, and whether it is simulated."""
    known = describe_instrument(name, plain)
    return {key: known[key] for key in SHOWN}
