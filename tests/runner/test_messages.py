"""Messages of single runs: who hears what, reminders of a reading that is asked for, and no secret in the record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE, until

import sdl
from sdl import config, yamlfile
from sdl.asktell.campaign import OpenCampaign
from sdl.errors import ConfigError
from sdl.notify.model import Messages
from sdl.notify.outbox import Outbox
from sdl.notify.sender import NotSent
from sdl.runner import messages
from sdl.runner.messages import Messenger
from tests.asktell.test_attending import HAND, plant

ADA = {
    "to": {"ada": {"url": {"env": "SDL_ADA"}, "an_hour": 1000}},
    "url": "https://bench.example.org/",
    "remind": "10min",
}
SECRET = "json://user:hunter2@127.0.0.1:9/hook"
RIG = {
    "name": "rig",
    "instrument": {
        "kind": "command",
        "command": ["python3", "rig.py"],
        "inputs": {"red": {"high": 100}},
        "channels": {"R": {}},
        "off": {"red": 0},
    },
    "goal": {"R": 300},
    "solver": "linear",
    "notify": ADA,
}
ANSWERS = """
import json, random, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "off" in asked:
        print(json.dumps({"applied": asked["off"]}), flush=True)
    elif BROKEN:
        print(json.dumps({"error": "no lamp"}), flush=True)
    else:
        print(json.dumps({"readings": {"R": 5 + 4 * asked["measure"]["red"] + random.gauss(0, 0.5)}}), flush=True)
"""


class People:
    """Receives messages; `open` is whether they get through."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.open = True

    def __call__(self, url: str, title: str, body: str) -> None:
        assert url == SECRET
        if not self.open:
            raise NotSent("json://…: refused")
        self.got.append((title, body))


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> People:
    made = People()
    monkeypatch.setenv("SDL_ADA", SECRET)
    monkeypatch.setattr("sdl.notify.sender.send_by_apprise", made)
    monkeypatch.setattr(messages, "CLOSE_SECONDS", PATIENCE)
    return made


def run(folder: Path, *, broken: bool = False, **changes: Any) -> sdl.Result:
    (folder / "rig.py").write_text(ANSWERS.replace("BROKEN", str(broken)))
    (folder / "rig.yaml").write_text(yamlfile.dump({**RIG, **changes}))
    return sdl.run(folder / "rig.yaml", runs=folder / "runs")


@pytest.mark.parametrize(
    ("changes", "tell", "title"),
    [
        ({}, ["finished"], "rig: reached"),
        ({"broken": True, "stop": {"failures": 1}}, ["failed"], "rig: failed"),
        ({}, ["failed", "unreachable"], None),
        ({"goal": {"R": 4000}, "stop": {"trials": 12}}, ["unreachable"], "rig: unreachable"),
    ],
)
def test_the_end_of_a_run_is_reported_to_those_who_want_to_know(
    tmp_path: Path, people: People, changes: dict[str, Any], tell: list[str], title: str | None
) -> None:
    done = run(tmp_path, notify={**ADA, "to": {"ada": {"url": {"env": "SDL_ADA"}, "tell": tell}}}, **changes)
    assert [got[0] for got in people.got] == ([title] if title else []), done.reason
    if title:
        folder = Path(done.run)
        assert f"https://bench.example.org/runs/rig/{folder.name}" in people.got[0][1]


