"""Records of every schema version stay readable, field by field. How to add one: golden/README.md."""

from __future__ import annotations

import typing
from dataclasses import replace
from pathlib import Path

import pytest

from sdl.core.events import (
    SCHEMA,
    AbortAsked,
    Attached,
    Continued,
    Corrected,
    Event,
    Failed,
    Interrupted,
    Measured,
    Opened,
    Paused,
    Proposed,
    Resumed,
    Safe,
    Skipped,
    Stopped,
)
from sdl.runs.runs import fold
from sdl.store.record import FILE, LOCK, SEAL, Record, check, read, write_file
from sdl.types import Outcome, Power, Verdict

GOLDEN = Path(__file__).parent / "golden"
PRIOR = (
    '{"in": {"R": 0.4, "G": 0.5}, "out": {"red": 140, "green": 260}, '
    '"sitting": 0, "day": "2025-10-28", "source": "old.jsonl"}\n'
)
PRIOR_SHA = "67f866dc55a4466b0170ca6a9c39f82be1fc005c1f1133d77472f95d7baa671d"
AT = 1_760_000_000.0
SETTINGS = {"R": 0.1, "G": 0.30000000000000004}
READINGS = {"red": 101, "green": 199.5}
UNKNOWN = {"R": None, "G": None}

CONFIG: dict[str, typing.Any] = {
    "name": "golden",
    "goal": {"red": {"target": 100.0, "tolerance": 10.0}, "green": {"target": 200.0, "tolerance": "5.0%"}},
    "tolerance": "2.0%",
    "confirm": 1,
    "average": 1,
    "stop": {"trials": 2, "minutes": None, "failures": 5, "stagnation": None, "unreachable": 2},
    "retry": {"times": 3, "wait": 1.0, "longest": 60.0},
    "seed": 0,
}
INSTRUMENT = {
    "kind": "twin",
    "identity": "twin:golden",
    "inputs": [
        {"name": "R", "low": 0.0, "high": 1.0, "unit": "", "step": None},
        {"name": "G", "low": 0.0, "high": 1.0, "unit": "", "step": None},
    ],
    "channels": [
        {"name": "red", "unit": "counts", "saturation": 65535.0},
        {"name": "green", "unit": "counts", "saturation": None},
    ],
}
SOURCE = {
    "source": "old.jsonl",
    "sha256": "0" * 64,
    "rows": 1,
    "left_out": {"without red": 3},
    "copy_sha256": PRIOR_SHA,
}

FIRST: tuple[Event, ...] = (
    Opened(
        1,
        "20251009T085320Z-0a1b2c",
        "golden",
        CONFIG,
        (SOURCE,),
        INSTRUMENT,
        "virtual",
        {"sdl": "0.1.0"},
        True,
        "ada",
        AT,
    ),
    Proposed(0, SETTINGS, {"red": 100.0}, "axis", 1, "point 1 of 3", UNKNOWN, UNKNOWN, {}, None, (), AT + 1),
    Failed(0, 0, 0, "measure", "Unreachable: keine Antwort – 応答なし", True, False, AT + 2),
    Paused("lunch", "ada", AT + 3),
    Continued("ada", AT + 4),
    Measured(
        0,
        0,
        1,
        SETTINGS,
        {"red": 65535, "green": 5},
        {"red": 0, "green": 1.5},
        ("red",),
        "not-applied",
        0.78,
        AT + 5,
    ),
    Interrupted("SIGINT", AT + 6),
    Resumed({"sdl": "0.1.0"}, {"stop.trials": 9}, AT + 7),
    Proposed(
        1,
        SETTINGS,
        {"red": 100.0, "green": 198.5},
        "gmm",
        2,
        "one Gaussian",
        {"R": 0.002, "G": None},
        {"R": 1e-300, "G": 0.5},
        {"red": 99.9},
        Verdict.OUTSIDE,
        ("R",),
        AT + 8,
    ),
    Measured(1, 0, 0, SETTINGS, READINGS, None, (), None, 0.78, AT + 9),
    AbortAsked("ada", "enough", AT + 10),
    Stopped(Outcome.ABORTED, "enough", 0, "ada", AT + 11),
    Resumed({}, {}, AT + 12),
    Measured(1, 1, 0, SETTINGS, READINGS, None, (), None, 0.78, AT + 13),
    Stopped(Outcome.REACHED, "every channel inside, the mean of 2 readings", 1, "goal", AT + 14),
)

SHORTFALL = {
    "red": {"low": 90.0, "high": 110.0, "nearest": 85.5, "by": 4.5},
    "green": {"low": None, "high": 210.0, "nearest": 199.5, "by": 0.0},
}
LIMITS = {**CONFIG, "goal": {"red": CONFIG["goal"]["red"], "green": {"at most": 210.0}}, "prefer": {"minimise": "R"}}


def second() -> tuple[Event, ...]:
    """Schema 2: a proposal says what is nearest where the goal cannot be hit, and a goal may be a limit."""
    found = list(FIRST)
    opened, proposed = found[0], found[8]
    assert isinstance(opened, Opened)
    assert isinstance(proposed, Proposed)
    found[0] = replace(opened, schema=2, config=LIMITS)
    found[8] = replace(proposed, verdict=Verdict.UNREACHABLE, shortfall=SHORTFALL)
    return tuple(found)


