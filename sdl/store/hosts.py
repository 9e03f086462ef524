"""Canonical host names and addresses, by which instruments on a network are distinguished."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading

HERE = "localhost"  # stands for every address of this machine
TIMEOUT = 5.0  # time limit in seconds for looking up a name


def normalise(host: str) -> str:
    """A host in lower case and ASCII (IDNA), without a final dot; an IPv6 address in brackets."""
    text = host.lower()
    with contextlib.suppress(UnicodeError):
        text = text.encode("idna").decode()
    text = text.rstrip(".")
    try:
        number = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return text
    number = getattr(number, "ipv4_mapped", None) or number
    return f"[{number}]" if number.version == 6 else str(number)


def is_local(host: str) -> bool:
    """Whether a host is this machine, by its text alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == HERE


def names(host: str, *, look_up: bool = True) -> set[str]:
    """The normalised host and all of its addresses; `HERE` stands for those of this machine.

    Two hosts that share one of these are the same. Without an address within `TIMEOUT` s, only the host is returned.

    `look_up=False` sends no query: only IP addresses and localhost have an address then.
    """
    text = normalise(host)
    if text == HERE or text.endswith(f".{HERE}"):
        return {text, HERE}
    addresses: list[str] = []

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            flags = 0 if look_up else socket.AI_NUMERICHOST
            known = socket.getaddrinfo(text.strip("[]"), None, type=socket.SOCK_STREAM, flags=flags)
            addresses.extend(str(address[0]) for *_, address in known)

    thread = threading.Thread(target=look, name="sdl look-up", daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return {text, *(HERE if _is_here(address) else normalise(address) for address in tuple(addresses))}


def _is_here(address: str) -> bool:
    number = ipaddress.ip_address(address.partition("%")[0])
    number = getattr(number, "ipv4_mapped", None) or number
    if number.is_loopback or number.is_unspecified:
        return True
    family = socket.AF_INET6 if number.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:  # sends nothing; only an address of its own is granted
            probe.bind((address, 0))
    except OSError:
        return False
    return True
