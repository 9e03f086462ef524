"""The client of the package `mcp` against `sdl mcp` and a lab, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import COMMAND, ROOT, environment, lines_of
from waiting import PATIENCE, until

from sdl import yamlfile

mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
from mcp.client.stdio import StdioServerParameters  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402
from mcp.shared._httpx_utils import create_mcp_http_client  # noqa: E402

CAMPAIGN: dict[str, Any] = {"name": "blue", "goal": {"445nm": 16384}, "solver": "linear", "stop": {"trials": 12}}
SLOW: dict[str, Any] = {"name": "slow", "goal": {"515nm": {"target": 20000, "tolerance": 1}}, "solver": "random"}
LAB: dict[str, Any] = {
    "name": "bench",
    "instruments": {
        "led": {"instrument": {"kind": "twin", "seed": 1, "realtime": True, "latency": 0.1}},
        "other": {"instrument": {"kind": "twin", "seed": 2}},
    },
    "jobs": {"slow": {"campaign": SLOW, "instrument": "led", "when": {"asked": True}}},
    "agents": {
        "claude": {"tier": "submit", "instruments": {"led": {"R": {"high": 0.9}}}, "readings_per_day": 100},
        "quick": {"tier": "submit", "instruments": {"led": {}}, "approve": "unrehearsed"},
        "reader": {"instruments": {"led": {}}},
    },
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lab:
    """`sdl lab run` and, for clients with tokens, `sdl mcp --http` beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        self.environment = environment(XDG_STATE_HOME=str(folder / "state"))
        (folder / "lab.yaml").write_text(yamlfile.dump(LAB), encoding="utf-8")
        self.port, self.mcp_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.start("lab", "run", "lab.yaml", "--port", str(self.port))
        until(lambda: "page: " in (folder / "out").read_text(), self.processes[0])
        self.start("mcp", "lab.yaml", "--http", str(self.mcp_port))
        until(self.answers, self.processes[1])
        scopes = {"claude": ("read", "submit"), "quick": ("read", "submit"), "reader": ("read",), "ada": ("approve",)}
        self.tokens = {name: self.token(name, *scopes[name]) for name in scopes}

    def start(self, *words: str) -> None:
        out = (self.folder / "out").open("ab")
        self.processes.append(
            subprocess.Popen([*COMMAND, *words], cwd=self.folder, env=self.environment, stdout=out, stderr=out)
        )
        out.close()

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.mcp_port), 1.0):
            return True
        return False

    def token(self, name: str, *scopes: str) -> str:
        words = [word for scope in scopes for word in ("--scope", scope)]
        done = subprocess.run(
            [*COMMAND, "lab", "token", "new", "lab.yaml", name, *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True, timeout=PATIENCE,
        )  # fmt: skip
        return done.stdout.strip()

    def journal(self) -> list[dict[str, Any]]:
        return lines_of(self.runs / "bench.lab" / "journal.jsonl")

    def post(self, verb: str, who: str, **body: Any) -> httpx.Response:
        head = {"Authorization": f"Bearer {self.tokens[who]}"}
        return httpx.post(f"{self.url}/api/v1/{verb}", json=body, headers=head, trust_env=False)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(PATIENCE)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("mcp"))
    yield made
    made.close()


Call = Callable[..., Awaitable[Any]]


@contextlib.asynccontextmanager
async def connected(server: Any) -> AsyncIterator[Call]:
    """A function that calls a tool and returns its data; the text of the answer marks the same data."""
    async with mcp.Client(server, read_timeout_seconds=PATIENCE) as client:

        async def call(tool: str, *, refused: bool = False, **arguments: Any) -> Any:
            result = await client.call_tool(tool, arguments)
            text = result.content[0].text
            assert result.is_error == refused, text
            _, begin, data, end = text.split("\n")
            assert begin.removeprefix("--- data ") == end.removeprefix("--- end of data ")
            assert json.loads(data) == result.structured_content["data"]
            return result.structured_content["data"]

        call.client = client  # type: ignore[attr-defined]
        yield call


@contextlib.asynccontextmanager
async def over_http(lab: Lab, token: str) -> AsyncIterator[Any]:
    url = f"http://127.0.0.1:{lab.mcp_port}/mcp"
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


def over_stdio(lab: Lab, *words: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable, args=["-m", "sdl", "mcp", *words], cwd=lab.folder, env=lab.environment
    )


async def ended(call: Call, campaign: str) -> dict[str, Any]:
    """The newest run of a campaign, once it has ended."""
    until_ = time.monotonic() + PATIENCE
    while time.monotonic() < until_:
        rows = (await call("runs", campaign=campaign))["runs"]
        if rows and rows[0]["outcome"] not in ("running", "unfinished"):
            return dict(rows[0])
        await asyncio.sleep(0.2)
    raise AssertionError("it did not end")


