"""Asks a running lab, from any process of its user on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from sdl.errors import ConfigError, Unreachable
from sdl.lab.http import token
from sdl.lab.http.token import LabAddress

SECONDS = 30.0
HERE = "lab.yaml"
"""Who stands beside such a lab file means its lab."""
LOCAL = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}")


class Client:
    """A lab, as its API shows it.

    Args:
        lab: a lab file, or a lab's name. Where it is empty, the lab of `lab.yaml` in the working directory, or without
            such a file the only lab that runs.
        url: its address, in place of looking for it.
        environ: where XDG_STATE_HOME is looked up.

    Attributes:
        home: its name and the folder of its lab file.
        names: both as plain values; empty for an address at which no lab of this user is known.

    Raises:
        ConfigError: several run and none was named, the one that runs is not that of the working directory, or the
            address is not one of this machine.
        Unreachable: none runs, or it is starting.
    """

    def __init__(self, lab: str = "", url: str = "", *, environ: Mapping[str, str] | None = None) -> None:
        found = token.labs(environ)
        if url:
            self.url = url.rstrip("/")
            if not LOCAL.fullmatch(self.url):
                raise ConfigError(f"--url {url}: must be of this machine, such as http://127.0.0.1:8080")
            self._address = next((one for one in found if one.url == self.url), None)
        else:
            self._address = _chosen(found, lab)
            self.url = self._address.url
            if not self.url:
                raise Unreachable(f"{self._address.home} is starting, and does not answer yet; try again in a moment")
        self.home = f"the lab at {self.url}" if self._address is None else self._address.home
        self.names = {} if self._address is None else {"lab": self._address.lab, "file": self._address.file}

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """What `/api/v1/PATH` shows.

        Raises:
            Unreachable: it does not answer. ConfigError: it refuses.
        """
        return self._ask("GET", path, params=query)

    def post(self, verb: str, **body: str) -> str:
        """Has something done; what was done, as a sentence.

        Raises:
            Unreachable: it does not answer; whether it was done is not known, its status tells.
            ConfigError: it refuses, or no token can be read. Nothing was changed.
        """
        if self._address is None:
            raise ConfigError(f"no lab of yours listens at {self.url}, so that there is no token to show it")
        held = token.read(self._address.folder / token.TOKEN)
        return str(self._ask("POST", verb, json=body, headers={"Authorization": f"Bearer {held}"})["done"])

    def _ask(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        import httpx

        try:
            # No proxy is shown the token; there is no TLS on this machine, and reading certificates takes a while.
            with httpx.Client(trust_env=False, verify=False, timeout=SECONDS) as client:
                reply = client.request(method, f"{self.url}/api/v1/{path}", **how)
                answer = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unreachable(f"the lab at {self.url} does not answer: {str(error) or type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise Unreachable(f"what listens at {self.url} is no lab")
        if reply.status_code >= 500:
            raise Unreachable(f"the lab at {self.url}: {answer.get('error', reply.status_code)}")
        if reply.status_code >= 400:
            raise ConfigError(str(answer.get("error", reply.status_code)))
        return answer


def _chosen(found: list[LabAddress], lab: str) -> LabAddress:
    """The lab that is meant."""
    here = not lab and os.path.exists(HERE)
    if lab or here:
        file = os.path.realpath(lab or HERE)
        meant = [one for one in found if lab == one.lab or file == os.path.realpath(one.file)]
    else:
        meant = found
    if len(meant) == 1:
        return meant[0]
    names = ", ".join(f"{one.lab} ({one.file}, {one.url or 'starting'})" for one in meant or found)
    if meant:
        raise ConfigError(f"several labs run here: {names}; name one with --lab")
    if here and found:
        raise ConfigError(
            f"the lab of {os.path.abspath(HERE)} does not run here; what runs is {names}: "
            f"name that with --lab, or start this one: sdl lab run {HERE}"
        )
    if lab:
        raise Unreachable(f"no lab {lab} runs here" + (f"; there is {names}" if found else "") + "; sdl lab run FILE")
    raise Unreachable("no lab of yours runs here; start one: sdl lab run FILE")
