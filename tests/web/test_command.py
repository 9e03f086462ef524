"""`sdl web` and the page inside `sdl lab run`, as commands."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path

import httpx
import pytest
from processes import sdl, start
from waiting import PATIENCE


def test_it_says_where_it_is_and_where_the_token_is_and_ends_when_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "runs").mkdir()
    server = start("web", cwd=tmp_path)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        url = line.split()[0]
        token = Path(next((tmp_path / "state").glob("sdl/labs/web-*/token")))
        while str(token) not in line:
            line = line.rstrip("\n") + " " + server.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert "No runs yet." in http.get("/runs").text
            assert http.get("/runs", headers={"Host": "evil.example"}).status_code == 421
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0
        assert not token.exists()
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_silent_connections_keep_nobody_out_and_an_open_page_does_not_spoil_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "runs").mkdir()
    server = start("web", cwd=tmp_path)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(140)]
            for stream in silent[::2]:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: ")
            with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as http:
                assert http.get("/runs").status_code == 200
                with http.stream("GET", "/events") as events:
                    pieces = events.iter_bytes()
                    assert next(pieces)
                    server.send_signal(number)
                    assert b"".join(pieces) is not None, "it ends, and not by a broken connection"
        assert server.wait(PATIENCE) == 0
        assert "Traceback" not in server.communicate()[1]
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_what_cannot_be_served_is_said_with_exit_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    missing = sdl("web", "--runs", "nowhere/runs", cwd=tmp_path)
    assert (missing.returncode, missing.stderr) == (2, "error: --runs nowhere/runs: there is no directory nowhere\n")
    (tmp_path / "file").write_text("")
    wrong = sdl("web", "--runs", "file", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "error: --runs file: no directory: File exists\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (tmp_path / "runs").mkdir()
        done = sdl("web", "--port", taken.getsockname()[1], cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot listen at 127.0.0.1" in done.stderr