@pytest.mark.slow
def test_a_model_reads_rehearses_submits_is_approved_and_reaches_the_goal(lab: Lab) -> None:
    async def scenario() -> None:
        async with connected(over_http(lab, lab.tokens["claude"])) as call:
            names = [row["name"] for row in (await call("instruments"))["instruments"]]
            assert names == ["led"], "not the other one"
            assert "tolerance" in str(await call("documentation", page="campaign"))
            assert "at most" in (await call("validate", campaign=CAMPAIGN, instrument="led"))["valid"]
            rehearsed = await call("rehearse", campaign=CAMPAIGN, instrument="led")
            assert rehearsed["outcome"] == "reached"
            answer = await call("submit", campaign=CAMPAIGN, instrument="led", rehearsal=rehearsed["rehearsal"])
            assert answer["decision"] == "waits"
            assert answer["reasons"] == ["a person approves every submission of this agent"]
            assert (await call("submissions"))["submissions"][0]["decision"] == "waits"

            number = str(answer["submission"])
            assert lab.post("approve", "claude", submission=number, reason="me").status_code == 403
            assert lab.post("approve", "ada", submission=number, reason="agreed").status_code == 200

            row = await ended(call, "blue")
            assert row["outcome"] == "reached"
            shown = await call("explain", run=row["run"], trial=0)
            assert str(lab.runs) not in json.dumps(shown)
            mine = (await call("submissions"))["submissions"][0]
            assert (mine["decision"], mine["by"], mine["why"]) == ("approved", "ada", "agreed")
            settings = await call("settings_for", run=row["run"], goal={"445nm": 12000}, solver="linear")
            assert "445nm" in json.dumps(settings)
            drawn = await call.client.call_tool("figure", {"run": row["run"], "name": "error"})  # type: ignore[attr-defined]
            assert drawn.is_error or drawn.content[0].type == "image"

    asyncio.run(scenario())
    opened = [line for path in lab.runs.glob("blue/*/record.jsonl") for line in lines_of(path)[:1]]
    assert opened[0]["config"]["inputs"] == {"R": {"high": 0.9}}
    assert [line["by"] for line in lab.journal() if line["event"] == "Due"][-1] == "claude"


@pytest.mark.slow
def test_a_rehearsed_campaign_is_queued_at_once_where_the_lab_file_says_so(lab: Lab) -> None:
    async def scenario() -> None:
        async with connected(over_http(lab, lab.tokens["quick"])) as call:
            campaign = {**CAMPAIGN, "name": "quick"}
            rehearsed = await call("rehearse", campaign=campaign, instrument="led")
            answer = await call("submit", campaign=campaign, instrument="led", rehearsal=rehearsed["rehearsal"])
            assert answer["decision"] == "accepted"
            assert (await ended(call, "quick"))["outcome"] == "reached"

    asyncio.run(scenario())


def test_a_reader_reads_and_stops_within_a_second_and_does_nothing_else(lab: Lab) -> None:
    async def scenario() -> None:
        async with connected(over_http(lab, lab.tokens["reader"])) as call:
            refused = await call("rehearse", refused=True, campaign=CAMPAIGN, instrument="led")
            assert "lacks the scope submit" in refused["error"]
            assert "lacks the scope" in (await call("submit", refused=True, campaign={}, instrument="led"))["error"]
            subprocess.run(
                [*COMMAND, "lab", "run-now", "slow"], cwd=lab.folder, env=lab.environment, check=True, timeout=PATIENCE
            )
            until_ = time.monotonic() + PATIENCE
            while not (running := (await call("lab_status"))["running"]):
                assert time.monotonic() < until_
                await asyncio.sleep(0.1)
            target = f"start {running[0]['start']}"
            began = time.monotonic()
            assert (await call("stop", target=target, reason="smoke"))["done"] == f"Aborted {target}."
            assert time.monotonic() - began < 1.0
            assert (await ended(call, "slow"))["outcome"] == "aborted"

    asyncio.run(scenario())


@pytest.mark.parametrize("token", ["none", "wrong", "ada"])
def test_without_a_token_of_the_lab_nothing_is_answered(lab: Lab, token: str) -> None:
    reply = httpx.post(
        f"http://127.0.0.1:{lab.mcp_port}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}, trust_env=False,
    )  # fmt: skip
    assert reply.status_code == 401


