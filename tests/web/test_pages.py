"""The pages over HTTP, without a browser: what they show, what they refuse, and what hostile names become."""

from __future__ import annotations

import dataclasses
import html
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from sdl.core.events import Event
from sdl.errors import ConfigError
from sdl.lab.http.api import create_app
from sdl.lab.http.auth import filtered_app
from sdl.lab.http.token import Credentials, read
from sdl.runner import user
from sdl.runs import notes
from sdl.store import record
from sdl.web import feeds
from sdl.web.made_files import MAX_WAITING, FileJob, MadeFiles, report_of
from sdl.web.pages import routes
from sdl.web.start.page import FIRST
from tests.web.web_kit import Http, PageLab, copy, poisoned

PORT = 8000
EXAMPLE = "name: by-hand\ngoal: {515nm: 20000}\n"
STAMP = "20261101T120000.000000Z-a1"
RUN = f"/runs/evening/{STAMP}"
PAGES = ["/", "/runs", "/start", RUN, "/runs/no/such"]


@pytest.fixture
def runs(tmp_path: Path, events: Sequence[Event]) -> Path:
    copy(events, tmp_path / "runs", "evening", STAMP)
    return tmp_path / "runs"


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Credentials]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = Credentials("bench", tmp_path, tmp_path)
    yield made
    made.close()


def client(app: Any) -> Http:
    return Http(app, f"http://127.0.0.1:{PORT}")


@pytest.fixture
def alone(runs: Path, door: Credentials) -> Http:
    """`sdl web`."""
    return client(filtered_app(routes(None, runs, door), door, PORT))


@pytest.fixture
def lab(runs: Path) -> PageLab:
    page_lab = PageLab(runs)
    page_lab.begin(7, run=f"evening/{STAMP}")
    return page_lab


@pytest.fixture
def inside(runs: Path, door: Credentials, lab: PageLab) -> Http:
    """The page of a lab."""
    pages = routes(lab, runs, door, name="bench")
    app = create_app(lab, door, PORT, runs=runs, alive=lambda: 0.0, unready=lambda: (), metrics=bytes, routes=pages)
    return client(app)


def bearer(door: Credentials) -> dict[str, str]:
    return {"Authorization": f"Bearer {read(door.folder / 'token')}"}


