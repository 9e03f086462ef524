"""The lease of an instrument: one campaign at a time on this machine, for all users."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest

from sdl import config, runner
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.drivers.sdl_light.config import SdlLight
from sdl.errors import InUse, RecordError
from sdl.store import lease
from sdl.twin.led.serve import TwinServer

ID = "claude-light:light.example:8080/api"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(lease.DIRECTORY_VARIABLE, str(tmp_path / "leases"))
    return tmp_path / "leases"


_HOLD = """
import sys
from sdl.store.lease import lease
with lease(sys.argv[1], "(run 7, ada)"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds ID."""
    found = subprocess.Popen(
        [sys.executable, "-c", _HOLD, ID],
        env=processes.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert found.stdout is not None
    assert found.stdout.readline() == "held\n"
    yield found
    found.kill()
    found.communicate()


def test_an_instrument_is_held_by_one_and_the_refusal_names_the_holder(other: subprocess.Popen[str]) -> None:
    words = rf"^{ID}: in use by process {other.pid} on .* \(run 7, ada\); wait"
    with pytest.raises(InUse, match=words) as refused, lease.lease(ID):
        pytest.fail("held twice")
    assert refused.value.exit_code == 5


def test_a_killed_holder_leaves_no_lease(other: subprocess.Popen[str]) -> None:
    found = lease.holder(ID)
    assert found is not None
    assert found.name.startswith(f"process {other.pid} on ")
    assert os.path.getmtime(next(lease.directory().iterdir())) == found.since
    other.kill()
    other.wait()
    assert lease.holder(ID) is None
    with lease.lease(ID):
        pass


def test_two_threads_of_one_process_exclude_each_other_too() -> None:
    with lease.lease(ID), pytest.raises(InUse), lease.lease(ID):
        pytest.fail("held twice")
    assert lease.holder(ID) is None


def test_looking_who_holds_it_never_keeps_anybody_out() -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            lease.holder(ID)

    with lease.lease(ID):
        pass  # the file is there now
    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            with lease.lease(ID):
                pass
    finally:
        over.set()
        looking.join()


def test_looking_creates_nothing(folder: Path) -> None:
    assert lease.holder(ID) is None
    assert not folder.exists()


def test_other_instruments_are_free(other: subprocess.Popen[str]) -> None:
    with lease.lease(ID + "/2"), lease.lease("claude-light:" + "x" * 300), lease.lease("claude-light:" + "x" * 301):
        assert lease.holder(ID + "/2") is not None


def test_an_instrument_is_held_by_all_of_its_names_or_by_none(other: subprocess.Popen[str]) -> None:
    with pytest.raises(InUse, match=rf"^north: in use by process {other.pid} on "), lease.lease("north", "", ("z", ID)):
        pytest.fail("held twice")
    assert lease.holder("north", "z") is None
    other.kill()
    other.wait()
    with lease.lease("north", "", ("z", ID)):
        for name in ("north", "z", ID):
            assert lease.holder(name) is not None
            with pytest.raises(InUse), lease.lease("south", "", (name,)):
                pytest.fail("held twice")
        assert lease.holder("south") is None
    assert lease.holder("north", "z", ID) is None


def test_the_directory_is_everybody_s_and_nobody_can_replace_another_s_file(folder: Path) -> None:
    with lease.lease(ID):
        pass
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert next(folder.iterdir()).stat().st_mode & 0o777 == 0o666


def test_a_directory_in_which_others_can_replace_files_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(RecordError, match="others could replace what is in it"), lease.lease(ID):
        pytest.fail("held")


def test_a_link_in_the_place_of_the_directory_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="a link is not followed"), lease.lease(ID):
        pytest.fail("held")


@pytest.mark.parametrize("trap", ["symlink", "hard link", "pipe"])
def test_a_trap_in_the_place_of_the_file_is_not_written_to(folder: Path, tmp_path: Path, trap: str) -> None:
    with lease.lease(ID):
        pass
    file = next(folder.iterdir())
    file.unlink()
    precious = tmp_path / "precious"
    precious.write_text("mine")
    match trap:
        case "symlink":
            file.symlink_to(precious)
        case "hard link":
            os.link(precious, file)
        case "pipe":
            os.mkfifo(file)
    with pytest.raises(RecordError, match="cannot be locked"), lease.lease(ID):
        pytest.fail("held")
    assert precious.read_text() == "mine"


def test_what_a_file_says_cannot_move_the_cursor_of_a_terminal() -> None:
    with lease.lease(ID):
        file = next(lease.directory().iterdir())
        file.write_text("process 1 \x1b[2J\n\x07evil")
        found = lease.holder(ID)
        assert found is not None
        assert found.name == "process 1 ?[2J??evil"


# --- who takes one ------------------------------------------------------------------------------------------------


def campaign(url: str) -> dict[str, object]:
    light = {"kind": "claude-light", "url": url, "background": "none"}
    return {"name": "led", "instrument": light, "goal": {"445nm": 16384}, "stop": {"trials": 1}}


def test_run_and_resume_are_refused_before_anything_is_written_or_asked(tmp_path: Path) -> None:
    with TwinServer(latency=0.001) as light:
        tree = campaign(light.url)
        first = runner.run(tree, runs=tmp_path / "runs")
        asked = light.world.taken
        identity = config.parse_kind("instrument", tree["instrument"]).identity
        with lease.lease(identity, "(another user)"):
            with pytest.raises(InUse, match="another user"):
                runner.run(tree, runs=tmp_path / "runs")
            with pytest.raises(InUse, match="another user"):
                runner.resume(first.run, changes=["stop.trials=2"])
        assert len(list((tmp_path / "runs").glob("*/*"))) == 1
        assert light.world.taken == asked
        assert runner.resume(first.run, changes=["stop.trials=2"]).trials == 2


@pytest.mark.parametrize(
    "spelt",
    [
        "http://localhost:{port}/api",
        "http://LocalHost.:{port}/api/",
        "http://[::1]:{port}/api",
        "http://[::ffff:127.0.0.1]:{port}/api",
        "http://127.1:{port}/api",
        "HTTP://0.0.0.0:{port}/api",
        "http://127.0.0.1:{port}/x/../api",
        "http://127.0.0.1:{port}/%61pi",
        "http://\uff11\uff12\uff17.0.0.1:{port}/api",
    ],
)
def test_a_second_campaign_is_refused_however_it_spells_the_address(spelt: str, tmp_path: Path) -> None:
    with TwinServer(latency=0.001) as light:
        port = light.url.rpartition(":")[2].removesuffix("/api")
        first, second = config.parse(campaign(light.url)), campaign(spelt.format(port=port))
        with runner.instrument_lease(first.instrument, "first"), pytest.raises(InUse, match="first"):
            runner.run(second, runs=tmp_path / "runs")
        assert light.world.taken == 0
        assert not list((tmp_path / "runs").glob("*/*"))


@pytest.mark.parametrize(
    "spelt", ["http://127.0.0.1:5641/api", "http://127.0.0.1:5640/API", "http://192.0.2.7:5640/api"]
)
def test_another_port_path_or_host_is_another_instrument(spelt: str) -> None:
    one, other = (ClaudeLight(url=url) for url in ("http://127.0.0.1:5640/api", spelt))
    with runner.instrument_lease(one, "one"), runner.instrument_lease(other, "other"):
        pass


def test_a_host_with_two_addresses_shares_its_lease_with_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(host: str, *_: Any, **__: Any) -> list[Any]:
        addresses = {"light.example": ("192.0.2.7", "192.0.2.8"), "led.example": ("192.0.2.8", "192.0.2.9")}
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses.get(host, (host,))]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    light, led, *numbers = (
        ClaudeLight(url=f"https://{host}/api")
        for host in ("light.example", "led.example", "192.0.2.7", "192.0.2.8", "192.0.2.9")
    )
    with runner.instrument_lease(light, "light"):
        for other in (led, *numbers[:2]):
            with pytest.raises(InUse), runner.instrument_lease(other, "other"):
                pytest.fail("held twice")
        with runner.instrument_lease(numbers[2], "no address of its"):
            pass


def test_where_no_name_can_be_looked_up_the_text_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    one, other = (ClaudeLight(url=url) for url in ("https://Light.Example:443/api", "http://light.example./api/"))
    with runner.instrument_lease(one, "one"), pytest.raises(InUse), runner.instrument_lease(other, "other"):
        pytest.fail("held twice")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"host": "localhost"}, {"host": "127.0.0.1"}, True),
        ({"host": "LOCALHOST", "port": 1883}, {"host": "127.1", "port": 8883}, True),  # the two ports of one broker
        ({"host": "127.0.0.1", "port": 1900}, {"host": "localhost", "port": 1900}, True),
        ({"host": "127.0.0.1", "port": 1900}, {"host": "localhost"}, False),
        ({"host": "localhost", "device": "a1"}, {"host": "localhost", "device": "A1"}, False),  # topics heed case
    ],
)
def test_a_device_behind_a_broker_is_one_however_the_broker_is_spelt(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    with runner.instrument_lease(SdlLight(**one), "one"):
        if same:
            with pytest.raises(InUse, match="one"), runner.instrument_lease(SdlLight(**other), "other"):
                pytest.fail("held twice")
        else:
            with runner.instrument_lease(SdlLight(**other), "other"):
                pass


@pytest.mark.slow
def test_the_command_line_is_refused_with_5_and_the_holder(tmp_path: Path) -> None:
    file = tmp_path / "led.yaml"
    file.write_text(
        "name: led\ninstrument: {kind: claude-light, url: 'http://127.0.0.1:9/api'}\ngoal: {445nm: 16384}\n"
    )
    with lease.lease("claude-light:127.0.0.1:9/api", "(night run)"):
        for command in (["run", file], ["instrument", "check", file]):
            refused = processes.sdl(*command, cwd=tmp_path)
            assert (refused.returncode, refused.stdout) == (5, ""), command
            assert f"in use by process {os.getpid()} on" in refused.stderr
            assert "(night run)" in refused.stderr
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/*"))


def test_a_twin_in_virtual_time_takes_none(folder: Path) -> None:
    done = runner.run({"name": "t", "instrument": "twin", "goal": {"445nm": 16384}, "stop": {"trials": 1}}, runs=None)
    assert done.trials == 1
    assert not folder.exists()


def test_a_paced_twin_takes_one_while_it_runs_and_gives_it_back() -> None:
    tree = {"name": "t", "instrument": {"kind": "twin", "realtime": True, "latency": 0.001}, "goal": {"445nm": 16384}}
    identity = config.parse(tree).instrument.identity
    seen: list[lease.Holder | None] = []
    runner.run(tree, runs=None, changes=["stop.trials=1"], watch=lambda *_: seen.append(lease.holder(identity)))
    assert seen
    assert None not in seen
    assert lease.holder(identity) is None
