"""The command line in this process."""

from __future__ import annotations

import json as json_module
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import warm_command

from sdl import runner
from sdl.cli import main


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        return json_module.loads(line)


Sdl = Callable[..., Done]


@pytest.fixture
def sdl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sdl:
    """Runs a command in an empty directory; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["sdl", *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as rest:
            main()
        assert isinstance(rest.value.code, int)
        return Done(rest.value.code, *capsys.readouterr())

    return run


CAMPAIGN = """\
name: led
instrument: {kind: twin}
goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
solver: {kind: linear}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A campaign that is reached on the twin."""
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    return "led.yaml"


@pytest.fixture(scope="session")
def warm() -> Iterator[warm_command.Warm]:
    """Starts commands in processes that have loaded everything; one after the other."""
    with warm_command.Warm() as started:
        yield started


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of such a campaign; not to be changed."""
    home = tmp_path_factory.mktemp("finished")
    (home / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    return Path(runner.run(home / "led.yaml", runs=home / "runs").run)


@pytest.fixture
def with_run(finished: Path, tmp_path: Path) -> Path:
    """A directory of the test's own with the campaign file and that run."""
    return shutil.copytree(finished.parents[2], tmp_path / "home")
