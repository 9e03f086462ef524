"""`sdl instrument new`: files that are valid as they stand, and that overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import sdl
from sdl import config
from sdl.cli.instrument import SCRIPTS, new
from sdl.errors import ConfigError
from sdl.types import Outcome

KINDS = ("command", "external", "manual", "python")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_valid_and_of_that_kind(kind: str, tmp_path: Path):
    new(kind, tmp_path / "rig.yaml")
    campaign = config.load(tmp_path / "rig.yaml")
    assert campaign.instrument.kind == kind
    assert campaign.goal


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_commented_out_is_valid_too(kind: str, tmp_path: Path):
    new(kind, tmp_path / "rig.yaml")
    text = (tmp_path / "rig.yaml").read_text()
    lines = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ": " in line else line
        for line in text.splitlines()[1:]
    ]
    (tmp_path / "rig.yaml").write_text("\n".join(lines))
    (tmp_path / "my_rig.py").touch()
    assert config.load(tmp_path / "rig.yaml").instrument.kind == kind


@pytest.mark.parametrize("kind", SCRIPTS)
def test_the_campaign_reaches_its_goal_as_it_is_written(kind: str, tmp_path: Path):
    new(kind, tmp_path / "rig.yaml")
    result = sdl.run(tmp_path / "rig.yaml", runs=tmp_path / "runs")
    assert result.outcome is Outcome.REACHED, result.reason


def test_nothing_is_overwritten_without_force(tmp_path: Path):
    (tmp_path / "rig.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"rig.py exists already; name another file, or overwrite with --force"):
        new("command", tmp_path / "rig.yaml")
    assert not (tmp_path / "rig.yaml").exists()
    assert (tmp_path / "rig.py").read_text() == "mine"
    new("command", tmp_path / "rig.yaml", force=True)
    assert (tmp_path / "rig.py").read_text() != "mine"


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"no template for kind comand; allowed: command, .*did you mean 'command'\?"):
        new("comand", tmp_path / "rig.yaml")
