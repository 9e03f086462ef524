"""The same results by a Dask cluster, workers lost or not; real instruments where their workers are."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT
from waiting import until

from sdl.errors import ConfigError
from sdl.sweep import load, run

pytestmark = pytest.mark.slow

SWEEP = """\
name: many
campaign:
  name: led
  instrument: {kind: twin}
  goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
  solver: {kind: linear}
grid: {tolerance: [2%, 1%]}
seeds: 20
"""


def planned(tmp_path, text=SWEEP):
    file = tmp_path / "many.yaml"
    file.write_text(text)
    return load(file)


def test_with_a_worker_and_then_the_client_killed_the_file_is_the_same(cluster, tmp_path):
    plan, out = planned(tmp_path), tmp_path / "out"
    address, workers = cluster([], [])
    line = [sys.executable, "-m", "sdl", "sweep", "many.yaml", "-o", str(out), "--cluster", address, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    client = subprocess.Popen(line, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    journal = out / "journal.jsonl"

    def done():
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    try:
        until(lambda: done() >= 2)
        workers[0].send_signal(signal.SIGKILL)
        until(lambda: done() >= 6)
    finally:
        client.kill()
        client.wait()
    before = done()
    assert 6 <= before < len(plan)
    again = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, check=True)
    told = json.loads(again.stdout)
    assert (told["before"], told["ran"], told["cannot"]) == (before, len(plan) - before, [])
    assert (out / "results.parquet").read_bytes() == run(plan, tmp_path / "here", jobs=1).data.read_bytes()


def test_a_real_instrument_is_driven_by_the_worker_that_has_it(cluster, tmp_path, monkeypatch):
    """Who did the work stands in for what was done: no instrument is needed to see where it would be driven."""
    from sdl.sweep import cluster as module

    address, _ = cluster([], ["--resources", "lamp=1", "--name", "near"])
    plan = planned(tmp_path, SWEEP.replace("seeds: 20", "seeds: 2"))
    tasks = [plan.task(i, None)._replace(resource="lamp") for i in range(len(plan))]
    seen = []
    real = module.run_tasks

    def where(some, limit):
        from distributed import get_worker

        return [{"id": task.id, "by": str(get_worker().name)} for task in some]

    monkeypatch.setattr(module, "run_tasks", where)
    for rows in module.each(iter(tasks), address, None, ["lamp"]):
        seen += [row["by"] for row in rows]
    assert seen == ["near"] * len(tasks)
    monkeypatch.setattr(module, "run_tasks", real)
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 1.0)
    with pytest.raises(ConfigError, match="no worker has the resource oven; start one beside the instrument"):
        list(module.each(iter(tasks), address, None, ["oven"]))


def test_what_stood_behind_a_campaign_that_hung_is_given_out_again(tmp_path, monkeypatch):
    from distributed import Client

    from sdl.sweep import cluster as module

    monkeypatch.setattr(module, "TASK_SECONDS", 1e6)  # after the first, all that are left are sent at once
    monkeypatch.setattr(module, "run_tasks", only_the_first)
    plan = planned(tmp_path, SWEEP.replace("seeds: 20", "seeds: 3"))
    tasks = [plan.task(i, None) for i in range(len(plan))]
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as client:
        rows = [row for some in module._done(client, iter(tasks), 1, 60.0) for row in some]
    assert sorted(row["id"] for row in rows) == sorted(plan.ids())
    assert {row["limit"] for row in rows} == {60.0}


def only_the_first(some, limit):
    """As a worker does it where the first hangs."""
    return [{"id": some[0].id, "limit": limit}]


def test_a_cluster_can_be_made_here_and_keeps_its_inner_life_to_itself(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    plan = planned(tmp_path, SWEEP.replace("seeds: 20", "seeds: 2"))
    here = run(plan, tmp_path / "here", jobs=1)
    assert run(plan, tmp_path / "local", jobs=1, cluster="local").data.read_bytes() == here.data.read_bytes()
    assert [r.getMessage() for r in caplog.records if r.name.startswith("distributed")] == []
