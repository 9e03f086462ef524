"""A client of a running lab, for any process of its user on this machine."""

from __future__ import annotations

import os
import re
from typing import Any

from sdl.errors import ConfigError, Unreachable
from sdl.lab.http import token
from sdl.lab.http.token import LabAddress

SECONDS = 30.0
LONG_SECONDS = 300.0  # for a rehearsal
HERE = "lab.yaml"  # in a directory with this file its lab is the default
LOCAL = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}")


class Client:
    """The API of one lab.

    Args:
        lab: a lab file or the name of a lab. If empty: the lab of `lab.yaml` in the working directory, or without
            such a file the only running lab.
        url: address of the lab, instead of `lab`.
        secret: a named token; by default the lab's own, which its account can read.

    Attributes:
        home: its name and the directory of its lab file.
        names: both as plain values; empty if no lab of this user is known at the address.

    Raises:
        ConfigError: several labs run and none was named, the running lab is not that of the working directory, or the
            address is on another machine.
        Unreachable: no lab runs, or it is still starting.
    """

    def __init__(self, lab: str = "", url: str = "", secret: str = "") -> None:
        self._secret = secret
        running = token.labs()
        if url:
            self.url = url.rstrip("/")
            if not LOCAL.fullmatch(self.url):
                raise ConfigError(f"--url {url}: must be an address of this machine, such as http://127.0.0.1:8080")
            self._address = next((one for one in running if one.url == self.url), None)
        else:
            self._address = _select(running, lab)
            self.url = self._address.url
            if not self.url:
                raise Unreachable(f"{self._address.home} is still starting; try again in a moment")
        self.home = f"the lab at {self.url}" if self._address is None else self._address.home
        self.names = {} if self._address is None else {"lab": self._address.lab, "file": self._address.file}

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """The answer of GET `/api/v1/PATH`.

        Raises:
            Unreachable: no answer.
            ConfigError: the lab refuses the request.
        """
        return self._ask("GET", path, params=query)

    def post(self, verb: str, **body: str) -> str:
        """Execute a command, and return what was done as a sentence.

        Raises:
            Unreachable: no answer; the status of the lab shows whether the command was executed.
            ConfigError: the lab refuses the command, or the token cannot be read; nothing was changed.
        """
        return str(self.ask(verb, **body)["done"])

    def ask(self, verb: str, **body: str) -> dict[str, Any]:
        """The answer of POST `/api/v1/VERB`; raises as `post`."""
        secret = self._secret
        if not secret and self._address is None:
            raise ConfigError(f"no lab of this user listens at {self.url}, so there is no access token for it")
        if not secret and self._address is not None:
            secret = token.read(self._address.folder / token.TOKEN)
        return self._ask("POST", verb, json=body, headers={"Authorization": f"Bearer {secret}"})

    def _ask(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        import httpx

        try:
            # No proxy may see the token; without TLS on this machine, loading certificates is wasted time.
            with httpx.Client(
                trust_env=False, verify=False, timeout=LONG_SECONDS if path == "rehearse" else SECONDS
            ) as client:
                reply = client.request(method, f"{self.url}/api/v1/{path}", **how)
                answer = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unreachable(f"the lab at {self.url} does not answer: {str(error) or type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise Unreachable(f"the server at {self.url} is not a lab")
        if reply.status_code >= 500:
            raise Unreachable(f"the lab at {self.url}: {answer.get('error', reply.status_code)}")
        if reply.status_code >= 400:
            raise ConfigError(str(answer.get("error", reply.status_code)))
        return answer


def _select(running: list[LabAddress], lab: str) -> LabAddress:
    here = not lab and os.path.exists(HERE)
    file = os.path.realpath(lab or HERE)
    named = bool(lab) or here
    matches = [one for one in running if not named or lab == one.lab or file == os.path.realpath(one.file)]
    if len(matches) == 1:
        return matches[0]
    names = ", ".join(f"{one.lab} ({one.file}, {one.url or 'starting'})" for one in matches or running)
    if matches:
        raise ConfigError(f"several labs are running: {names}; name one with --lab")
    if here and running:
        raise ConfigError(
            f"the lab of {os.path.abspath(HERE)} is not running; running: {names}. "
            f"Name one with --lab, or start this one: sdl lab run {HERE}"
        )
    if lab:
        others = f"; running: {names}" if running else ""
        raise Unreachable(f"no lab {lab} is running{others}; start it: sdl lab run FILE")
    raise Unreachable("no lab of this user is running; start one: sdl lab run FILE")