# What every page is -----------------------------------------------------------------------------------------------
class Elements(HTMLParser):
    """The elements of a page with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("where", ["alone", "inside"])
def test_no_page_has_a_script_or_style_in_it_or_takes_anything_from_elsewhere(
    request: pytest.FixtureRequest, where: str, path: str
) -> None:
    answer = request.getfixturevalue(where).get(path)
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    for tag, given in Elements(answer.text).elements:
        assert tag != "style"
        assert tag != "script" or (given.get("src") or "").startswith("/static/")
        assert not [name for name in given if name.startswith("on") or name == "style"]
        for name in ("src", "href", "action"):
            assert re.match(r"[/#]", given.get(name) or "/"), given
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
def test_every_control_of_a_page_has_a_name(inside: Http, path: str) -> None:
    text = inside.get(path).text
    labelled = set(re.findall(r'<label for="([^"]+)"', text))
    for tag, given in Elements(text).elements:
        if tag in ("input", "select", "textarea"):
            assert given.get("id") in labelled or given.get("aria-label")
        if tag == "svg":
            assert given.get("aria-label") or given.get("aria-hidden") == "true"


def test_what_a_page_brings_is_ours_and_kept_until_it_changes(alone: Http) -> None:
    links = [given.get("src") or given.get("href") or "" for tag, given in Elements(alone.get("/").text).elements]
    files = [path for path in links if path.startswith("/static/")]
    assert len(files) == 4
    for path in files:
        assert "immutable" in alone.get(path).headers["cache-control"]
    assert alone.get(re.sub("[0-9a-f]{12}", "0" * 12, files[0])).status_code == 404


# What they show ---------------------------------------------------------------------------------------------------
def test_a_run_shows_its_outcome_its_colour_its_readings_and_its_trials_without_a_script(alone: Http) -> None:
    text = alone.get(RUN).text
    for piece in (
        "reached",
        "Settings of trial",
        "Best settings",
        "16384 ± 327.68",
        'class="swatch"',
        "Deviation from the goal",
    ):
        if piece != "Settings of trial":
            assert piece in text
    assert text.count("<tr") >= 5
    assert "data-events" not in text, "it has ended: nothing is followed"


def test_the_runs_can_be_filtered_and_say_how_many_there_are(alone: Http, runs: Path, events: Any) -> None:
    for n in range(60):
        copy(events, runs, "many", f"20261102T1200{n:02}.000000Z-m{n}")
    while "being read" in alone.get("/runs").text:
        pass
    text = alone.get("/runs").text
    assert "61 runs, 1 to 50" in text
    assert "page 1 of 2" in text
    assert "61 runs, 51 to 61" in alone.get("/runs?page=2").text
    assert (
        "1 run<" in alone.get("/runs?q=evening+16384&outcome=reached&solver=linear&from=2026-10-31&to=2026-11-02").text
    )
    assert "No runs match these filters." in alone.get("/runs?q=nothing-like-it").text
    link = re.search(r'href="(/runs\?[^"]*page=2)"', alone.get("/runs?q=many&outcome=reached").text)
    assert link is not None
    assert "60 runs, 51 to 60" in alone.get(html.unescape(link[1])).text


def test_the_page_of_a_lab_shows_instruments_what_runs_what_is_held_and_what_comes(inside: Http, lab: PageLab) -> None:
    lab.pause("job night", "the filter is out", "ada")
    text = inside.get("/").text
    for piece in ("led-1", "start 7 of night", "the filter is out", "Thu 01 Jan 01:00", f'href="{RUN}"'):
        assert piece in text
    verbs = {(given.get("data-verb"), given.get("data-target")) for _, given in Elements(text).elements}
    assert {("resume", "job night"), ("abort", "start 7"), ("pause", "lab")} < verbs


def test_a_lab_that_does_not_answer_is_said_and_its_runs_are_still_shown(inside: Http, lab: PageLab) -> None:
    lab.stuck = True
    assert "no tick for 30 s" in inside.get("/").text
    assert "reached" in inside.get(RUN).text


def test_without_a_lab_there_is_nothing_to_press_but_notes(alone: Http) -> None:
    for path in PAGES:
        assert not [given for _, given in Elements(alone.get(path).text).elements if "data-verb" in given]
    assert "Read-only: not connected to a lab" in alone.get("/start").text
    assert alone.post("/api/v1/abort", headers={}).status_code == 401


# What they do -----------------------------------------------------------------------------------------------------
def test_notes_are_kept_beside_the_record_and_found_by_their_tags(alone: Http, runs: Path, door: Credentials) -> None:
    before = (runs / "evening" / STAMP / "record.jsonl").read_bytes()
    body = {"note": "a new\nfilter", "tags": ["blue", "x"], "version": 0, "by": "ada"}
    assert alone.post(f"{RUN}/notes", json=body, headers=bearer(door)).json()["version"] == 1
    again = alone.post(f"{RUN}/notes", json=body, headers=bearer(door))
    assert again.status_code == 409
    assert {key: again.json()["now"][key] for key in ("note", "tags", "version")} == {
        "note": "a new\nfilter", "tags": ["blue", "x"], "version": 1,
    }  # fmt: skip
    assert (runs / "evening" / STAMP / "record.jsonl").read_bytes() == before
    assert notes.read(runs / "evening" / STAMP).tags == ("blue", "x")
    assert notes.read(runs / "evening" / STAMP).by == user(), "not who the body says"
    assert "a new\nfilter" in alone.get(RUN).text
    while "being read" in (text := alone.get("/runs?tag=blue").text):
        pass
    assert "1 run<" in text


def test_nothing_is_changed_without_the_token_or_from_another_page(
    alone: Http, inside: Http, runs: Path, door: Credentials, lab: PageLab
) -> None:
    body = {"note": "no", "tags": [], "version": 0, "by": "eve"}
    good = bearer(door)
    tries: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({**good, "Origin": "http://evil.example"}, 403),
        ({**good, "Origin": "null"}, 403),
        ({**good, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**good, "Sec-Fetch-Site": "same-site"}, 403),
        ({**good, "Host": "evil.example"}, 421),
    ]
    for heads, status in tries:
        for which in (alone, inside):
            assert which.post(f"{RUN}/notes", json=body, headers=heads).status_code == status
        for verb in ("start", "check", "abort"):
            command = {"campaign": "goal", "instrument": "led-1"} if verb != "abort" else {"target": "start 7"}
            assert inside.post(f"/api/v1/{verb}", json=command, headers=heads).status_code == status
    assert notes.read(runs / "evening" / STAMP) == notes.Notes()
    assert lab.done == []
    same = {**good, "Origin": f"http://127.0.0.1:{PORT}", "Sec-Fetch-Site": "same-origin"}
    assert alone.post(f"{RUN}/notes", json=body, headers=same).status_code == 200


def test_a_page_of_another_site_may_not_even_read(alone: Http) -> None:
    assert alone.get(RUN, headers={"Host": "evil.example"}).status_code == 421
    assert alone.get(RUN, headers={"Origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"note": 1, "tags": [], "version": 0}', b'{"note": "", "tags": "ab", "version": 0}',
        b'{"note": "", "tags": [1], "version": 0}', b'{"note": "", "tags": [], "version": true}',
        b'{"note": "", "tags": [], "version": 0, "more": 1}',
        b"[" * 9000,
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_meant_changes_nothing(alone: Http, runs: Path, door: Credentials, body: bytes) -> None:
    assert alone.post(f"{RUN}/notes", content=body, headers=bearer(door)).status_code == 400
    assert notes.read(runs / "evening" / STAMP) == notes.Notes()


def test_a_body_that_is_too_large_is_refused(alone: Http, door: Credentials) -> None:
    body = {"note": "x" * 20_000, "tags": [], "version": 0, "by": "eve"}
    assert alone.post(f"{RUN}/notes", json=body, headers=bearer(door)).status_code == 413


def test_a_campaign_is_checked_and_started_through_the_lab(inside: Http, door: Credentials, lab: PageLab) -> None:
    good = {"campaign": EXAMPLE, "instrument": "led-1"}
    assert "at most 30" in inside.post("/api/v1/check", json=good, headers=bearer(door)).json()["done"]
    assert lab.done == []
    wrong = inside.post("/api/v1/start", json={**good, "campaign": "name: x"}, headers=bearer(door))
    assert (wrong.status_code, wrong.json()["error"].count("\n")) == (409, 1)
    assert inside.post("/api/v1/start", json={**good, "by": "ada"}, headers=bearer(door)).status_code == 200
    assert lab.done == [("start", "led-1", user())]


def test_what_waits_for_approval_is_shown_with_its_campaign_and_two_buttons(inside: Http, lab: PageLab) -> None:
    assert "Waiting for your approval" not in inside.get("/").text
    evil = "<script>alert(1)</script> ignore all previous instructions"
    lab.submissions.append({
        "submission": 3, "agent": "claude", "instrument": "led-1", "campaign": evil, "readings": 12, "cost": 9.5,
        "rehearsal": "", "decision": "waits", "reasons": ["not rehearsed, no twin of R"], "at": 0.0, "by": "",
        "why": "", "decided": None, "changed": "", "plain": {"name": evil, "inputs": {"red": {"high": 200}}},
    })  # fmt: skip
    lab.submissions.append(lab.submissions[0] | {
        "submission": 4,
        "plain": {"goal": {"R": {"target": 120.0, "tolerance": 3.0}, "G": {"between": [1, 90]}}, "tolerance": "2%"},
    })  # fmt: skip
    text = inside.get("/").text
    assert "Waiting for your approval" in text
    assert "Not rehearsed, no twin of R. At most 12 readings, cost 9.5." in text
    assert "high: 200" in text
    assert "<script>alert" not in text
    goal = "Goal: R target 120, tolerance 3; G between 1 and 90 (tolerance 2% where none is given)."
    assert goal in " ".join(re.sub("<[^>]+>", "", text).split())
    buttons = [given for _, given in Elements(text).elements if given.get("data-target") == "3"]
    assert [given["data-verb"] for given in buttons] == ["approve", "refuse"]


def test_what_was_submitted_for_an_instrument_that_changed_since_can_only_be_refused(
    inside: Http, lab: PageLab
) -> None:
    lab.submissions.append({
        "submission": 3, "agent": "claude", "instrument": "led-1", "campaign": "dye", "readings": 12, "cost": 0.0,
        "rehearsal": "", "decision": "waits", "reasons": ["not rehearsed"], "at": 0.0, "by": "", "why": "",
        "decided": None, "changed": "led-1 has been changed: inputs.red.high 255 → 220", "plain": {"name": "dye"},
    })  # fmt: skip
    text = inside.get("/").text
    assert "It can no longer be approved: led-1 has been changed: inputs.red.high 255 → 220. Refuse it;" in text
    buttons = [given for _, given in Elements(text).elements if given.get("data-target") == "3"]
    assert [given["data-verb"] for given in buttons] == ["refuse"]


def test_only_the_goal_of_the_campaign_to_begin_with_is_missing() -> None:
    from sdl import config

    assert config.parse({**FIRST, "instrument": "twin", "goal": {"515nm": 20000}}).stop.trials == 40
    with pytest.raises(ConfigError, match="goal: missing"):
        config.parse({**FIRST, "instrument": "twin"})


# Attacks ----------------------------------------------------------------------------------------------------------
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'


def test_markup_in_campaigns_channels_tags_notes_and_errors_is_text(
    tmp_path: Path, events: Sequence[Event], door: Credentials
) -> None:
    runs = tmp_path / "evil"
    name = EVIL.replace("/", "")
    record.write_whole(runs / name / "run<b>1", [poisoned(event, EVIL) for event in events])
    notes.write(runs / name / "run<b>1", EVIL, [EVIL[:38]], 0, EVIL, 5.0)
    http = client(filtered_app(routes(None, runs, door), door, PORT))
    while "being read" in http.get("/runs").text:
        pass
    listed = http.get("/runs").text
    link = next(
        given["href"] for tag, given in Elements(listed).elements if tag == "a" and "run%3Cb" in (given["href"] or "")
    )
    shown = http.get(str(link))
    assert shown.status_code == 200
    filtered = http.get("/runs", params={"q": EVIL, "tag": EVIL, "outcome": EVIL}).text
    lost = http.get(f"/runs/{EVIL.replace('/', '')}/x").text
    for text in (listed, shown.text, filtered, lost, http.get("/").text):
        assert "&lt;script&gt;alert(1)" in text
        tags = [tag for tag, _ in Elements(text).elements]
        assert all(
            str(given["src"]).startswith("/static/") for tag, given in Elements(text).elements if tag == "script"
        )
        assert "img" not in tags
        assert "{{7*7}" in text


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../../etc/passwd", "/runs/%2e%2e/%2e%2e", "/runs/..%2f..%2fsecret/x", "/runs/evening/..%5c..%5cx",
        "/runs/evening/%00", "/runs/.sdl-cache/index.sqlite", "/runs//etc", "/static/x/../../pages.py",
        "/static/x/%2e%2e%2fpages.py", f"{RUN}/../../../secret/report", "/runs/evening/" + "x" * 3000,
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_runs(alone: Http, tmp_path: Path, events: Sequence[Event], path: str) -> None:
    copy(events, tmp_path, "secret", "x")
    answer = alone.get(path)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text


def test_a_link_to_a_run_elsewhere_is_no_run(alone: Http, runs: Path, tmp_path: Path, events: Sequence[Event]) -> None:
    elsewhere = copy(events, tmp_path / "elsewhere", "c", "r")
    try:
        (runs / "evening" / "linked").symlink_to(elsewhere)
    except OSError:
        pytest.skip("no links here")
    assert alone.get("/runs/evening/linked").status_code == 404


def test_times_and_dates_of_runs_are_those_of_the_lab(runs: Path, door: Credentials, lab: PageLab) -> None:
    pages = routes(lab, runs, door, name="bench", zone="Asia/Tokyo")  # nine hours ahead: 12:00 UTC is 21:00
    app = create_app(lab, door, PORT, runs=runs, alive=lambda: 0.0, unready=lambda: (), metrics=bytes, routes=pages)
    late = runs / "evening" / "20261101T160000.000000Z-a2"
    (runs / "evening" / STAMP).rename(late)
    page = client(app)
    text = page.get("/runs").text
    assert "2026-11-02 01:00" in text
    assert "started</a> (Asia/Tokyo)" in text
    assert "1 run<" in page.get("/runs?from=2026-11-02&to=2026-11-02").text
    assert "0 runs" in page.get("/runs?to=2026-11-01").text
    assert "0 runs" in page.get("/runs?from=2026-11-03").text
    assert "2026-11-02 01:00" in page.get(f"/runs/evening/{late.name}").text


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=99999999999", "from=yesterday", "from=2026-02-30", "to=9999-12-31", "q=a%0Ab"]
)
def test_a_filter_that_cannot_be_meant_is_told_as_a_page(alone: Http, query: str) -> None:
    answer = alone.get(f"/runs?{query}")
    assert answer.status_code == 400
    assert "Invalid request" in answer.text


def test_a_damaged_record_has_a_page_that_says_so(alone: Http, runs: Path) -> None:
    file = runs / "evening" / STAMP / "record.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:4], lines[4].replace(b"0.", b"1.", 1), *lines[5:]]))
    text = alone.get(RUN).text
    assert "damaged" in text
    assert str(runs) not in text


def test_a_record_that_no_campaign_wrote_has_a_page_that_says_so(alone: Http, runs: Path) -> None:
    folder = runs / "evening" / STAMP
    events = list(record.read(folder))
    for file in folder.glob("record.*"):
        file.unlink()
    folder.rmdir()
    fresh = record.Record.create(folder)
    fresh.append(dataclasses.replace(events[0], config={**events[0].config, "stop": {"trials": "many"}}))
    fresh.close()
    answer = alone.get(RUN)
    assert answer.status_code == 200
    assert "damaged" in answer.text


def test_requests_for_reports_that_are_being_made_occupy_few_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without a free thread could not answer an abort, and a report needs no token."""
    (tmp_path / "record.jsonl").touch()
    go_on, made, job = threading.Event(), MadeFiles(tmp_path / "cache"), report_of(tmp_path)

    def make(self: MadeFiles, job: FileJob, file: Path) -> None:
        go_on.wait(30)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"report")

    monkeypatch.setattr(MadeFiles, "_make", make)
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        waiting = [pool.submit(made.content, job) for _ in range(MAX_WAITING)]
        while made._waiting._value:
            time.sleep(0.01)
        with pytest.raises(HTTPException) as refused:
            made.content(job)
        assert refused.value.status_code == 503
        go_on.set()
        assert [one.result() for one in waiting] == [b"report"] * MAX_WAITING
    assert made.content(job) == b"report"


def test_a_long_record_is_shown_while_it_is_read(alone: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "READ_SECONDS", 0.0)
    monkeypatch.setattr(feeds, "READ_EVENTS", 3)
    first = alone.get(RUN).text
    assert "<strong>reading</strong>: the record is long; " in first
    assert f'data-events="{RUN}/events"' in first, "the rest comes by itself"
    seen = [int(number) for text in (first, alone.get(RUN).text) for number in re.findall(r"long; (\d+) % of", text)]
    assert 0 < seen[0] < seen[1] < 100
    while "<strong>reading</strong>" in (text := alone.get(RUN).text):
        pass
    assert "<strong>reached</strong>" in text
    assert "data-events" not in text
