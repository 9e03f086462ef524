"""A sweep runs each campaign once, goes on after any interruption, and gives the same file on any workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import stuck
from conftest import ROOT
from waiting import TIMEOUT, until

from sdl import runner, yamlfile
from sdl.errors import ConfigError, Damaged, InUse, Lost, RecordError
from sdl.parallel import pool
from sdl.sweep import load, run, work
from sdl.sweep.work import SweepTask, run_task

SWEEP = """\
name: many
campaign:
  name: led
  instrument: {kind: twin}
  goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
  stop: {trials: 12}
grid: {solver.kind: [linear, secant]}
random: {draws: 2, keys: {goal.515nm: {low: 8000, high: 24000}}}
seeds: SEEDS
"""


@pytest.fixture
def plan(tmp_path):
    """A plan of four campaigns for each seed."""

    def of(seeds=2, more=""):
        file = tmp_path / "many.yaml"
        file.write_text(SWEEP.replace("SEEDS", str(seeds)) + more)
        return load(file)

    return of


def rows(told):
    return pq.read_table(told.data).to_pylist()


def test_a_row_is_what_the_campaign_gives_by_itself(plan, tmp_path):
    planned = plan()
    told = run(planned, tmp_path / "out", jobs=1)
    assert (told.campaigns, told.before, told.ran, told.cannot) == (8, 0, 8, ())
    for number, row in enumerate(rows(told)):
        point, seed, _ = planned.place(number)
        tree = {"name": "led", "instrument": {"kind": "twin"}, "stop": {"trials": 12}, "seed": seed}
        tree["goal"] = {"445nm": 16384, "515nm": point.values["goal.515nm"], "630nm": 16384}
        alone = runner.run({**tree, "solver": {"kind": point.values["solver.kind"]}}, runs=None)
        assert (row["number"], row["seed"]) == (number, seed)
        assert (row["solver.kind"], row["goal.515nm"]) == tuple(point.values.values())
        assert (row["outcome"], row["trials"], row["error"]) == (alone.outcome, alone.trials, alone.error)
        assert {n.removeprefix("applied."): v for n, v in row.items() if n.startswith("applied.")} == alone.applied
        assert {n.removeprefix("measured."): v for n, v in row.items() if n.startswith("measured.")} == alone.measured


@pytest.mark.parametrize(
    ("what", "limit", "why"), [("hang", 2, "ran for more than 2 s: solver stuck"), ("end", 60, "exit code 0")]
)
def test_a_solver_that_hangs_or_ends_its_process_has_no_row_and_the_next_call_tries_it_again(
    plan, tmp_path, monkeypatch, what, limit, why
):
    list(pool.each(str, [1], limit=TIMEOUT))  # what workers are copied from is there
    solver = stuck.install(tmp_path, monkeypatch, what)
    file = tmp_path / "two.yaml"
    file.write_text(SWEEP.replace("[linear, secant]", "[linear]").replace("SEEDS", "1").replace("draws: 2", "draws: 1"))
    file.write_text(file.read_text().replace("solver.kind: [linear]", f"solver: [{solver}, linear]"))
    told = run(load(file), tmp_path / "out", jobs=1, limit=limit)
    (one,) = told.cannot
    assert why in one
    assert [(row["solver"], row["outcome"]) for row in rows(told)] == [("linear", "reached")]
    (tmp_path / "told").write_text("no")
    again = run(load(file), tmp_path / "out", jobs=1, limit=TIMEOUT)
    assert (again.before, again.ran, again.cannot) == (1, 1, ())


def test_what_hangs_in_a_clusters_worker_ends_what_the_worker_was_given_and_soon_the_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "_ONE", threading.Lock())
    ends = threading.Event()
    monkeypatch.setattr(work, "EXIT_DELAY", 0.0)
    monkeypatch.setattr(work.os, "_exit", lambda code: ends.set())
    tree = {"name": "led", "instrument": "twin", "goal": {"445nm": 9000}}
    stuck_ = yamlfile.scalar(stuck.install(tmp_path, monkeypatch, "hang"))
    tasks = [SweepTask(name, {**tree, "solver": solver}, None, "") for name, solver in (("a", stuck_), ("b", "linear"))]
    assert work.run_tasks(tasks, 0.3) == [{"id": "a", "cannot": "ran for more than 0.3 s: solver stuck"}]
    assert ends.wait(TIMEOUT)
    (tmp_path / "told").unlink()  # it goes on, and says that it cannot
    assert work._ONE.locked()


def test_two_processes_and_one_give_the_same_file(plan, tmp_path):
    one, two = (run(plan(), tmp_path / str(jobs), jobs=jobs) for jobs in (1, 2))
    assert one.data.read_bytes() == two.data.read_bytes()


def test_what_is_done_is_not_run_again(plan, tmp_path):
    first = run(plan(), tmp_path / "out", jobs=1)
    before = first.data.stat().st_mtime_ns
    told = run(plan(), tmp_path / "out", jobs=1)
    assert (told.before, told.ran) == (8, 0)
    assert told.data.stat().st_mtime_ns == before


def test_ctrl_c_keeps_what_was_done_and_the_next_call_goes_on(plan, tmp_path):
    def stop(done, of):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(), tmp_path / "out", jobs=1, progress=stop)
    assert pq.read_metadata(tmp_path / "out" / "results.parquet").num_rows == 3
    told = run(plan(), tmp_path / "out", jobs=1)
    assert (told.before, told.ran) == (3, 5)
    assert told.data.read_bytes() == run(plan(), tmp_path / "whole", jobs=1).data.read_bytes()


def test_more_seeds_add_rows_and_leave_the_others_as_they_were(plan, tmp_path):
    old = {row["id"]: row for row in rows(run(plan(1), tmp_path / "out", jobs=1))}
    told = run(plan(3), tmp_path / "out", jobs=1)
    assert (told.before, told.ran) == (4, 8)
    for row in rows(told):
        if row["id"] in old:
            assert {**row, "number": 0} == {**old[row["id"]], "number": 0}
    assert told.data.read_bytes() == run(plan(3), tmp_path / "whole", jobs=1).data.read_bytes()


def test_results_of_other_campaigns_are_not_mixed_in(plan, tmp_path):
    run(plan(2), tmp_path / "out", jobs=1)
    with pytest.raises(ConfigError, match="results of 4 campaigns that are not in many"):
        run(plan(1), tmp_path / "out", jobs=1)


def test_two_cannot_write_to_the_same_results(plan, tmp_path):
    def second(done, of):
        if done == 1:
            run(plan(), tmp_path / "out", jobs=1)

    with pytest.raises(InUse, match="sweep many"):
        run(plan(), tmp_path / "out", jobs=1, progress=second)


def test_a_line_that_a_kill_cut_off_is_run_again_and_a_changed_one_is_refused(plan, tmp_path):
    whole = run(plan(), tmp_path / "whole", jobs=1).data.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    task = plan().task(0, None)
    line = json.dumps(run_task(task)).encode() + b"\n"
    (out / "journal.jsonl").write_bytes(line + line[:40])
    told = run(plan(), out, jobs=1)
    assert (told.before, told.ran) == (1, 7)
    assert told.data.read_bytes() == whole
    (out / "journal.jsonl").write_bytes(b"nothing\n" + line)
    with pytest.raises(Damaged, match="not a row of a sweep"):
        run(plan(), out, jobs=1)


def test_what_the_sweep_is_gets_replaced_and_is_never_half_written(plan, tmp_path):
    run(plan(1), tmp_path / "out", jobs=1)
    about = tmp_path / "out" / "sweep.json"
    about.with_name("before").hardlink_to(about)
    run(plan(2), tmp_path / "out", jobs=1)
    assert json.loads(about.with_name("before").read_text())["sweep"]["seeds"] == 1
    assert json.loads(about.read_text())["sweep"]["seeds"] == 2


def broken(data):
    table = pq.read_table(data)
    whole = data.read_bytes()
    yield "cannot be read", lambda: data.write_bytes(whole[: len(whole) // 2])
    yield "cannot be read", lambda: data.write_bytes(b"")
    yield "cannot be read|no column id", lambda: pq.write_table(pa.table({"x": [1]}), data)
    yield "no column trials", lambda: pq.write_table(table.drop_columns(["trials"]), data)
    yield "8 campaigns occur twice", lambda: pq.write_table(pa.concat_tables([table, table]), data)
    yield "cannot be read", lambda: (data.unlink(), data.mkdir())


def test_a_damaged_data_set_is_told_with_what_to_do_and_left_as_it_is(plan, tmp_path):
    data = run(plan(), tmp_path / "out", jobs=1).data
    more = plan(3)
    for said, damage in broken(data):
        damage()
        before = data.read_bytes() if data.is_file() else None
        with pytest.raises(RecordError, match=rf"results\.parquet: .*({said}).*move it away"):
            run(more, tmp_path / "out", jobs=1)
        assert (data.read_bytes() if data.is_file() else None) == before


@pytest.mark.parametrize("changes", [{"outcome": 5}, {"trials": "many"}, {"trials": None}])
def test_a_row_of_the_journal_that_is_none_is_told(plan, tmp_path, changes):
    out = tmp_path / "out"
    out.mkdir()
    row = run_task(plan().task(0, None)) | changes
    lines = json.dumps({key: value for key, value in row.items() if value is not None}) + "\n"
    (out / "journal.jsonl").write_text(lines)
    with pytest.raises(RecordError, match=r"journal\.jsonl.*damaged"):
        run(plan(), out, jobs=1)


@pytest.mark.parametrize("loss", ["deleted", "replaced", "cut", "folder"])
def test_a_journal_that_others_take_away_ends_the_sweep_and_what_was_in_it_is_done_again(plan, tmp_path, loss):
    out = tmp_path / "out"
    journal = out / "journal.jsonl"

    def lose(done, of):
        if done != 3:
            return
        match loss:
            case "deleted":
                journal.unlink()
            case "replaced":
                (out / "other").write_bytes(b"")
                (out / "other").replace(journal)
            case "cut":
                os.truncate(journal, journal.stat().st_size - 9)
            case "folder":
                shutil.rmtree(out)

    with pytest.raises(Lost, match=r"journal\.jsonl: was .* while it was being written; run the sweep again"):
        run(plan(), out, jobs=1, progress=lose)
    told = run(plan(), out, jobs=1)
    assert told.before + told.ran == 8
    assert rows(told) == rows(run(plan(), tmp_path / "whole", jobs=1))


def test_a_sweep_writes_through_no_link(plan, tmp_path):
    (tmp_path / "precious").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("results.part", "sweep.json.new"):
        (out / name).symlink_to(tmp_path / "precious")
    run(plan(), out, jobs=1)
    assert (tmp_path / "precious").read_text() == "mine"
    (out / "journal.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(RecordError, match="it is a link"):
        run(plan(3), out, jobs=1)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_campaign_that_cannot_be_run_is_told_and_tried_again(plan, tmp_path):
    log = tmp_path / "night.jsonl"
    line = '{"in": [0.4, 0.3, 0.5], "out": {"445nm": 15000, "515nm": 19000, "630nm": 12000}, "time": 1.0}\n'
    log.write_text(line)
    text = SWEEP.replace("  stop:", "  prior: [night.jsonl]\n  stop:").replace("SEEDS", "1")
    (tmp_path / "many.yaml").write_text(text)
    planned = load(tmp_path / "many.yaml")
    log.unlink()
    told = run(planned, tmp_path / "out", jobs=1)
    assert (told.ran, len(told.cannot)) == (0, 4)
    assert "night.jsonl" in told.cannot[0]
    log.write_text(line)
    assert run(planned, tmp_path / "out", jobs=1).ran == 4


def test_results_of_other_versions_are_told(plan, tmp_path):
    run(plan(1), tmp_path / "out", jobs=1)
    about = tmp_path / "out" / "sweep.json"
    about.write_text(about.read_text().replace('"numpy": "', '"numpy": "0.'))
    then, now = run(plan(2), tmp_path / "out", jobs=1).changed["numpy"]
    assert then == f"0.{now}"


def test_records_are_kept_on_demand_and_are_sound(plan, tmp_path):
    told = run(plan(1, "keep: records\n"), tmp_path / "out", jobs=1)
    files = sorted((tmp_path / "out" / "records").glob("*/led/*/record.jsonl"))
    assert sorted(file.parts[-4] for file in files) == sorted(row["id"] for row in rows(told))
    assert not list((tmp_path / "out").glob("**/journal.jsonl"))
    plain = run(plan(1), tmp_path / "plain", jobs=1)
    assert plain.data.read_bytes() == told.data.read_bytes()


def test_a_campaign_that_a_lost_worker_left_half_way_goes_on_from_its_record(plan, tmp_path):
    task = plan(1, "keep: records\n").task(0, tmp_path)
    whole = run_task(SweepTask(task.id, task.tree, None, ""))
    halfway = 0

    def dies(event, campaign):
        nonlocal halfway
        halfway += 1
        if halfway == 6:
            raise RuntimeError("as if the process had died")

    with pytest.raises(RuntimeError):
        runner.run(task.tree, runs=task.folder, watch=dies)
    assert run_task(task) == whole
    assert len(list(Path(task.folder).glob("led/*/record.jsonl"))) == 1
    assert run_task(task) == whole  # read, not run again
    assert len(list(Path(task.folder).glob("led/*/record.jsonl"))) == 1


def command(tmp_path, out):
    return [sys.executable, "-m", "sdl", "sweep", str(tmp_path / "many.yaml"), "-o", str(out), "--jobs", "2", "--json"]


def lines(file):
    return file.read_bytes().count(b"\n") if file.exists() else 0


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_with_a_worker_and_then_everything_killed_the_file_is_the_same(plan, tmp_path):
    planned = plan(15)
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(command(tmp_path, out), env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        until(lambda: lines(out / "journal.jsonl") >= 3)
        warm = [pid for pid in children(first.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(children(warm[0])[0], signal.SIGKILL)
        until(lambda: lines(out / "journal.jsonl") >= 15)
    finally:
        first.kill()
        first.wait()
    done = lines(out / "journal.jsonl")
    assert 15 <= done < len(planned)
    again = subprocess.run(command(tmp_path, out), env=environment, cwd=tmp_path, capture_output=True, check=True)
    told = json.loads(again.stdout)
    assert told["before"] == done
    assert told["ran"] == len(planned) - done
    clean = run(planned, tmp_path / "clean", jobs=1)
    assert (out / "results.parquet").read_bytes() == clean.data.read_bytes()


def test_a_real_instrument_is_driven_by_one_process_and_every_record_is_kept(tmp_path):
    from sdl.twin.led.serve import TwinServer

    with TwinServer(speed=1000, latency=0.1) as server:
        instrument = f"{{kind: claude-light, url: '{server.url}', background: none}}"
        text = SWEEP.replace("{kind: twin}", instrument).replace("SEEDS", "1").replace("random:", "repeats: 2\n#")
        (tmp_path / "many.yaml").write_text(text)
        planned = load(tmp_path / "many.yaml")
        assert planned.real
        assert {point.resource for point in planned.points} == {"claude-light"}
        told = run(planned, tmp_path / "out", jobs=2)
    assert (told.campaigns, told.ran, told.cannot) == (4, 4, ())
    kept = sorted(file.parts[-4] for file in (tmp_path / "out" / "records").glob("*/led/*/record.jsonl"))
    assert kept == sorted(row["id"] for row in rows(told))
    assert [row["repeat"] for row in rows(told)] == [0, 1, 0, 1]
    holders = {file.read_text().split()[1] for file in (tmp_path / "out" / "records").glob("*/led/*/record.lock")}
    assert holders == {str(os.getpid())}