@pytest.mark.parametrize(("header", "value"), [("Host", "evil.example"), ("Origin", "http://evil.example")])
def test_pages_of_other_sites_are_refused(lab: Lab, header: str, value: str) -> None:
    reply = httpx.post(
        f"http://127.0.0.1:{lab.mcp_port}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        headers={"Authorization": f"Bearer {lab.tokens['claude']}", "Accept": "application/json, text/event-stream",
                 header: value}, trust_env=False,
    )  # fmt: skip
    assert reply.status_code in (403, 421)


@pytest.mark.slow
def test_over_stdio_under_the_account_of_the_lab_nothing_can_be_submitted(lab: Lab) -> None:
    secret = lab.folder / "claude.token"
    secret.write_text(lab.tokens["claude"])
    secret.chmod(0o600)

    async def scenario(*words: str) -> None:
        async with connected(over_stdio(lab, *words)) as call:
            tools = [tool.name for tool in (await call.client.list_tools()).tools]  # type: ignore[attr-defined]
            assert "submit" not in tools
            assert {"instruments", "rehearse", "stop"} <= set(tools)
            assert (await call("rehearse", campaign=CAMPAIGN, instrument="led"))["outcome"] == "reached"
            stopped = await call("stop", refused=True, target="start 999", reason="")
            assert "neither running nor waiting" in stopped["error"]

    before = [line for line in lab.journal() if line["event"] == "Submitted"]
    asyncio.run(scenario("lab.yaml"))
    asyncio.run(scenario("--url", lab.url, "--token", "claude.token"))
    assert [line for line in lab.journal() if line["event"] == "Submitted"] == before


NOBODY = 65534
PYTHON = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"  # one that every account can read


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv") or not Path(PYTHON).exists(),
    reason="only root can start a server under another account",
)
def test_over_stdio_under_an_account_of_its_own_an_agent_submits_and_reads_no_token(lab: Lab) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.chown(folder, NOBODY, NOBODY)
        secret = folder / "quick.token"
        secret.write_text(lab.tokens["quick"])
        secret.chmod(0o600)
        os.chown(secret, NOBODY, NOBODY)
        drop = ["--reuid", str(NOBODY), "--clear-groups", "--inh-caps=-all", PYTHON]
        read = "import sys; open(sys.argv[1]).read()"
        for path in (*lab.folder.glob("state/sdl/labs/*/token"), *lab.runs.glob("bench.lab/tokens/*.json")):
            done = subprocess.run(["setpriv", *drop, "-c", read, path], capture_output=True, text=True, check=False)
            assert "PermissionError" in done.stderr
        packages = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
        server = StdioServerParameters(
            command="setpriv", cwd=folder, env={"HOME": place, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"},
            args=[*drop, "-m", "sdl", "mcp", "--url", lab.url, "--token", "quick.token", "--runs", "runs"],
        )  # fmt: skip

        async def scenario() -> None:
            async with connected(server) as call:
                campaign = {**CAMPAIGN, "name": "apart"}
                rehearsed = await call("rehearse", campaign=campaign, instrument="led")
                answer = await call("submit", campaign=campaign, instrument="led", rehearsal=rehearsed["rehearsal"])
                assert answer["decision"] == "accepted"

        asyncio.run(scenario())
    until(lambda: any(line["event"] == "Ended" for line in lab.journal()[-1:]))


@pytest.mark.slow
def test_a_token_that_others_can_read_is_not_used(lab: Lab) -> None:
    secret = lab.folder / "open.token"
    secret.write_text(lab.tokens["claude"])
    secret.chmod(0o644)
    done = subprocess.run(
        [*COMMAND, "mcp", "--url", lab.url, "--token", "open.token"],
        cwd=lab.folder, env=lab.environment, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, "others can read it" in done.stderr) == (2, True)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="accounts of POSIX")
def test_only_another_account_than_the_labs_may_submit_over_stdio(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdl.mcp.access import can_read_token

    monkeypatch.setattr(os, "geteuid", lambda: 1001)
    assert can_read_token({"account": 1001})
    assert not can_read_token({"account": 1000})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert can_read_token({"account": 1000})


@pytest.mark.slow
def test_what_the_command_cannot_do_is_told(lab: Lab) -> None:
    def refused(*words: str) -> str:
        done = subprocess.run(
            [*COMMAND, "mcp", *words],
            cwd=lab.folder, env=lab.environment, capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    assert "name a lab file, or --url and --token" in refused()
    assert f"cannot listen at 127.0.0.1:{lab.port}" in refused("lab.yaml", "--http", str(lab.port))
    assert "where every client sends its own" in refused("lab.yaml", "--http", "8400", "--token", "x")
