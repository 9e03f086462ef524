"""Access to a lab: by a lab file of this account (read, rehearse), or by a named token of a running lab (also submit).

Both refuse campaigns that name a program, code, an address or a path, and stop what runs on the instruments that they
show.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sdl import config, registry, yamlfile
from sdl.config.cost import cost
from sdl.drivers.declared.config import Declared
from sdl.errors import ConfigError
from sdl.formatting import count
from sdl.lab.config.file import ResolvedLab, parse_text
from sdl.lab.config.instruments import describe_instrument, instrument_of
from sdl.lab.http.client import Client
from sdl.lab.http.rehearsal import rehearse
from sdl.mcp.commands import command, one_of_few
from sdl.mcp.records import Records
from sdl.parallel import children

ACCOUNT = "the account of this server can read the lab's own token, so that it may not submit"
MAX_BENCH = {"--goals": 3, "--seeds": 1, "--trials": 20}  # of a comparison of solvers
BENCH_SECONDS = 240.0


class Access(Protocol):
    """The requests of the tools; arguments and results are plain values."""

    records: Records

    def instruments(self) -> Sequence[Mapping[str, Any]]: ...
    def status(self) -> Mapping[str, Any]: ...
    def check(self, campaign: Mapping[str, Any], instrument: str) -> str: ...
    def rehearse(self, campaign: Mapping[str, Any], instrument: str) -> Mapping[str, Any]: ...
    def bench(self, instrument: str, solvers: Sequence[str]) -> Mapping[str, Any]: ...
    def submit(self, campaign: Mapping[str, Any], instrument: str, rehearsal: str) -> Mapping[str, Any]: ...
    def submissions(self) -> Sequence[Mapping[str, Any]]: ...
    def stop(self, target: str, reason: str) -> str: ...


class LabFileAccess:
    """The instruments of a lab file, for a server that the client starts under the account of the lab.

    Args:
        loaded: the lab file.
        runs: directory of the runs.
    """

    def __init__(self, loaded: ResolvedLab, runs: Path) -> None:
        self._loaded, self._runs = loaded, runs
        self.records = Records(runs)

    def instruments(self) -> Sequence[Mapping[str, Any]]:
        return [describe_instrument(name, item.instrument) for name, item in self._loaded.lab.instruments.items()]

    def status(self) -> Mapping[str, Any]:
        """The status of the lab, if it runs."""
        client = self._client()
        return {**client.get("status"), **client.get("queue")}

    def check(self, campaign: Mapping[str, Any], instrument: str) -> str:
        parsed = self._parsed(campaign, instrument)
        most = count(cost(parsed).readings, "reading")
        return f"{parsed.name} on {instrument} ({parsed.instrument.identity}): at most {most}"

    def rehearse(self, campaign: Mapping[str, Any], instrument: str) -> Mapping[str, Any]:
        parsed = self._parsed(campaign, instrument)
        with one_of_few(), _temporary() as place:
            result = rehearse(parsed, place / secrets.token_hex(8))
        return {
            "outcome": result.outcome, "reason": result.reason, "trials": result.trials, "readings": result.readings,
            "best": result.best, "rehearsal": None, "why": "not kept by the lab: this server may not submit",
        }  # fmt: skip

    def bench(self, instrument: str, solvers: Sequence[str]) -> Mapping[str, Any]:
        _require_solvers(solvers)
        plain = self._plain(instrument)
        parsed = instrument_of(plain)
        words = [f"--solvers={' '.join(solvers)}", *(f"{key}={value}" for key, value in MAX_BENCH.items()), "--quiet"]
        with _temporary() as place:
            if isinstance(parsed, Declared):
                (place / "instrument.yaml").write_text(yamlfile.dump(plain), encoding="utf-8")
                words.append(f"--instrument={place / 'instrument.yaml'}")
            elif hasattr(parsed, "simulation"):
                words.append(f"--twin={parsed.simulation(None, 0).state}")
            else:
                raise ConfigError(f"{instrument} has no twin to compare solvers on")
            return command("bench", *words, seconds=BENCH_SECONDS)

    def submit(self, campaign: Mapping[str, Any], instrument: str, rehearsal: str) -> Mapping[str, Any]:
        raise ConfigError(f"this server offers read and rehearse only: {ACCOUNT}")

    def submissions(self) -> Sequence[Mapping[str, Any]]:
        return list(self._client().get("submissions")["submissions"])

    def stop(self, target: str, reason: str) -> str:
        return self._client().post("stop", target=target, reason=reason)

    def _client(self) -> Client:
        return Client(str(self._loaded.path))

    def _parsed(self, campaign: Mapping[str, Any], instrument: str) -> config.CampaignFile:
        return parse_text(json.dumps(campaign), self._plain(instrument), base=self._runs, runs=self._runs)

    def _plain(self, instrument: str) -> Any:
        """An instrument of the lab file as plain values."""
        known = self._loaded.lab.instruments
        if instrument not in known:
            raise ConfigError(f"unknown instrument {instrument!r}; allowed: {', '.join(known)}")
        return known[instrument].instrument


class TokenAccess:
    """A running lab, with the named token of an agent; the lab decides what it may do.

    Args:
        client: client of the lab, with the token.
        runs: directory of the lab's runs, if this account can read it.
    """

    def __init__(self, client: Client, runs: Path) -> None:
        self._client = client
        self.records = Records(runs, self._identities)

    def who(self) -> Mapping[str, Any]:
        """Name, scopes and limits of the token."""
        return self._client.ask("whoami")

    def instruments(self) -> Sequence[Mapping[str, Any]]:
        seen = self._names()
        return [row for row in self._client.get("instruments")["instruments"] if seen is None or row["name"] in seen]

    def status(self) -> Mapping[str, Any]:
        seen = self._names()
        status = {**self._client.get("status"), **self._client.get("queue")}
        status["instruments"] = [row for row in status["instruments"] if seen is None or row["name"] in seen]
        for key in ("running", "queue", "next", "jobs", "submissions"):
            status[key] = [row for row in status.get(key, ()) if seen is None or row["instrument"] in seen]
        return status | {"you": self.who()}

    def check(self, campaign: Mapping[str, Any], instrument: str) -> str:
        return self._client.post("check", campaign=json.dumps(campaign), instrument=instrument)

    def rehearse(self, campaign: Mapping[str, Any], instrument: str) -> Mapping[str, Any]:
        return self._client.ask("rehearse", campaign=json.dumps(campaign), instrument=instrument)

    def bench(self, instrument: str, solvers: Sequence[str]) -> Mapping[str, Any]:
        raise ConfigError("solvers are compared where the server has the lab file: sdl mcp lab.yaml")

    def submit(self, campaign: Mapping[str, Any], instrument: str, rehearsal: str) -> Mapping[str, Any]:
        body = {"campaign": json.dumps(campaign), "instrument": instrument, "rehearsal": rehearsal}
        return self._client.ask("submit", **body)

    def submissions(self) -> Sequence[Mapping[str, Any]]:
        name = self.who()["name"]
        return [row for row in self._client.get("submissions")["submissions"] if row["agent"] == name]

    def stop(self, target: str, reason: str) -> str:
        return self._client.post("stop", target=target, reason=reason)

    def _names(self) -> Collection[str] | None:
        """The instruments of an agent; None for the token of a person, who may see all."""
        who = self.who()
        return None if not who["agent"] else tuple((who["limits"] or {}).get("instruments", ()))

    def _identities(self) -> Collection[str]:
        return [str(row["identity"]) for row in self.instruments()]


def can_read_token(who: Mapping[str, Any]) -> bool:
    """Whether this account, the lab's own or root, can read the token of the lab that answered `whoami`."""
    return not hasattr(os, "geteuid") or os.geteuid() in (0, who.get("account"))


