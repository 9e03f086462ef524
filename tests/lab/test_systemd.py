"""The unit, and the word to the service manager."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

from sdl.errors import ConfigError
from sdl.lab.systemd import Watchdog, unit_name, unit_text
from sdl.runner import INTERRUPTED


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("no sockets in the file system here")
    result = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    result.bind(str(tmp_path / "notify"))
    result.settimeout(0.05)
    return result


def heard(manager: socket.socket) -> list[str]:
    result = []
    try:
        while True:
            result.append(manager.recv(4096).decode())
    except TimeoutError:
        return result


def test_it_says_ready_once_and_alive_four_times_in_the_time_that_is_allowed(
    tmp_path: Path, manager: socket.socket
) -> None:
    clock = Clock()
    with manager:
        watchdog = Watchdog({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}, clock=clock)
        watchdog.tick()
        assert heard(manager) == ["WATCHDOG=1"]
        watchdog.ready("2 instruments")
        assert heard(manager) == ["READY=1\nSTATUS=2 instruments"]
        for second in range(1, 61):
            clock.now = float(second)
            watchdog.tick()
        assert heard(manager) == ["WATCHDOG=1"] * 4
        watchdog.stopping()
        assert heard(manager) == ["STOPPING=1"]


def test_a_name_without_a_place_in_the_file_system_is_understood() -> None:
    if sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0sdl-test-notify")
        manager.settimeout(0.05)
        Watchdog({"NOTIFY_SOCKET": "@sdl-test-notify"}).ready()
        assert heard(manager) == ["READY=1\nSTATUS="]


def test_without_systemd_it_only_knows_how_long_ago_the_loop_ticked() -> None:
    clock = Clock()
    watchdog = Watchdog({}, clock=clock)
    assert watchdog.age() == float("inf")
    watchdog.ready()
    clock.now = 7.0
    assert watchdog.age() == 7.0
    watchdog.tick()
    assert watchdog.age() == 0.0


def test_a_manager_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    Watchdog({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_path_with_every_sign_that_systemd_reads_stands_for_itself() -> None:
    text = unit_text("bench", Path('/tmp/my "labs"/50% $HOME/lab.yaml'))
    assert r'"/tmp/my \"labs\"/50%% $$HOME/lab.yaml"' in text
    assert 'WorkingDirectory=/tmp/my "labs"/50%% $HOME\n' in text
    with pytest.raises(ConfigError, match="control characters"):
        unit_text("bench", Path("/tmp/a\nExecStartPre=/bin/false/lab.yaml"))


def test_the_lab_is_found_and_takes_its_leases_where_its_user_looks_for_them() -> None:
    environ = {"XDG_STATE_HOME": "/tmp/my state", "SDL_LEASES": "/tmp/50%", "SECRET": "x"}
    text = unit_text("bench", Path("/tmp/lab.yaml"), environ=environ)
    assert 'Environment="XDG_STATE_HOME=/tmp/my state"\nEnvironment="SDL_LEASES=/tmp/50%%"\n' in text
    assert "SECRET" not in text
    text = unit_text("bench", Path("/tmp/lab.yaml"), system=True, user="lab", environ=environ)
    assert "XDG_STATE_HOME" not in text
    assert "SDL_LEASES" in text


def test_a_lab_that_was_asked_to_end_has_not_failed() -> None:
    [line] = [
        line for line in unit_text("bench", Path("/tmp/lab.yaml")).splitlines() if line.startswith("SuccessExitStatus")
    ]
    assert {int(code) for code in line.partition("=")[2].split()} == set(INTERRUPTED.values())


def test_the_name_of_a_unit_is_one() -> None:
    assert unit_name("bench-3.a") == "sdl-lab-bench-3.a.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("system", [False, True])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path, system: bool) -> None:
    folder = tmp_path / "my labs 50%"
    folder.mkdir()
    (folder / "lab.yaml").touch()
    file = tmp_path / unit_name("bench")
    leases = {"SDL_LEASES": "/tmp/a b"}
    text = unit_text("bench", folder / "lab.yaml", system=system, user="root" if system else "", environ=leases)
    file.write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "verify", *([] if system else ["--user"]), str(file)]
    environ = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environ)
    ours = [line for line in done.stderr.splitlines() if file.name in line]
    assert not ours
    assert done.returncode == 0, done.stderr
