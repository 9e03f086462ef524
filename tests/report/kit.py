"""Runs for the tests of reports: short campaigns on the twin, and records made by hand from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import sdl
from sdl.core.events import AbortAsked, Continued, Event, Paused, Proposed, Stopped
from sdl.store import record
from sdl.types import Outcome

GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}


def campaign(runs: Path, name: str, *, collect: bool = False, **changes: Any) -> Path:
    """The directory of a run on the twin."""
    tree = {"name": name, "instrument": {"kind": "twin"}, "goal": GOAL, "solver": {"kind": "linear"}, "seed": 0}
    return Path(sdl.run(tree | changes, runs=runs, collect=collect).run)


def written(folder: Path, events: list[Event]) -> Path:
    """A record of these events."""
    made = record.Record.create(folder)
    for event in events:
        made.append(event)
    made.close()
    return folder


def aborted(source: Path, folder: Path, reason: str = "the lamp smells") -> Path:
    """The same run, paused and then aborted after its sixth trial."""
    events = list(record.read(source))
    seventh = [n for n, event in enumerate(events) if isinstance(event, Proposed)][6]
    events = events[:seventh]
    at = events[-1].at
    end = [
        Paused("lunch", "ada", at + 1),
        Continued("ada", at + 20),
        AbortAsked("ada", reason, at + 21),
        Stopped(Outcome.ABORTED, reason, None, "ada", at + 21),
    ]
    return written(folder, [*events, *end])


def renamed(source: Path, folder: Path, changes: Mapping[str, str]) -> Path:
    """The same record with other words in it, sound again."""
    sha, lines = "0" * 32, []
    for line in (source / "record.jsonl").read_text(encoding="utf-8").splitlines():
        body = json.loads(line)
        del body["sha"]
        text = json.dumps(body, ensure_ascii=False)
        for old, new in changes.items():
            text = text.replace(old, json.dumps(new, ensure_ascii=False)[1:-1])
        raw = text[:-1].encode()
        sha = hashlib.sha256(sha.encode() + raw).hexdigest()[:32]
        lines.append(raw + f', "sha": "{sha}"}}\n'.encode())
    folder.mkdir(parents=True)
    (folder / "record.jsonl").write_bytes(b"".join(lines))
    return folder


class Page(HTMLParser):
    """What a browser makes of a page: its elements, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]
