"""Environment variables that break every HTTP request: found and named before the first one.

They are the system's, not ours: addresses of proxies, hosts that are asked without one, certificates to trust. A value
that cannot be used is the user's to mend; no value is repeated, because the address of a proxy may hold a password.
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

    Args:
        proxies: also those that matter only for requests to other machines.

    Raises:
        ConfigError: one makes every request fail; each of them is named.
    """
    problems = [*_key_log()]
    if proxies:
        problems += [*_proxies("socksio"), *_no_proxy(), *_certificates()]
    if problems:
        raise ConfigError(*problems)


def problems_of_requests() -> list[str]:
    """Problems in the variables used by the package requests, which sends notifications."""
    problems = [*_proxies("socks")]
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if (path := os.environ.get(name)) and not os.path.exists(path):
            problems.append(_sentence(name, f"there is no {path}"))
    return problems


def proxy_for(url: str) -> str:
    """The variable that names the proxy by which an address is asked; empty if it is asked directly."""
    proxies, parts = getproxies_environment(), urlsplit(url)
    if "*" in _unproxied() or proxy_bypass(parts.hostname or ""):
        return ""
    return next((_variable(kind) for kind in (parts.scheme, "all") if kind in proxies), "")


def _variable(kind: str) -> str:
    """Name of the variable as it is set; the lower-case one takes precedence."""
    lower = f"{kind}_proxy"
    return lower if lower in os.environ else next((n for n in os.environ if n.lower() == lower), lower.upper())


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
            yield _sentence(_variable(kind), why)
        elif url.scheme not in ("http", "https", "socks5", "socks5h") or not url.host or (url.port or 1) > 65535:
            yield _sentence(_variable(kind), f"the value is not the address of a proxy, such as {EXAMPLE}")


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
            yield _sentence(_variable("no"), why)


def _unproxied() -> list[str]:
    """The entries of NO_PROXY; `*` among them switches all proxies off."""
    return [host.strip() for host in getproxies_environment().get("no", "").split(",")]


def no_certificates(file: str) -> str:
    """Why a file gives no certificates to trust; empty if it does."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        return f"{file} holds no certificate in PEM form"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    return ""


def _certificates() -> Iterator[str]:
    """Problems of SSL_CERT_FILE, or of SSL_CERT_DIR if the former is not set."""
    if file := os.environ.get("SSL_CERT_FILE"):
        if why := no_certificates(file):
            yield _sentence("SSL_CERT_FILE", why)
    elif (folders := os.environ.get("SSL_CERT_DIR")) and not any(map(os.path.isdir, folders.split(os.pathsep))):
        yield _sentence("SSL_CERT_DIR", f"{folders} is not a directory")


def _key_log() -> Iterator[str]:
    """Problems of SSLKEYLOGFILE, which Python opens for every TLS connection."""
    if file := os.environ.get("SSLKEYLOGFILE"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = file
        except OSError as error:
            yield _sentence("SSLKEYLOGFILE", f"{file} cannot be written: {error.strerror}")


def _sentence(name: str, why: str) -> str:
    return f"the environment variable {name} breaks every request: {why}. Correct it or unset it"
