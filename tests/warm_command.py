"""The real command in processes that are copies of one that has loaded everything: for tests that start it often.

Run as a script it is that one: a line of JSON on its stdin starts a copy; two lines on its stdout say the pid of the
copy and, once that has ended, its exit code as `subprocess` has it.
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

    def start(self, *args: object, cwd: Path) -> Copy:
        return Copy(self._server, [str(arg) for arg in args], cwd)


class Copy:
    """As much of `subprocess.Popen` as the tests ask for; stdout and stderr in one file."""

    returncode: int | None = None

    def __init__(self, server: subprocess.Popen[str], args: list[str], cwd: Path) -> None:
        self._server, self._said = server, tempfile.NamedTemporaryFile("r", encoding="utf-8")  # noqa: SIM115
        assert server.stdin is not None
        server.stdin.write(json.dumps({"args": args, "cwd": str(cwd), "said": self._said.name}) + "\n")
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
    from sdl import cli, runner

    with tempfile.TemporaryDirectory() as folder:  # much is imported only where it is used
        tree = {"name": "rehearsal", "instrument": "twin", "goal": {"445nm": 16384}, "solver": "linear"}
        runner.run(tree, runs=Path(folder))
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        pid = os.fork()
        if not pid:
            os.chdir(job["cwd"])
            for number, target in ((0, os.devnull), (1, job["said"]), (2, job["said"])):
                os.dup2(os.open(target, os.O_RDWR | os.O_APPEND), number)
            sys.argv = ["sdl", *job["args"]]
            cli.main()
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
