"""Commands of `sdl` in processes of their own, whose JSON is the answer of a tool.

Every argument is made here: a run is a directory found below the runs, a file one that this server wrote.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from sdl.errors import ConfigError, SdlError
from sdl.parallel import children

SECONDS = 300.0


def command(*words: str, seconds: float = SECONDS) -> dict[str, Any]:
    """The JSON object that a command prints with `--json`.

    Raises:
        ConfigError: it refused, gave no answer, or took longer than `seconds`.
    """
    try:
        with children.child_environment():
            done = subprocess.run(
                children.command(words[0], "--json", *words[1:]),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=seconds,
                check=False,
            )
        given: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"it did not end within {seconds:g} s; ask for less") from None
    except (OSError, ValueError) as error:
        raise SdlError(f"the command gave no answer: {error}") from error
    if "exit_code" in given:
        raise ConfigError(str(given.get("reason")))
    return given
