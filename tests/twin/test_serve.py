"""The served twin answers as the real server would: status and shape, one LED, the log; and it ends cleanly."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from waiting import TIMEOUT, until

from sdl.twin.faults import Fault
from sdl.twin.led.model import Plant
from sdl.twin.led.serve import TwinServer
from sdl.twin.led.state import load
from sdl.twin.led.world import NotMeasured, World

NAMES = ["415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir"]


@pytest.fixture(scope="module")
def server() -> Iterator[TwinServer]:
    with TwinServer(speed=2000) as server:
        yield server


def ask(server: TwinServer, target: str, method: str = "GET", body: str | None = None) -> tuple[int, Any, bytes]:
    host, port = server.url.removeprefix("http://").removesuffix("/api").split(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=TIMEOUT)) as connection:
        connection.request(method, target, body)
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


def reading(server: TwinServer, target: str) -> dict[str, Any]:
    status, headers, body = ask(server, target)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    found: dict[str, Any] = json.loads(body)
    assert list(found) == ["in", "out"]
    assert list(found["out"]) == NAMES
    assert all(isinstance(count, int) and 0 <= count <= 65535 for count in found["out"].values())
    return found


APPLIED = {
    "/api": [0.0, 0.0, 0.0],
    "/api?R=0.12&G=0.45&B=1": [0.12, 0.45, 1.0],
    "/api?R=&G=0.5&B=": [0.0, 0.5, 0.0],
    "/api?G=7&B=-3": [0.0, 1.0, 0.0],
    "/api?R=1e-3": [0.001, 0.0, 0.0],
    "/api?R=inf": [1.0, 0.0, 0.0],
    "/api?R=-inf": [0.0, 0.0, 0.0],
    "/api?R=1e999": [1.0, 0.0, 0.0],
    "/api?R=%200.5%20": [0.5, 0.0, 0.0],
    "/api?R=+0.25": [0.25, 0.0, 0.0],
    "/api?R=1_0": [1.0, 0.0, 0.0],
    "/api?R=0.2&R=0.8": [0.2, 0.0, 0.0],
    "/api?r=0.5": [0.0, 0.0, 0.0],
    "/api?W=0.5&colour=blue": [0.0, 0.0, 0.0],
    "/api?R=%D9%A0.%D9%A5": [0.5, 0.0, 0.0],  # the digits of another script are digits to Python
}
"""What is asked, and what the real server echoes in `in`: read from its source."""


@pytest.mark.parametrize("target", APPLIED)
def test_odd_settings_are_taken_as_the_real_server_takes_them(server: TwinServer, target: str) -> None:
    assert reading(server, target)["in"] == APPLIED[target]


WRONG = {
    "GET /api?R=abc": (500, "<h1>Internal Server Error</h1>"),
    "GET /api?R=nan": (500, "<h1>Internal Server Error</h1>"),
    "GET /api?R=0,5": (500, "<h1>Internal Server Error</h1>"),
    "GET /api?G=0x10": (500, "<h1>Internal Server Error</h1>"),
    "POST /api?R=0.5": (405, "<h1>Method Not Allowed</h1>"),
    "DELETE /api": (405, "<h1>Method Not Allowed</h1>"),
    "GET /api/": (404, "<h1>Not Found</h1>"),
    "GET /health": (404, "<h1>Not Found</h1>"),
    "GET /csv?G=1.5": (500, "<h1>Internal Server Error</h1>"),
    "GET /csv?G=-0.1": (500, "<h1>Internal Server Error</h1>"),
    "GET /csv?G=": (500, "<h1>Internal Server Error</h1>"),
    "GET /csv?G=high": (500, "<h1>Internal Server Error</h1>"),
    "TRACE /api?R=0.5": (405, "<p>The method is not allowed for the requested URL.</p>"),
    "PROPFIND /api": (405, "<h1>Method Not Allowed</h1>"),
    "CONNECT /api": (405, "<h1>Method Not Allowed</h1>"),
    "BREW /api": (405, "<h1>Method Not Allowed</h1>"),
    "TRACE /health": (404, "<p>The requested URL was not found on the server."),
}


@pytest.mark.parametrize("asked", WRONG)
def test_what_the_real_server_fails_at_gets_its_page(server: TwinServer, asked: str) -> None:
    method, target = asked.split()
    status, headers, body = ask(server, target, method)
    while server.world.left_open:  # the LED, which the next test's request would find in use
        ask(server, "/api")
    assert status == WRONG[asked][0]
    assert headers["Content-Type"].startswith("text/html")
    assert WRONG[asked][1] in body.decode()
    if status == 405:
        assert headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_csv_page_gives_the_bare_count(server: TwinServer) -> None:
    for method in ("GET", "POST"):
        status, headers, body = ask(server, "/csv?G=0.5", method, "G=0.9")
        assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert 31000 < int(body) < 33500
    assert int(ask(server, "/csv")[2]) < 10


def test_a_request_whose_length_makes_no_sense_is_refused_and_one_in_other_letters_is_taken(server: TwinServer) -> None:
    port = int(server.url.rpartition(":")[2].removesuffix("/api"))
    for length in ("many", "-5"):
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(f"GET /api HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            with client.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 400 ")
    assert reading(server, "/%61pi?G=0.5")["in"] == [0.0, 0.5, 0.0]


def test_the_front_door_leads_to_the_readme_and_a_head_measures(server: TwinServer) -> None:
    status, headers, body = ask(server, "/")
    assert (status, headers["Location"][:40]) == (302, "https://github.com/jkitchin/claude-light")
    assert f'<a href="{headers["Location"]}">{headers["Location"]}</a>' in body.decode()
    before = server.world.taken
    status, headers, body = ask(server, "/api?R=0.5", "HEAD")
    assert (status, body, server.world.taken) == (200, b"", before + 1)
    assert ask(server, "/api", "OPTIONS")[0] == 200
    assert server.world.taken == before + 1
    assert b"simulated" in ask(server, "/about")[2]


def test_the_calls_of_the_published_client_work(server: TwinServer) -> None:
    """What GreenMachine1, CLRGB and CLLight of the client ask for, and how they read it."""
    green = reading(server, "/api?R=0&G=0.5&B=0")["out"]["515nm"]
    assert isinstance(green, int)
    out = reading(server, "/api?R=0.2&G=0.5&B=0.9")["out"]
    assert [out[name] > 4000 for name in ("630nm", "515nm", "445nm")] == [True] * 3


def test_readings_are_those_of_the_plant_with_its_noise(server: TwinServer) -> None:
    clean = Plant(load("night-2025-10")).noise_free({"R": 0.3, "G": 0.4, "B": 0.5})
    rows = [reading(server, "/api?R=0.3&G=0.4&B=0.5")["out"] for _ in range(5)]
    assert len({row["515nm"] for row in rows}) > 1
    assert all(abs(row[name] / clean[name] - 1) < 0.05 for row in rows for name in NAMES)


def test_every_reading_is_logged_before_it_is_answered(tmp_path: Path) -> None:
    log = tmp_path / "results.jsonl"
    with TwinServer(speed=2000, log=log) as server:
        answers = [reading(server, f"/api?G=0.{n}") for n in range(3)]
        ask(server, "/csv?G=0.7")
        ask(server, "/api?G=word")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [{key: line[key] for key in ("in", "out")} for line in lines[:3]] == answers
    assert [line["origin"] for line in lines] == ["api", "api", "api", None]
    assert all(set(line) == {"in", "out", "t0", "elapsed_time", "ip", "origin"} for line in lines)
    assert json.dumps(lines[3]["in"]) == "[0, 0.7, 0]", "the page /csv hands on whole numbers for R and B"
    assert [line["t0"] for line in lines] == sorted(line["t0"] for line in lines)


def test_one_led_is_shared_by_whoever_looks_again_once_a_second(tmp_path: Path) -> None:
    log = tmp_path / "results.jsonl"
    with TwinServer(speed=20, latency=0.8, log=log) as server:
        seconds: list[float] = []

        def client() -> None:
            began = time.monotonic()
            reading(server, "/api?G=0.5")
            seconds.append((time.monotonic() - began) * 20)

        threads = [threading.Thread(target=client) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.world.taken == 3
        _, second, third = sorted(seconds)
        assert second > 1.0, seconds
        assert third > 1.6, "three readings of 0.8 s cannot share one LED in less"
    lit = [(line["t0"], line["elapsed_time"]) for line in map(json.loads, log.read_text().splitlines())]
    assert len(lit) == 3
    assert all(began + took <= after + 0.01 for (began, took), (after, _) in pairwise(sorted(lit))), lit


def test_who_cannot_get_the_led_is_told_after_fifty_tries() -> None:
    with TwinServer(speed=500, faults=[Fault(name="busy", at=(0,), seconds=3600)]) as server:
        began = time.monotonic()
        assert ask(server, "/api?G=0.5")[0] == 500
        assert (time.monotonic() - began) * 500 > 45
        assert server.world.taken == 0


def test_a_client_that_hangs_up_does_not_stop_its_reading() -> None:
    with TwinServer(speed=2) as server:  # slow enough for the light to be seen
        host, port = server.url.removeprefix("http://").removesuffix("/api").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"GET /api?G=0.5 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: server.world.lit)
        until(lambda: server.world.taken == 1)
        assert not server.world.lit


def test_a_refused_connection_is_refused_and_the_next_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdl.twin.led.serve.REFUSED_SECONDS", 2.0)  # so that a slow client is refused, too
    with TwinServer(speed=2000, faults=[Fault(name="refused", at=(1,))]) as server:
        reading(server, "/api")
        with pytest.raises(ConnectionRefusedError):
            ask(server, "/api")
        until(lambda: _answers(server))
        assert server.world.taken == 2


def test_a_sensor_that_fails_leaves_the_light_on_until_the_next_request_has_failed_too() -> None:
    with TwinServer(speed=1000, faults=[Fault(name="html-500", at=(0,))]) as server:
        began = server.world.now()
        assert ask(server, "/api?G=0.5")[0] == 500
        assert server.world.now() - began >= 49.0, "it is tried fifty times, a second apart"
        assert server.world.lit
        again = server.world.now()
        assert ask(server, "/api")[0] == 500, "the LED is still in use by the reading that failed"
        assert server.world.now() - again >= 49.0
        assert not server.world.lit
        assert server.world.taken == 0
        reading(server, "/api")
        assert not server.world.lit


@pytest.mark.parametrize("wrong", ["/csv?G=2", "/csv?G=-0.1", "/api?R=nan"])
def test_settings_that_the_led_refuses_keep_it_from_the_next_request_too(wrong: str) -> None:
    with TwinServer(speed=1000) as server:
        codes = []
        for target in (wrong, "/api?G=0.5", "/api?G=0.5"):
            codes.append(ask(server, target)[0])
            assert not server.world.lit
        assert codes == [500, 500, 200]
        assert ask(server, "/api?R=word")[0] == 500  # fails before the LED is opened
        assert ask(server, "/api?G=0.5")[0] == 200


def test_who_waits_while_a_request_fails_gets_the_led_once_another_has_given_up() -> None:
    world = World(Plant(load("night-2025-10")), start=0.0, speed=1e4)
    bad = {"R": 0.0, "G": 2.0, "B": 0.0}
    for _ in range(2):  # the first leaves the LED open, the second finds it so
        with pytest.raises(NotMeasured, match="gave up after 50 tries"):
            world.measure(bad)
    assert not world.left_open
    assert world.measure({**bad, "G": 0.5}).applied["G"] == 0.5


def test_time_goes_by_as_fast_as_it_is_told() -> None:
    with TwinServer(speed=5000, start=1000.0) as server:
        outer, before, inner = time.monotonic(), server.world.now(), time.monotonic()
        time.sleep(0.05)
        least, after, most = time.monotonic() - inner, server.world.now(), time.monotonic() - outer
        assert before >= 1000.0
        assert least * 5000 - 1 <= after - before <= most * 5000 + 1


def test_it_ends_at_once_whatever_is_under_way_and_gives_the_port_back() -> None:
    server = TwinServer(speed=0.001)
    before = threading.active_count()
    with server:
        threads = [threading.Thread(target=suppressed, args=(server,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        until(lambda: server.world.lit)
        began = time.monotonic()
    assert time.monotonic() - began < TIMEOUT, "a reading takes this twin 780 s"
    for thread in threads:
        thread.join(TIMEOUT)
    server.close()
    assert threading.active_count() <= before
    with pytest.raises(OSError):
        ask(server, "/api")


def suppressed(server: TwinServer) -> None:
    with suppress(OSError, http.client.HTTPException):
        ask(server, "/api?G=0.5")


def _answers(server: TwinServer) -> bool:
    with suppress(OSError):
        return ask(server, "/api")[0] == 200
    return False
