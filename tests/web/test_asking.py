"""Asking and telling over HTTP: as the commands do, with the token, and for runs that exist."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import start
from waiting import PATIENCE

import sdl
from sdl.lab.http.token import read
from sdl.runs.runs import open_run
from tests.asktell.test_ask_tell import RIG, plant
from tests.lab.test_api import serving


class Server:
    """`sdl web` over a directory with one campaign."""

    def __init__(self, folder: Path, http: httpx.Client, token: str) -> None:
        opened = sdl.open_campaign(RIG, runs=folder / "runs")
        self.folder, self.http = opened.folder, http
        self.run = f"{opened.folder.parent.name}/{opened.folder.name}"
        self.head = {"Authorization": f"Bearer {token}"}

    def post(self, call: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/api/v1/{call}", json={"run": self.run, **body}, headers=self.head)

    def answer(self, call: str, **body: Any) -> Any:
        reply = self.post(call, **body)
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "runs").mkdir()
    process = start("web", cwd=folder, XDG_STATE_HOME=str(folder / "state"))
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        token = read(next((folder / "state").glob("sdl/labs/web-*/token")))
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as http:
            yield Server(folder, http, token)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


BODIES: list[tuple[str, dict[str, Any], int, str]] = [
    ("ask", {"trial": 1}, 400, "unknown key 'trial'; allowed: run"),
    ("ask", {"run": "../etc/passwd"}, 400, "run: must be CAMPAIGN/RUN"),
    ("ask", {"run": "rig/.."}, 400, "run: must be CAMPAIGN/RUN"),
    ("ask", {"run": "rig/other"}, 404, "no run rig/other"),
    ("ask", {"run": 3}, 400, "run: must be CAMPAIGN/RUN"),
    ("tell", {"readings": {"R": 1, "B": 2}}, 400, "missing: trial, repeat"),
    ("tell", {"trial": "0", "repeat": 0}, 400, "trial: must be a whole number"),
    ("tell", {"trial": True, "repeat": 0}, 400, "trial: must be a whole number"),
    ("tell", {"trial": 0, "repeat": 0, "readings": {"R": "1"}}, 400, "'R' must be a finite number"),
    ("tell", {"trial": 0, "repeat": 0, "readings": [1, 2]}, 400, "readings: must be an object"),
    ("tell", {"trial": 0, "repeat": 0, "failed": "a\nb"}, 400, "failed: must be one line"),
    ("tell", {"trial": 0, "repeat": 0, "readings": {"--exclude": 1}}, 409, "has not been asked for"),
    ("tell", {"trial": 7, "repeat": 0, "readings": {"R": 1, "B": 2}}, 409, "has not been asked for"),
    ("attach", {"settings": {"red": 1, "blue": 1}, "readings": {"R": 1}}, 409, "lacks B"),
    ("attach", {"settings": {"red": 1}, "readings": {"R": 1, "B": 2}}, 409, "missing: blue"),
    ("correct", {"trial": 5, "repeat": 0, "readings": None, "why": "x"}, 409, "has not been asked for"),
]


@pytest.mark.parametrize(("call", "body", "status", "message"), BODIES, ids=[f"{b[0]} {b[3][:25]}" for b in BODIES])
def test_what_cannot_be_is_refused_and_nothing_is_written(
    server: Server, call: str, body: dict[str, Any], status: int, message: str
) -> None:
    before = (server.folder / "record.jsonl").read_bytes()
    reply = server.post(call, **body)
    assert (reply.status_code, message in reply.json()["error"]) == (status, True), reply.text
    assert (server.folder / "record.jsonl").read_bytes() == before


def test_a_link_to_a_run_elsewhere_is_no_run(server: Server, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(server.folder, tmp_path / "elsewhere")
    (server.folder.parent / "link").symlink_to(elsewhere)
    reply = server.post("ask", run=f"{server.folder.parent.name}/link")
    assert (reply.status_code, "no run" in reply.json()["error"]) == (404, True)


def test_without_the_token_nothing_is_asked(server: Server) -> None:
    reply = server.http.post("/api/v1/ask", json={"run": server.run})
    assert reply.status_code == 401
    assert len(open_run(server.folder).events) == 1


@pytest.mark.slow
def test_a_campaign_is_asked_and_told_to_its_end_and_the_page_is_sent_what_is_asked(server: Server) -> None:
    first = server.answer("ask")
    assert server.answer("ask") == first
    with server.http.stream("GET", f"/runs/{server.run}/events") as events:
        lines = (line for line in events.iter_lines() if line.startswith("data: ") and "asked" in line)
        shown = json.loads(next(lines)[6:])["asked"]
        assert shown == {key: first[key] for key in ("trial", "repeat", "settings")}
        server.answer("skip", trial=0, why="out of reagent")
        second = server.answer("ask")
        while json.loads(next(lines)[6:])["asked"] != {key: second[key] for key in ("trial", "repeat", "settings")}:
            pass
    server.answer("attach", settings={"red": 10, "blue": 10}, readings=plant({"red": 10, "blue": 10}), note="by hand")
    server.answer("tell", trial=1, repeat=0, readings={"R": 1, "B": 2}, applied={"red": 85}, note="lamp changed")
    server.answer("correct", trial=1, repeat=0, readings=plant({"red": 85, "blue": 10}), why="typing error")
    while (request := server.answer("ask"))["settings"] is not None:
        place = {"trial": request["trial"], "repeat": request["repeat"]}
        server.answer("tell", **place, readings=plant(request["settings"]))
    assert request["outcome"] == "reached"
    server.answer("correct", trial=request["best"], repeat=0, readings=None, why="lid open")
    run = open_run(server.folder)
    assert [trial.state for trial in run.trials[:2]] == ["skipped", "closed"]
    assert run.result.outcome is None


def test_in_a_lab_skip_is_of_a_trial_where_a_run_is_named(tmp_path: Path) -> None:
    with serving(tmp_path) as (lab, surface, http, _):
        opened = sdl.open_campaign(RIG, runs=lab.runs)
        opened.ask()
        head = {"Authorization": f"Bearer {read(surface.credentials.folder / 'token')}"}
        body = {"run": f"{opened.folder.parent.name}/{opened.folder.name}", "trial": 0, "why": "no sample"}
        reply = http.post("/api/v1/skip", json=body, headers=head, timeout=PATIENCE)
        assert reply.json()["state"] == "skipped", reply.text
        http.post("/api/v1/skip", json={"target": "start 3", "reason": "rain", "by": "ada"}, headers=head)
        assert [done[0] for done in lab.done] == ["skip"]
