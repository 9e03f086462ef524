"""The one place where exceptions of httpx become ours."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from waiting import TIMEOUT

from sdl.drivers.http import CAUSES, HttpConnection, translate
from sdl.errors import BadReply, InstrumentError, Unreachable

from .server import Server, says

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


class Keeping(BaseHTTPRequestHandler):
    """Answers with what its connection is, the port of the client, and promises to keep it."""

    protocol_version = "HTTP/1.1"
    surplus = b""
    breaks = 0  # the request that gets no answer, because it hangs up
    asked: list[int]

    def do_GET(self) -> None:
        self.asked.append(self.client_address[1])
        if len(self.asked) == self.breaks:
            self.close_connection = True
            return
        body = str(self.client_address[1]).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body))
        self.wfile.write(b"Connection: keep-alive\r\n\r\n" + body + self.surplus)
        self.close_connection = False

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def keeping(**how: object) -> Iterator[tuple[type[Keeping], HttpConnection]]:
    """A server that keeps its connections, and a link to it."""
    handler = type("Handler", (Keeping,), {"asked": [], **how})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/api"
        link = HttpConnection(url, connect=30.0, read=600.0, user_agent="test", environment=False)
        try:
            yield handler, link
        finally:
            link.close()
            server.shutdown()
            thread.join(TIMEOUT)


def port(link: HttpConnection) -> int:
    return int(link.get({}, within=30.0).body)


@pytest.mark.parametrize(
    "surplus", [b"", b"\r\n", b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1"]
)
def test_each_request_has_a_connection_of_its_own_so_that_nothing_left_over_is_its_answer(surplus: bytes) -> None:
    with keeping(surplus=surplus) as (server, link):
        got = [port(link) for _ in range(3)]
    assert got == server.asked
    assert len(set(got)) == 3


def test_a_request_that_the_server_hangs_up_on_is_not_sent_again() -> None:
    with keeping(breaks=2) as (server, link):
        port(link)
        with pytest.raises(Unreachable, match="without an answer") as caught:
            link.get({}, within=30.0)
        assert caught.value.maybe_measured
        port(link)
        assert len(server.asked) == len(set(server.asked)) == 3


def test_no_thread_is_left_behind(server: Server) -> None:
    def watchdogs() -> int:
        return sum(thread.name == "sdl http watchdog" for thread in threading.enumerate())

    before = watchdogs()
    link = HttpConnection(server.url, connect=30.0, read=600.0, user_agent="test", environment=False)
    for _ in range(2):
        link.get({"R": "0", "G": "0", "B": "0"}, within=60.0)
        assert watchdogs() == before
    link.close()
    assert link.closed


def test_no_two_requests_are_the_same_to_a_cache_and_caches_are_told_to_keep_out(server: Server) -> None:
    link = HttpConnection(server.url, connect=30.0, read=30.0, user_agent="test", environment=False)
    for _ in range(3):
        link.get({"R": "0.5", "G": "0", "B": "0"}, within=60.0)
    link.close()
    assert len({head.split()[1] for head in server.heads}) == 3, "an address of its own each time"
    for head in server.heads:
        assert "\r\ncache-control: no-cache, no-store\r\n" in head.lower()
        assert "\r\npragma: no-cache\r\n" in head.lower()
        assert "\r\nconnection: close\r\n" in head.lower()
        assert head.split()[1].startswith("/api?R=0.5&G=0&B=0&_=")


@pytest.mark.parametrize("age", ["0", "00", "", "soon", "²"])
def test_an_age_of_nothing_is_no_stored_answer(server: Server, age: str) -> None:
    server.then(says({}, headers=f"Age: {age}\r\n"))
    link = HttpConnection(server.url, connect=30.0, read=30.0, user_agent="test", environment=False)
    assert link.get({"R": "0", "G": "0", "B": "0"}, within=60.0).status == 200
    link.close()


def test_errors_are_of_our_tree() -> None:
    assert all(issubclass(leaf, InstrumentError) for leaf, _ in CAUSES.values())
