"""The Claude-Light driver against a server on a real socket that misbehaves in every way we could think of."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from pydantic import ValidationError
from waiting import TIMEOUT

from sdl.clock import RealClock, VirtualClock
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.drivers.claude_light.driver import ClaudeLightDriver
from sdl.errors import BadReply, Busy, ConfigError, InstrumentError, NotApplied, Rejected, Unreachable
from sdl.types import Power, Reading, SafeState

from .server import DARK, OUT, Script, Server, drips, good, http, reset, reset_at_once, says, sends, silent

ASKED = {"R": 0.1, "G": 0.2, "B": 0.3}
ECHO = [0.1, 0.2, 0.3]
PAGE = "<!doctype html><title>500 Internal Server Error</title><h1>Internal Server Error</h1>"


def instrument(server: Server, **options: Any) -> ClaudeLight:
    defaults = {"url": server.url, "connect_timeout": 60.0, "read_timeout": 600.0, "background": "none"}
    return ClaudeLight(**{**defaults, **options})


@pytest.fixture
def driver(server: Server) -> Iterator[ClaudeLightDriver]:
    """Patient: nothing that answers is ever too late for it."""
    driver = instrument(server).open(RealClock())
    yield driver
    driver.close()


def failure(driver: ClaudeLightDriver) -> InstrumentError:
    began = monotonic()
    with pytest.raises(InstrumentError) as caught:
        driver.measure(ASKED)
    assert monotonic() - began < TIMEOUT, "it fails by itself, or by a time-out far below this"
    return caught.value


def soon(driver: ClaudeLightDriver) -> Reading:
    """A good reading, of a driver that may be impatient on a machine that may be slow."""
    ends = monotonic() + TIMEOUT
    while True:
        try:
            return driver.measure(ASKED)
        except Unreachable:
            assert monotonic() < ends


def body(**out: object) -> dict[str, object]:
    return {"in": ECHO, "out": {**OUT, **out}}


# Good replies


def test_a_good_reply_is_a_reading(server: Server, driver: ClaudeLightDriver) -> None:
    reading = driver.measure(ASKED)
    assert reading.applied == ASKED
    assert reading.readings == OUT
    assert (reading.saturated, reading.fault, reading.background) == ((), None, None)
    assert server.asked == [ECHO]


def test_the_server_is_told_who_asks(server: Server, driver: ClaudeLightDriver) -> None:
    driver.measure(ASKED)
    assert "user-agent: sdl (self-driving lab orchestrator)" in server.heads[0].lower()


@pytest.mark.parametrize("value", [1e-7, 1 / 3, 0.1 + 0.2, 1.0, 0.0])
def test_settings_arrive_to_the_last_digit(server: Server, driver: ClaudeLightDriver, value: float) -> None:
    reading = driver.measure({"R": value, "G": value, "B": value})
    assert server.asked == [[value] * 3]
    assert reading.fault is None


def test_every_reading_has_a_connection_of_its_own_where_none_is_kept(
    server: Server, driver: ClaudeLightDriver
) -> None:
    for step in range(3):
        server.then(says({"in": ECHO, "out": {**OUT, "nir": step}}))
        driver.measure(ASKED)
    assert len(server.asked) == 3


def test_channels_at_full_scale_are_saturated(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(says(body(**{"clear": 65535, "515nm": 65535})))
    assert driver.measure(ASKED).saturated == ("515nm", "clear")


def test_channels_we_do_not_know_are_ignored(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(says(body(flicker="yes")))
    assert driver.measure(ASKED).readings == OUT


def test_a_whole_number_may_be_written_with_a_point(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(says(body(nir=1009.0)))
    assert driver.measure(ASKED).readings == OUT


def test_other_settings_than_asked_are_a_good_reading_with_a_fault(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(says({"in": [0.1, 0.2, 0.25], "out": OUT}))
    reading = driver.measure(ASKED)
    assert reading.fault == "not-applied"
    assert reading.applied == {"R": 0.1, "G": 0.2, "B": 0.25}


# What is refused before anything is sent


def test_settings_out_of_bounds_are_refused_before_anything_is_sent(server: Server, driver: ClaudeLightDriver) -> None:
    with pytest.raises(Rejected, match=r"G = 1\.0001 is outside 0 … 1") as caught:
        driver.measure({**ASKED, "G": 1.0001})
    assert not caught.value.maybe_measured
    assert server.asked == []


# Replies that cannot be a reading

WRONG: dict[str, tuple[Script, type[InstrumentError], bool, str]] = {
    # name: (what the server does, what it becomes, whether a retry may help, words of the message)
    "an HTML error page": (says(PAGE, status="500 Internal Server Error"), BadReply, True, "status 500"),
    "an HTML page that says 200": (says(PAGE), BadReply, True, "not the JSON of a reading"),
    "not found": (says("no", status="404 Not Found"), BadReply, False, "check the url"),
    "method not allowed": (says("no", status="405 Method Not Allowed"), BadReply, False, "check the url"),
    "forbidden": (says("no", status="403 Forbidden"), BadReply, False, "check the url"),
    "a redirect": (
        sends(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n"),
        BadReply, False, "redirects to 'https://elsewhere/'",
    ),
    "too many requests": (says("", status="429 Too Many Requests"), Busy, True, "too busy"),
    "unavailable": (says("", status="503 Service Unavailable"), Busy, True, "too busy"),
    "a bad gateway": (says("", status="502 Bad Gateway"), Unreachable, True, "behind the web server"),
    "a gateway that waited too long": (says("", status="504 Gateway Timeout"), Unreachable, True, "behind the web"),
    "another server error": (says("", status="507 Insufficient Storage"), BadReply, True, "status 507"),
    "no content": (sends(b"HTTP/1.1 204 No Content\r\n\r\n"), BadReply, True, "status 204"),
    "an empty body": (says(""), BadReply, True, "not the JSON"),
    "text": (says("hello"), BadReply, True, "not the JSON"),
    "bytes that are no text": (says(b"\xff\xfe\x00"), BadReply, True, "not the JSON"),
    "JSON cut off, length honest": (says(json.dumps(body())[:-20]), BadReply, True, "not the JSON"),
    "JSON cut off, length not": (sends(http(json.dumps(body()))[:-20]), BadReply, True, "cut off"),
    "JSON nested too deep": (says("[" * 60000), BadReply, True, "not the JSON"),
    "a list": (says([1, 2]), BadReply, True, "no readings"),
    "null": (says("null"), BadReply, True, "no readings"),
    "no out": (says({"in": ECHO}), BadReply, True, "no readings"),
    "out is a list": (says({"in": ECHO, "out": [1]}), BadReply, True, "no readings"),
    "a channel too few": (says({"in": ECHO, "out": {**OUT} | {"nir": None}}), BadReply, True, "nir = 'None'"),
    "a channel missing": (says({"in": ECHO, "out": {"415nm": 1}}), BadReply, True, "445nm is missing"),
    "a negative count": (says(body(nir=-1)), BadReply, True, "nir = '-1'"),
    "a count above full scale": (says(body(nir=65536)), BadReply, True, "nir = '65536'"),
    "half a count": (says(body(nir=10.5)), BadReply, True, "nir = '10.5'"),
    "a count in text": (says(body(nir="10")), BadReply, True, "nir = '10'"),
    "true for a count": (says(body(nir=True)), BadReply, True, "nir = 'True'"),
    "a list for a count": (says(body(nir=[1])), BadReply, True, "nir ="),
    "NaN for a count": (says(body(nir=float("nan"))), BadReply, True, "NaN is not a number"),
    "infinity for a count": (says(body(nir=float("inf"))), BadReply, True, "Infinity is not a number"),
    "a count beyond floats": (says(json.dumps(body(nir=0)).replace("0}", "1e999}")), BadReply, True, "nir = 'inf'"),
    "a count of 5000 digits": (says(json.dumps(body()).replace("1009", "9" * 5000)), BadReply, True, "not the JSON"),
    "a count of 400 digits": (says(json.dumps(body()).replace("1009", "9" * 400)), BadReply, True, "nir ="),
    "a channel twice": (says(json.dumps(body())[:-2] + ', "nir": 1}}'), BadReply, True, "twice"),
    "no HTTP": (sends(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), BadReply, True, "not HTTP"),
    "too long, said so": (says(json.dumps(body(more="x" * 70000))), BadReply, False, "longer than 65536 bytes"),
    "too long, unannounced": (
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 20000, every=0.001), BadReply, False, "longer than 65536 bytes",
    ),
    "an answer that a cache had stored": (
        says(body(), headers="Age: 12\r\n"), BadReply, True, "a cache answered (Age: 12)",
    ),
    "no in": (says({"out": OUT}), NotApplied, False, "in = None"),
    "in too short": (says({"in": [0.1, 0.2], "out": OUT}), NotApplied, False, "in = [0.1, 0.2]"),
    "in as text": (says({"in": "0.1,0.2,0.3", "out": OUT}), NotApplied, False, "in = 0.1"),
    "in with null": (says({"in": [0.1, None, 0.3], "out": OUT}), NotApplied, False, "None"),
    "in with true": (says({"in": [0.1, True, 0.3], "out": OUT}), NotApplied, False, "True"),
    "in out of bounds": (says({"in": [0.1, 1.2, 0.3], "out": OUT}), NotApplied, False, "1.2"),
    "in huge": (says({"in": [0.1, 10**400, 0.3], "out": OUT}), NotApplied, False, "in = [0.1, 1000"),
    "in by name": (says({"in": ASKED, "out": OUT}), NotApplied, False, "in = {"),
    "a reset instead of an answer": (reset, Unreachable, True, "was reset"),
    "closed without an answer": (sends(b""), Unreachable, True, "closed without an answer"),
    "a reset inside the answer": (
        lambda server, peer, asked: (peer.sendall(http("x" * 99)[:-9]), reset(server, peer, asked))[1],
        Unreachable, True, "was reset|broke",
    ),
    "silence": (silent, Unreachable, True, "no answer in time"),
    "a header that drips": (drips(b"HTTP/1.1 200 OK\r\n", b"X"), Unreachable, True, "no whole answer within 0.6 s"),
    "a body that drips": (
        drips(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" "), Unreachable, True, "no whole answer within",
    ),
    "a body without length that drips": (
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b" "), Unreachable, True, "no whole answer within",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_becomes_its_error_and_may_have_measured(server: Server, name: str) -> None:
    script, leaf, retryable, words = WRONG[name]
    short = {"connect_timeout": 0.3, "read_timeout": 0.3} if "in time" in words or "within" in words else {}
    driver = instrument(server, **short).open(RealClock())
    server.then(script)
    error = failure(driver)
    assert type(error) is leaf
    assert error.retryable is retryable
    assert error.maybe_measured
    assert any(word in str(error) for word in words.split("|")), str(error)
    assert len(str(error)) < 400
    assert soon(driver).readings == OUT, "the next reading must be good again"
    driver.close()


# No connection at all


def test_a_reset_before_the_request_was_read_is_unreachable(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(reset_at_once)
    error = failure(driver)  # whether the request had left by then is a race that either side may win
    assert type(error) is Unreachable
    assert error.retryable
    assert driver.measure(ASKED).readings == OUT


def test_nothing_listening_is_unreachable_and_cannot_have_measured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    error = failure(ClaudeLight(url=f"http://127.0.0.1:{port}/api", read_timeout=1.0).open(RealClock()))
    assert type(error) is Unreachable
    assert error.retryable
    assert not error.maybe_measured
    assert "refused: nothing listens there" in str(error)


def test_a_host_that_does_not_exist_is_unreachable_and_cannot_have_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_name(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    error = failure(ClaudeLight(url="http://no-such-host.invalid/api").open(RealClock()))
    assert type(error) is Unreachable
    assert error.retryable
    assert not error.maybe_measured
    assert "name of the host cannot be resolved" in str(error)


def test_a_connection_that_is_not_accepted_in_time_is_unreachable_and_cannot_have_measured() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:  # fills the queue of the listening socket
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            port = full.getsockname()[1]
            driver = ClaudeLight(url=f"http://127.0.0.1:{port}/api", connect_timeout=0.2, read_timeout=0.3)
            error = failure(driver.open(RealClock()))
        finally:
            for one in waiting:
                one.close()
    if "no answer in time" in str(error) or "whole answer" in str(error):
        pytest.skip("this system accepts more connections than it was asked to")
    assert type(error) is Unreachable
    assert not error.maybe_measured
    assert "no connection in time" in str(error)


def test_a_server_without_tls_behind_https_is_unreachable_and_cannot_have_measured(server: Server) -> None:
    server.then(sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    plain = server.url.replace("http:", "https:")  # where both wait for the other to begin
    driver = instrument(server, url=plain, connect_timeout=0.3).open(RealClock())
    error = failure(driver)
    assert type(error) is Unreachable
    assert not error.maybe_measured


def test_proxy_variables_that_make_no_sense_are_the_users_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy")
    with pytest.raises(ConfigError, match="the environment variable ALL_PROXY breaks every request"):
        ClaudeLight().open(RealClock())


def test_this_machine_is_asked_directly_whatever_the_proxy_variables_say(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    driver = instrument(server).open(RealClock())
    assert driver.measure(ASKED).readings == OUT
    driver.close()


# The end


def test_safe_before_any_request_sends_nothing(server: Server, driver: ClaudeLightDriver) -> None:
    driver.safe()
    assert server.asked == []


def test_safe_asks_for_darkness_once(server: Server, driver: ClaudeLightDriver) -> None:
    driver.measure(ASKED)
    driver.safe()
    driver.safe()
    assert server.asked == [ECHO, [0.0, 0.0, 0.0]]


def test_safe_also_ends_in_darkness_after_a_request_that_was_cut(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(reset)
    failure(driver)
    driver.safe()
    assert server.asked[-1] == [0.0, 0.0, 0.0]


def test_safe_is_one_attempt_and_says_why_it_failed(server: Server, driver: ClaudeLightDriver) -> None:
    server.then(good, reset)
    driver.measure(ASKED)
    with pytest.raises(Unreachable):
        driver.safe()
    assert driver.safe() == SafeState(Power.OFF, dict.fromkeys("RGB", 0.0))
    assert server.asked == [ECHO, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_safe_is_not_fooled_by_a_server_that_measured_at_other_settings(
    server: Server, driver: ClaudeLightDriver
) -> None:
    server.then(good, says(body()))
    driver.measure(ASKED)
    first = driver.safe()
    assert (first.state, first.applied) == (Power.ON, ASKED)
    assert "R = 0.1, G = 0.2, B = 0.3" in first.why
    assert driver.safe().state is Power.OFF
    assert len(server.asked) == 3


def test_a_closed_driver_says_so_and_knows_nothing_of_its_light(server: Server, driver: ClaudeLightDriver) -> None:
    driver.measure(ASKED)
    driver.close()
    assert driver.safe().state is Power.UNKNOWN
    assert "closed" in str(failure(driver))
    assert len(server.asked) == 1


# What is asked, and how often


def test_a_reading_brings_its_background(server: Server) -> None:
    driver = instrument(server, background="each").open(RealClock())
    reading = driver.measure(ASKED)
    assert (reading.readings, reading.background) == (OUT, DARK)
    assert server.asked == [[0.0, 0.0, 0.0], ECHO]
    driver.close()


def test_a_reading_that_fails_after_its_background_has_measured_all_the_same(server: Server) -> None:
    driver = instrument(server, background="each").open(RealClock())
    server.then(good, reset)
    error = failure(driver)
    assert type(error) is Unreachable
    assert error.maybe_measured
    assert driver.measure(ASKED).background == DARK
    assert server.asked == [[0.0] * 3, ECHO, [0.0] * 3, ECHO]
    driver.close()


def test_darkness_that_was_not_applied_is_no_background(server: Server) -> None:
    driver = instrument(server, background="each").open(RealClock())
    server.then(says(body()))
    assert "for the background the instrument measured at" in str(failure(driver))
    driver.close()


def test_a_frozen_sensor_and_a_dead_light_are_found(server: Server) -> None:
    driver = instrument(server, background="each").open(RealClock())
    server.then(good, says({"in": ECHO, "out": DARK}))
    assert "no channel reads more than 29" in str(failure(driver))
    server.then(says({"in": [0, 0, 0], "out": OUT}), says(body()))
    assert "the sensor is frozen" in str(failure(driver))
    driver.close()


def test_requests_are_paced_and_counted_and_end_with_too_many_failures(server: Server) -> None:
    clock = VirtualClock(1000.0)
    driver = instrument(server, least_interval=2.0, requests_a_day=3, breaker=2, rest=60.0).open(clock)
    driver.measure(ASKED)
    server.then(reset, reset)
    failure(driver), failure(driver)
    assert clock.now() == 1004.0
    assert "2 requests in a row failed" in str(failure(driver))
    clock.sleep(60)
    assert "3 requests in 24 hours are used up" in str(failure(driver))
    assert len(server.asked) == 3
    driver.safe()
    assert len(server.asked) == 4, "switching off is always allowed"
    driver.close()


def test_a_shared_instrument_is_given_room_and_this_machine_is_not_waited_for() -> None:
    shared, ours = ClaudeLight(), ClaudeLight(url="http://127.0.0.1:5000/api")
    assert shared.reading_seconds == pytest.approx(2 * (0.78 + 1.5))
    assert ours.reading_seconds == pytest.approx(2 * 0.78)
    assert ClaudeLight(background="none", least_interval=0.0).reading_seconds == pytest.approx(0.78)
    assert ClaudeLight(background={"every": 4}, least_interval=0.0).reading_seconds == pytest.approx(0.975)  # type: ignore[arg-type]
    assert shared.timeout_seconds == 163.0


# Options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "ftp://host/api"}, "must look like"),
        ({"url": "host/api"}, "must look like"),
        ({"url": "http:///api"}, "must look like"),
        ({"url": ""}, "must look like"),
        ({"url": "http://host:99999/api"}, "cannot be read"),
        ({"url": "http://[::1/api"}, "cannot be read"),
        ({"url": f"http://{'x' * 70}/api"}, "cannot be read"),
        ({"url": "http://host/api?R=1"}, "must not contain"),
        ({"url": "http://host/api#here"}, "must not contain"),
        ({"url": "http://host/a pi"}, "spaces or control"),
        ({"url": "http://host/api\n"}, "spaces or control"),
        ({"url": "http://me:secret@host/api"}, "must not hold"),
        ({"read_timeout": 59.0}, "read_timeout 59 s is too short"),
        ({"read_timeout": 1e9}, "less than or equal to 600"),
        ({"read_timeout": 5.0, "url": "http://127.0.0.1.example.com/api"}, "too short"),
        ({"connect_timeout": 0.0}, "greater than 0"),
        ({"user_agent": "me\r\nX-Evil: 1"}, "pattern"),
        ({"user_agent": ""}, "pattern"),
        ({"background": "always"}, "'none' or 'each'"),
        ({"background": {"every": 0}}, "greater than or equal to 1"),
        ({"least_interval": -1.0}, "greater than or equal to 0"),
        ({"requests_a_day": 0}, "greater than or equal to 1"),
        ({"breaker": 0}, "greater than or equal to 1"),
        ({"port": 80}, "Extra inputs"),
    ],
)
def test_a_wrong_option_is_refused_with_a_reason(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ClaudeLight(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://me:secret@host/api", "me:secret@host/api", "http://me:secret@host/api?x"])
def test_a_password_in_the_address_is_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ClaudeLight(url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_short_time_outs_are_for_this_machine(host: str) -> None:
    assert ClaudeLight(url=f"http://{host}:5000/api", read_timeout=0.5).read_timeout == 0.5


def test_identity_is_the_same_however_the_address_is_spelt() -> None:
    names = {
        ClaudeLight(url=url).identity
        for url in (
            "https://claude-light.cheme.cmu.edu/api",
            "http://Claude-Light.cheme.cmu.edu:80/api/",
            "https://claude-light.cheme.cmu.edu:443/api",
            "https://claude-light.cheme.cmu.edu./x/..//%61pi",
        )
    }
    assert names == {"claude-light:claude-light.cheme.cmu.edu/api"}
    assert ClaudeLight(url="http://127.0.0.1:5000/api").identity == "claude-light:127.0.0.1:5000/api"
    assert ClaudeLight(url="http://[0:0::1]:5000").identity == "claude-light:[::1]:5000"
    assert ClaudeLight(url="http://b\u00fccher.example/api").identity == "claude-light:xn--bcher-kva.example/api"


def test_it_drives_something_real_in_real_time() -> None:
    assert not ClaudeLight().simulated
    assert not ClaudeLight().virtual
    assert len(ClaudeLight().channels) == 10


def test_naming_the_instrument_loads_no_httpx() -> None:
    code = (
        "import sys; from sdl.drivers.claude_light.config import ClaudeLight; c = ClaudeLight();"
        "c.channels, c.identity;"
        "sys.exit('httpx' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
