"""A lab's API over HTTP: what it shows, what it does, and what it refuses, with one line in the log each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send
from waiting import PATIENCE

from sdl.errors import ConfigError
from sdl.lab.http import app as surface_module
from sdl.lab.http.app import LabServer
from sdl.lab.http.token import read
from sdl.lab.systemd import Watchdog
from sdl.runner import user
from sdl.web.sse import Hub

from .surface_kit import ListLab


class Still:
    """Something to watch that never changes and never ends."""

    every, ended = 0.05, False

    def look(self) -> Mapping[str, Any] | None:
        return None


@dataclass
class Served:
    lab: ListLab
    surface: LabServer
    http: httpx.Client
    watchdog: Watchdog
    log: pytest.LogCaptureFixture

    @property
    def token(self) -> str:
        return read(self.surface.credentials.folder / "token")

    @property
    def head(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def abort(self, **how: Any) -> httpx.Response:
        how = {"headers": self.head, "json": {"target": "start 7", "by": "anna", "reason": "wrong filter"}} | how
        return self.http.post("/api/v1/abort", **how)

    def refusals(self) -> list[str]:
        return [record.getMessage() for record in self.log.records if "refused" in record.getMessage()]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[ListLab, LabServer, httpx.Client, Watchdog]]:
    lab, watchdog = ListLab(folder / "runs"), Watchdog({})
    watchdog.ready()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        surface = LabServer(
            lab, lab="bench", record=lab.runs / "bench.lab", file=folder / "lab.yaml", runs=lab.runs, watchdog=watchdog
        )
    surface.start()
    with httpx.Client(base_url=surface.url, trust_env=False, verify=False) as http:
        yield lab, surface, http, watchdog
    surface.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ListLab, LabServer, httpx.Client, Watchdog]]:
    with serving(tmp_path_factory.mktemp("lab")) as result:
        yield result


@pytest.fixture
def served(shared: tuple[ListLab, LabServer, httpx.Client, Watchdog], caplog: pytest.LogCaptureFixture) -> Served:
    """The one server of this file, with a lab in which start 7 runs; it logs at most 60 refusals a minute."""
    caplog.set_level(logging.INFO)
    lab, surface, http, watchdog = shared
    lab.__init__(lab.runs)  # type: ignore[misc]
    lab.begin(7)
    return Served(lab, surface, http, watchdog, caplog)


@pytest.fixture
def own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Served]:
    """A server of the test's own."""
    with serving(tmp_path) as result:
        yield Served(*result, caplog)


@pytest.mark.parametrize(
    ("name", "key"), [("status", "running"), ("queue", "queue"), ("history", "history"), ("history?job=x", "history")]
)
def test_reading_needs_no_token(served: Served, name: str, key: str) -> None:
    reply = served.http.get(f"/api/v1/{name}")
    assert reply.status_code == 200
    assert key in reply.json()
    assert not served.refusals()


def test_with_the_labs_token_an_abort_is_done_under_the_name_of_its_account(served: Served) -> None:
    assert served.abort().json() == {"done": "abort start 7: done"}
    assert served.lab.done == [("abort", "start 7", "wrong filter", user())], "not under that of the body"


def test_every_verb_reaches_the_lab(served: Served) -> None:
    for verb, body in [
        ("pause", {"target": "job night", "reason": "r", "by": "b"}),
        ("resume", {"target": "job night", "by": "b", "since": "100.0"}),
        ("skip", {"target": "start 9", "reason": "r", "by": "b"}),
        ("run-now", {"job": "night", "by": "b"}),
        ("pause", {}),
    ]:
        assert served.http.post(f"/api/v1/{verb}", json=body, headers=served.head).status_code == 200, verb
    assert [what[0] for what in served.lab.done] == ["pause", "resume", "skip", "run-now", "pause"]
    assert served.lab.done[-1] == ("pause", "lab", "", user())


@pytest.mark.parametrize("verb", ["pause", "resume", "abort", "skip"])
@pytest.mark.parametrize("target", ["lab", "instrument led-1", "job night", "start 7"])
def test_the_target_that_is_named_is_the_one_that_the_lab_is_asked_for(served: Served, verb: str, target: str) -> None:
    for other in ("lab", "instrument led-1", "job night", "start 7"):
        served.lab.pause(other, "", "anna")
    if verb == "pause":
        served.lab.held.clear()
    served.lab.done.clear()
    body = {"target": target, "by": "bob"}
    status = served.http.post(f"/api/v1/{verb}", json=body, headers=served.head).status_code
    if verb == "abort" and target != "start 7":  # which this small lab cannot do
        assert (status, served.lab.done) == (409, [])
    else:
        assert status == 200
        assert [done[:2] for done in served.lab.done] == [(verb, target)]


@pytest.mark.parametrize("verb", ["resume", "abort", "skip"])
def test_without_a_target_nothing_is_ended(served: Served, verb: str) -> None:
    served.lab.pause("lab", "person in enclosure", "anna")
    assert served.http.post(f"/api/v1/{verb}", json={"by": "bob"}, headers=served.head).status_code == 400
    assert list(served.lab.held) == ["lab"]
    assert len(served.lab.done) == 1


