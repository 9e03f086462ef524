"""One name for a host, however it is spelt, and no endless wait for it."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from sdl.store import hosts

PLAIN = {
    "Light.Example.ORG": "light.example.org",
    "light.example.org.": "light.example.org",
    "BÜCHER.example": "xn--bcher-kva.example",
    "bücher\u3002example": "xn--bcher-kva.example",
    "192.0.2.7": "192.0.2.7",
    "\uff11\uff19\uff12.0.2.7": "192.0.2.7",
    "2001:DB8:0:0::1": "[2001:db8::1]",
    "[::ffff:192.0.2.7]": "192.0.2.7",
    "[2001:db8::1]": "[2001:db8::1]",
    "x" * 64 + ".example": "x" * 64 + ".example",  # no name that can be looked up; still a text
}


@pytest.mark.parametrize("host", PLAIN)
def test_one_text_stands_for_all_spellings_of_a_host(host: str) -> None:
    assert hosts.normalise(host) == PLAIN[host]
    assert hosts.normalise(PLAIN[host]) == PLAIN[host]


def resolver(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Lets the system know these addresses of every name, and notes what it is asked."""
    asked: list[str] = []

    def known(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", known)
    return asked


def test_a_host_is_known_by_its_text_and_by_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, "192.0.2.7", "2001:DB8::7")
    assert hosts.names("Light.Example") == {"light.example", "192.0.2.7", "[2001:db8::7]"}
    assert asked == ["light.example"]


@pytest.mark.parametrize("number", ["127.0.0.1", "127.8.8.8", "127.1", "0.0.0.0", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_a_number_of_this_machine_is_this_machine(number: str) -> None:
    assert hosts.HERE in hosts.names(number, look_up=False)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "lab.localhost"])
def test_localhost_is_this_machine_and_nobody_is_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolver(monkeypatch, "192.0.2.7")
    assert hosts.HERE in hosts.names(name)
    assert asked == []


def test_a_name_of_this_machine_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver(monkeypatch, "127.0.1.1")
    assert hosts.names("lab-computer") == {"lab-computer", hosts.HERE}


def test_an_address_of_a_network_card_of_this_machine_is_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the card that leads there
        except OSError:
            pytest.skip("this machine has no network")
        address = probe.getsockname()[0]
    assert hosts.names(address, look_up=False) == {address, hosts.HERE} - {"0.0.0.0"}


def test_an_address_elsewhere_is_not_this_machine() -> None:
    assert hosts.names("192.0.2.7", look_up=False) == {"192.0.2.7"}
    assert hosts.names("2001:db8::7", look_up=False) == {"[2001:db8::7]"}


def test_without_looking_up_a_name_stays_a_text_and_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    system = socket.getaddrinfo

    def known(*args: Any, flags: int = 0, **options: Any) -> Any:
        assert flags & socket.AI_NUMERICHOST
        return system(*args, flags=flags, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    assert hosts.names("light.example", look_up=False) == {"light.example"}


def test_a_name_that_nobody_knows_is_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert hosts.names("Light.Example") == {"light.example"}


def test_a_system_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.wait() and [])
    monkeypatch.setattr(hosts, "TIMEOUT", 0.05)
    assert hosts.names("light.example") == {"light.example"}
    assert not answers.is_set()
    answers.set()
