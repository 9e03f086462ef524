"""An instrument and a solver that play a script, for tests that must know exactly what happened.

A test writes `with_script(...)` into a campaign's `instrument`, or `with_answers(...)` into its `solver`; both are
ordinary kinds, looked up in the registry while the fixture `scripted_kinds` is active.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pytest

from sdl import registry
from sdl.clock import Clock
from sdl.solvers.base import Data, Proposals, Targets
from sdl.space import Space
from sdl.types import Channel, Frozen, Input, Power, Reading, SafeState, Verdict

GAIN = np.array([[30000.0, 300.0, 100.0], [1000.0, 60000.0, 400.0], [100.0, 400.0, 30000.0]])
"""Counts of x, y, z per unit of R, G, B: three lights that hardly mix, without noise."""

NAMES, CHANNELS = ("R", "G", "B"), ("x", "y", "z")

Step = Reading | BaseException | Callable[["ScriptedDriver", Mapping[str, float]], Reading]


def answer(settings: Mapping[str, float], **changes: Any) -> Reading:
    """What the plant reads at `settings`; `changes` replace fields of the reading."""
    counts = GAIN @ [settings[name] for name in NAMES]
    full = tuple(name for name, value in zip(CHANNELS, counts, strict=True) if value >= 65535)
    readings = {name: min(float(value), 65535.0) for name, value in zip(CHANNELS, counts, strict=True)}
    return replace(Reading(dict(settings), readings, saturated=full), **changes)


@dataclass
class Script:
    """What a driver plays, and what was done to it.

    Attributes:
        steps: played in turn, one a call of `measure`; when they are used up, or for None, the plant answers.
        says: what `safe` says in turn; when it is used up, that it is off.
        calls: what was called, in order.
        lit: whether the light is on.
        asked: settings of each call of `measure`.
    """

    steps: list[Step | None]
    open_fails: BaseException | None = None
    safe_fails: BaseException | None = None
    says: list[SafeState | BaseException | None] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    lit: bool = False
    asked: list[dict[str, float]] = field(default_factory=list)
    clock: Clock | None = None


SCRIPTS: dict[str, Script] = {}
_numbers = itertools.count()


def with_script(
    *steps: Step | None,
    open_fails: BaseException | None = None,
    safe_fails: BaseException | None = None,
    says: Iterable[SafeState | BaseException | None] = (),
    **options: Any,
) -> dict[str, Any]:
    """The `instrument:` of a campaign that plays these steps."""
    name = str(next(_numbers))
    SCRIPTS[name] = Script(list(steps), open_fails, safe_fails, list(says))
    return {"kind": "scripted", "script": name, **options}


def script_of(instrument: Mapping[str, Any]) -> Script:
    """The script behind what `with_script` gave."""
    return SCRIPTS[instrument["script"]]


class Scripted(Frozen):
    """An instrument that plays a script."""

    kind: Literal["scripted"] = "scripted"
    script: str
    low: float = 0.0
    real: bool = False

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(Input(name=name, low=self.low) for name in NAMES)

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(Channel(name=name, low=0.0, high=65535.0) for name in CHANNELS)

    identity = property(lambda self: f"scripted:{self.script}")
    simulated = property(lambda self: not self.real)
    virtual = property(lambda self: not self.real)
    may_repeat = property(lambda self: True)  # a script has no noise
    reading_seconds = property(lambda self: 1.0)

    def open(self, clock: Clock) -> ScriptedDriver:
        script = SCRIPTS[self.script]
        script.calls.append("open")
        if script.open_fails:
            raise script.open_fails
        script.clock = clock
        return ScriptedDriver(script, clock)


class ScriptedDriver:
    """An open scripted instrument; a reading takes one second of its clock."""

    def __init__(self, script: Script, clock: Clock) -> None:
        self.script, self.clock = script, clock

    def measure(self, settings: Mapping[str, float]) -> Reading:
        self.script.calls.append("measure")
        self.script.asked.append(dict(settings))
        self.script.lit = True
        if self.clock.kind == "virtual":
            self.clock.sleep(1.0)
        step = self.script.steps.pop(0) if self.script.steps else None
        if isinstance(step, BaseException):
            raise step
        if step is None:
            return answer(settings)
        return step if isinstance(step, Reading) else step(self, settings)

    def safe(self) -> SafeState | None:
        self.script.calls.append("safe")
        if self.script.safe_fails:
            raise self.script.safe_fails
        said = self.script.says.pop(0) if self.script.says else SafeState(Power.OFF, dict.fromkeys(NAMES, 0.0))
        if isinstance(said, BaseException):
            raise said
        self.script.lit = said is None or not said.proven
        return said

    def close(self) -> None:
        self.script.calls.append("close")


@dataclass
class Answers:
    """What a solver answers in turn, the last one again and again, and the data it was given."""

    steps: list[Any]
    seen: list[Data] = field(default_factory=list)
    targets: list[Targets] = field(default_factory=list)


ANSWERS: dict[str, Answers] = {}


def with_answers(*steps: Any) -> dict[str, Any]:
    """The `solver:` of a campaign: settings, an exception to raise while fitting, or Proposals."""
    name = str(next(_numbers))
    ANSWERS[name] = Answers(list(steps))
    return {"kind": "scripted", "script": name}


def answers_of(solver: Mapping[str, Any]) -> Answers:
    """The script behind what `with_answers` gave."""
    return ANSWERS[solver["script"]]


class ScriptedSolver(Frozen):
    """A solver that gives prepared answers and keeps what it was asked."""

    kind: Literal["scripted"] = "scripted"
    script: str

    def fit(self, data: Data) -> FittedScript:
        script = ANSWERS[self.script]
        script.seen.append(replace(data, X=data.X.copy(), Y=data.Y.copy(), saturated=data.saturated.copy()))
        step = script.steps.pop(0) if len(script.steps) > 1 else script.steps[0]
        if isinstance(step, BaseException):
            raise step
        return FittedScript(script, step)


@dataclass
class FittedScript:
    """The next answer."""

    script: Answers
    step: Any

    def propose(self, targets: Targets, space: Space, rng: Any) -> Proposals:
        self.script.targets.append(targets)
        if isinstance(self.step, Proposals):
            return self.step
        return proposals(self.step)


def proposals(settings: Iterable[float], verdict: Verdict = Verdict.REACHABLE, expected: Any = None) -> Proposals:
    """One answer in the form of the contract."""
    row = np.array([list(settings)], float)
    wide = None if expected is None else np.array([list(expected)], float)
    return Proposals(row, np.full(row.shape, np.nan), np.full(row.shape, np.nan), wide, (verdict,), ("scripted",))


def campaign(instrument: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A campaign on the scripted plant: linear solver, goal inside, as a mapping."""
    tree = {
        "name": "scripted",
        "instrument": instrument,
        "goal": {"x": 15000, "y": 15000, "z": 15000},
        "solver": {"kind": "linear"},
        "stop": {"trials": 12},
    }
    return {**tree, **changes}


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes both kinds known for the length of a test."""
    monkeypatch.setitem(registry.OURS["drivers"], "scripted", f"{__name__}:Scripted")
    monkeypatch.setitem(registry.OURS["solvers"], "scripted", f"{__name__}:ScriptedSolver")
