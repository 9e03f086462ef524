"""Requests that a campaign file describes, and what is made of their answers."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from waiting import some

import sdl
from sdl.clock import RealClock, VirtualClock
from sdl.config import parse_kind
from sdl.drivers.base import names
from sdl.drivers.declared import placeholders
from sdl.drivers.http_api.config import HttpApi
from sdl.drivers.http_api.driver import HttpApiDriver
from sdl.drivers.http_api.reply import compile_expression
from sdl.drivers.http_api.request import RequestTemplate
from sdl.errors import BadReply, Busy, ConfigError, InstrumentError, NotApplied, Rejected, Unreachable
from sdl.testing.instrument_contract import InstrumentContract
from sdl.twin.faults import Fault
from sdl.twin.led.serve import TwinServer
from sdl.types import Input, Power, Settings

from .hostile import FAULTS, FINAL, LATE, Lamp, at_least, at_most, honest, stays_on
from .server import DARK, OUT, Server, http, says, sends, silent

INPUTS = tuple(Input(name=name) for name in "RGB")
READ = {"515nm": 'out."515nm"', "nir": "out.nir"}
APPLIED = {"R": "in[0]", "G": "in[1]", "B": "in[2]"}
HALF: Settings = {"R": 0.5, "G": 0.25, "B": 0.0}
OFF: Settings = {"R": 0.0, "G": 0.0, "B": 0.0}
QUERY = "?R={R}&G={G}&B={B}"


def driver(
    server: Server,
    *,
    read: Mapping[str, str] = READ,
    applied: Mapping[str, str] = APPLIED,
    off: Settings | None = OFF,
    off_request: RequestTemplate | None = None,
    clock: VirtualClock | None = None,
    inputs: tuple[Input, ...] = INPUTS,
    **request: Any,
) -> HttpApiDriver:
    measure = RequestTemplate(**{"url": server.url + QUERY, "timeout": 20.0, **request})
    return HttpApiDriver(measure, inputs, read, applied, off, off_request, clock or VirtualClock())


def test_a_reading_is_what_the_expressions_find(server: Server) -> None:
    reading = driver(server).measure(HALF)
    assert reading.readings == {"515nm": OUT["515nm"], "nir": OUT["nir"]}
    assert reading.applied == HALF
    assert server.asked == [[0.5, 0.25, 0.0]]
    assert "cache-control: no-cache, no-store" in server.heads[0].lower()


def test_settings_that_the_server_changes_are_reported(server: Server) -> None:
    server.then(says({"in": [0.4, 0.25, 0], "out": OUT}))
    assert driver(server).measure(HALF).applied == {"R": 0.4, "G": 0.25, "B": 0.0}


def test_inputs_without_an_expression_count_as_applied_as_asked(server: Server) -> None:
    server.then(says({"in": [0.4], "out": OUT}))
    assert driver(server, applied={"R": "in[0]"}).measure(HALF).applied == {"R": 0.4, "G": 0.25, "B": 0.0}


# Requests -------------------------------------------------------------------------------------------------------------
def test_values_in_a_url_are_encoded_and_whole_numbers_have_no_point() -> None:
    request = RequestTemplate(url="http://host/a/{solvent}?x={x}&y={y}")
    filled = request.fill({"solvent": "a&b/c d=é", "x": 5.0, "y": 1e-7}, {})
    assert filled.url == "http://host/a/a%26b%2Fc%20d%3D%C3%A9?x=5&y=1e-07"


def test_an_encoded_value_reaches_the_server_as_it_was_meant(server: Server) -> None:
    solvent = Input(name="solvent", choices=("water", "a&R=9 b/ü"))
    d = driver(server, inputs=(*INPUTS, solvent), url=server.url + QUERY + "&solvent={solvent}")
    d.measure({**HALF, "solvent": "a&R=9 b/ü"})
    assert server.asked == [[0.5, 0.25, 0.0]]
    assert "solvent=a%26R%3D9%20b%2F%C3%BC " in server.heads[0]


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        ({"led": {"red": "{R}", "all": ["{R}", "{G}"]}}, {"led": {"red": 5, "all": [5, 0.25]}}, "application/json"),
        ({"say": "red is {R}", "{solvent}": True}, {"say": "red is 5", 'wat"er': True}, "application/json"),
        ("R={R}; {{braces}}", "R=5; {braces}", "text/plain; charset=utf-8"),
    ],
)
def test_a_body_is_filled(body: Any, sent: Any, kind: str) -> None:
    filled = RequestTemplate(method="POST", url="http://host/", body=body).fill(
        {"R": 5.0, "G": 0.25, "solvent": 'wat"er'}, {}
    )
    assert filled.headers == {"Content-Type": kind}
    assert filled.content is not None
    assert (json.loads(filled.content) if kind == "application/json" else filled.content.decode()) == sent


def test_the_values_of_a_form_are_encoded() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    filled = RequestTemplate(method="POST", url="http://host/", headers=form, body="s={s}&R={R}").fill(
        {"s": "a&b", "R": 1.0}, {}
    )
    assert filled.content == b"s=a%26b&R=1"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"url": "host/api"}, "must look like"),
        ({"url": "http://user:pw@host/"}, "user name or password"),
        ({"url": "http://{R}/"}, "host and port must be written in the file"),
        ({"url": "http://host/#x"}, "after #"),
        ({"url": "http://host/?R={R"}, "single {"),
        ({"url": "http://host/?R=${}"}, "not the name of an environment variable"),
        ({"url": "http://host/", "body": "x"}, "a GET request has no body"),
        ({"url": "http://host/", "headers": {"Authorization": "Bearer abc"}}, "must not be written in the file"),
        ({"url": "http://host/", "headers": {"X\r\nY": "1"}}, "not the name of a header"),
        ({"url": "http://host/", "headers": {"X": "1\r\nHost: elsewhere"}}, "control character"),
        ({"url": "http://host/", "headers": {"Host": "elsewhere"}}, "set by sdl"),
        ({"url": "http://host/", "timeout": 0.0}, "must be a time such as 90s"),
        ({"url": "http://host/", "method": "DELETE"}, "'GET', 'POST', 'PUT' or 'PATCH'"),
    ],
)
def test_a_wrong_request_is_refused(request_: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        RequestTemplate(**request_)
    assert "pw@" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_a_name_that_is_no_input_is_refused() -> None:
    request = RequestTemplate(method="POST", url="http://host/?R={R}", body={"x": ["{Blue}"]})
    with pytest.raises(ValueError, match=r"unknown \{Blue\}; allowed: R, blue; did you mean 'blue'"):
        request.check_names(["R", "blue"])


@pytest.mark.parametrize("text", ["out.", "in[", "foo(@)x", "", "a b"])
def test_an_expression_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a JMESPath expression"):
        compile_expression(text)


# Secrets --------------------------------------------------------------------------------------------------------------
SECRET = "s3cr/t +&"


def test_a_secret_reaches_the_server_and_no_message(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    echo = lambda server, peer, asked: peer.sendall(http(server.heads[-1], status="403 Forbidden"))  # noqa: E731
    moved = sends(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/?k=s3cr%2Ft%20%2B%26\r\nContent-Length: 0\r\n\r\n")
    server.then(echo, moved)
    d = driver(server, url=server.url + QUERY + "&k=${TOKEN}", headers={"Authorization": "Bearer ${TOKEN}"})
    for _ in range(2):
        with pytest.raises(BadReply) as caught:
            d.measure(HALF)
        assert "s3cr" not in str(caught.value)
        assert caught.value.__suppress_context__
    assert f"authorization: bearer {SECRET}" in server.heads[0].lower()
    assert "k=s3cr%2Ft%20%2B%26 " in server.heads[0]


@pytest.mark.parametrize(("value", "why"), [(None, "not set or empty"), ("", "not set or empty"), ("a\nb", "control")])
def test_a_missing_variable_is_named_when_it_is_opened(
    server: Server, monkeypatch: pytest.MonkeyPatch, value: str | None, why: str
) -> None:
    if value is not None:
        monkeypatch.setenv("NO_SUCH", value)
    with pytest.raises(ConfigError, match=f"environment variable NO_SUCH, .* {why}"):
        driver(server, headers={"X-Api-Key": "${NO_SUCH}"})


def test_the_longer_of_two_secrets_is_hidden_first() -> None:
    assert placeholders.redact("abcdef abc", {"A": "abc", "B": "abcdef"}) == "${B} ${A}"


# Answers --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"in": [0.5, 0.25, 0], "out": {"515nm": 1}}, BadReply, "channel nir: the expression out.nir finds nothing"),
        (
            {"in": [0.5, 0.25, 0], "out": {"515nm": "12", "nir": 1}},
            BadReply,
            r"finds \"12\" and not a number; to_number",
        ),
        ({"in": [0.5, 0.25, 0], "out": {"515nm": True, "nir": 1}}, BadReply, "finds true and not a number"),
        ({"in": [0.5, 0.25], "out": OUT}, NotApplied, r"applied B: the expression in\[2\] finds nothing"),
        ({"in": [0.5, 0.25, "0"], "out": OUT}, NotApplied, r"applied B: .* finds \"0\" and not a number"),
        ('{"in": [0.5, 0.25, 0], "out": {"515nm": NaN, "nir": 1}}', BadReply, "NaN is not a number"),
        ('{"in": [0.5, 0.25, 1e999], "out": {"515nm": 2, "nir": 1}}', NotApplied, "not finite"),
        ("oops", BadReply, "is not JSON"),
    ],
)
def test_an_answer_without_a_reading_says_what_is_missing(
    server: Server, body: Any, kind: type[InstrumentError], message: str
) -> None:
    server.then(says(body))
    with pytest.raises(kind, match=message) as caught:
        driver(server).measure(HALF)
    assert caught.value.maybe_measured


def test_a_choice_is_compared_as_text(server: Server) -> None:
    solvent = Input(name="solvent", choices=("water", "ethanol"))
    d = driver(server, inputs=(*INPUTS, solvent), applied={"solvent": "s"}, off={**OFF, "solvent": "water"})
    server.then(says({"s": "ethanol", "out": OUT}), says({"s": 1, "out": OUT}), says({"s": "ethanol"}))
    assert d.measure({**HALF, "solvent": "water"}).applied["solvent"] == "ethanol"
    with pytest.raises(NotApplied, match="finds 1 and not one of water, ethanol"):
        d.measure({**HALF, "solvent": "water"})
    assert d.safe().applied == {"solvent": "ethanol"}


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "measured"),
    [
        ("204 No Content", BadReply, True, True),
        ("301 Moved", BadReply, False, True),
        ("400 Bad Request", Rejected, False, False),
        ("401 Unauthorized", BadReply, False, True),
        ("404 Not Found", BadReply, False, True),
        ("409 Conflict", Busy, True, True),
        ("422 Unprocessable", Rejected, False, False),
        ("429 Too Many Requests", Busy, True, True),
        ("500 Internal Server Error", BadReply, True, True),
        ("502 Bad Gateway", Unreachable, True, True),
        ("503 Service Unavailable", Busy, True, True),
    ],
)
def test_a_status_says_whether_asking_again_may_help(
    server: Server, status: str, kind: type[InstrumentError], retryable: bool, measured: bool
) -> None:
    server.then(says("" if status.startswith("204") else "why not", status=status))
    with pytest.raises(kind, match=status[:3]) as caught:
        driver(server).measure(HALF)
    assert (caught.value.retryable, caught.value.maybe_measured) == (retryable, measured)
    assert len(server.heads) == 1, "nothing is asked twice, and nobody else"


def test_the_pause_that_a_busy_server_asks_for_is_kept_before_readings_only(server: Server) -> None:
    clock = VirtualClock()
    d = driver(server, clock=clock)
    server.then(says("", status="503 Busy", headers="Retry-After: 30\r\n"), says({"in": [0, 0, 0], "out": DARK}))
    with pytest.raises(Busy, match="pause of 30 s"):
        d.measure(HALF)
    assert d.safe().state is Power.OFF
    assert clock.monotonic() == 0.0, "switching off does not wait"
    server.then(says("", status="503 Busy", headers="Retry-After: 30\r\n"))
    with pytest.raises(Busy):
        d.measure(HALF)
    d.measure(HALF)
    assert clock.monotonic() == pytest.approx(30.0)


# Off ------------------------------------------------------------------------------------------------------------------
def test_the_answer_says_which_settings_were_applied_when_it_is_off(server: Server) -> None:
    state = driver(server).safe()
    assert (state.state, state.applied) == (Power.OFF, OFF)
    assert server.asked == [[0.0, 0.0, 0.0]]
    server.then(says({"in": [0.2, 0, 0]}))
    assert driver(server).safe().applied == {"R": 0.2, "G": 0.0, "B": 0.0}


def test_without_expressions_for_what_was_applied_it_is_unknown(server: Server) -> None:
    server.then(says("", status="204 No Content"), says("", status="500 Oops"))
    d = driver(server, applied={})
    assert d.safe().state is Power.UNKNOWN
    with pytest.raises(BadReply, match="500"):
        d.safe()


def test_a_request_of_its_own_switches_off(server: Server) -> None:
    stop = RequestTemplate(method="POST", url=server.url + QUERY.replace("{R}", "0"), body={"stop": True})
    d = driver(server, off_request=stop, applied={"R": "in[0]", "G": "in[1]", "B": "in[2]"})
    d.measure(HALF)
    assert d.safe().state is Power.OFF
    assert server.heads[-1].startswith("POST /api?R=0&G=0&B=0 ")


def test_a_closed_connection_is_not_used(server: Server) -> None:
    d = driver(server)
    d.close()
    for call in (d.safe, lambda: d.measure(HALF)):
        with pytest.raises(InstrumentError, match="closed"):
            call()
    assert server.heads == []


# The wire -------------------------------------------------------------------------------------------------------------
# Answers that hold the numbers that were asked for; whether these are possible is judged by the ranges of the channels.
READABLE = {"less than nothing", "half a count", "more than full scale", "a channel too few", "four echoed",
            "an echo above 1", "an echo below 0"}  # fmt: skip


@pytest.mark.parametrize("name", [*FAULTS, *FINAL])
def test_a_hostile_server_gives_an_error_or_the_numbers_that_it_says(server: Server, name: str) -> None:
    lamp, act = Lamp(), {**FAULTS, **FINAL}[name]
    server.then(lambda server, peer, asked: act(lamp, asked)(server, peer, asked))
    if name in READABLE:
        assert set(driver(server).measure(HALF).readings) == set(READ)
        return
    with pytest.raises(InstrumentError) as caught:
        driver(server).measure(HALF)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", LATE)
def test_an_answer_that_is_late_is_given_up_and_may_have_measured(server: Server, name: str) -> None:
    lamp = Lamp()
    server.then(lambda server, peer, asked: LATE[name](lamp, asked)(server, peer, asked))
    with pytest.raises((Unreachable, BadReply)) as caught:
        driver(server, timeout=0.3).measure(HALF)
    assert caught.value.maybe_measured
    assert caught.value.retryable


def test_a_silent_server_costs_the_time_limit_and_no_more(server: Server) -> None:
    server.then(silent)
    with pytest.raises(Unreachable, match=r"no (whole )?answer (in time|within)"):
        driver(server, timeout=0.2).measure(HALF)


# Kind http ------------------------------------------------------------------------------------------------------------
KEYS: dict[str, Any] = {
    "kind": "http",
    "inputs": {name: {} for name in "RGB"},
    "channels": {name: {"unit": "counts", "low": 0, "high": 65535} for name in ("445nm", "515nm", "630nm")},
    "off": {"R": 0, "G": 0, "B": 0},
    "measure": {"url": "http://127.0.0.1:1/api" + QUERY, "timeout": "10 s"},
    "read": {"445nm": 'out."445nm"', "515nm": 'out."515nm"', "630nm": 'out."630nm"'},
    "applied": APPLIED,
}


def kind_http(url: str = "http://127.0.0.1:1/api", **keys: Any) -> HttpApi:
    measure = {"url": url + QUERY, "timeout": "10 s", **keys.pop("measure", {})}
    instrument = parse_kind("instrument", {**KEYS, "measure": measure, **keys})
    assert isinstance(instrument, HttpApi)
    return instrument


class TestContract(InstrumentContract):
    @pytest.fixture
    def instrument(self, server: Server) -> HttpApi:
        return kind_http(server.url)


@pytest.mark.parametrize(
    ("keys", "path", "message"),
    [
        ({"read": {"445nm": "a", "515nm": "b"}}, "read", "must give every channel; missing: 630nm"),
        ({"read": {**KEYS["read"], "nir": "out.nir"}}, "read.nir", "unknown channel"),
        ({"read": {**KEYS["read"], "630nm": "out.630nm"}}, "read.630nm", "is not a JMESPath expression"),
        ({"applied": {"Red": "in[0]"}}, "applied.Red", "unknown input"),
        ({"measure": {"url": "http://h/?R={R}&G={G}"}}, "measure", r"must send every input; missing: \{B\}"),
        ({"measure": {"url": "http://h/" + QUERY + "&x={x}"}}, "measure", r"unknown \{x\}; allowed: R, G, B"),
        ({"measure": {"url": "h/" + QUERY}}, "measure.url", "must look like"),
        ({"off_request": {"url": "http://h/?{x}"}}, "off_request", r"unknown \{x\}"),
        ({"off_request": {"url": "http://h/"}, "off": "nothing"}, "off_request", "is never sent"),
    ],
)
def test_a_wrong_key_is_said_with_its_place(keys: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        kind_http(**keys)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_its_identity_is_the_host_however_it_is_written() -> None:
    one, other = kind_http("http://LOCALHOST:8000/a"), kind_http("http://127.0.0.1:8000/b")
    assert one.identity == "http:localhost:8000"
    assert set(names(one)) & set(names(other))
    assert not set(names(one)) & set(names(kind_http("http://localhost:8001/a")))


def test_a_missing_variable_is_found_before_a_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = kind_http(measure={"headers": {"X-Api-Key": "${SDL_TEST_KEY}"}})
    with pytest.raises(ConfigError, match="environment variable SDL_TEST_KEY"):
        instrument.ready()
    monkeypatch.setenv("SDL_TEST_KEY", "x")
    instrument.ready()


def test_a_campaign_reaches_its_goal_and_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SDL_TEST_KEY", "hush-hush")
    caplog.set_level("DEBUG")
    with TwinServer(speed=1000, faults=[Fault(name="html-500", at=(2,))]) as twin:
        measure = {
            "headers": {"Authorization": "Bearer ${SDL_TEST_KEY}"},
            "url": twin.url + QUERY + "&k=${SDL_TEST_KEY}",
        }
        instrument = {**KEYS, "measure": {"timeout": "20 s", **measure}}
        goal = {"445nm": 12000, "515nm": 20000, "630nm": 9000}
        campaign = {"name": "lamp", "instrument": instrument, "goal": goal, "tolerance": "3%", "retry": {"wait": 0.1}}
        result = sdl.run(campaign, runs=tmp_path)
        assert result.outcome == "reached"
        assert result.safe is not None
        assert result.safe.state is Power.OFF
        assert not twin.world.lit
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"SDL_TEST_KEY" in written
    assert b"html-500" not in written
    assert b"status 500" in written
    assert b"hush" not in written
    assert "hush" not in "".join(record.getMessage() for record in caplog.records)


@pytest.mark.slow
@pytest.mark.parametrize("seed", some(20, first=5))
def test_a_bad_server_gives_no_reading_of_other_settings_and_no_false_off(server: Server, seed: int) -> None:
    rng, lamp = random.Random(seed), Lamp()
    acts = {**FAULTS, **LATE, "clamped": at_most(0.5), "floor": at_least(0.1), "stays on": stays_on}
    chosen: list[str] = []

    def answer(server: Server, peer: socket.socket, asked: list[float]) -> None:
        chosen.append(rng.choice(list(acts)) if rng.random() < 0.4 else "")
        acts.get(chosen[-1], honest)(lamp, asked)(server, peer, asked)

    server.otherwise = answer
    d = kind_http(server.url, measure={"timeout": 0.2}).open(RealClock())
    good = 0
    for _ in range(25):
        asked = {name: round(rng.random(), 3) for name in "RGB"}
        try:
            reading = d.measure(asked)
        except InstrumentError:
            assert chosen[-1], "an honest answer is a reading"
            continue
        good += 1
        true = lamp.out([reading.applied[name] for name in "RGB"])
        assert (reading.fault == "not-applied") is (dict(reading.applied) != asked)
        changed = {"less than nothing", "half a count", "more than full scale"}
        for name, value in reading.readings.items():
            assert chosen[-1] in changed or value == pytest.approx(true[name], rel=0.2, abs=900)
    assert good >= 5
    state = None
    for _ in range(40):
        try:
            state = d.safe()
        except InstrumentError:
            continue
        if state.state is Power.OFF:
            break
        assert chosen[-1] in ("floor", "stays on", "echo")
    assert state is not None
    assert state.state is Power.OFF
    assert not lamp.lit
    d.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", some(20, first=5))
def test_a_campaign_on_a_bad_server_records_only_true_readings_and_ends_off(
    server: Server, seed: int, tmp_path: Path
) -> None:
    rng, lamp = random.Random(seed), Lamp()
    changed = ("less than nothing", "half a count", "more than full scale", "infinity")
    acts = {name: act for name, act in {**FAULTS, **LATE}.items() if name not in changed} | {"stays on": stays_on}

    def answer(server: Server, peer: socket.socket, asked: list[float]) -> None:
        acts.get(rng.choice(list(acts)) if rng.random() < 0.2 else "", honest)(lamp, asked)(server, peer, asked)

    server.otherwise = answer
    measure = {"url": server.url + QUERY, "timeout": 0.2}
    result = sdl.run(
        {
            "name": "lamp",
            "instrument": {**KEYS, "measure": measure},
            "goal": {"445nm": 12000, "515nm": 20000, "630nm": 9000},
            "tolerance": "4%",
            "retry": {"times": 8, "wait": 0.02},
            "stop": {"trials": 25},
            "seed": seed,
        },
        runs=tmp_path,
    )
    assert result.outcome == "reached", result.reason
    assert result.safe is not None
    assert result.safe.state is Power.OFF
    assert not lamp.lit
    for line in (Path(result.run) / "record.jsonl").read_text(encoding="utf-8").splitlines():
        if (event := json.loads(line))["event"] == "Measured":
            true = lamp.out([event["applied"][name] for name in "RGB"])
            assert event["readings"] == {
                name: pytest.approx(true[name], rel=0.1, abs=600) for name in event["readings"]
            }
