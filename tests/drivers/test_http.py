"""The one place where exceptions of httpx become ours."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest

from sdl.drivers.http import CAUSES, Link, translate
from sdl.errors import BadReply, InstrumentError, Unreachable

from .server import Server

NEVER_RAISED_HERE = {
    "HTTPStatusError",  # only by raise_for_status, which is not called
    "CookieConflict",  # only by reading cookies
    "StreamConsumed", "ResponseNotRead", "RequestNotRead", "StreamClosed",  # misuse of a response: a bug in Link
}  # fmt: skip


def leaves(kind: type[BaseException]) -> Iterator[str]:
    below = kind.__subclasses__()
    if not below:
        yield kind.__name__
    for one in below:
        yield from leaves(one)


def test_every_exception_of_httpx_has_a_meaning_here() -> None:
    public = [getattr(httpx, name) for name in httpx.__all__]
    errors = [kind for kind in public if isinstance(kind, type) and issubclass(kind, Exception)]
    names = {name for kind in errors for name in leaves(kind)}
    assert names, "found no exceptions in httpx"
    assert names - NEVER_RAISED_HERE == set(CAUSES)


@pytest.mark.parametrize("name", CAUSES)
@pytest.mark.parametrize("sent", [True, False])
def test_a_translated_error_says_whether_the_request_was_on_its_way(name: str, sent: bool) -> None:
    kind = getattr(httpx, name)
    error = translate(kind("inner words"), "http://host/api", sent=sent)
    assert type(error) is CAUSES[name][0]
    assert error.maybe_measured is sent
    assert "http://host/api: " in str(error)
    assert "inner words" not in str(error)


def test_an_exception_nobody_foresaw_is_unreachable_with_its_name() -> None:
    class Novel(httpx.HTTPError):
        pass

    error = translate(Novel("what now"), "http://host/api", sent=True)
    assert type(error) is Unreachable
    assert "Novel: what now" in str(error)


@pytest.mark.parametrize(
    ("root", "words", "retryable"),
    [
        (socket.gaierror(-2, "unknown"), "name of the host", True),
        (ConnectionRefusedError(), "refused", True),
        (ConnectionResetError(), "reset", True),
        (BrokenPipeError(), "reset", True),
        (ssl.SSLCertVerificationError(), "certificate", False),
        (ssl.SSLError(), "TLS", True),
    ],
)
def test_the_exception_underneath_gives_the_plainer_word(root: Exception, words: str, retryable: bool) -> None:
    error = httpx.ConnectError("x")
    error.__cause__ = RuntimeError("between")
    error.__cause__.__cause__ = root
    ours = translate(error, "http://host/api", sent=False)
    assert words in str(ours)
    assert ours.retryable is retryable


def test_a_cut_off_answer_is_told_from_none() -> None:
    none = translate(httpx.RemoteProtocolError("Server disconnected without sending a response."), "u", sent=True)
    cut = translate(httpx.RemoteProtocolError("peer closed connection without sending complete body"), "u", sent=True)
    assert (type(none), type(cut)) == (Unreachable, BadReply)


def test_no_timer_is_left_behind(server: Server) -> None:
    import threading

    before = threading.active_count()
    link = Link(server.url, connect=1.0, read=1.0, user_agent="test", environment=False)
    link.get({"R": "0", "G": "0", "B": "0"}, within=60.0)
    link.close()
    assert link.closed
    assert (
        sum(isinstance(thread, threading.Timer) and not thread.finished.is_set() for thread in threading.enumerate())
        == 0
    )
    assert threading.active_count() <= before + 1


def test_errors_are_of_our_tree() -> None:
    assert all(issubclass(leaf, InstrumentError) for leaf, _ in CAUSES.values())
