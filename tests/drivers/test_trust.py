"""What another account wrote, or came by the page, does not choose programs, code or addresses here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import replay
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.drivers.trust import IMPORTED, NAMED, named_by, require_trust, submitted_problems
from sdl.errors import ConfigError
from sdl.registry import OURS
from tests.drivers.test_python_function import CAMPAIGN, RIG


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An unfinished run with a Python function as the instrument."""
    (tmp_path / "my_rig.py").write_text(RIG)
    tree: dict[str, Any] = {**CAMPAIGN, "stop": {"trials": 1}}
    tree["instrument"] = {**tree["instrument"], "folder": str(tmp_path)}
    return Path(str(sdl.run(tree, runs=tmp_path / "runs").run))


def test_a_run_of_this_account_is_resumed(run: Path):
    assert sdl.resume(run, changes=["stop.trials=2"]).trials == 2


def test_a_run_of_another_account_is_resumed_and_replayed_only_with_trust(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for act in (sdl.resume, replay.replay):
        with pytest.raises(ConfigError, match=r"written by another account \(.*names Python code; .*--trust"):
            act(run)
    assert replay.replay(run, trust=True).same
    assert sdl.resume(run, changes=["stop.trials=2"], trust=True).trials == 2


def test_one_file_of_another_account_is_enough(run: Path, monkeypatch: pytest.MonkeyPatch):
    def owners(self: Path) -> os.stat_result:
        found = os.lstat(self)
        if self.name == "record.jsonl":
            return os.stat_result((*found[:4], found.st_uid + 1, *found[5:10]))
        return found

    monkeypatch.setattr(Path, "lstat", owners)
    with pytest.raises(ConfigError, match="another account"):
        require_trust({"kind": "command"}, run, trusted=False)
    require_trust({"kind": "twin"}, run, trusted=False)


def test_every_kind_that_names_something_is_known():
    assert NAMED.keys() >= {"command", "python"}
    assert not NAMED.keys() & {"twin", "manual", "replay", "claude-light", "sdl-light"}
    assert NAMED.keys() <= OURS["drivers"].keys() | {"http", "scpi"}


def test_a_claude_light_names_an_address_unless_it_is_the_public_one(tmp_path: Path):
    other = "http://127.0.0.1:9/api"
    for given in ({"kind": "claude-light", "url": other}, ClaudeLight(url=other)):
        assert named_by(given) == "an address"
    for given in ("claude-light", {"kind": "claude-light"}, ClaudeLight(), ClaudeLight().model_dump()):
        assert named_by(given) == ""
    (tmp_path / IMPORTED).touch()
    with pytest.raises(ConfigError, match="imported, and its instrument names an address"):
        require_trust(ClaudeLight(url=other), tmp_path, trusted=False)


@pytest.mark.parametrize("given", ["command", {"kind": "python"}, {"use": "rig.yaml"}, {"kind": "http"}])
def test_a_submitted_campaign_names_nothing_of_the_kind(given: Any):
    assert named_by(given)
    for tree in ({"instrument": given}, {"expect": {"instrument": given}}):
        assert len(submitted_problems(tree)) == 1


def test_a_submitted_campaign_may_name_other_things():
    assert (
        submitted_problems({"instrument": "twin", "expect": {"trials": 3}, "watch": "twin", "prior": ["latest"]}) == []
    )
    assert [p.path for p in submitted_problems({"watch": "../other/twin.toml"})] == ["watch"]