def third() -> tuple[Event, ...]:
    """Schema 3: what is known of the instrument after it was asked to be off, in a pause and at the end."""
    found = list(second())
    opened = found[0]
    assert isinstance(opened, Opened)
    found[0] = replace(opened, schema=3)
    found.insert(4, Safe(Power.UNKNOWN, None, "status 500: keine Antwort", 9, 21.25, AT + 3.5))
    found.append(Safe(Power.OFF, {"R": 0, "G": 0.0}, "", 1, 0.78, AT + 15))
    return tuple(found)


def fourth() -> tuple[Event, ...]:
    """Schema 4: a proposal says how probable it is that the goal can be reached, by which model, and what it misses."""
    found = list(third())
    opened, proposed = found[0], found[9]
    assert isinstance(opened, Opened)
    assert isinstance(proposed, Proposed)
    found[0] = replace(opened, schema=4)
    found[9] = replace(proposed, probability=0.02, model="quadratic surface, 3 readings", lack_of_fit={"red": 1.25})
    return tuple(found)


def fifth() -> tuple[Event, ...]:
    """Schema 5: an objective, and what is told: a note, a skipped trial, a row of no trial, corrected readings."""
    found = list(fourth())
    opened, proposed, measured = found[0], found[9], found[10]
    assert isinstance(opened, Opened)
    assert isinstance(proposed, Proposed)
    assert isinstance(measured, Measured)
    found[0] = replace(opened, schema=5)
    best = {"R": 0.1, "G": 0.30000000000000004}
    found[9] = replace(
        proposed, incumbent=best, estimate=101.5, estimate_error=0.25, expected_improvement=3.0000000000000004
    )  # fmt: skip
    found[10] = replace(measured, note="neue Lampe")
    skipped = (replace(proposed, at=AT + 7.25), Skipped(1, "no sample", "ada", AT + 7.5))
    later = [replace(e, trial=2) if isinstance(e, (Proposed, Measured)) else e for e in found[9:]]
    told: tuple[Event, ...] = (
        Attached(SETTINGS, READINGS, ("green",), "from the notebook", "ada", AT + 16),
        Corrected(0, 0, None, (), "lid open", "ada", AT + 17),
        Corrected(2, 1, {"red": 103, "green": 199.5}, (), "typed wrongly", "ada", AT + 18),
    )
    return (*found[:9], *skipped, *later, *told)


EVENTS: dict[int, tuple[Event, ...]] = {1: FIRST, 2: second(), 3: third(), 4: fourth(), 5: fifth()}
"""What each golden record says; the events of an older schema in today's form."""


@pytest.mark.parametrize("schema", EVENTS)
def test_a_record_of_an_older_day_is_read_field_by_field(schema: int) -> None:
    found = list(read(GOLDEN / f"schema-{schema}"))
    for event, expected in zip(found, EVENTS[schema], strict=True):
        assert repr(event) == repr(expected)


@pytest.mark.parametrize("schema", EVENTS)
def test_its_hashes_its_seal_and_its_prior_still_fit(schema: int) -> None:
    found = check(GOLDEN / f"schema-{schema}")
    assert (found.lines, found.finished, found.sealed, found.notes) == (len(EVENTS[schema]), True, True, ())


@pytest.mark.parametrize("schema", EVENTS)
def test_it_folds_to_the_state_that_it_had(schema: int) -> None:
    folder = GOLDEN / f"schema-{schema}"
    folded = fold(read(folder), folder)
    history = folded.campaign.history
    told = schema >= 5  # a trial skipped, a row attached, a reading excluded and one corrected
    assert (history.outcome, history.trials, history.readings, history.attempts) == (
        *(Outcome.REACHED, 3 if told else 2),
        *(2 if told else 3, 4),
    )
    assert (history.rows, history.prior_rows) == (4, 1)
    assert history.best is not None
    means = {"red": 102.0, "green": 199.5} if told else READINGS
    assert (history.best.trial, history.best.reached, history.best.mean) == (2 if told else 1, True, means)
    assert folded.tree["stop"]["trials"] == 9
    assert folded.campaign.due() == []


def test_every_kind_of_event_stands_in_the_golden_record_of_this_version() -> None:
    assert {type(event) for event in EVENTS[SCHEMA]} == set(typing.get_args(Event))


def test_this_version_writes_what_its_golden_record_holds_to_the_byte(tmp_path: Path) -> None:
    """Fails where the form of an event changed: then SCHEMA has to be raised, see golden/README.md."""
    write(tmp_path / "run")
    for name in (FILE, SEAL, "prior.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (GOLDEN / f"schema-{SCHEMA}" / name).read_bytes()


def write(folder: Path) -> None:
    """A golden record of this version. Raises RecordError where the folder is there already."""
    record = Record.create(folder)
    write_file(folder / "prior.jsonl", PRIOR)
    for event in EVENTS[SCHEMA]:
        record.append(event)
    record.close()
    (folder / LOCK).unlink()


if __name__ == "__main__":
    write(GOLDEN / f"schema-{SCHEMA}")
