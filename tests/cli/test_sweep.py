"""`sdl sweep`: what it prints, how it ends, and how it goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from waiting import PATIENCE, until

from sdl.cli.display.progress import ProgressBar, clock

SWEEP = """\
name: many
campaign: led.yaml
grid: {tolerance: [2%, 0.5%]}
seeds: 3
"""


@pytest.fixture
def many(file, tmp_path):
    """A sweep of six campaigns in the current directory."""
    (tmp_path / "many.yaml").write_text(SWEEP)
    return "many.yaml"


@pytest.mark.slow
def test_a_sweep_ends_in_a_table_with_a_line_for_each_value(sdl, many):
    done = sdl("sweep", many, "--jobs", "1")
    assert done.code == 0
    head, *rows = done.out.splitlines()
    assert head.split() == ["tolerance", "campaigns", "reached", "trials:", "median", "p95", "error"]
    assert [row.split()[:4] for row in rows[:2]] == [["2%", "3", "100", "%"], ["0.5%", "3", "100", "%"]]
    assert rows[-1] == "runs/sweeps/many/results.parquet: 6 campaigns, one row per campaign"
    assert "6 of 6 campaigns" in done.err


def test_done_already_it_only_shows_the_table(sdl, many):
    first = sdl("sweep", many, "--jobs", "1", "--json").json
    again = sdl("sweep", many, "--json").json
    assert (first["before"], first["ran"]) == (0, 6)
    assert (again["before"], again["ran"]) == (6, 0)
    assert first["groups"] == again["groups"]
    assert [group["tolerance"] for group in again["groups"]] == ["2%", "0.5%"]
    assert all(group["reached"] == 3 for group in again["groups"])


def test_a_dry_run_says_how_many_and_does_nothing(sdl, many):
    done = sdl("sweep", many, "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[0] == "many: 6 campaigns on led.yaml, all valid"
    assert not Path("runs").exists()
    assert sdl("sweep", many, "--dry-run", "--json").json["campaigns"] == 6


def test_a_mistake_ends_with_2_and_nothing_was_started(sdl, many):
    Path(many).write_text(SWEEP.replace("2%,", "-2%,").replace("seeds: 3", "seeds: none"))
    done = sdl("sweep", many)
    assert done.code == 2
    assert "many.yaml:4: seeds: must be" in done.err
    Path(many).write_text(SWEEP.replace("2%,", "-2%,"))
    done = sdl("sweep", many)
    assert done.code == 2
    assert "many.yaml:3: grid.tolerance:" in done.err
    assert not Path("runs").exists()


def test_goals_that_were_never_reached_are_told(sdl, many):
    Path(many).write_text(SWEEP + "\n")
    Path("led.yaml").write_text(Path("led.yaml").read_text() + "stop: {trials: 4}\n")
    done = sdl("sweep", many, "--jobs", "1")
    assert done.code == 0
    assert done.out.splitlines()[1].split() == ["2%", "3", "0", "%", "never", "never"]


def test_a_picture_is_drawn(sdl, many):
    done = sdl("sweep", many, "--jobs", "1", "--plot", "many.png", "-o", "out")
    assert done.code == 0
    assert Path("many.png").read_bytes().startswith(b"\x89PNG")
    assert sdl("sweep", many, "--jobs", "1", "--report", "many.html", "-o", "out").code == 0
    page = Path("many.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>\n<!-- made by sdl -->")
    assert "data:image/svg+xml;base64," in page
    assert Path("out/results.parquet").exists()


def test_a_cluster_that_is_not_there_ends_with_2(sdl, many, monkeypatch):
    import sdl.sweep.cluster as cluster

    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT", 0.5)
    done = sdl("sweep", many, "--cluster", "tcp://127.0.0.1:9", "-q")
    assert done.code == 2
    assert "--cluster tcp://127.0.0.1:9: no Dask scheduler answers there" in done.err


@pytest.mark.parametrize(("seconds", "message"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (9000, "2.5 h")])
def test_the_time_left_is_told_as_people_do(seconds, message):
    assert clock(seconds) == message


def test_work_taken_up_again_is_not_thought_quick(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with ProgressBar("campaigns") as bar:
        bar(900, 1000)
        now = 10.0
        bar(910, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "900 of 1000 campaigns are already done",
        "910 of 1000 campaigns, 90 s left",
    ]


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("pyarrow.parquet", [], "the results of a sweep need pyarrow, which is not installed"),
        ("distributed", ["--cluster", "local"], "clusters (--cluster) need distributed, which is not installed"),
    ],
)
def test_a_package_that_is_missing_is_named(sdl, many, monkeypatch, module, options, message):
    monkeypatch.setitem(sys.modules, module, None)
    done = sdl("sweep", many, "-q", *options)
    assert done.code == 2
    assert message in done.err


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("how", "code", "jobs"), [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 2), (signal.SIGTERM, 143, 1)]
)
def test_interrupted_it_says_how_to_go_on_and_leaves_nothing_behind(sdl, many, tmp_path, how, code, jobs):
    Path(many).write_text(SWEEP.replace("seeds: 3", "seeds: 300"))
    command = [sys.executable, "-m", "sdl", "sweep", many, "--jobs", str(jobs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    journal = tmp_path / "runs/sweeps/many/journal.jsonl"
    try:
        until(lambda: journal.exists() and journal.stat().st_size, running)
        os.killpg(running.pid, how)  # as a terminal does: to the workers too
        _, message = running.communicate(timeout=PATIENCE)
    finally:
        running.kill()
    assert running.returncode == code
    assert "of 600 campaigns done, in runs/sweeps/many; run it again to continue" in message
    assert "Traceback" not in message
    assert not journal.exists()
    until(lambda: not alive(running.pid))


def alive(group):
    """The commands of the processes in a group that still run."""
    result = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its) == group and state != "Z":
                result.append(stat.with_name("cmdline").read_bytes())
    return result
