"""The lock: one holder at a time, known by name, gone with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sdl.errors import InUse, RecordError
from sdl.store.lock import Lock, is_locked


def test_a_lock_is_held_by_one_and_names_its_holder(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", "for the demo")
    with pytest.raises(InUse, match=f"in use by process {os.getpid()} on .* for the demo; wait for it") as found:
        Lock(tmp_path / "lock")
    assert found.value.path == str(tmp_path)
    lock.release()
    lock.release()
    Lock(tmp_path / "lock").release()


def test_a_refused_lock_leaves_the_holder_s_name_as_it_is(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock", "first")
    before = (tmp_path / "lock").read_bytes()
    with pytest.raises(InUse):
        Lock(tmp_path / "lock", "second")
    assert (tmp_path / "lock").read_bytes() == before
    lock.release()


def test_a_name_that_was_left_behind_blocks_nobody_and_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("process 99999999 on a machine with a very long name that was switched off long ago")
    lock = Lock(tmp_path / "lock")
    assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")
    assert "long ago" not in (tmp_path / "lock").read_text()
    lock.release()


def test_programs_started_by_the_holder_do_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        Lock(tmp_path / "lock").release()
        child.communicate()


def test_a_lock_where_no_file_can_be_made_is_a_record_error(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be locked: No such file or directory"):
        Lock(tmp_path / "nowhere" / "lock")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
def test_a_lock_is_never_a_link_and_a_second_name_of_a_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(RecordError, match="cannot be locked: it is a link"):
        Lock(tmp_path / "link")
    os.link(tmp_path / "precious", tmp_path / "second")
    lock = Lock(tmp_path / "second")
    with pytest.raises(InUse):
        Lock(tmp_path / "second")
    lock.release()
    assert (tmp_path / "precious").read_text() == "mine"


def test_whether_a_lock_is_held_is_told_without_taking_it(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
    lock = Lock(tmp_path / "lock")
    assert is_locked(tmp_path / "lock")
    lock.release()
    assert not is_locked(tmp_path / "lock")
    Lock(tmp_path / "lock").release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_copy_of_the_holder_s_process_keeps_no_lock_whether_it_is_given_back_or_its_holder_is_killed(
    tmp_path: Path,
) -> None:
    code = """
import os, sys, time
from pathlib import Path
from sdl.store.lock import Lock

lock = Lock(Path("lock"))
end, other = os.pipe()
if os.fork() == 0:  # a plug-in's copy, which lives on
    os.close(other)
    print("copied", flush=True)
    os.read(end, 1)
    time.sleep(60)
sys.stdin.readline()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True,
    ) as holder:  # fmt: skip
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"copied\n"
            with pytest.raises(InUse):
                Lock(tmp_path / "lock")
            holder.kill()
            holder.wait(20)
            Lock(tmp_path / "lock").release()
        finally:
            os.killpg(holder.pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="such locks are of POSIX")
def test_a_lock_that_is_given_back_is_free_although_its_file_is_open_elsewhere(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    kept = os.dup(lock._fd)  # as a library's own fork, which Python does not see, keeps it
    lock.release()
    Lock(tmp_path / "lock").release()
    os.close(kept)
