"""Server-sent events: one poll of a feed for all its readers, and only the newest frame to each.

A topic polls its feed a few times a second while it has readers, and renders one frame for all of them. A slow reader
skips frames; one that accepts nothing for `SEND_TIMEOUT` seconds is dropped. At most `MAX_STREAMS` streams are open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Receive, Send

from sdl.web.render import HEADERS

MAX_STREAMS = 64
HEARTBEAT = 5.0
"""Seconds without an event after which a heartbeat is sent, so that the page knows that the server is alive."""
SEND_TIMEOUT = 15.0
_log = logging.getLogger(__name__)


class Feed(Protocol):
    """A source of page content; polled by one thread at a time."""

    every: float
    """Seconds between polls."""

    def look(self) -> Mapping[str, Any] | None: ...  # the present content; None: unchanged
    @property
    def ended(self) -> bool: ...  # no further changes


class Topic:
    """A feed and its readers."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.version, self.frame, self.ended, self.readers = 0, b"", False, 0
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self.ended:
            try:
                shown = await run_in_threadpool(self._feed.look)
            except Exception as error:  # a damaged record, a lab that does not answer: reported and retried
                _log.info("%s: %s", type(self._feed).__name__, error)
                shown = {"trouble": str(error)}
            self.ended = self._feed.ended
            if shown is not None:
                frame = _event("parts", shown)
                if frame != self.frame:
                    self.frame, self.version = frame, self.version + 1
            if shown is not None or self.ended:
                self.changed.set()
                self.changed = asyncio.Event()
            await asyncio.sleep(self._feed.every)


class Hub:
    """All topics of a server, used in the server's thread only."""

    def __init__(self, *, limit: int = MAX_STREAMS, beat: float = HEARTBEAT, slow: float = SEND_TIMEOUT) -> None:
        self._limit, self._beat, self._slow = limit, beat, slow
        self.topics: dict[str, Topic] = {}
        self.open = 0

    async def stream(self, key: str, feed: Callable[[], Feed], receive: Receive, send: Send) -> None:
        """Answer one request with the events of a topic until either side ends; `feed` makes the feed of a new topic.

        Raises:
            HTTPException: too many streams are open.
        """
        if self.open >= self._limit:
            raise HTTPException(503, f"{self._limit} live pages are open already; reload this page to update it")
        if key not in self.topics:
            self.topics[key] = Topic(feed())
        topic = self.topics[key]
        topic.readers += 1
        self.open += 1
        gone = asyncio.create_task(_gone(receive))
        try:
            await self._send(topic, gone, send)
        except TimeoutError:
            _log.info("a reader of %s accepted nothing for %g s; dropped", key, self._slow)
        finally:
            gone.cancel()
            self.open -= 1
            topic.readers -= 1
            if not topic.readers:
                topic.task.cancel()
                if self.topics.get(key) is topic:
                    del self.topics[key]

    async def _send(self, topic: Topic, gone: asyncio.Task[None], send: Send) -> None:
        heads = [*HEADERS, (b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": heads})
        body, seen = b"retry: 1000\n\n", 0
        while not gone.done():
            async with asyncio.timeout(self._slow):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            if topic.version == seen and not topic.ended:
                changed = asyncio.create_task(topic.changed.wait())
                await asyncio.wait({changed, gone}, timeout=self._beat, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            if topic.version != seen:
                seen, body = topic.version, topic.frame
            elif topic.ended:
                break
            else:
                body = _event("beat", {})
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._slow):
                last = _event("end", {}) if topic.ended else b""
                await send({"type": "http.response.body", "body": last, "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, value: Mapping[str, Any]) -> bytes:
    """One event; JSON keeps it on one line."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
