"""Agents over HTTP: what their token opens, what is asked and answered, and by whom it is decided."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdl.cli import main
from sdl.lab.core.events import Asked, CallRefused, Held, Reviewed
from sdl.lab.http.api import COMMANDS, create_app
from sdl.lab.http.app import HttpServer, listen
from sdl.lab.http.named_tokens import NamedTokens
from sdl.lab.http.submissions import MAX_OPEN
from sdl.lab.http.token import Credentials
from sdl.runner import user
from sdl.web.pages import routes
from tests.web.web_kit import Http

from .agent_kit import CAMPAIGN, AgentLab, agent_lab, changed

PORT = 8000


class Served:
    """The API of a lab with agents, and tokens for it."""

    def __init__(self, folder: Path, agents: Mapping[str, Any] | None = None, *, most: bool = False) -> None:
        self.loaded = agent_lab(folder, agents)
        self.lab = AgentLab(self.loaded, most=most)
        self.lab.tick()
        record = self.loaded.runs / "agents.lab"
        self.tokens = NamedTokens(record, self.loaded.lab.tiers)
        self.credentials = Credentials("agents", record, self.loaded.path, self.tokens)
        self.loaded.runs.mkdir(exist_ok=True)
        app = create_app(
            self.lab.desk, self.credentials, PORT, runs=self.loaded.runs, alive=lambda: 0.0, unready=lambda: (),
            metrics=bytes, submissions=self.lab.asks, routes=routes(self.lab.desk, self.loaded.runs, self.credentials),
        )  # fmt: skip
        self.http = Http(app, f"http://127.0.0.1:{PORT}")
        self.claude = self.tokens.new("claude", ["read", "submit"], 0.0)
        self.ada = self.tokens.new("ada", ["approve"], 0.0)

    def post(self, verb: str, token: str = "", /, **body: Any) -> httpx.Response:
        head = {"Authorization": f"Bearer {token or self.claude}"}
        return self.http.post(verb if verb[0] == "/" else f"/api/v1/{verb}", json=body, headers=head)

    def submit(self, campaign: Any = CAMPAIGN, **more: Any) -> httpx.Response:
        return self.post("submit", campaign=json.dumps(campaign), instrument="rig", **more)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Served(tmp_path)
    yield made
    made.lab.close()
    made.credentials.close()


def test_an_agent_rehearses_submits_and_is_queued(served: Served) -> None:
    rehearsed = served.post("rehearse", campaign=json.dumps(CAMPAIGN), instrument="rig").json()
    assert (rehearsed["outcome"], rehearsed["twin"]) == ("reached", "no mismatch found")
    answer = served.submit(rehearsal=rehearsed["rehearsal"]).json()
    assert answer == {"submission": 1, "decision": "accepted", "reasons": []}
    served.lab.tick()
    (row,) = served.http.get("/api/v1/submissions").json()["submissions"]
    assert (row["agent"], row["decision"]) == ("claude", "accepted")


def test_a_person_approves_with_name_and_reason_and_the_body_cannot_say_who(served: Served) -> None:
    assert served.submit().json()["decision"] == "waits"
    assert served.http.get("/api/v1/status").json()["submissions"][0]["submission"] == 1
    refused = served.post("approve", submission="1", reason="I approve myself", by="ada")
    assert (refused.status_code, "lacks the scope approve" in refused.json()["error"]) == (403, True)
    reply = served.post("approve", served.ada, submission="1", reason="fine", by="claude")
    assert reply.json() == {"done": "Approved submission 1 (dye of claude)."}
    assert [(e.by, e.reason) for e in served.lab.journal(Reviewed)] == [("ada", "fine")]
    again = served.post("approve", served.ada, submission="1", reason="")
    assert (again.status_code, "does not wait" in again.json()["error"]) == (409, True)


def test_the_account_of_the_lab_may_approve(served: Served) -> None:
    served.submit()
    token = (served.credentials.folder / "token").read_text().strip()
    assert served.post("refuse", token, submission="1", reason="no").status_code == 200
    assert [(e.by, e.approved) for e in served.lab.journal(Reviewed)] == [(user(), False)]


FOR_AGENTS = ("check", "rehearse", "submit", "stop")
OTHERS = [verb for verb in COMMANDS if verb not in FOR_AGENTS]


@pytest.mark.parametrize("verb", [*OTHERS, "ask", "tell", "attach", "correct", "/runs/a/b/notes"])
def test_an_agents_token_opens_nothing_but_what_is_for_agents(served: Served, verb: str) -> None:
    campaign = {"campaign": json.dumps(CAMPAIGN), "instrument": "rig"}
    bodies = {"run-now": {"job": "night"}, "start": campaign, "approve": {"submission": "1"}}
    bodies["refuse"] = bodies["approve"]
    before = len(served.lab.bench.events)
    reply = served.post(verb, **bodies.get(verb, {"target": "lab"}))
    assert reply.status_code in (403, 404) if verb[0] == "/" else reply.status_code == 403, reply.text
    assert served.lab.journal(Asked, Held, Reviewed) == []
    (event,) = served.lab.bench.events[before:]
    assert isinstance(event, CallRefused)
    assert (event.agent, event.call.endswith(verb)) == ("claude", True)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"campaign": "a: b", "instrument": "../rig"}, {"campaign": "x", "instrument": "rig", "force": "yes"},
        {"campaign": "x", "instrument": "rig", "rehearsal": "../../journal"},
        {"campaign": "x", "instrument": "rig", "rehearsal": "1"}, {"campaign": 5, "instrument": "rig"},
        {"campaign": "{", "instrument": "rig"}, {"campaign": "name: [", "instrument": "rig"},
        {"campaign": "x: &a [*a]", "instrument": "rig"},
        {"campaign": "!!python/object:os.system x", "instrument": "rig"},
    ],
)  # fmt: skip
def test_a_submission_that_is_none_is_refused_and_recorded(served: Served, body: dict[str, Any]) -> None:
    assert served.post("submit", **body).status_code in (400, 409)
    assert [type(e) for e in served.lab.journal()] == [CallRefused]


@pytest.mark.parametrize(
    "keys",
    [
        {"prior": ["/etc/passwd"]}, {"prior": ["../../../etc/passwd"]}, {"prior": ["~/x"]}, {"watch": "/etc/shadow"},
        {"solver": {"kind": "auto", "state": "/etc/passwd.toml"}}, {"watch": "../a.toml"},
        {"expect": {"instrument": {"kind": "python", "module": "os"}}}, {"instrument": {"use": "/etc/passwd"}},
        {"instrument": {"kind": "command", "command": ["sh", "-c", "id"]}},
        {"instrument": {"kind": "http", "url": "http://169.254.169.254/"}},
        {"design": {"kind": "axis", "state": "/etc/hosts"}},
    ],
)  # fmt: skip
def test_no_campaign_names_a_path_a_command_an_address_or_code(served: Served, keys: dict[str, Any]) -> None:
    reply = served.submit(changed(**keys))
    assert reply.status_code == 409, reply.text
    assert (
        "must not" in reply.json()["error"]
        or "names no paths" in reply.json()["error"]
        or ("no path" in reply.json()["error"])
    )
    assert "passwd" not in reply.json()["error"]


def test_what_waits_is_listed_and_decided_from_the_command_line(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.submit()
    served.submit(changed(name="b"))
    with listen(0) as socket:
        port = socket.getsockname()[1]
        app = create_app(
            served.lab.desk, served.credentials, port, runs=served.loaded.runs, alive=lambda: 0.0, unready=lambda: (),
            metrics=bytes, submissions=served.lab.asks,
        )  # fmt: skip
        server = HttpServer(app, socket, "test")
        server.start()
        served.credentials.announce(f"http://127.0.0.1:{port}")

        def sdl(*words: str) -> str:
            monkeypatch.setattr(sys, "argv", ["sdl", "lab", *words])
            with pytest.raises(SystemExit, match=r"^0$"):
                main()
            return capsys.readouterr().out

        listed = sdl("status")
        assert "submission 1 waits for approval: dye of claude on rig, at most 12 readings (not rehearsed)" in listed
        assert sdl("approve", "1", "--reason", "fine") == "Approved submission 1 (dye of claude).\n"
        assert sdl("refuse", "2") == "Refused submission 2 (b of claude).\n"
        server.close()
    decided = [(e.number, e.approved, e.reason, e.by) for e in served.lab.journal(Reviewed)]
    assert decided == [(1, True, "fine", user()), (2, False, "", user())]


def test_a_flood_is_answered_429_and_a_stop_is_still_done_within_a_second(served: Served) -> None:
    rehearsed = served.post("rehearse", campaign=json.dumps(CAMPAIGN), instrument="rig").json()
    served.submit(rehearsal=rehearsed["rehearsal"])
    served.lab.tick()
    codes = [served.submit({"name": "x"}).status_code for _ in range(70)]
    assert codes[-1] == 429
    began = time.monotonic()
    reply = served.post("stop", target="start 1", reason="smoke")
    assert time.monotonic() - began < 1.0
    assert reply.json() == {"done": "Aborted start 1."}
    assert [(e.verb, e.by) for e in served.lab.journal(Asked)] == [("abort", "claude")]


def test_an_agent_occupies_few_threads_however_many_calls_it_makes_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rehearsals take minutes, and a server without a free thread could not answer a stop."""
    begun, go_on, answers = threading.Semaphore(0), threading.Event(), list[int]()
    at_once = served.lab.desk.perform

    def slow(call: Any) -> Any:
        begun.release()
        go_on.wait(30)
        return at_once(call)

    def rehearse() -> None:
        answers.append(served.post("rehearse", campaign=json.dumps(CAMPAIGN), instrument="rig").status_code)

    monkeypatch.setattr(served.lab.desk, "perform", slow)
    threads = [threading.Thread(target=rehearse) for _ in range(MAX_OPEN)]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=10)
    reply = served.post("rehearse", campaign=json.dumps(CAMPAIGN), instrument="rig")
    assert (reply.status_code, reply.json()["error"]) == (
        429,
        "4 calls of claude are being answered; wait for one of them",
    )
    go_on.set()
    for thread in threads:
        thread.join()
    rehearse()
    assert answers == [200] * (MAX_OPEN + 1)