def test_a_message_that_is_not_sent_is_sent_by_the_next_process(
    tmp_path: Path, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.open = False
    monkeypatch.setattr(messages, "CLOSE_SECONDS", 0.05)  # so that both ends are within a second
    notify = {"to": {"ada": {"url": {"env": "SDL_ADA"}, "tell": ["finished"]}}}
    done = run(tmp_path, notify=notify, stop={"trials": 2})
    assert people.got == []
    assert Outbox(Path(done.run), time.time()).count() == 1
    people.open = True
    monkeypatch.setattr(messages, "CLOSE_SECONDS", PATIENCE)
    sdl.resume(done.run, changes=["stop.trials=40"])
    assert [title for title, _ in people.got] == ["rig: budget used up", "rig: reached"]


def test_the_secret_is_in_no_file_of_the_run_and_the_record_says_where_it_is(tmp_path: Path, people: People) -> None:
    secret = tmp_path / "ada.url"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    done = run(tmp_path, notify={"to": {"ada": {"url": {"file": "ada.url"}}}})
    files = [path for path in Path(done.run).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    kept = sdl.open_run(done.run).config["notify"]
    assert kept["to"]["ada"]["url"] == {"env": None, "file": str(secret)}


def test_nobody_is_told_of_simulated_time_and_a_campaign_without_recipients_keeps_no_key(
    tmp_path: Path, people: People
) -> None:
    tree = {"name": "t", "instrument": "twin", "goal": {"515nm": 20000}, "stop": {"trials": 2}, "solver": "linear"}
    done = sdl.run({**tree, "notify": ADA}, runs=tmp_path)
    assert people.got == []
    assert not (Path(done.run) / "outbox.sqlite").exists()
    assert "notify" not in sdl.open_run(sdl.run(tree, runs=tmp_path).run).config


@pytest.mark.parametrize(
    ("notify", "message"),
    [
        ({"to": {"ada": {"url": SECRET}}}, "an address may contain a password"),
        ({"url": "bench.example.org"}, "must be the address of the page"),
        ({"url": "https://ada:hunter2@bench.example.org"}, "must be the address of the page"),
        ({"url": "https://bench.example.org/?token=1"}, "must be the address of the page"),
        ({"remind": "soon"}, "remind"),
        ({"digest": "07:30"}, "digest: unknown key"),
        ({"to": {"ada": {"url": {"env": "A"}, "tell": ["everything"]}}}, "tell"),
    ],
)
def test_a_mistake_in_notify_says_where_it_is(notify: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse({**HAND, "notify": notify})
    assert message in str(caught.value)
    assert "notify" in str(caught.value)


def test_a_missing_secret_is_reported_before_anything_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_ADA", raising=False)
    with pytest.raises(ConfigError, match=r"notify\.to\.ada\.url: environment variable SDL_ADA: not set"):
        run(tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_person_is_asked_once_reminded_and_left_alone_after_the_answer(tmp_path: Path, people: People) -> None:
    campaign = sdl.open_campaign(HAND, runs=tmp_path)
    now = time.time()
    messenger = Messenger(Messages.model_validate(ADA), campaign.folder, deliver=people, clock=lambda: now)
    opened = OpenCampaign(campaign.folder, messenger)
    request = opened.ask()
    assert request is not None
    now = time.time()  # after the request, however long it took
    for _ in range(3):  # as a process that is started again and again
        messenger.asked(opened.in_words(request))
        messenger.tick()
    now += 601
    for _ in range(3):
        messenger.tick()
    now += 600
    messenger.tick()
    until(lambda: len(people.got) == 3)  # what is not sent before the answer is withdrawn
    opened.tell(request, plant(request.settings))
    now += 6000
    messenger.tick()
    messenger.close()
    titles = [title for title, _ in people.got]
    assert titles == [
        "hand: trial 0, reading 1: requested",
        "hand: trial 0, reading 1: still waiting after 10 min",
        "hand: trial 0, reading 1: still waiting after 20 min",
    ]
    body = people.got[0][1]
    assert "red = 10.00 uL" in body
    assert "Read R (counts)" in body
    assert f"https://bench.example.org/runs/hand/{campaign.folder.name}" in body


def test_what_was_asked_and_is_answered_meanwhile_is_not_sent_any_more(tmp_path: Path, people: People) -> None:
    people.open = False
    campaign = sdl.open_campaign(HAND, runs=tmp_path)
    messenger = Messenger(Messages.model_validate(ADA), campaign.folder, deliver=people)
    opened = OpenCampaign(campaign.folder, messenger)
    request = opened.ask()
    assert request is not None
    messenger.asked(opened.in_words(request))
    opened.tell(request, plant(request.settings))
    people.open = True
    messenger.close()
    assert Outbox(campaign.folder, time.time()).count() == 0
    assert people.got == []


def test_the_file_means_the_same_run_whoever_gets_its_messages(tmp_path: Path) -> None:
    first = sdl.open_campaign(HAND, runs=tmp_path)
    assert sdl.open_campaign({**HAND, "notify": ADA}, runs=tmp_path).folder == first.folder