def solve(
    records: Records, run: str, goal: Mapping[str, float | str], solver: str, tolerance_percent: float
) -> dict[str, Any]:
    """Settings for a goal from the readings of a run.

    Args:
        records: the runs that may be seen.
        run: `CAMPAIGN/RUN`.
        goal: for each channel a number, or for one of them `maximise` or `minimise`.
        solver: its kind.
        tolerance_percent: tolerance in per cent of the targets.
    """
    _require_solvers([solver])
    for name, target in goal.items():
        if isinstance(target, str) and target not in ("maximise", "minimise"):
            raise ConfigError(f"goal.{name}: must be a number, maximise or minimise")
    if not goal:
        raise ConfigError("goal: name at least one channel and its target, such as {R: 140}")
    pairs = [f"--goal={name}={target}" for name, target in goal.items()]
    words = ["solve", *pairs, f"--solver={solver}", f"--tolerance={tolerance_percent:g}%", "--quiet"]
    return command(*words, "--", str(records.folder(run)))


def _require_solvers(kinds: Sequence[str]) -> None:
    known = registry.kinds("solvers")
    if unknown := [kind for kind in kinds if kind not in known]:
        raise ConfigError(f"unknown solver {unknown[0]!r}; allowed: {', '.join(known)}")


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=children.temporary_folder()) as place:
        yield Path(place)
