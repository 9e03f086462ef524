"""Killed at any moment and resumed, a campaign ends as if undisturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
import warm_command
from drivers.server import Server
from waiting import TIMEOUT

from sdl import runner
from sdl.core.events import Event, Measured, Opened, Proposed, Resumed, Safe, Stopped
from sdl.errors import Damaged, InUse
from sdl.runs import runs
from sdl.store import record
from sdl.types import Outcome, Power


def endless(trials: int, **instrument: Any) -> dict[str, Any]:
    """A campaign whose tolerance is too tight to be reached: it takes all its trials, two readings each."""
    return {
        "name": "tight",
        "instrument": {"kind": "twin", **instrument},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "tolerance": "0.02%",
        "average": 2,
        "solver": "linear",
        "stop": {"trials": trials, "unreachable": None},
        "seed": 5,
    }


@pytest.mark.parametrize("left", [None, Power.UNKNOWN, Power.ON, Power.OFF])
def test_a_run_that_ended_is_made_safe_by_a_resume_where_its_record_does_not_prove_that(
    left: Power | None, tmp_path: Path
) -> None:
    """Its process was killed between its last two lines, or gave up."""
    server = Server()
    tree = {
        "name": "once",
        "instrument": {"kind": "claude-light", "url": server.url, "background": "none"},
        "goal": {"445nm": 1001},
        "confirm": 0,
        "solver": "linear",
    }
    done = runner.run(tree, runs=tmp_path)
    assert done.outcome is Outcome.REACHED
    (file,) = tmp_path.glob("once/*/record.jsonl")
    events = [event for event in record.read(file) if not isinstance(event, Safe)]
    said = [] if left is None else [Safe(left, None, "" if left is Power.OFF else "no answer", 3, 9.0, events[-1].at)]
    record.write_whole(tmp_path / "once" / "left", [*events, *said])
    before = len(server.asked)
    again = runner.resume(tmp_path / "once" / "left")
    server.close()
    assert again.outcome is Outcome.REACHED
    assert again.safe is not None
    assert again.safe.proven
    assert [*server.asked[before:]] == ([] if left is Power.OFF else [[0.0] * 3] * 2)
    assert history(tmp_path / "once" / "left") == events
    assert record.check(tmp_path / "once" / "left").sealed


def history(folder: Path) -> list[Event]:
    """All that happened but the resumes, and how long it took to be sure that the light is off."""
    return [e for e in record.read(folder) if not isinstance(e, (Resumed, Safe))]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run of such a campaign."""
    done = runner.run(endless(30), runs=tmp_path_factory.mktemp("reference"))
    assert (done.outcome, done.trials) == (Outcome.SPENT, 30)
    return Path(done.run)


