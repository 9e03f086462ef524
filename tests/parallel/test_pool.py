"""Items over processes: order, crashes, errors, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pool_work
import pytest
from conftest import ROOT
from pool_work import always_dies, bad_third, dies_until, double, lambda_made, slow_first, threads
from waiting import PATIENCE, until

from sdl.parallel.pool import ONE_THREAD, Crashed, each


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order_with_their_index(jobs):
    assert list(each(double, range(5), jobs)) == [(i, 2 * i) for i in range(5)]


def test_results_can_come_as_they_are_ready():
    assert [index for index, _ in each(slow_first, range(4), 2, ordered=False)][-1] == 0
    assert [index for index, _ in each(slow_first, range(4), 2)] == [0, 1, 2, 3]


def test_workers_are_kept_and_have_one_thread_and_the_environment_is_put_back(monkeypatch):
    first, second, _ = ONE_THREAD
    monkeypatch.setenv(first, "3")
    monkeypatch.delenv(second, raising=False)
    results = [result for _, result in each(threads, range(20), 2)]
    assert {values[0] for _, values in results} == {"1"}
    assert len({pid for pid, _ in results} | {os.getpid()}) == 3
    assert os.environ[first] == "3"
    assert second not in os.environ


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_the_function_raises_reaches_the_caller(jobs):
    with pytest.raises(ValueError, match="three is not for me"):
        list(each(bad_third, range(9), jobs))


def test_the_worker_s_traceback_comes_along():
    with pytest.raises(ValueError) as caught:
        list(each(bad_third, range(9), 2))
    assert "in bad_third" in caught.value.__notes__[0]


def test_a_result_that_cannot_be_sent_is_said_to_be_one():
    with pytest.raises(RuntimeError, match="cannot be sent"):
        list(each(lambda_made, range(2), 2))


def test_an_item_whose_process_was_killed_is_run_again(tmp_path):
    items = [(number, str(tmp_path / "times")) for number in range(6)]
    assert [result for _, result in each(dies_until, items, 2)] == list(range(6))
    assert (tmp_path / "times").read_text() == "xxx"


def test_an_item_that_kills_every_process_is_told_by_its_index():
    with pytest.raises(Crashed, match=r"item 1: its process died 2 times, the last time by exit code 7"):
        list(each(always_dies, range(4), 2, again=1))


def test_the_others_go_on_where_the_caller_takes_a_crash_for_a_result():
    results = dict(each(always_dies, range(6), 2, again=0, crashed=lambda error: error.code))
    assert results == {0: 0, 1: 7, 2: 2, 3: 3, 4: 4, 5: 5}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_an_item_that_takes_too_long_is_killed_and_told_and_not_run_again_and_the_others_go_on(tmp_path):
    list(each(double, [1], 1, limit=PATIENCE))  # the process that others are copied from is there
    items = ["", str(tmp_path / "pid"), "", ""]
    results = dict(each(pool_work.hangs_once, items, 1, crashed=str, limit=4))
    assert results[1] == "item 1: ran for more than 4 s"
    first, killed, then, last = results[0], int((tmp_path / "pid").read_text()), results[2], results[3]
    assert first == killed != then == last != os.getpid()
    until(lambda: gone(killed))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
def test_what_an_item_that_takes_too_long_has_started_is_killed_with_it(tmp_path):
    list(each(double, [1], 1, limit=PATIENCE))  # the process that others are copied from is there
    pid_file = tmp_path / "pid"
    (result,) = dict(each(pool_work.waits_for_another, [str(pid_file)], 1, crashed=str, limit=5)).values()
    assert result.endswith("more than 5 s")
    until(lambda: gone(int(pid_file.read_text())))


def test_without_words_for_it_what_takes_too_long_is_an_error(tmp_path):
    from sdl.parallel.pool import TooLong

    with pytest.raises(TooLong, match=r"item 0: ran for more than 0\.2 s"):
        list(each(pool_work.hangs_once, [str(tmp_path / "pid")], 1, limit=0.2))


def test_with_a_limit_one_job_has_a_process_of_its_own_which_may_end_as_it_likes():
    results = dict(each(always_dies, range(3), 1, again=0, crashed=str, limit=PATIENCE))
    assert results == {0: 0, 1: "item 1: its process died by exit code 7", 2: 2}


def test_an_error_reaches_the_caller_whatever_it_is_made_from():
    from sdl.errors import ConfigError, Damaged, NotEnoughData, Problem

    with pytest.raises(RuntimeError, match="Strange: one and two"):
        list(each(pool_work.foreign, [1], 1, limit=PATIENCE))
    for error in (Damaged("a", 3, "why"), NotEnoughData(1, 4), ConfigError(Problem("no", "a.b", "f.yaml", 3), "so")):
        with pytest.raises(type(error)) as caught:
            list(each(pool_work.own, [error], 1, limit=PATIENCE))
        caught.value.__dict__.pop("__notes__")
        assert (str(caught.value), caught.value.__dict__) == (str(error), error.__dict__)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process starts from its beginning")
def test_workers_are_copied_from_a_process_that_has_loaded_everything():
    assert list(each(pool_work.warm, [1], 1, limit=PATIENCE)) == [(0, True)]


def test_no_jobs_at_all_are_refused():
    with pytest.raises(ValueError, match="jobs must be 1 or more, not 0"):
        list(each(double, [1], 0))


PARENT = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
import sdl.parallel.pool
from sdl.parallel.pool import each
import pool_work
if __name__ == "__main__":
    sdl.parallel.pool.GRACE = 90.0
    for _, pid in each(pool_work.hangs, range(9), 2, ordered=False):
        print(pid, flush=True)
"""


def gone(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path, how):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        workers = {int(parent.stdout.readline()) for _ in range(2)}
        parent.send_signal(how)
        _, output = parent.communicate(timeout=40)  # they were told to end, not killed when patience was
        until(lambda: all(gone(pid) for pid in workers))
        assert "leaked" not in output
    finally:
        parent.kill()
        parent.wait()
