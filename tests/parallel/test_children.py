"""How processes begin: no command runs a module of the working directory, and what was killed leaves no folders."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import processes
import pytest

from sdl import yamlfile
from sdl.parallel import children

pytestmark = pytest.mark.skipif(os.name != "posix", reason="tried on POSIX only")

CAMPAIGN = {
    "name": "led",
    "instrument": {"kind": "twin"},
    "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
    "solver": "linear",
}
SWEEP = {"name": "many", "campaign": CAMPAIGN, "seeds": 2}
LAB = {
    "name": "test",
    "instruments": {"a": {"instrument": {"kind": "twin"}}},
    "jobs": {"j": {"campaign": CAMPAIGN, "instrument": "a", "when": {"asked": True}}},
}
SDL, PYTEST = ((sys.executable, f"bin/{name}-command") for name in ("sdl", "pytest"))
"""As the installed commands begin: with the folder of their script in the path, and not the working directory."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with campaigns, and beside them modules under the names of others', which leave a mark."""
    for name in ("random", "numpy", "sdl", "pickle"):
        code = f"open({str(tmp_path / 'marked')!r}, 'a').write('{name} ')\nraise ImportError('not this one')\n"
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for (_, command), main in ((SDL, "sdl.__main__ import main"), (PYTEST, "pytest import main")):
        (tmp_path / command).write_text(
            f"from {main}\nif __name__ == '__main__':\n    raise SystemExit(main())\n", encoding="utf-8"
        )
    trees = {
        "led": CAMPAIGN, "expect": {**CAMPAIGN, "expect": {"trials": 1, "seeds": 2}},
        "once": {**CAMPAIGN, "expect": {"trials": 1, "seeds": 1}}, "sweep": SWEEP, "lab": LAB,
    }  # fmt: skip
    for name, tree in trees.items():
        (tmp_path / f"{name}.yaml").write_text(yamlfile.dump(tree), encoding="utf-8")
    return tmp_path


def ran(folder: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        words, cwd=folder, env=surroundings(folder), capture_output=True, text=True, check=False, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def surroundings(folder: Path) -> dict[str, str]:
    return processes.environment(XDG_STATE_HOME=str(folder / "state"))


@contextlib.contextmanager
def serving(folder: Path, *words: str) -> Iterator[str]:
    """A command that serves, until the block ends; where it does, as it says itself."""
    with subprocess.Popen(
        [*SDL, *words], cwd=folder, env=surroundings(folder), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield next(match[0] for line in process.stdout if (match := re.search(r"http://127\S+", line)))
        finally:
            process.terminate()
            process.communicate(timeout=60)


def verify(folder: Path) -> None:
    ran(folder, *SDL, "verify", "expect.yaml", "--jobs", "2", code=1)


def sweep(folder: Path) -> None:
    assert json.loads(ran(folder, *SDL, "sweep", "sweep.yaml", "--jobs", "2", "--json"))["ran"] == 2


def sweep_on_a_cluster(folder: Path) -> None:
    pytest.importorskip("distributed")
    words = ("sweep", "sweep.yaml", "--cluster", "local", "--jobs", "1", "--json")
    assert json.loads(ran(folder, *SDL, *words))["ran"] == 2


def replay(folder: Path) -> None:
    ran(folder, *SDL, "run", "led.yaml", "--quiet")
    ran(folder, *SDL, "replay", "latest")


def pytest_items(folder: Path) -> None:
    installed = any(entry.name == "sdl" for entry in entry_points(group="pytest11"))
    plugin = () if installed else ("-p", "sdl.testing.plugin")
    output = ran(folder, *PYTEST, *plugin, "-p", "no:cacheprovider", "--sdl-report", "kept", "once.yaml", code=1)
    assert "report    " in output


def web_report(folder: Path) -> None:
    import httpx

    ran(folder, *SDL, "run", "led.yaml", "--quiet")
    (run,) = folder.glob("runs/*/*")
    with serving(folder, "web") as url, httpx.Client(trust_env=False, timeout=60) as http:
        page = http.get(f"{url.rstrip('/')}/runs/led/{run.name}/report")
        assert page.status_code == 200, page.text


def lab_with_a_start(folder: Path) -> None:
    with serving(folder, "lab", "run", "lab.yaml"):
        ran(folder, *SDL, "lab", "run-now", "j")
        end = time.monotonic() + 60
        while not any(line["event"] == "Stopped" for line in the_lines(folder)):
            assert time.monotonic() < end, "no campaign came to its end"
            time.sleep(0.05)


def the_lines(folder: Path) -> Sequence[dict[str, Any]]:
    return [line for record in folder.glob("runs/led/*/record.jsonl") for line in processes.lines_of(record)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [verify, sweep, sweep_on_a_cluster, replay, pytest_items, web_report, lab_with_a_start]
)
def test_no_process_runs_a_module_that_lies_in_the_working_directory(command: Any, folder: Path) -> None:
    command(folder)
    marked = folder / "marked"
    assert not marked.exists(), marked.read_text()


def test_what_is_started_keeps_out_of_the_working_directory_and_what_a_plug_in_starts_there_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(children.SAFE_PATH, raising=False)
    code = "import os, random; from sdl.parallel import children; children.restore_environment()"
    code += "; print(os.environ.get('PYTHONSAFEPATH'))"
    with children.child_environment(PYTHONPATH=str(processes.ROOT)):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    assert not (folder / "marked").exists()
    assert children.SAFE_PATH not in os.environ
    monkeypatch.setenv(children.SAFE_PATH, "1")  # the user's own choice stays
    with children.child_environment():
        children.restore_environment()
    assert os.environ[children.SAFE_PATH] == "1"


FORKS = """
import sys
from multiprocessing import forkserver
from sdl.parallel import children

children.fork_server([])
with children.child_environment():
    forkserver.ensure_running()
if room := children.temporary_folder():
    open(f"{room}/something", "x").close()
print("up", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def copying(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with its fork server, as of a lab; ends by itself when its stdin does."""
    environment = processes.environment(TMPDIR=str(folder))
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory for temporary files with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_the_folders_of_killed_processes_are_removed_by_the_next_start_and_those_of_living_ones_stay(
    short: Path,
) -> None:
    def remaining() -> set[Path]:
        return set(short.rglob("pymp-*"))

    with copying(short) as killed:
        (first,) = remaining()
        killed.kill()
    with copying(short):
        (second,) = remaining() - {first}
        assert not first.exists()
        with copying(short):
            assert second in remaining()
    assert not remaining()


def test_a_folder_that_others_may_write_to_is_not_used_and_nothing_in_it_is_removed(short: Path) -> None:
    ours = short / f"sdl-{os.getuid()}"
    (ours / "theirs").mkdir(parents=True)
    ours.chmod(0o777)
    with copying(short):
        assert [path.name for path in ours.iterdir()] == ["theirs"]
