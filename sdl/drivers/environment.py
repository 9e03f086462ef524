"""Environment variables that make every HTTP request fail, reported before the first one.

They belong to the system: addresses of proxies, hosts to be reached without a proxy, certificates to trust. The user
must correct them. No value is repeated in a message, because the address of a proxy may hold a password.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from sdl.errors import ConfigError

EXAMPLE = "http://proxy.example.org:3128"


def check_variables(*, proxies: bool = True) -> None:
    """Check the variables that httpx uses.

    `proxies`: also those that matter only for requests to other machines.

    Raises:
        ConfigError: names each variable that makes every request fail.
    """
    problems = [*_key_log()]
    if proxies:
        problems += [*_proxies("socksio"), *_no_proxy(), *_certificates()]
    if problems:
        raise ConfigError(*problems)


def problems_of_requests() -> list[str]:
    """Problems of the variables used by the package requests, which sends notifications."""
    files = {name: os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    missing = [
        _problem(name, f"there is no {path}") for name, path in files.items() if path and not os.path.exists(path)
    ]
    return [*_proxies("socks"), *missing]


def proxy_for(url: str) -> str:
    """The variable that names the proxy for an address; empty for a direct connection."""
    proxies, parts = getproxies_environment(), urlsplit(url)
    if "*" in _unproxied() or proxy_bypass(parts.hostname or ""):
        return ""
    return next((_variable(kind) for kind in (parts.scheme, "all") if kind in proxies), "")


def no_certificates(file: str) -> str:
    """The reason why a file gives no certificates to trust; empty if it does."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return f"{file} holds no certificate in PEM form"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    return ""


def _variable(kind: str) -> str:
    """Name of the variable as it is set; the lower-case one takes precedence."""
    lower = f"{kind}_proxy"
    return lower if lower in os.environ else next((n for n in os.environ if n.lower() == lower), lower.upper())


def _unproxied() -> list[str]:
    """The entries of NO_PROXY; `*` among them switches all proxies off."""
    return [host.strip() for host in getproxies_environment().get("no", "").split(",")]


def _proxies(socks: str) -> Iterator[str]:
    """Problems of the variables that name proxies; `socks` is the module that a SOCKS proxy needs."""
    import httpx

    given = {} if "*" in _unproxied() else getproxies_environment()
    for kind in ("http", "https", "all"):
        if not (value := given.get(kind)):
            continue
        try:
            url = httpx.URL(value if "://" in value else f"http://{value}")
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme.startswith("socks") and find_spec(socks) is None:
            why = f"a SOCKS proxy needs the module {socks}, which is not installed; name one such as {EXAMPLE}"
            yield _problem(_variable(kind), why)
        elif url.scheme not in ("http", "https", "socks5", "socks5h") or not url.host or (url.port or 1) > 65535:
            yield _problem(_variable(kind), f"the value is not the address of a proxy, such as {EXAMPLE}")


def _no_proxy() -> Iterator[str]:
    """Problems of the entries of NO_PROXY that httpx cannot read."""
    import httpx

    hosts = _unproxied()
    for host in hosts if "*" not in hosts else ():
        pattern = host if "://" in host else f"all://*{host}"
        with contextlib.suppress(ValueError):
            number = ipaddress.ip_address(host.split("/")[0])
            pattern = f"all://[{host}]" if number.version == 6 else f"all://{host}"
        try:
            httpx.URL(pattern)
        except httpx.InvalidURL:
            why = f"{host!r} is not a host; write names and addresses with commas between, as in localhost,::1"
            yield _problem(_variable("no"), why)


def _certificates() -> Iterator[str]:
    """Problems of SSL_CERT_FILE, or of SSL_CERT_DIR if the former is not set."""
    if file := os.environ.get("SSL_CERT_FILE"):
        if why := no_certificates(file):
            yield _problem("SSL_CERT_FILE", why)
    elif (folders := os.environ.get("SSL_CERT_DIR")) and not any(map(os.path.isdir, folders.split(os.pathsep))):
        yield _problem("SSL_CERT_DIR", f"{folders} is not a directory")


def _key_log() -> Iterator[str]:
    """Problems of SSLKEYLOGFILE, which Python opens for every TLS connection."""
    if file := os.environ.get("SSLKEYLOGFILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = file
        except OSError as error:
            yield _problem("SSLKEYLOGFILE", f"{file} cannot be written: {error.strerror}")


def _problem(name: str, why: str) -> str:
    return f"the environment variable {name} breaks every request: {why}. Correct it or unset it"
