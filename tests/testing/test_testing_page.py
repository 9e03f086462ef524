"""docs/how-to/testing.md: its campaigns, commands and what they print."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_project import PLUGIN, ROOT, python

PAGE = (ROOT / "docs" / "how-to" / "testing.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's campaigns, and no Python."""
    folder = tmp_path_factory.mktemp("page")
    for found in re.finditer(r"^```yaml\n(# (\w+\.yaml)\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        (folder / found[2]).write_text(found[1], encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == ["fast.yaml", "wrong.yaml"]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("fast", 0), ("wrong", 1)])
def test_verify_prints_what_the_page_shows(home: Path, name: str, code: int) -> None:
    shown = re.search(rf"^```console\n\$ sdl verify {name}\.yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown
    done = python("-m", "sdl", "verify", f"{name}.yaml", cwd=home)
    assert (done.returncode, done.stdout) == (code, shown[1])


@pytest.mark.slow
def test_pytest_passes_the_right_one_and_fails_the_wrong_one(home: Path) -> None:
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, cwd=home)
    assert done.returncode == 1
    shown = re.search(r"^\$ pytest -q\n(.*)$", PAGE, re.MULTILINE)
    assert shown
    assert done.stdout.splitlines()[0].split() == shown[1].split()
    assert "FAILED wrong.yaml::all-seeds - wrong, trials, median: expected at most 4" in done.stdout
    assert "1 failed, 41 passed" in done.stdout


@pytest.mark.slow
def test_a_run_of_the_page_is_replayed(home: Path) -> None:
    assert python("-m", "sdl", "run", "fast.yaml", cwd=home).returncode == 0
    done = python("-m", "sdl", "replay", "latest", cwd=home)
    assert done.returncode == 0, done.stdout
    assert "identical: every decision and every figure is as recorded" in done.stdout
