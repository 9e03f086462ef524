"""A person as an instrument of a lab: asked on the page, by message and again, through a pause and a killed lab."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE, until

from sdl import yamlfile
from sdl.asktell.campaign import OpenCampaign, Request
from sdl.lab.core.events import Due, Started
from sdl.lab.rules.notices import Notices
from sdl.lab.workers.base import WorkerUpdate
from sdl.notify.model import Notify
from sdl.runs.runs import open_run
from tests.asktell.test_attending import HAND, plant
from tests.web.test_browser import Lab, tell

NOW = 1.8e9
ASKED = WorkerUpdate(3, "asked", "trial 0, reading 1\nSet\n  red = 10 uL", at=NOW)


def notices(**keys: Any) -> Notices:
    made = Notices("bench", Notify.model_validate({"url": "https://bench.example.org", "digest": None, **keys}))
    made.handle(Due(3, "hand", NOW, "schedule", "", NOW))
    made.handle(Started(3, "person", "hand/run-3", 0, NOW))
    return made


def test_a_person_is_asked_and_reminded_with_a_link_until_something_else_is_asked() -> None:
    lab = notices(remind="10min")
    (first,) = lab.update(ASKED)
    assert (first.kind, first.title) == ("asked", "bench: hand: trial 0, reading 1: requested")
    assert first.body.endswith("red = 10 uL\nhttps://bench.example.org/runs/hand/run-3")
    assert lab.tick(NOW + 599) == []
    (second,) = lab.tick(NOW + 601)
    assert second.title == "bench: hand: trial 0, reading 1: still waiting after 10 min"
    assert lab.tick(NOW + 700) == []
    lab.update(WorkerUpdate(3, "running", at=NOW + 800))  # an event of any kind, such as a correction
    (third,) = lab.tick(NOW + 1201)
    assert len({first.id, second.id, third.id}) == 3
    (again,) = lab.update(ASKED)
    assert again.id == first.id, "after a restart the same message, which is sent once"
    for update in ("paused", "ended", "died"):
        lab.update(WorkerUpdate(3, update, at=NOW + 2000))  # type: ignore[arg-type]
        assert "asked" not in [notice.kind for notice in lab.tick(NOW + 9000)]
        lab.update(ASKED)


def test_without_reminders_a_person_is_asked_once() -> None:
    lab = notices(remind=None)
    assert len(lab.update(ASKED)) == 1
    assert lab.tick(NOW + 1e6) == []


@pytest.mark.slow
def test_a_lab_asks_a_person_through_a_pause_and_after_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_ADA", "json://127.0.0.1:9/hook")
    lab = Lab(tmp_path)
    campaign = {key: value for key, value in HAND.items() if key != "instrument"}
    file = {
        "name": "bench",
        "instruments": {"person": {"instrument": HAND["instrument"]}},
        "jobs": {"hand": {"campaign": campaign, "instrument": "person", "when": {"asked": True}}},
        "supervise": {"backoff": "1s"},
        "notify": {"url": "https://bench.example.org", "to": {"ada": {"url": {"env": "SDL_ADA"}}}},
    }
    (tmp_path / "lab.yaml").write_text(yamlfile.dump(file))
    lab.begin()
    try:
        assert tell(lab, "run-now", "hand").returncode == 0
        folder = lab.newest("hand")
        request = asked(folder)
        assert tell(lab, "pause", "job hand", "--reason", "lunch").returncode == 0
        until(lambda: OpenCampaign(folder).campaign.paused)
        assert "please set" not in page(lab, folder)
        reply = post(lab, "tell", folder, trial=0, repeat=0, readings=plant(request.settings))
        assert (reply.status_code, "the campaign is paused" in reply.text) == (409, True), reply.text
        assert tell(lab, "resume", "job hand").returncode == 0
        until(lambda: not OpenCampaign(folder).campaign.paused)
        assert "please set" in page(lab, folder)
        assert post(lab, "tell", folder, trial=0, repeat=0, readings=plant(request.settings)).status_code == 200
        request = asked(folder)
        assert request.trial == 1
        lab.kill()
        lab.begin()
        until(lambda: "data-attended" in page(lab, folder))
        assert asked(folder) == request, "the same is asked for"
        while open_run(folder).result.outcome is None:
            if (request := OpenCampaign(folder).open_request) is not None:
                post(lab, "tell", folder, trial=request.trial, repeat=0, readings=plant(request.settings))
        until(lambda: [line for line in lab.journal() if line["event"] == "Ended"])
        assert [line["outcome"] for line in lab.journal() if line["event"] == "Ended"] == ["reached"]
        until(lambda: all(done for _, done in messages(lab).values()))  # none waits that asks for what was told
        assert len(messages(lab)) == len({(event.trial, event.repeat) for event in open_run(folder).measured()})
        assert all(f"https://bench.example.org/runs/hand/{folder.name}" in body for body, _ in messages(lab).values())
    finally:
        lab.end()


def messages(lab: Lab) -> dict[str, Any]:
    """Text and time of delivery or withdrawal of each message that asks for a reading."""
    rows = sqlite3.connect(lab.runs / "bench.lab" / "outbox.sqlite").execute("SELECT id, body, done FROM messages")
    return {row[0]: row[1:] for row in rows if row[0].startswith("asked-")}


def asked(folder: Path) -> Request:
    return until(lambda: OpenCampaign(folder).open_request if (folder / "record.jsonl").stat().st_size else None)


def page(lab: Lab, folder: Path) -> str:
    return httpx.get(f"{lab.url}/runs/hand/{folder.name}", trust_env=False, timeout=PATIENCE).text


def post(lab: Lab, call: str, folder: Path, **body: Any) -> httpx.Response:
    content = json.dumps({"run": f"hand/{folder.name}", **body})
    head = {"Authorization": f"Bearer {lab.token}"}
    return httpx.post(f"{lab.url}/api/v1/{call}", content=content, headers=head, trust_env=False, timeout=PATIENCE)
