"""Streams of events: one look for all who watch, the newest to each, and nothing kept for anybody."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from waiting import PATIENCE

from sdl.core.events import Event
from sdl.lab.http.app import STALLED_SECONDS, listen
from sdl.web.feeds import HomeFeed, LabFeed, RunCache, RunFeed
from sdl.web.sse import Hub
from tests.web.web_kit import Append, PageLab, copy, real

STAMP = "20261123T120000.000000Z-b1"


class Counter:
    """Shows a new number at every look, until it has shown the last."""

    every = 0.001

    def __init__(self, last: int = 10**9, fail: bool = False) -> None:
        self.looks, self._last, self._fail = 0, last, fail

    @property
    def ended(self) -> bool:
        return self.looks >= self._last

    def look(self) -> Mapping[str, Any] | None:
        self.looks += 1
        if self._fail:
            raise ValueError("no such thing")
        return {"n": self.looks}


class Browser:
    """One who listens; `takes` is how many messages it takes before it stops taking, without a word."""

    def __init__(self, takes: int = 10**9) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.status = 0
        self.closed = False
        self._takes, self._gone = takes, asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if self._takes <= 0:
            await asyncio.sleep(3600)
        self._takes -= 1
        for block in message["body"].decode().split("\n\n"):
            lines = dict(line.partition(": ")[::2] for line in block.splitlines())
            if "event" in lines:
                self.heard.append((lines["event"], json.loads(lines["data"])))
        self.closed = not message["more_body"]
        await asyncio.sleep(0)


async def until(true: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.002)


def test_all_who_watch_share_one_look_and_nothing_is_left_when_they_go() -> None:
    async def play() -> None:
        hub, source = Hub(beat=0.05), Counter()
        browsers = [Browser() for _ in range(50)]
        tasks = [asyncio.create_task(hub.stream("k", lambda: source, b.receive, b.send)) for b in browsers]
        await until(lambda: all(len(b.heard) > 3 for b in browsers))
        assert (hub.open, len(hub.topics), hub.topics["k"].readers) == (50, 1, 50)
        for browser in browsers:
            browser.leave()
        await asyncio.gather(*tasks)
        assert (hub.open, hub.topics) == (0, {})
        looks = source.looks
        await asyncio.sleep(0.05)
        assert source.looks <= looks + 1, "nobody watches: nobody looks"
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(play())


def test_a_slow_reader_skips_to_the_newest_and_one_that_takes_nothing_is_dropped() -> None:
    async def play() -> None:
        hub, source = Hub(slow=0.1), Counter()
        stuck, quick = Browser(takes=2), Browser()
        tasks = [asyncio.create_task(hub.stream("k", lambda: source, b.receive, b.send)) for b in (stuck, quick)]
        await asyncio.wait_for(asyncio.shield(tasks[0]), 10)
        assert hub.open == 1
        numbers = [content["n"] for name, content in quick.heard if name == "parts"]
        assert numbers == sorted(set(numbers))
        quick.leave()
        await tasks[1]

    asyncio.run(play())


def test_there_are_so_many_streams_and_no_more() -> None:
    async def play() -> None:
        hub = Hub(limit=2)
        browsers = [Browser() for _ in range(2)]
        tasks = [asyncio.create_task(hub.stream("k", Counter, b.receive, b.send)) for b in browsers]
        await until(lambda: hub.open == 2)
        with pytest.raises(HTTPException, match="2 live pages are open already"):
            await hub.stream("k", Counter, Browser().receive, Browser().send)
        browsers[0].leave()
        await tasks[0]
        last = Browser()
        tasks.append(asyncio.create_task(hub.stream("k", Counter, last.receive, last.send)))
        await until(lambda: last.heard)
        last.leave()
        browsers[1].leave()
        await asyncio.gather(*tasks)

    asyncio.run(play())


def test_a_stream_beats_where_nothing_happens_says_what_fails_and_ends_with_its_source() -> None:
    class Quiet(Counter):
        def look(self) -> None:
            return None

    async def play() -> None:
        hub = Hub(beat=0.01)
        idle, failing, ending = Browser(), Browser(), Browser()
        sources = {"i": Quiet(), "f": Counter(fail=True), "e": Counter(last=3)}
        tasks = [
            asyncio.create_task(hub.stream(key, lambda key=key: sources[key], b.receive, b.send))  # type: ignore[misc]
            for key, b in zip(sources, (idle, failing, ending), strict=True)
        ]
        news = lambda: [event for event in failing.heard if event[0] != "beat"]  # noqa: E731
        await until(lambda: len(idle.heard) > 2 and news() and ending.closed)
        assert {name for name, _ in idle.heard} == {"beat"}
        assert news()[0] == ("parts", {"trouble": "no such thing"})
        assert ending.heard[-1][0] == "end"
        assert ("parts", {"n": 3}) in ending.heard, "the last frame is not lost"
        for browser in (idle, failing):
            browser.leave()
        await asyncio.gather(*tasks)

    asyncio.run(play())


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such time limit")
def test_a_connection_whose_other_side_takes_nothing_is_ended_by_the_system() -> None:
    with listen(0) as door, socket.create_connection(door.getsockname()) as other:
        connection, _ = door.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == STALLED_SECONDS * 1000
        assert other


# What is watched ---------------------------------------------------------------------------------------------------
def test_a_run_is_drawn_anew_with_each_reading_and_only_then(tmp_path: Path, events: Sequence[Event]) -> None:
    growing = Append(events, tmp_path, "night", STAMP)
    growing.write(1)
    source = RunFeed(growing.folder, LabFeed(None))
    assert "No settings proposed yet" in (source.look() or {})["parts"]["live-now"]
    assert source.look() is None
    growing.write(2)
    first = source.look() or {}
    assert first["announcement"].startswith("running: trial 0, 1 reading")
    assert "rgb(" in first["parts"]["live-now"]
    while not source.ended:
        growing.write(1)
        last = source.look() or {}
    growing.close()
    assert last["announcement"].startswith("reached: ")
    assert last["parts"]["live-trials"].count("<tr") == source.view.campaign.history.trials + 1  # type: ignore[union-attr]
    whole = RunFeed(growing.folder, LabFeed(None)).whole()
    assert whole["parts"] == last["parts"], "read at once and read as it grew: the same"


def test_a_run_whose_process_is_gone_is_said_to_be_unfinished(tmp_path: Path, events: Sequence[Event]) -> None:
    growing = Append(events, tmp_path, "night", STAMP)
    growing.write(3)
    growing.close()
    (growing.folder / "record.lock").write_text("process 999999999 on nowhere since now")
    assert (RunFeed(growing.folder, LabFeed(None)).look() or {})["announcement"].startswith("unfinished: ")


def test_a_run_of_the_lab_has_buttons_that_follow_its_holds(tmp_path: Path, events: Sequence[Event]) -> None:
    growing = Append(events, tmp_path, "night", STAMP)
    growing.write(3)
    lab = PageLab(tmp_path)
    lab.begin(7, run=f"night/{STAMP}")
    lab_feed = LabFeed(lab)
    source = RunFeed(growing.folder, lab_feed)
    assert 'data-verb="pause" data-target="start 7"' in source.whole()["parts"]["live-state"]
    lab.pause("lab", "person in enclosure", "ada")
    lab_feed._at = -1e9
    state = source.whole()["parts"]["live-state"]
    assert "paused with the whole lab by ada: person in enclosure" in state
    assert 'data-verb="resume" data-target="start 7"' not in state
    assert 'data-title="End the pause of the whole lab"' in state
    assert 'data-quote="The whole lab is paused by ada: person in enclosure (since' in state
    lab.end(7)
    lab_feed._at = -1e9
    assert "data-verb" not in source.whole()["parts"]["live-state"]
    growing.close()


def test_many_pages_ask_the_lab_once_and_it_may_be_stuck(tmp_path: Path) -> None:
    lab = PageLab(tmp_path)
    lab_feed = LabFeed(lab)
    lab.begin(7, run="night/x")
    assert lab_feed.status()["running"][0]["start"] == 7
    lab.end(7)
    assert lab_feed.status()["running"], "half a second ago is now"
    lab_feed._at = -1e9
    lab.stuck = True
    status = lab_feed.status()
    assert status["running"], "what was known before is still shown"
    assert "no tick" in status["trouble"]


def test_the_home_page_says_in_words_what_runs(tmp_path: Path) -> None:
    from sdl.runs.index import Index

    lab = PageLab(tmp_path)
    lab.begin(7)
    lab.running[7]["paused"] = "too bright"
    lab_feed = LabFeed(lab)
    shown = HomeFeed(lab_feed, Index(tmp_path, tmp_path / "cache"), RunCache(tmp_path, lab_feed)).look() or {}
    assert shown["announcement"] == "1 running, 1 of them paused"
    assert "too bright" in shown["parts"]["home-now"]


def test_the_home_page_shows_colour_and_error_of_what_runs_as_they_change(tmp_path: Path) -> None:
    from sdl.runs.index import Index

    growing = Append(real(tmp_path / "real"), tmp_path, "night", "20261101T120000.000000Z-g1")
    growing.write(3)
    lab = PageLab(tmp_path)
    lab.begin(7, run=f"night/{growing.folder.name}")
    lab.begin(8, run="night/not-there")  # nothing is written yet
    lab_feed = LabFeed(lab)
    source = HomeFeed(lab_feed, Index(tmp_path, tmp_path / "cache"), RunCache(tmp_path, lab_feed))
    before = (source.look() or {})["parts"]["home-now"]
    assert "its colour, rgb(" in before
    assert "trial 0, 1 reading" in before
    growing.write(2)
    after = (source.look() or {})["parts"]["home-now"]
    growing.close()
    assert "trial 1, 1 reading" in after
    assert "× tolerance" in after


def test_without_a_lab_the_home_page_shows_what_the_runs_under_way_do(tmp_path: Path) -> None:
    from sdl.runs.index import Index

    growing = Append(real(tmp_path / "real"), tmp_path / "runs", "night", "20261101T120000.000000Z-g1")
    growing.write(3)
    run_index = Index(tmp_path / "runs", tmp_path / "cache")
    run_index.refresh()
    lab_feed = LabFeed(None)
    shown = (HomeFeed(lab_feed, run_index, RunCache(tmp_path / "runs", lab_feed)).look() or {})["parts"]["home-now"]
    growing.close()
    assert "trial 0, 1 reading" in shown
    assert "rgb(" in shown


def test_the_home_page_does_not_say_that_nothing_runs_before_the_records_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdl.runs.index import Index
    from sdl.runs.listing import list_row

    copy(real(tmp_path / "real"), tmp_path / "runs", "night", "20261101T120000.000000Z-g1")
    go = threading.Event()
    monkeypatch.setattr("sdl.runs.index.read_row", lambda folder: list_row(folder) if go.wait(PATIENCE) else {})
    lab_feed, run_index = LabFeed(None), Index(tmp_path / "runs", tmp_path / "cache")
    source = HomeFeed(lab_feed, run_index, RunCache(tmp_path / "runs", lab_feed))
    before = (source.look() or {})["parts"]
    go.set()
    run_index.poke(30)
    after = (source.look() or {})["parts"]
    assert "The records are being read" in before["home-now"]
    assert "No campaign is running" not in before["home-now"]
    assert "No campaign is running" in after["home-now"]
    assert "night</a>" in after["home-past"]


def test_of_many_trials_the_drawing_leaves_out_none_that_hit() -> None:
    from sdl.web import charts

    misses = [(n, 0.5 if n in (1234, 3001) else 50.0 + n % 7) for n in range(5000)]
    drawn = charts.error(misses)
    assert drawn is not None
    assert sum(inside for _, _, inside in drawn["points"]) == 2
    assert len(drawn["points"]) <= charts.MOST_POINTS
    few = charts.error(misses[:100])
    assert few is not None
    assert len(few["points"]) == 100
