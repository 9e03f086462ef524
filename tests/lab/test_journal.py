"""A campaign submitted on its own: checked with line numbers, recorded before it begins, run once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdl import yamlfile
from sdl.errors import ConfigError
from sdl.lab import journal
from sdl.lab.core.events import Asked, Due, Ended, Missed, Started
from sdl.lab.core.state import fold
from sdl.lab.http.control import Controller
from sdl.lab.journal import JOURNAL
from sdl.store.record import START, decode, encode
from tests.lab.lab_kit import BEGIN, CAMPAIGN, Bench, fates, job, lab_file

TEXT = yamlfile.dump(CAMPAIGN)


def bench_of(folder: Path, **keys: Any) -> tuple[Bench, Controller]:
    desk = Controller(answer_seconds=10, base=folder)
    bench = Bench(lab_file(folder, {"j": job(when={"asked": True})}, **keys), requests=desk.requests).open()
    desk.serve(bench.loop)
    bench.tick()
    return bench, desk


def answer_of(bench: Bench, call: Callable[[], str]) -> str:
    """Asks from another thread, and ticks until there is an answer."""
    result: list[Any] = []

    def ask() -> None:
        try:
            result.append(call())
        except ConfigError as error:
            result.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        bench.tick()
        thread.join(0.01)
    if isinstance(result[0], ConfigError):
        raise result[0]
    return str(result[0])


def test_a_campaign_that_is_handed_in_runs_once_on_the_labs_own_instrument(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    answer = answer_of(bench, lambda: desk.start(TEXT, "b", "ada"))
    assert answer == "Queued campaign small on b as start 1."
    bench.go(120)
    (due,), (started,), (ended,) = bench.of(Due), bench.of(Started), bench.of(Ended)
    assert (due.job, due.cause, due.by) == ("campaign small", "asked", "ada")
    assert (started.instrument, started.run.partition("/")[0], ended.outcome) == ("b", "small", "reached")
    assert bench.processes.orders[0].campaign["instrument"]["seed"] == 1, "the lab's instrument, not one of its own"
    assert fates(bench.events) == {1: ["Ended"]}
    assert fold(bench.events).past == bench.lab.past


def test_what_is_handed_in_is_recorded_whole_before_anything_follows_from_it(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    answer_of(bench, lambda: desk.start(TEXT, "a", "ada"))
    kinds = [type(event) for event in bench.events]
    (request,) = bench.of(Asked)
    assert kinds.index(Asked) < kinds.index(Due)
    assert (request.verb, request.target, request.campaign["name"]) == ("start", "instrument a", "small")
    line, _ = encode(request, START, JOURNAL)
    assert decode(line[:-1], START, JOURNAL)[0] == request


def test_a_lab_that_was_killed_after_it_was_asked_still_begins_it(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    answer_of(bench, lambda: desk.start(TEXT, "a", "ada"))
    upto = next(i for i, event in enumerate(bench.events) if isinstance(event, Asked)) + 1
    again = Bench(bench.loaded, now=bench.clock.now() + 5, before=bench.events[:upto]).open().go(120)
    assert fates(again.events) == {1: ["Ended"]}


def test_mistakes_are_told_all_at_once_with_their_lines_and_nothing_is_begun(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    wrong = "name: small\ngoal: {999nm: 5}\nsolver: linnear\n"
    for verb in (lambda: desk.check(wrong, "a"), lambda: desk.start(wrong, "a", "ada")):
        with pytest.raises(ConfigError) as caught:
            answer_of(bench, verb)
        assert {2, 3} <= {problem.line for problem in caught.value.problems}
    with pytest.raises(ConfigError, match="allowed: a, b, c"):
        answer_of(bench, lambda: desk.start(TEXT, "z", "ada"))
    assert not bench.of(Asked)


def test_a_check_says_what_it_would_be_and_changes_nothing(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    before = len(bench.events)
    assert answer_of(bench, lambda: desk.check(TEXT, "a")).startswith("small on a (twin")
    assert len(bench.events) == before


def test_it_waits_while_the_lab_is_held_and_is_missed_where_its_instrument_has_gone(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    answer_of(bench, lambda: desk.pause("lab", "a look", "ada"))
    answer_of(bench, lambda: desk.start(TEXT, "c", "ada"))
    bench.go(60)
    assert not bench.of(Started)
    fewer = lab_file(tmp_path, {"j": job(when={"asked": True})})
    config = fewer.lab.model_copy(update={"instruments": {k: v for k, v in fewer.lab.instruments.items() if k != "c"}})
    smaller = type(fewer)(config, fewer.path, fewer.runs, fewer.campaigns)
    again = Bench(smaller, now=BEGIN + 4000, before=bench.events).open().go(30)
    assert [event.cause for event in again.of(Missed)] == ["c is no longer in the lab file"]


def test_a_journal_of_schema_1_is_still_read(tmp_path: Path) -> None:
    bench, desk = bench_of(tmp_path)
    answer_of(bench, lambda: desk.run_now("j", "ada"))
    lines, sha = [], START
    for event in bench.events:
        line, _ = encode(event, sha, JOURNAL)
        body = line.rpartition(b', "sha": "')[0].replace(b', "campaign": {}', b"")
        sha = hashlib.sha256(sha.encode() + body).hexdigest()[:32]
        lines.append(body + f', "sha": "{sha}"}}\n'.encode())
    place = tmp_path / "old.lab"
    place.mkdir()
    (place / JOURNAL.file).write_bytes(b"".join(lines))
    assert list(journal.read(place)) == bench.events


def test_a_field_with_a_default_is_missed_where_no_schema_added_it() -> None:
    body = b'{"event": "Died", "start": 1, "cause": "", "readings": 0, "at": 0.0'
    sha = hashlib.sha256(START.encode() + body).hexdigest()[:32]
    with pytest.raises(ValueError, match="Died has other fields: own"):
        decode(body + f', "sha": "{sha}"}}'.encode(), START, JOURNAL)
