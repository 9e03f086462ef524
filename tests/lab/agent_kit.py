"""A lab with agents, in virtual time: real controller, state and decisions; scripted campaigns and rehearsals."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdl import config, yamlfile
from sdl.lab.config.file import ResolvedLab, load
from sdl.lab.core.events import CallRefused, Rehearsed, Reviewed, Submitted
from sdl.lab.http.control import Controller
from sdl.lab.http.named_tokens import AGENT_SCOPES, Identity
from sdl.lab.http.rehearsal import Rehearsal
from sdl.lab.http.submissions import Submissions

from .lab_kit import BEGIN, Bench, Fate

HOUR = 3600.0
RIG = {
    "kind": "command", "command": ["true"], "cost": {"reading": 0.1, "trial": 1.0, "per": {"red": 0.001}},
    "inputs": {"red": {"low": 0, "high": 255}, "yellow": {"low": 0, "high": 255}, "dye": {"choices": ["a", "b", "c"]}},
    "channels": {"R": {"low": 0, "high": 4096}}, "off": {"red": 0, "yellow": 0, "dye": "a"},
}  # fmt: skip
LIMITS: dict[str, Any] = {
    "tier": "submit",
    "instruments": {"rig": {"red": {"high": 200}, "yellow": {"low": 5, "high": 100}, "dye": {"choices": ["a", "b"]}}},
    "readings_per_day": 200,
    "cost_per_day": 100,
    "hours": "08:00-18:00",
    "solvers": ["auto", "linear", "gp"],
    "approve": "unrehearsed",
}
CAMPAIGN: dict[str, Any] = {
    "name": "dye", "goal": {"R": 140}, "solver": "auto", "confirm": 1, "stop": {"trials": 6}, "inputs": {"dye": "a"}
}  # fmt: skip
MORNING = BEGIN + 9 * HOUR  # of a lab in UTC


def agent_lab(folder: Path, agents: Mapping[str, Any] | None = None) -> ResolvedLab:
    """A lab with a rig, another instrument, and the agents claude (by default) and reader."""
    tree = {
        "name": "agents",
        "instruments": {"rig": {"instrument": RIG}, "other": {"instrument": {"kind": "twin", "seed": 4}}},
        "jobs": {
            "night": {
                "campaign": {"name": "night", "goal": {"445nm": 16384}, "solver": "linear"}, "instrument": "other",
                "when": {"asked": True},
            }
        },
        "agents": {"reader": {"instruments": {"rig": {}}}, "claude": LIMITS, **(agents or {})},
    }  # fmt: skip
    path = folder / "lab.yaml"
    path.write_text(yamlfile.dump(tree), encoding="utf-8")
    return load(path)


def agent(name: str = "claude", tier: str = "submit") -> Identity:
    return Identity(name, frozenset(AGENT_SCOPES[tier]), agent=True)


class AgentLab:
    """A lab whose loop answers requests in a thread of its own; `outcome` is that of every rehearsal."""

    def __init__(
        self, loaded: ResolvedLab, *, now: float = MORNING, seconds: float = 600.0, most: bool = False
    ) -> None:
        """`most`: campaigns take the most readings that they can, not 5."""

        def fate(start: int, attempt: int) -> Fate:
            readings, cost = self.bench.lab.starts[start].reserved if most else (5, 0.0)
            return Fate(seconds, readings=readings, cost=cost)

        self.desk = Controller(answer_seconds=30)
        self.bench = Bench(loaded, now=now, requests=self.desk.requests, script=fate).open()
        self.desk.serve(self.bench.loop)
        self.outcome, self.mismatch, self.rehearsed = "reached", "", 0
        self.asks = Submissions(
            self.desk, loaded.runs / "agents.lab", rehearse=self._rehearse, twin_mismatch=lambda *_: self.mismatch
        )
        self._ended = False
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while not self._ended:
            self.desk.wait(0.05)

    def _rehearse(self, campaign: config.CampaignFile, folder: Path) -> Rehearsal:
        self.rehearsed += 1
        return Rehearsal(self.outcome, "so it was", 4, 9, str(folder), {})

    def close(self) -> None:
        self._ended = True
        self.desk.wake()
        self._thread.join()

    def tick(self, seconds: float = 0.0) -> None:
        self.desk.perform(lambda loop: self.bench.tick(seconds))

    def submit(self, campaign: Any = CAMPAIGN, instrument: str = "rig", rehearsal: str = "", by: str = "claude") -> Any:
        return self.asks.submit(json.dumps(campaign), instrument, rehearsal, agent(by))

    def rehearse(self, campaign: Any = CAMPAIGN, instrument: str = "rig", by: str = "claude") -> str:
        result = self.asks.rehearse(json.dumps(campaign), instrument, agent(by))
        return str(result["rehearsal"])

    def journal(self, *kinds: type[Any]) -> list[Any]:
        kinds = kinds or (Rehearsed, Submitted, Reviewed, CallRefused)
        return [event for event in self.bench.events if isinstance(event, kinds)]


def changed(**keys: Any) -> dict[str, Any]:
    return {**CAMPAIGN, **keys}