def _kill_again_and_again(start: Callable[..., Any], tmp_path: Path, trials: int, times: int, seed: int) -> None:
    """Starts and resumes a real-time campaign in processes that are killed at random moments; judges the end."""
    tree = endless(trials, realtime=True, latency=0.003)
    undisturbed = runner.run(endless(trials, latency=0.003), runs=tmp_path / "reference")
    assert (undisturbed.outcome, undisturbed.trials) == (Outcome.SPENT, trials)
    file = tmp_path / "tight.yaml"
    file.write_text(json.dumps(tree), encoding="utf-8")
    runs, rng = tmp_path / "runs", random.Random(seed)
    expected = len(history(Path(undisturbed.run)))
    acknowledged: list[dict[str, Any]] = []
    kills = 0
    while True:
        found = processes.the_record(runs)
        command = ("resume", found.parent) if found else ("run", file, "--runs", runs)
        process = start(*command, "--quiet", cwd=tmp_path)
        if kills < times:
            # Spread the kills over what is left: so many lines on, then a moment more.
            have = len(processes.lines_of(found)) if found else 0
            left = max(expected + kills - have, 1)
            step = rng.randint(1, max(1, 2 * left // (times - kills + 1)))
            record_file = processes.wait_for(runs, have + step, process)
            if record_file:
                time.sleep(rng.random() * 0.008)
                process.kill()
        out, err = process.communicate(timeout=TIMEOUT)
        found = processes.the_record(runs)
        assert found, err
        # What was whole on the disk when the process died stays as it is, for ever.
        lines = processes.lines_of(found)
        assert lines[: len(acknowledged)] == acknowledged
        acknowledged = lines
        if process.returncode == -9:
            kills += 1
            continue
        assert process.returncode == 1, out + err  # spent
        break
    assert kills >= times * 0.8, f"it ended after {kills} kills"
    checked = record.check(found.parent)
    assert checked.finished
    assert checked.sealed
    assert processes.sdl("check", found.parent, cwd=tmp_path).returncode == 0
    events = history(found.parent)
    taken = [(e.trial, e.repeat) for e in events if isinstance(e, Measured)]
    assert len(taken) == len(set(taken))
    # Killed between its last line and the seal it is ended once more, by the resume: the same end.
    assert all(isinstance(event, Stopped) for event in events[expected:])
    assert [*events[1 : expected - 1], events[-1]] == history(Path(undisturbed.run))[1:]


@pytest.mark.slow
def test_killed_and_resumed_twice_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    _kill_again_and_again(processes.start, tmp_path, trials=30, times=2, seed=1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies a process")
def test_killed_and_resumed_twenty_five_times_it_ends_as_if_undisturbed(tmp_path: Path) -> None:
    with warm_command.Warm() as warm:
        _kill_again_and_again(warm.start, tmp_path, trials=45, times=25, seed=2)


def _cut(reference: Path, tmp_path: Path, size: int) -> Path:
    """The reference as it was on the disk when its record had so many bytes."""
    folder = tmp_path / str(size)
    folder.mkdir()
    raw = (reference / "record.jsonl").read_bytes()
    (folder / "record.jsonl").write_bytes(raw[:size])
    shutil.copy(reference / "campaign.yaml", folder)
    return folder


def _sizes(reference: Path, count: int) -> list[int]:
    """Byte counts all over the record: line ends, one off them, and anywhere."""
    raw, rng = (reference / "record.jsonl").read_bytes(), random.Random(3)
    first = raw.index(b"\n") + 1
    ends = [i + 1 for i, byte in enumerate(raw) if byte == 10]
    near = [end + off for end in ends for off in (-2, -1, 0, 1)]
    anywhere = [rng.randrange(first, len(raw)) for _ in range(count)]
    return sorted(size for size in {*rng.sample(near, count), *anywhere} if first <= size < len(raw) - 1)


@pytest.mark.slow
def test_cut_off_at_any_byte_and_resumed_it_ends_as_if_undisturbed(reference: Path, tmp_path: Path) -> None:
    whole = history(reference)
    for size in _sizes(reference, 6):
        folder = _cut(reference, tmp_path, size)
        kept = (folder / "record.jsonl").read_bytes()
        lines = kept[: kept.rfind(b"\n") + 1]
        done = runner.resume(folder)
        assert done.outcome is Outcome.SPENT
        assert history(folder) == whole, f"cut after {size} bytes"
        assert (folder / "record.jsonl").read_bytes().startswith(lines)
        assert record.check(folder).sealed


def test_left_at_any_line_a_campaign_with_confirmations_is_reached_all_the_same(tmp_path: Path) -> None:
    tree = {**endless(30), "tolerance": "2%", "confirm": 2, "average": 1}
    reached = Path(runner.run(tree, runs=tmp_path / "reference").run)
    lines = (reached / "record.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 12
    for count in range(1, len(lines)):
        folder = _cut(reached, tmp_path, len(b"".join(lines[:count])))
        assert runner.resume(folder).reached
        assert history(folder) == history(reached), f"left after {count} lines"


def test_a_torn_line_is_kept_aside_and_said(reference: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = (reference / "record.jsonl").read_bytes()
    end = raw.index(b"\n", len(raw) // 2) + 1
    folder = _cut(reference, tmp_path, end + 40)
    runner.resume(folder)
    assert (folder / "record.torn-1").read_bytes() == raw[end : end + 40]
    assert "kept as record.torn-1" in caplog.text


def test_a_resume_of_a_damaged_record_names_the_line_and_overwrites_nothing(reference: Path, tmp_path: Path) -> None:
    folder = _cut(reference, tmp_path, len((reference / "record.jsonl").read_bytes()))
    lines = (folder / "record.jsonl").read_bytes().splitlines(keepends=True)
    bad = b"".join([*lines[:9], *lines[10:]])
    (folder / "record.jsonl").write_bytes(bad)
    with pytest.raises(Damaged, match=r"record.jsonl:10: damaged"):
        runner.resume(folder)
    assert (folder / "record.jsonl").read_bytes() == bad


def test_only_a_resume_that_is_alive_keeps_another_out(reference: Path, tmp_path: Path) -> None:
    folder = _cut(reference, tmp_path, (reference / "record.jsonl").read_bytes().index(b"\n") + 1)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        env=processes.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InUse, match=f"process {holder.pid}"):
        runner.resume(folder)
    refused = processes.sdl("resume", folder, cwd=tmp_path)
    assert (refused.returncode, f"process {holder.pid}" in refused.stderr) == (5, True)
    holder.kill()
    holder.communicate()
    assert runner.resume(folder).outcome is Outcome.SPENT


_HOLD = """
import sys
from pathlib import Path
from sdl.store.record import Record
record = Record.open(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_replaying_asks_no_solver_and_no_instrument(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr("sdl.runner.propose.propose", never)
    monkeypatch.setattr("sdl.drivers.twin.config.Twin.open", never)
    folded = runs.fold(record.read(reference), reference)
    assert folded.campaign.history.trials == 30
    kinds = {type(event) for event in record.read(reference)}
    assert {Opened, Proposed, Measured} <= kinds
