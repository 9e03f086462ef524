"""One name for a host, however it is spelt: what tells two instruments on a network apart."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading

HERE = "localhost"
"""The name of this machine, for all of its addresses."""
PATIENCE = 5.0
"""Seconds for which the system may look up a name."""


def plain(host: str) -> str:
    """The text of a host in lower case and ASCII, without a last dot; a number of version 6 in brackets."""
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


def names(host: str, *, look_up: bool = True) -> set[str]:
    """The text of a host and every address that it has; `HERE` stands for those of this machine.

    Two hosts that share a name are one. Where the system knows no address, or not within `PATIENCE`, the text is all.

    Args:
        host: a name or a number.
        look_up: false asks no network: only numbers and localhost have an address then.
    """
    text = plain(host)
    if text == HERE or text.endswith(f".{HERE}"):
        return {text, HERE}
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            flags = 0 if look_up else socket.AI_NUMERICHOST
            known = socket.getaddrinfo(text.strip("[]"), None, type=socket.SOCK_STREAM, flags=flags)
            found.extend(str(address[0]) for *_, address in known)

    thread = threading.Thread(target=look, name="sdl look-up", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return {text, *(HERE if _is_here(address) else plain(address) for address in tuple(found))}


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