BAD: list[tuple[str, int, dict[str, Any]]] = [
    ("no token", 401, {"headers": {}}),
    ("a wrong token", 401, {"headers": {"Authorization": "Bearer wrong"}}),
    ("an empty token", 401, {"headers": {"Authorization": "Bearer"}}),
    ("a token that is no ASCII", 401, {"headers": {"Authorization": b"Bearer \xff\xfe"}}),
    ("another scheme", 401, {"headers": {"Authorization": "Basic YTpi"}}),
    ("a body of 1 MB", 413, {"json": None, "content": b"x" * 1_000_000}),
    ("a body of 1 MB without a token", 401, {"headers": {}, "json": None, "content": b"x" * 1_000_000}),
    ("a body of 1 MB in pieces", 413, {"json": None, "content": (b"x" * 1000 for _ in range(1000))}),
    ("no JSON", 400, {"json": None, "content": b"{"}),
    ("deep JSON", 400, {"json": None, "content": b"[" * 16_000}),
    ("a list", 400, {"json": ["start 7"]}),
    ("a number", 400, {"json": {"target": 7}}),
    ("an unknown key", 400, {"json": {"target": "start 7", "force": "yes"}}),
    ("no target", 400, {"json": {}}),
    ("a target that is a path", 400, {"json": {"target": "start ../../etc/passwd"}}),
    ("a line break in the reason", 400, {"json": {"target": "start 7", "reason": "a\nb"}}),
    ("a long reason", 400, {"json": {"target": "start 7", "reason": "a" * 501}}),
    ("another site's page", 403, {"headers": {"Origin": "http://example.org"}}),
    ("a page without an origin", 403, {"headers": {"Origin": "null"}}),
    ("another port's page", 403, {"headers": {"Origin": "http://127.0.0.1:1"}}),
    ("a foreign name of this machine", 421, {"headers": {"Host": "example.org"}}),
    ("a start that does not run", 409, {"json": {"target": "start 8"}}),
]


@pytest.mark.parametrize(("what", "status", "how"), BAD, ids=[item[0] for item in BAD])
def test_a_request_that_must_not_be_done_changes_nothing_and_is_one_line_in_the_log(
    served: Served, what: str, status: int, how: dict[str, Any]
) -> None:
    if "headers" in how and not {"Authorization"} & set(how["headers"]) and status in (403, 421):
        how = how | {"headers": served.head | how["headers"]}
    if "content" in how:
        how = {key: value for key, value in how.items() if key != "json"}
        reply = served.http.post("/api/v1/abort", **({"headers": served.head} | how))
    else:
        reply = served.abort(**how)
    assert reply.status_code == status, reply.text
    assert reply.json()["status"] == status
    assert reply.json()["error"]
    assert served.lab.done == []
    assert 7 in served.lab.running
    assert len(served.refusals()) == 1, served.refusals()
    assert f" {status} " in served.refusals()[0]
    assert served.token not in served.log.text


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_token_that_others_could_read_opens_nothing_and_is_replaced(served: Served) -> None:
    path, old = served.surface.credentials.folder / "token", served.head
    path.chmod(0o644)
    reply = served.http.post("/api/v1/abort", headers=old, json={"target": "start 7"})
    assert reply.status_code == 403
    assert "other users could read the access token" in reply.json()["error"]
    assert served.lab.done == []
    assert len(served.refusals()) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert served.abort(headers=old).status_code == 401
    assert served.abort().status_code == 200


def test_of_two_aborts_at_once_one_is_done_and_the_other_is_told_so(served: Served) -> None:
    both, replies = threading.Barrier(2), list[int]()

    def ask() -> None:
        with httpx.Client(base_url=served.surface.url, trust_env=False, verify=False) as http:
            both.wait(PATIENCE)
            body = {"target": "start 7", "reason": "twice", "by": "anna"}
            replies.append(http.post("/api/v1/abort", headers=served.head, json=body).status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200, 409]
    assert len(served.lab.done) == 1
    assert len(served.refusals()) == 1


def _raw(url: str, path: bytes) -> tuple[int, bytes]:
    """The answer to a path exactly as it is given; a client library would tidy it up."""
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stream:
        stream.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
    return int(answer.split()[1]), answer


@pytest.mark.parametrize(
    "path",
    [
        b"/api/v1/runs/../../../../etc/passwd",
        b"/api/v1/runs/..%2f..%2f..%2fetc%2fpasswd",
        b"/api/v1/runs/%2e%2e/%2e%2e/etc/passwd",
        b"/api/v1/runs/..%5c..%5cetc",
        b"/api/v1/runs/a%00b",
        b"/api/v1/runs//etc/passwd",
        b"/api/v1/runs/a..b",
        b"/api/v1/runs/a%0d%0aX-Evil:%201",
    ],
)
def test_no_name_of_a_run_leads_out_of_the_runs(served: Served, path: bytes) -> None:
    status, answer = _raw(served.surface.url, path)
    assert status == 400
    assert b"root:" not in answer
    assert b"\r\nX-Evil" not in answer
    assert len(served.refusals()) == 1
    assert "\n" not in served.refusals()[0]


