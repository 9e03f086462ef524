"""A process that asks for the readings of a campaign and waits until others tell them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import COMMAND, environment, start
from waiting import PATIENCE, until

import sdl
from sdl import yamlfile
from sdl.asktell.attending import attend
from sdl.asktell.campaign import OpenCampaign, Request
from sdl.core.events import AbortAsked, Continued, Failed, Measured, Paused
from sdl.errors import ConfigError, InUse
from sdl.runner.gate import Abort, Decision, Pause, Proceed
from sdl.runs.listing import list_runs
from sdl.runs.runs import open_run
from sdl.store.lock import is_attended

HAND: dict[str, Any] = {
    "name": "hand",
    "instrument": {
        "kind": "manual",
        "label": "bench 7",
        "inputs": {"red": {"low": 0, "high": 100, "unit": "uL"}},
        "channels": {"R": {"unit": "counts"}},
        "limits": {"R": {"at most": 900}},
    },
    "goal": {"R": {"target": 300, "tolerance": 5}},
    "confirm": 0,
    "solver": "linear",
}


def plant(settings: Any) -> dict[str, float]:
    return {"R": 5 + 4 * settings["red"]}


class Gate:
    """Decides as it is told."""

    def __init__(self) -> None:
        self.decision: Decision = Proceed()

    def ask(self, campaign: Any, now: float) -> Decision:
        return self.decision

    def on_background(self, readings: Any, now: float) -> None: ...


@contextmanager
def attended(folder: Path, **how: Any) -> Iterator[Callable[[], sdl.Result]]:
    """The campaign is attended in a thread; the function waits for its result."""
    results: list[Any] = []

    def work() -> None:
        try:
            results.append(attend(OpenCampaign(folder), **how))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    until(lambda: is_attended(folder) or results)

    def result() -> sdl.Result:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]  # type: ignore[no-any-return]

    yield result


def answer(folder: Path) -> Request:
    """Tell the reading that is asked for."""
    campaign = OpenCampaign(folder)
    request = until(lambda: campaign.open_request)
    campaign.tell(request, plant(request.settings))
    return request


def test_readings_are_asked_for_one_after_another_until_the_goal_is_reached(tmp_path: Path) -> None:
    folder = sdl.open_campaign(HAND, runs=tmp_path).folder
    asked: list[Request] = []
    with attended(folder, on_request=asked.append) as result:
        while not OpenCampaign(folder).result.outcome:
            if OpenCampaign(folder).open_request is not None:
                answer(folder)
        assert result().outcome == "reached"
    taken = [(event.trial, event.repeat) for event in open_run(folder).measured()]
    assert [(request.trial, request.repeat) for request in asked] == taken, "each of them once"
    assert not is_attended(folder)


def test_a_paused_campaign_takes_no_readings_and_is_continued_by_its_gate_alone(tmp_path: Path) -> None:
    folder, gate = sdl.open_campaign(HAND, runs=tmp_path).folder, Gate()
    asked: list[Request] = []
    with attended(folder, gate=gate, on_request=asked.append) as result:
        request = until(lambda: OpenCampaign(folder).open_request)
        gate.decision = Pause("lunch", "ada")
        until(lambda: OpenCampaign(folder).campaign.paused)
        with pytest.raises(ConfigError, match="cannot be told: the campaign is paused"):
            OpenCampaign(folder).tell(request, plant(request.settings))
        with pytest.raises(ConfigError, match="paused by the process that asks for its readings"):
            OpenCampaign(folder).ask()
        gate.decision = Proceed("ada")
        until(lambda: len(asked) == 2)
        assert asked[0] == asked[1], "asked for again after the pause"
        answer(folder)
        gate.decision = Abort("enough", "ada")
        assert result().outcome == "aborted"
    events = [type(event) for event in open_run(folder).events]
    assert [kind for kind in events if kind in (Paused, Continued, Measured, AbortAsked)] == [
        Paused, Continued, Measured, AbortAsked,
    ]  # fmt: skip


def test_one_process_attends_a_run_and_one_a_persons_bench(tmp_path: Path) -> None:
    first, second = (sdl.open_campaign(HAND, runs=tmp_path, new=True).folder for _ in range(2))
    gate = Gate()
    with attended(first, gate=gate) as result:
        until(lambda: OpenCampaign(first).open_request)
        for folder in (first, second):
            with pytest.raises(InUse):
                attend(OpenCampaign(folder))
        gate.decision = Abort("enough", "ada")
        result()


@pytest.mark.parametrize(
    ("instrument", "message"),
    [
        ({"kind": "twin"}, "kind twin is driven by sdl"),
        ({**HAND["instrument"], "background": "each"}, "asked for at the terminal only"),
    ],
)
def test_only_what_others_tell_is_attended(tmp_path: Path, instrument: dict[str, Any], message: str) -> None:
    goal = {"R": 300} if instrument["kind"] == "manual" else {"515nm": 20000}
    campaign = sdl.open_campaign({"name": "x", "instrument": instrument, "goal": goal}, runs=tmp_path)
    with pytest.raises(ConfigError, match=message):
        attend(campaign)


def test_a_reading_beyond_a_limit_ends_the_campaign_as_failed(tmp_path: Path) -> None:
    campaign = sdl.open_campaign(HAND, runs=tmp_path)
    campaign.tell(campaign.ask(), {"R": 901})  # type: ignore[arg-type]
    assert campaign.ask() is None
    assert (campaign.result.outcome, campaign.result.reason) == ("failed", "interlock: R = 901 is above its limit 900")
    (failed,) = (event for event in open_run(campaign.folder).events if isinstance(event, Failed))
    assert failed.stage == "interlock"


@pytest.mark.slow
def test_the_command_asks_waits_and_can_be_continued_after_it_was_killed(tmp_path: Path) -> None:
    (tmp_path / "hand.yaml").write_text(yamlfile.dump(HAND))
    process = start("run", "hand.yaml", "--page", "--json", cwd=tmp_path)
    try:
        folder = until(lambda: next(iter(tmp_path.glob("runs/hand/*/attend.lock")), None), process).parent
        first = answer(folder)
        until(lambda: OpenCampaign(folder).open_request)
        process.kill()
        process.communicate()
        again = OpenCampaign(folder).ask()
        process = start("resume", "latest", "--page", "--json", cwd=tmp_path)
        until(lambda: is_attended(folder), process)
        assert again == OpenCampaign(folder).open_request != first, "the same is asked for"
        until(lambda: [row["outcome"] for row in list_runs(tmp_path / "runs")] == ["running"], process)
        while process.poll() is None:
            if OpenCampaign(folder).open_request is not None:
                answer(folder)
        out = process.communicate()[0]
        done = json.loads(out)
        assert (process.returncode, done["outcome"]) == (0, "reached")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")
def test_the_command_says_after_sigterm_how_to_continue(tmp_path: Path) -> None:
    (tmp_path / "hand.yaml").write_text(yamlfile.dump(HAND))
    process = start("run", "hand.yaml", "--page", cwd=tmp_path)
    try:
        folder = until(lambda: next(iter(tmp_path.glob("runs/hand/*/attend.lock")), None), process).parent
        until(lambda: OpenCampaign(folder).open_request, process)
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 143
    assert "interrupted by SIGTERM" in out
    assert "sdl resume" in out


@pytest.mark.slow
def test_the_command_says_at_once_what_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "twin.yaml").write_text("name: t\ninstrument: twin\ngoal: {515nm: 20000}\n")
    (tmp_path / "hand.yaml").write_text(yamlfile.dump({**HAND, "notify": {"to": {"ada": {"url": {"env": "NO_ADA"}}}}}))
    for words, message in (
        (["twin.yaml", "--page"], "kind twin is driven by sdl"),
        (["hand.yaml", "--page", "--on-twin"], "a twin needs none"),
        (["hand.yaml", "--page"], "notify.to.ada.url: environment variable NO_ADA: not set, or empty"),
    ):
        done = subprocess.run(
            [*COMMAND, "run", *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.glob("runs/*/*"))
