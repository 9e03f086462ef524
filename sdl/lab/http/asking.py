"""Asking and telling over HTTP, in a lab and in `sdl web`.

    POST  /api/v1/ask        {"run": "CAMPAIGN/RUN"}
          /api/v1/tell       {"run": …, "trial": 3, "repeat": 0, "readings": {"R": 140.2}, "applied": {…}, "note": "…"}
                             with "failed": "why" in place of "readings" if there is none
          /api/v1/attach     {"run": …, "settings": {…}, "readings": {…}, "note": "…"}
          /api/v1/skip       {"run": …, "trial": 3, "why": "…"}
          /api/v1/correct    {"run": …, "trial": 3, "repeat": 0, "readings": {…} or null, "why": "…"}

Only runs that exist can be named. A call is the command of that name in a process of its own, because a solver may
compute for seconds; the answer is what the command prints with `--json`. The token needs the scope operate. Errors are
those of `sdl.lab.http.api`: 400 for a body of another form, 404 for an unknown run, 409 for what the command refuses,
503 where it cannot be done now.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sdl.lab.http.auth import identity_of, json_response, quoted
from sdl.parallel import children
from sdl.store.resolve import run_below

SECONDS = 300.0  # for a solver
MAX_TEXT, MAX_VALUES = 500, 200
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}/[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
REFUSED = 2  # exit code of a command for a mistake in what it was given

# Keys of each body, `run` apart: whether it must be there.
BODIES: Mapping[str, Mapping[str, bool]] = {
    "ask": {},
    "tell": {"trial": True, "repeat": True, "readings": False, "applied": False, "failed": False, "note": False},
    "attach": {"settings": True, "readings": True, "note": False},
    "skip": {"trial": True, "why": True},
    "correct": {"trial": True, "repeat": True, "readings": True, "why": True},
}


NAMED = ("attach", "skip", "correct")
"""Calls whose events say who made them: the name of the token."""


def ask_routes(runs: Path, *, without: tuple[str, ...] = ()) -> list[Route]:
    """The routes of the calls on the runs below a directory: all calls but those named by `without`."""
    return [
        Route(f"/api/v1/{name}", partial(answer, runs, name), methods=["POST"])
        for name in BODIES
        if name not in without
    ]


async def answer(runs: Path, call: str, request: Request) -> Response:
    """Carry out one call.

    Raises:
        HTTPException: the call is refused, or cannot be carried out.
    """
    words = _words(runs, call, parsed(await request.body()))
    if call in NAMED:
        words.insert(words.index("--"), f"--by={identity_of(request).name}")
    given = await run_in_threadpool(_run, words)
    if "exit_code" in given:
        raise HTTPException(409 if given["exit_code"] == REFUSED else 503, str(given["reason"]))
    return json_response(given)


def parsed(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        HTTPException: the body is not a JSON object.
    """
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return given


def texts(body: bytes, keys: Collection[str]) -> dict[str, str]:
    """The JSON object of a body, whose values are texts and whose keys are these and `by`.

    Raises:
        HTTPException: the body is something else.
    """
    given = parsed(body)
    if not all(isinstance(value, str) for value in given.values()):
        raise HTTPException(400, "the body must be a JSON object with text values")
    if unknown := sorted(set(given) - {*keys, "by"}):
        raise HTTPException(400, f"unknown key {quoted(unknown[0])}; allowed: {', '.join(sorted({*keys} - {'by'}))}")
    return given


def _run(words: list[str]) -> dict[str, Any]:
    """The JSON object that a command prints."""
    try:
        done = children.finished(words, SECONDS)
        value = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise HTTPException(503, f"no answer within {SECONDS:g} s; ask again") from None
    except (OSError, ValueError) as error:
        raise HTTPException(503, f"the command gave no answer: {error}") from error
    return dict(value)


def _words(runs: Path, call: str, body: dict[str, Any]) -> list[str]:
    """The command line of a call; values follow `--` or `=`, so that none is taken for an option."""
    keys = BODIES[call]
    if unknown := sorted(set(body) - set(keys) - {"run"}):
        raise HTTPException(400, f"unknown key {quoted(unknown[0])}; allowed: {', '.join(sorted({*keys, 'run'}))}")
    if missing := [key for key, needed in {"run": True, **keys}.items() if needed and key not in body]:
        raise HTTPException(400, f"missing: {', '.join(missing)}")
    run = body["run"]
    if not isinstance(run, str) or not RUN.fullmatch(run) or ".." in run:
        raise HTTPException(400, "run: must be CAMPAIGN/RUN")
    if (folder := run_below(runs, run)) is None:
        raise HTTPException(404, f"no run {run}")
    words, exclude = [call, str(folder.absolute()), "--json"], call == "correct" and body["readings"] is None
    checks: Mapping[str, Callable[[str, Any], str]] = {"trial": _whole, "repeat": _whole, "failed": _text}
    for key in ("trial", "repeat", "failed", "note", "why"):
        if key in body:
            words.append(f"--{key}={checks.get(key, _text)(key, body[key])}")
    words += [f"--applied={pair}" for pair in _pairs("applied", body.get("applied") or {})]
    words += ["--exclude"] if exclude else []
    values = [] if exclude or body.get("readings") is None else _pairs("readings", body["readings"], numbers=True)
    return [*words, "--", *_pairs("settings", body.get("settings") or {}), *values]


def _whole(key: str, value: Any) -> str:
    if type(value) is not int or not 0 <= value < 10**9:
        raise HTTPException(400, f"{key}: must be a whole number from 0 on")
    return str(value)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise HTTPException(400, f"{key}: must be one line of at most {MAX_TEXT} characters")
    return value


def _pairs(key: str, values: Any, *, numbers: bool = False) -> list[str]:
    """`NAME=VALUE` for each value of an object: a finite number, or a text."""
    if not isinstance(values, dict) or len(values) > MAX_VALUES:
        raise HTTPException(400, f"{key}: must be an object with at most {MAX_VALUES} values")
    pairs = []
    for name, value in values.items():
        number = type(value) in (int, float) and abs(value) < math.inf
        if not number and (numbers or not isinstance(value, str)):
            raise HTTPException(400, f"{key}: {quoted(name)} must be a {'' if numbers else 'text or a '}finite number")
        text = repr(value) if number else _text(name, value)
        if not name.isprintable() or "=" in name or len(name) > MAX_TEXT:
            raise HTTPException(400, f"{key}: {quoted(name)} is no name")
        pairs.append(f"{name}={text}")
    return pairs