def test_the_record_of_a_run_can_be_read_on_from_a_line(served: Served) -> None:
    folder = served.lab.runs / "led" / "20251028T000000.000000Z-s7"
    folder.mkdir(parents=True)
    (folder / "record.jsonl").write_text(
        '{"event": "Opened"}\n{"event": "Proposed"}\n{"event": "half', encoding="utf-8"
    )
    served.lab.running[7]["run"] = f"led/{folder.name}"
    result = served.http.get(f"/api/v1/runs/{folder.name}?after=1").json()
    assert result["start"]["start"] == 7
    assert result["events"] == [{"event": "Proposed"}]
    assert served.http.get("/api/v1/runs/20251028T000000.000000Z-s8").status_code == 404
    assert served.http.get(f"/api/v1/runs/{folder.name}?after=-1").status_code == 400


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/api/v1/abort", 405), ("/api/v2/status", 404)])
def test_what_is_not_there_is_told_as_json(served: Served, path: str, status: int) -> None:
    reply = served.http.get(path)
    assert (reply.status_code, reply.json()["status"]) == (status, status)
    assert len(served.refusals()) == 1


def test_many_refusals_are_not_many_lines(own: Served) -> None:
    for _ in range(70):
        own.http.get("/nothing")
    assert len(own.refusals()) == 60


def test_alive_is_not_ready(served: Served) -> None:
    assert served.http.get("/healthz").json()["alive"] is True
    assert served.http.get("/readyz").json() == {"ready": True, "why_not": []}


def test_a_loop_that_does_not_answer_is_503(own: Served) -> None:
    own.lab.stuck = True
    assert own.http.get("/api/v1/status").status_code == 503
    reply = own.http.get("/readyz")
    assert reply.status_code == 503
    assert "does not answer" in reply.json()["why_not"][0]


def test_a_server_that_is_closed_leaves_no_address_and_no_token(own: Served) -> None:
    folder = own.surface.credentials.folder
    own.surface.close()
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        own.http.get("/healthz")


@pytest.mark.parametrize(
    "request_text", ["", "POST / HTTP/1.1\r\nHost: ", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
def test_nobody_is_kept_out_by_connections_that_say_nothing_or_half(own: Served, request_text: str) -> None:
    address = ("127.0.0.1", int(own.surface.url.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(150)]
        for stream in silent:
            stream.sendall(request_text.encode())
        assert own.http.post("/api/v1/pause", headers=own.head, json={}).status_code == 200
        assert own.http.get("/healthz").status_code == 200
        silent[0].settimeout(PATIENCE)
        with contextlib.suppress(ConnectionResetError):  # or an end, whichever comes first
            assert silent[0].recv(10) == b""


@pytest.mark.parametrize("request_", ["GET /stream/", "GET /long", "POST /api/v1/abort", "POST"])
def test_a_server_that_ends_breaks_off_what_is_open_without_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(surface_module, "GRACE_SECONDS", 1)
    begun, lab = threading.Event(), ListLab(tmp_path / "runs")

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        begun.set()
        await hub.stream("x", Still, receive, send)

    async def long(request: Request) -> Response:
        begun.set()
        await asyncio.sleep(600)
        raise AssertionError("it was broken off")

    hub = Hub()
    surface = LabServer(
        lab, lab="bench", record=tmp_path, file=tmp_path / "lab.yaml", runs=lab.runs, watchdog=Watchdog({}),
        page=lambda door: [Route("/long", long), Mount("/stream", app=stream)],
    )  # fmt: skip
    surface.start()
    port = int(surface.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        whole = b"%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (request_.encode(), port)
        if request_.startswith("GET"):
            client.sendall(whole + b"\r\n")
            assert begun.wait(PATIENCE)
        else:
            client.sendall(whole + b"Content-Length: 9\r\n\r\n{" if "/" in request_ else request_.encode())
        surface.close()
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert not [record for record in caplog.records if "Exception in ASGI" in record.getMessage()]
    first = {"GET /stream/": b"200", "GET /long": b"503", "POST /api/v1/abort": b"401", "POST": b""}[request_]
    assert answer.partition(b"\r\n")[0].split()[1:2] == ([first] if first else [])


def test_a_port_that_is_taken_is_told(served: Served, tmp_path: Path) -> None:
    port = int(served.surface.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"):
        LabServer(served.lab, lab="b", record=tmp_path, file=tmp_path, runs=tmp_path, watchdog=Watchdog({}), port=port)


def test_it_listens_on_this_machine_alone(served: Served) -> None:
    assert served.surface.url.startswith("http://127.0.0.1:")
    assert json.loads((served.surface.credentials.folder / "door.json").read_text())["url"] == served.surface.url
