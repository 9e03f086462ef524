"""Streams of events to browsers: one look at a thing for all who watch it, and never more than the newest to each.

A channel is what several readers watch, a run or the lab. It looks a few times a second while somebody watches and
makes one frame for all of them. A reader that is slow skips frames; one that takes nothing for `SEND_TIMEOUT` seconds is
dropped, and no more than `MAX_STREAMS` are let in. Nothing is kept for anybody, so that an idle stream costs a heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sdl.lab.http.auth import Refused

if TYPE_CHECKING:
    from starlette.types import Receive, Send

MAX_STREAMS = 64
"""Streams at one time."""
POLL_SECONDS = 0.25
"""Seconds between two looks."""
HEARTBEAT = 5.0
"""Seconds without an event after which a heartbeat is sent, so that the page knows that somebody is there."""
SEND_TIMEOUT = 15.0
_log = logging.getLogger(__name__)


class Feed(Protocol):
    """Something to watch. Only one look at a time, each in some thread."""

    every: float
    """Seconds between two looks."""

    def look(self) -> Mapping[str, Any] | None: ...  # what is shown now; None: the same as before
    @property
    def ended(self) -> bool: ...  # nothing more will come


class Topic:
    """A source and those who watch it."""

    def __init__(self, source: Feed) -> None:
        self._source = source
        self.version, self.frame, self.ended, self.readers = 0, b"", False, 0
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        from starlette.concurrency import run_in_threadpool

        while not self.ended:
            try:
                shown = await run_in_threadpool(self._source.look)
            except Exception as error:  # a damaged record, a lab that does not answer: told, and looked at again
                _log.info("%s: %s", type(self._source).__name__, error)
                shown = {"trouble": str(error)}
            self.ended = self._source.ended
            if shown is not None:
                frame = _event("parts", shown)
                if frame != self.frame:
                    self.frame, self.version = frame, self.version + 1
            if shown is not None or self.ended:
                self.changed.set()
                self.changed = asyncio.Event()
            await asyncio.sleep(self._source.every)


class Hub:
    """All channels of a server; everything in the server's one thread."""

    def __init__(self, *, most: int = MAX_STREAMS, beat: float = HEARTBEAT, slow: float = SEND_TIMEOUT) -> None:
        self._most, self._beat, self._slow = most, beat, slow
        self.channels: dict[str, Topic] = {}
        self.open = 0

    async def stream(self, key: str, source: Callable[[], Feed], receive: Receive, send: Send) -> None:
        """Answers one request with events until either side ends.

        Raises:
            Refused: there are too many streams already.
        """
        if self.open >= self._most:
            raise Refused(503, f"{self._most} pages are being followed already; load this one again to see more")
        if key not in self.channels:
            self.channels[key] = Topic(source())
        channel = self.channels[key]
        channel.readers += 1
        self.open += 1
        gone = asyncio.create_task(_gone(receive))
        try:
            await self._send(channel, gone, send)
        except TimeoutError:
            _log.info("a reader of %s took nothing for %g s; dropped", key, self._slow)
        finally:
            gone.cancel()
            self.open -= 1
            channel.readers -= 1
            if not channel.readers:
                channel.task.cancel()
                if self.channels.get(key) is channel:
                    del self.channels[key]

    async def _send(self, channel: Topic, gone: asyncio.Task[None], send: Send) -> None:
        from sdl.web.render import HEADERS

        heads = [*HEADERS, (b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": heads})
        body, seen = b"retry: 1000\n\n", 0
        while not gone.done():
            async with asyncio.timeout(self._slow):
                await send({"type": "http.response.body", "body": body, "more_body": True})
            if channel.version == seen and not channel.ended:
                changed = asyncio.create_task(channel.changed.wait())
                await asyncio.wait({changed, gone}, timeout=self._beat, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            if channel.version != seen:
                seen, body = channel.version, channel.frame
            elif channel.ended:
                break
            else:
                body = _event("beat", {})
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._slow):
                last = _event("end", {}) if channel.ended else b""
                await send({"type": "http.response.body", "body": last, "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(name: str, value: Mapping[str, Any]) -> bytes:
    """One event; JSON keeps it on one line whatever is in it."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
