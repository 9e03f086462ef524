"""The real command in processes that are copies of one that has loaded everything: for tests that start it often.

Run as a script it is that one: a line of JSON on its stdin starts a copy, with its streams on the files or terminals of
these names; two lines on its stdout give the pid of the copy and, once that has ended, its exit code as `subprocess`
has it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import processes
from waiting import TIMEOUT


class Warm:
    """Starts commands as `processes.start` does, some 50 times as fast; one after the other. POSIX only."""

    def __enter__(self) -> Warm:
        self._server = subprocess.Popen(
            [sys.executable, __file__], env=processes.environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.communicate(timeout=TIMEOUT)

    def start(self, *args: object, cwd: Path, out: str | None = None, err: str | None = None, **env: str) -> Copy:
        """Starts a command; `out` and `err` are files or terminals, by default one file for both."""
        return Copy(self._server, {"args": [str(arg) for arg in args], "cwd": str(cwd), "env": env}, out, err)


class Copy:
    """As much of `subprocess.Popen` as the tests ask for."""

    returncode: int | None = None

    def __init__(self, server: subprocess.Popen[str], job: dict[str, Any], out: str | None, err: str | None) -> None:
        self._server, self._said = server, tempfile.NamedTemporaryFile("r", encoding="utf-8")  # noqa: SIM115
        job |= {"out": out or self._said.name, "err": err or self._said.name}
        assert server.stdin is not None
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        self.pid = int(self._line(TIMEOUT) or 0)

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def poll(self) -> int | None:
        if self.returncode is None and (line := self._line(0)):
            self.returncode = int(line)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        if self.returncode is None:
            self.returncode = int(self._line(timeout) or "no end in time")
        with self._said as file:
            return file.read(), ""

    def _line(self, seconds: float) -> str | None:
        stdout: Any = self._server.stdout
        return stdout.readline() if select.select([stdout], [], [], seconds)[0] else None


def serve() -> None:
    """Loads what a campaign needs, then copies itself for each line."""
    from rich import console, live, progress_bar, table  # noqa: F401 - of what is imported only where it is used

    from sdl import cli, runner
    from sdl.runs import listing  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        tree = {"name": "rehearsal", "instrument": "twin", "goal": {"445nm": 16384}, "solver": "linear"}
        runner.run(tree, runs=Path(folder))
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            os.chdir(job["cwd"])
            os.environ.update(job["env"])
            for number, target in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
                os.dup2(os.open(target, os.O_RDWR | os.O_APPEND), number)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
            sys.argv = ["sdl", *job["args"]]
            cli.main()
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