def test_the_journal_keeps_the_beginning_of_a_long_path_that_is_refused(served: Served) -> None:
    assert served.post("/api/v1/" + "x" * 5000).status_code == 403
    (event,) = served.lab.journal(CallRefused)
    assert event.call == ("/api/v1/" + "x" * 5000)[:100]


def test_a_token_tells_its_agent_what_it_may_do(served: Served) -> None:
    reply = served.post("whoami").json()
    assert (reply["name"], reply["agent"], reply["scopes"]) == ("claude", True, ["read", "submit"])
    assert reply["limits"]["instruments"]["rig"]["red"] == {"high": 200.0}
    assert reply["limits"]["readings_committed"] == 0


def test_every_scope_includes_reading_and_an_agent_that_left_the_lab_file_may_do_nothing(served: Served) -> None:
    body = {"campaign": json.dumps({"name": "x", "goal": {"445nm": 16384}, "solver": "linear"}), "instrument": "other"}
    assert served.post("check", served.ada, **body).status_code == 200
    tokens = NamedTokens(served.tokens.folder.parent, {"gone": "submit"})
    gone = tokens.new("gone", ["read", "submit"], 0.0)
    assert served.post("check", gone, **body).status_code == 403
    assert served.post("submit", gone, **body).status_code == 403
    assert served.post("start", gone, **body).status_code == 403
    served.submit()
    served.post("approve", served.ada, submission="1", reason="")
    served.lab.tick()
    assert served.post("stop", gone, target="start 1", reason="").status_code == 409, "it may see no instrument"
    assert served.post("whoami", gone).json()["scopes"] == []


def test_a_check_by_an_agent_says_what_would_refuse_it(served: Served) -> None:
    campaign = json.dumps(changed(solver="random"))
    reply = served.post("check", campaign=campaign, instrument="rig").json()["done"]
    assert "at most 12 readings; it would be refused: solver random is not allowed" in reply
