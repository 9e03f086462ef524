"""A lab continues an ended run with changed rules: journalled, queued on its instrument, in the same record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

import sdl
from sdl.core.events import Resumed
from sdl.errors import ConfigError
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core.events import Asked, Ended, Started
from sdl.lab.core.state import fold
from sdl.lab.workers.base import JobOrder
from sdl.lab.workers.supervisor import Supervisor
from sdl.store import record
from tests.lab.lab_kit import Asking, job, lab_file
from tests.lab.test_supervisor import last

SPENT: dict[str, Any] = {
    "name": "spent", "instrument": {"kind": "twin", "seed": 0}, "goal": {"445nm": 16384}, "tolerance": "0.02%",
    "solver": "linear", "stop": {"trials": 5},
}  # fmt: skip


@pytest.fixture
def loaded(tmp_path: Path) -> ResolvedLab:
    return lab_file(tmp_path, {"j": job(when={"asked": True})})


@pytest.fixture
def run(loaded: ResolvedLab) -> Path:
    """An ended run of the instrument a."""
    return Path(sdl.run(SPENT, runs=loaded.runs).run)


def test_it_is_queued_on_its_own_instrument_and_its_process_gets_run_and_changes(
    loaded: ResolvedLab, run: Path
) -> None:
    asking = Asking(loaded)
    answer = asking("resume_run", f"spent/{run.name}", "stop.trials=9\naverage=2", "ada")
    assert answer == "Queued campaign spent on a as start 1."
    (asked,) = asking.bench.of(Asked)
    assert (asked.verb, asked.run, asked.changes) == ("continue", f"spent/{run.name}", ("stop.trials=9", "average=2"))
    assert asked.campaign["stop"]["trials"] == 9
    (started,) = asking.bench.of(Started)
    assert (started.instrument, started.run, started.attempt) == ("a", f"spent/{run.name}", 0)
    (order,) = asking.bench.processes.orders
    assert (order.folder, order.changes, order.attempt) == (run, ("stop.trials=9", "average=2"), 0)
    assert fold(asking.bench.events).starts[1].run == f"spent/{run.name}", "the journal alone tells it again"
    with pytest.raises(ConfigError, match="is running or waiting already"):
        asking("resume_run", f"spent/{run.name}", "", "ada")


def test_an_ordinary_start_has_no_changes_and_a_run_of_its_own(loaded: ResolvedLab) -> None:
    asking = Asking(loaded)
    asking("run_now", "j", "ada")
    (order,) = asking.bench.processes.orders
    assert order.changes is None


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ("goal.445nm=5", "cannot be changed"),
        ("notify={to: {eve: {url: x}}}", "must not name recipients"),
        ("stop.trials=-1", "stop.trials"),
    ],
)
def test_a_change_that_a_resume_cannot_make_is_refused_before_it_is_journalled(
    loaded: ResolvedLab, run: Path, changes: str, wrong: str
) -> None:
    asking = Asking(loaded)
    with pytest.raises(ConfigError, match=wrong):
        asking("resume_run", f"spent/{run.name}", changes, "ada")
    assert asking.bench.of(Asked) == []


def test_a_run_of_an_instrument_that_the_lab_has_not_and_one_that_is_none_are_refused(loaded: ResolvedLab) -> None:
    other = Path(sdl.run({**SPENT, "instrument": {"kind": "twin", "seed": 99}}, runs=loaded.runs).run)
    asking = Asking(loaded)
    with pytest.raises(ConfigError, match="which is not an instrument of this lab"):
        asking("resume_run", f"spent/{other.name}", "", "ada")
    with pytest.raises(ConfigError, match="no run"):
        asking("resume_run", "spent/none", "", "ada")
    with pytest.raises(ConfigError, match="no run"):
        asking("resume_run", "../x", "", "ada")


@pytest.fixture
def processes() -> Iterator[Supervisor]:
    made = Supervisor()
    yield made
    made.close()


def test_its_process_continues_the_record_once_however_often_it_is_started(
    processes: Supervisor, loaded: ResolvedLab, run: Path
) -> None:
    tree = sdl.open_run(run).config
    order = JobOrder(1, dict(tree), run, "a", PATIENCE, {}, ("stop.trials=7",), 0)
    processes.begin(order)
    first = last(processes)
    assert (first.what, first.outcome) == ("ended", "spent")
    assert sdl.open_run(run).result.trials == 7
    events = list(record.read(run))
    assert [event.changes for event in events if isinstance(event, Resumed)] == [{"stop.trials": 7}]
    processes.begin(JobOrder(2, dict(tree), run, "a", PATIENCE, {}, ("stop.trials=7",), 1))
    again = last(processes)
    assert (again.what, again.outcome) == ("ended", "spent")
    assert list(record.read(run)) == events, "killed between its last event and its last message: nothing is repeated"


def test_an_ended_continuation_counts_as_any_other_start(loaded: ResolvedLab, run: Path) -> None:
    asking = Asking(loaded)
    asking("resume_run", f"spent/{run.name}", "stop.trials=9", "ada")
    asking.bench.go(7200.0)
    assert [event.start for event in asking.bench.of(Ended)] == [1]
    assert asking.bench.lab.past[-1]["run"] == f"spent/{run.name}"
