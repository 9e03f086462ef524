"""The token of a lab, and how its commands find it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sdl.errors import ConfigError, Unreachable
from sdl.lab.http import token
from sdl.lab.http.client import Client
from sdl.lab.http.token import Credentials

pytestmark = pytest.mark.skipif(os.name != "posix", reason="file modes")


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def credentials(tmp_path: Path, name: str = "bench") -> Credentials:
    return Credentials(name, tmp_path / f"{name}.lab", tmp_path / f"{name}.yaml")


def test_a_token_is_for_its_user_alone_and_new_every_time(tmp_path: Path) -> None:
    first = token.read(credentials(tmp_path).folder / "token")
    made = credentials(tmp_path)
    second = token.read(made.folder / "token")
    assert first != second
    assert len(second) >= 43
    assert (made.folder / "token").stat().st_mode & 0o777 == 0o600
    assert made.folder.stat().st_mode & 0o777 == 0o700
    assert made.accepts(second)
    assert not made.accepts(first)
    assert not made.accepts("")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = credentials(tmp_path).folder / "token"
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"token: others can read it \(mode {mode:o}\)"):
        token.read(path)


def test_the_remedy_for_a_named_token_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "agent.token"
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=rf"mode 644\); chmod 600 {path}$"):
        token.read(path, folder=False)
    path.write_text("")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="empty; make a token with `sdl lab token new`"):
        token.read(path, folder=False)


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    made.folder.chmod(0o755)
    with pytest.raises(ConfigError, match="others can read it"):
        token.read(made.folder / "token")


def test_a_link_is_no_token_and_no_folder_for_one(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("secret")
    elsewhere.chmod(0o600)
    (made.folder / "token").unlink()
    (made.folder / "token").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="it is a link"):
        token.read(made.folder / "token")
    (made.folder / "token").unlink()
    made.folder.rmdir()
    (tmp_path / "trap").mkdir()
    made.folder.symlink_to(tmp_path / "trap")
    with pytest.raises(ConfigError, match="not a link"):
        made.renew()
    assert not list((tmp_path / "trap").iterdir())


def test_a_pipe_in_place_of_the_token_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    path = credentials(tmp_path).folder / "token"
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="regular file"):
        token.read(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_token_is_refused(tmp_path: Path) -> None:
    path = credentials(tmp_path).folder / "token"
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to another user"):
        token.read(path)


def test_a_token_that_was_changed_is_replaced(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    old = token.read(made.folder / "token")
    (made.folder / "token").unlink()
    with pytest.raises(ConfigError, match="use the new one"):
        made.accepts(old)
    assert made.accepts(token.read(made.folder / "token"))


def test_a_lab_is_found_by_itself_by_its_name_and_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no lab of this user is running"):
        Client()
    one = credentials(tmp_path, "one")
    one.announce("http://127.0.0.1:4001")
    assert Client().url == "http://127.0.0.1:4001"
    credentials(tmp_path, "two").announce("http://127.0.0.1:4002")
    assert Client("two").url == "http://127.0.0.1:4002"
    assert Client(str(tmp_path / "one.yaml")).url == "http://127.0.0.1:4001"
    with pytest.raises(ConfigError, match=r"several labs are running: one \(.*one.yaml, .*4001\), two"):
        Client()
    with pytest.raises(Unreachable, match="no lab three is running; running: one"):
        Client("three")
    one.close()
    assert Client().url == "http://127.0.0.1:4002"


def test_the_address_of_a_killed_lab_is_not_a_lab(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    made.announce("http://127.0.0.1:4001")
    address = json.loads((made.folder / "door.json").read_text())
    (made.folder / "door.json").write_text(json.dumps(address | {"process": 2**22 + 7}))
    assert token.labs() == []
    (made.folder / "door.json").write_text(json.dumps(address))
    assert len(token.labs()) == 1
    if address["began"]:  # another process has its number by now
        (made.folder / "door.json").write_text(json.dumps(address | {"began": "1"}))
        assert token.labs() == []


@pytest.mark.parametrize("url", ["http://example.org:80", "https://127.0.0.1:1", "http://127.0.0.1:1@example.org:80"])
def test_no_token_is_shown_to_another_machine(url: str) -> None:
    with pytest.raises(ConfigError, match="must be an address of this machine"):
        Client(url=url)


def test_a_server_that_is_gone_is_told(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    made.announce("http://127.0.0.1:1")
    with pytest.raises(Unreachable, match="does not answer"):
        Client().get("status")
