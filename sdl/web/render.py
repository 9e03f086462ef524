"""Rendering of pages: templates with automatic escaping, and restrictive security headers.

Pages contain no inline script or style and load none from elsewhere, so that markup in a name could not run even if the
escaping failed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Environment
from markupsafe import Markup
from starlette.responses import Response

from sdl import yamlfile
from sdl.formatting import display
from sdl.lab.core.views import describe_pause, display_target
from sdl.report.page import TEMPLATES
from sdl.report.page import environment as page_environment

HERE = Path(__file__).parent
SCRIPTS = ("page", "dialog", "actions", "bench", "live", "patch", "times", "start", "theme", "runs", "making")
STATIC = {
    "page.css": "text/css", "runs.css": "text/css", "icon.svg": "image/svg+xml",
    **{f"{name}.js": "text/javascript" for name in SCRIPTS},
}  # fmt: skip
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The Jinja environment: automatic escaping; an undefined name is an error."""
    made = page_environment(HERE / "templates", trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "display": display, "when": when, "part": part, "stamp": stamp, "moment": moment,
        "duration": duration, "begun": begun, "named": display_target,
        "paused_by": describe_pause, "yaml": yamlfile.dump,
    }  # fmt: skip
    made.globals |= {"static": {name: f"/static/{_mark()}/{name}" for name in STATIC}}
    return made


def text(template: str, **values: Any) -> str:
    """A rendered template; characters that UTF-8 cannot encode are escaped."""
    return environment().get_template(template).render(**values).encode("utf-8", "backslashreplace").decode()


def page(template: str, code: int = 200, **values: Any) -> Response:
    """A rendered page with the security headers."""
    return answer(text(template, now=time.time(), **values).encode(), "text/html; charset=utf-8", code)


def answer(body: bytes, kind: str, status: int = 200, **heads: str) -> Response:
    """A response with the security headers; `heads` replace those of the same name (`_` for `-`)."""
    headers = {name.decode(): value.decode() for name, value in HEADERS}
    headers |= {name.replace("_", "-"): value for name, value in heads.items()} | {"content-type": kind}
    return Response(body, status, headers=headers)


def json_answer(value: Mapping[str, Any], status: int = 200) -> Response:
    """An object as JSON with the security headers."""
    return answer(json.dumps(value).encode(), "application/json", status)


def attachment(content: bytes, name: str) -> Response:
    """A file to be kept under this name and not shown."""
    policy, kept = "default-src 'none'; frame-ancestors 'none'; sandbox", f'attachment; filename="{name}"'
    return answer(content, "application/octet-stream", content_security_policy=policy, content_disposition=kept)


def static(name: str, mark: str) -> Response | None:
    """A static file, cached by the browser until it changes; None if there is no such file."""
    if name not in STATIC or mark != _mark():
        return None
    return answer(_content(name), f"{STATIC[name]}; charset=utf-8", cache_control="max-age=31536000, immutable")


@lru_cache(maxsize=1)
def _mark() -> str:
    """Of all files together, because scripts import each other by relative paths."""
    return hashlib.sha256(b"".join(map(_content, STATIC))).hexdigest()[:12]


def _content(name: str) -> bytes:
    """A static file; the style sheet follows the one that all pages of sdl share."""
    shared = (TEMPLATES / "base.css").read_bytes() if name == "page.css" else b""
    return shared + (HERE / "static" / name).read_bytes()


def moment(at: float, zone: str) -> Markup:
    """A time as by `when`, with the data from which a script shows how long ago it was."""
    iso = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(iso, when(at, zone))


def begun(started: str, zone: str) -> Markup:
    """The start of a run as by `stamp`, with the data from which a script shows how long ago it was."""
    return Markup('<time datetime="{}">{}</time>').format(started, stamp(started, zone))


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def when(at: float, zone: str) -> str:
    """A time as `Mon 23 Nov 15:40` in a time zone; an empty zone is that of this machine."""
    return datetime.fromtimestamp(at, ZoneInfo(zone) if zone else None).strftime("%a %d %b %H:%M")


def duration(seconds: float) -> str:
    """A duration as `12 s`, `3 min 05 s`, `2 h 03 min` or `4 d 2 h`, in the form that the page's script updates."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def stamp(started: str | None, zone: str) -> str:
    """An ISO 8601 time as `2026-11-23 15:40`, in a time zone as for `when`; empty for an empty time."""
    at = datetime.fromisoformat(started).astimezone(ZoneInfo(zone) if zone else None) if started else None
    return at.strftime("%Y-%m-%d %H:%M") if at else ""
