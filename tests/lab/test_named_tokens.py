"""Named tokens of a lab: made, scoped, revoked; what is kept of them, and what each may do over HTTP."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdl import yamlfile
from sdl.cli import main
from sdl.errors import ConfigError
from sdl.lab.http.app import LabServer
from sdl.lab.http.named_tokens import SCOPES, Identity, NamedTokens
from sdl.lab.systemd import Watchdog
from sdl.runner import user

from .lab_kit import CAMPAIGN
from .surface_kit import ListLab


@pytest.fixture
def tokens(tmp_path: Path) -> NamedTokens:
    return NamedTokens(tmp_path / "bench.lab", {"claude": "submit", "reader": "read"})


def test_of_a_token_only_its_hash_is_kept(tokens: NamedTokens) -> None:
    made = tokens.new("ada", ["approve", "operate"], 5.0)
    assert len(made) >= 43
    path = tokens.folder / "ada.json"
    assert made not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert tokens.folder.stat().st_mode & 0o777 == 0o700
    assert tokens.identify(made) == Identity("ada", frozenset({"operate", "approve"}))
    for wrong in ("", made[:-1], made + "A", json.loads(path.read_text())["sha256"], "ada"):
        assert tokens.identify(wrong) is None


def test_a_revoked_token_is_none_at_once(tokens: NamedTokens) -> None:
    made, other = tokens.new("ada", ["read"], 0.0), tokens.new("bob", ["read"], 0.0)
    tokens.revoke("ada")
    assert tokens.identify(made) is None
    assert tokens.identify(other) is not None
    with pytest.raises(ConfigError, match="no token ada; there are: bob"):
        tokens.revoke("ada")


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("../ada", ["read"], "not a valid name"),
        ("schedule", ["read"], "not a valid name"),
        ("me", ["read"], "the account of the lab"),
        ("eve", [], "at least one scope"),
        ("eve", ["root"], "unknown scope 'root'; allowed: read, submit, operate, approve"),
        ("claude", ["submit", "approve"], "agent of tier submit; its token cannot have the scope approve"),
        ("claude", ["operate"], "cannot have the scope operate"),
        ("reader", ["submit"], "agent of tier read; its token cannot have the scope submit"),
        ("old", ["read"], "there is a token old already"),
    ],
)
def test_a_token_that_must_not_be_is_refused(tokens: NamedTokens, name: str, scopes: list[str], message: str) -> None:
    tokens.new("old", ["read"], 0.0)
    with pytest.raises(ConfigError, match=message):
        tokens.new(name, scopes, 0.0, taken=("me",))
    assert [token.name for token in tokens.all()] == ["old"]


def test_the_lab_file_takes_scopes_from_a_token_whoever_wrote_them_there(tmp_path: Path) -> None:
    made = NamedTokens(tmp_path).new("claude", list(SCOPES), 0.0)  # before it was an agent
    assert NamedTokens(tmp_path, {"claude": "submit"}).identify(made) == Identity(
        "claude", frozenset({"read", "submit"}), agent=True
    )
    assert NamedTokens(tmp_path, {"claude": "read"}).identify(made) == Identity("claude", frozenset({"read"}), True)


def test_an_agent_that_left_the_lab_file_is_no_person(tmp_path: Path) -> None:
    made = NamedTokens(tmp_path, {"claude": "submit"}).new("claude", ["read", "submit"], 0.0)
    assert NamedTokens(tmp_path).identify(made) == Identity("claude", frozenset(), agent=True)


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_tokens_that_others_could_have_written_are_none(tokens: NamedTokens) -> None:
    made = tokens.new("ada", ["approve"], 0.0)
    (tokens.folder / "ada.json").chmod(0o666)
    assert tokens.identify(made) is None
    (tokens.folder / "ada.json").chmod(0o600)
    tokens.folder.chmod(0o777)
    with pytest.raises(ConfigError, match="other users could have written it"):
        tokens.identify(made)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ListLab, NamedTokens, httpx.Client]]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lab = ListLab(tmp_path / "runs")
    record, agents = lab.runs / "bench.lab", {"claude": "submit"}
    server = LabServer(
        lab, lab="bench", record=record, file=tmp_path / "lab.yaml", runs=lab.runs, watchdog=Watchdog({}),
        agents=agents,
    )  # fmt: skip
    server.start()
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as http:
        yield lab, NamedTokens(record, agents), http
    server.close()


def post(http: httpx.Client, token: str, verb: str, **body: Any) -> httpx.Response:
    return http.post(f"/api/v1/{verb}", json=body, headers={"Authorization": f"Bearer {token}"})


def test_by_is_the_name_of_the_token_and_never_what_the_body_says(
    served: tuple[ListLab, NamedTokens, httpx.Client],
) -> None:
    lab, tokens, http = served
    lab.begin(7)
    token = tokens.new("bob", ["operate"], 0.0)
    assert post(http, token, "pause", target="start 7", reason="tea", by="ada").status_code == 200
    assert post(http, token, "abort", target="start 7", by=user()).status_code == 200
    assert lab.done == [("pause", "start 7", "tea", "bob"), ("abort", "start 7", "", "bob")]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_does_what_its_scope_is_for_and_nothing_else(
    served: tuple[ListLab, NamedTokens, httpx.Client], scope: str
) -> None:
    lab, tokens, http = served
    token = tokens.new("bob", [scope], 0.0)
    done = {"pause": {}, "run-now": {"job": "night"}, "skip": {"target": "job night"}}
    for verb, body in done.items():
        assert post(http, token, verb, **body).status_code == (200 if scope == "operate" else 403), verb
    assert len(lab.done) == (3 if scope == "operate" else 0)
    for verb in ("ask", "tell", "attach", "correct"):  # refused for the body, or for the scope
        assert post(http, token, verb).status_code == (400 if scope == "operate" else 403), verb
    reply = post(http, token, "whoami").json()
    assert [reply[key] for key in ("name", "scopes", "agent", "limits")] == ["bob", [scope], False, None]


def test_a_path_that_nobody_gave_a_scope_needs_operate(served: tuple[ListLab, NamedTokens, httpx.Client]) -> None:
    _, tokens, http = served
    others = tokens.new("bob", ["read", "submit", "approve"], 0.0)
    operates = tokens.new("eve", ["operate"], 0.0)
    for path in ("new-route", "../runs/a/b/photo"):
        assert post(http, others, path).status_code == 403
        assert post(http, operates, path).status_code == 404


def test_a_revoked_token_opens_nothing(served: tuple[ListLab, NamedTokens, httpx.Client]) -> None:
    lab, tokens, http = served
    token = tokens.new("bob", ["operate"], 0.0)
    tokens.revoke("bob")
    assert post(http, token, "pause").status_code == 401
    assert lab.done == []


def test_tokens_are_made_listed_and_revoked_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lab = {
        "name": "bench", "instruments": {"a": {"instrument": {"kind": "twin", "seed": 1}}},
        "jobs": {"j": {"campaign": CAMPAIGN, "instrument": "a", "when": {"asked": True}}},
    }  # fmt: skip
    Path("lab.yaml").write_text(yamlfile.dump(lab), encoding="utf-8")

    def sdl(*args: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["sdl", "lab", "token", *args])
            with pytest.raises(SystemExit, match=r"^0$"):
                main()
        return capsys.readouterr().out

    token = sdl("new", "lab.yaml", "ada", "--scope", "operate", "--scope", "approve").strip()
    identity = NamedTokens(tmp_path / "runs" / "bench.lab").identify(token)
    assert identity == Identity("ada", frozenset({"operate", "approve"}))
    sdl("new", "lab.yaml", "bob", "--scope", "read", "-o", "bob.token")
    assert Path("bob.token").stat().st_mode & 0o777 == 0o600
    listed = sdl("list", "lab.yaml")
    assert token not in listed
    assert "operate, approve" in listed
    rows = json.loads(sdl("list", "lab.yaml", "--json"))["tokens"]
    assert [(row["name"], row["scopes"]) for row in rows] == [("ada", ["operate", "approve"]), ("bob", ["read"])]
    sdl("revoke", "lab.yaml", "ada")
    assert NamedTokens(tmp_path / "runs" / "bench.lab").identify(token) is None
