"""The package in CONTRIBUTING: an instrument, a solver, a design, a rule and a figure of one's own, found and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(?:python|toml|yaml)\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package as pip leaves it: its modules, and its entry points beside them."""
    for name, text in BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    description = tmp_path / "my_lab-0.1.dist-info"
    description.mkdir()
    (description / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = [
        line for group, result in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in result.items()), "")
    ]
    (description / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def sdl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "sdl", *words]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_a_campaign_uses_all_five_and_reaches_a_negative_goal(package: Path) -> None:
    done = sdl(package, "run", "bath.yaml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = package.glob("runs/bath/*/record.jsonl")
    events = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    assert [event["by"] for event in events if event["event"] == "Proposed"][:5] == ["uniform"] * 4 + ["plane"]
    assert events[0]["config"]["stop"]["rules"] == [{"kind": "readings", "most": 100}]
    assert [event["outcome"] for event in events if event["event"] == "Stopped"] == ["reached"]
    safe = [event for event in events if event["event"] == "Safe"]
    assert all(event["applied"] == {"pump": 0.0, "heater": 5.0} for event in safe)
    page = package / "page.html"
    printed = sdl(package, "report", "latest", "--output", str(page))
    assert printed.returncode == 0, printed.stderr
    assert "Reading durations" in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_rule_of_another_package_ends_a_campaign_and_its_mistakes_are_told(package: Path) -> None:
    tree = yaml.safe_load((package / "bath.yaml").read_text(encoding="utf-8"))
    file = package / "few.yaml"
    file.write_text(yaml.safe_dump(tree | {"name": "few", "stop": {"rules": [{"kind": "readings", "most": 2}]}}))
    done = sdl(package, "run", "few.yaml")
    assert done.returncode == 1, done.stderr
    assert "all 2 readings used" in done.stdout
    for rule, words in (
        ({"kind": "reading"}, "did you mean 'readings'"),
        ({"kind": "readings"}, "most: Field required"),
    ):
        file.write_text(yaml.safe_dump(tree | {"stop": {"rules": [rule]}}))
        refused = sdl(package, "validate", "few.yaml")
        assert refused.returncode == 2
        assert "stop.rules" in refused.stderr
        assert words in refused.stderr


@pytest.mark.slow
def test_a_figure_that_fails_is_left_out_of_the_page(package: Path) -> None:
    assert sdl(package, "run", "bath.yaml").returncode == 0
    (package / "my_figure.py").write_text("raise RuntimeError('no')\n")
    printed = sdl(package, "report", "latest", "--output", "page.html")
    assert printed.returncode == 0, printed.stderr
    assert "figure left out: kind 'durations' of the package my-lab 0.1" in printed.stderr
