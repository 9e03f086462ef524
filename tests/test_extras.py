"""What is said where a package of an extra is missing."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from sdl.errors import ConfigError, SolverError
from sdl.extras import missing, own_version, requirements, versions_of
from sdl.solvers import forest

ROOT = Path(__file__).resolve().parent.parent


def test_an_extra_s_requirements_are_those_that_the_project_declares() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, wanted in declared.items():
        assert {r.split(">")[0].split("<")[0].split("!")[0].lower() for r in requirements(extra)} == {
            r.split(">")[0].split("<")[0].lower() for r in wanted
        }


def test_the_message_names_the_module_and_what_its_extra_requires() -> None:
    message = missing("notifications", "lab", ImportError("no", name="apprise.plugins"))
    assert message.startswith("notifications need apprise, which is not installed; the extra `lab` of sdl-orchestrator")
    assert "apprise>=1.9" in message
    assert "pip install" not in message


def test_versions_are_of_what_is_installed_and_of_this_package_first() -> None:
    assert list(versions_of("numpy", "no-such-package")) == ["sdl", "numpy"]
    assert versions_of("numpy")["sdl"] == own_version() != ""


def test_without_forestdiffusion_the_solver_is_refused_before_anything_is_measured(monkeypatch: Any) -> None:
    monkeypatch.setattr(forest, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="forest solvers need ForestDiffusion, which is not installed"):
        forest.Forest().suits((), ())
    with pytest.raises(SolverError, match="the extra `forest`"):
        forest.Forest().fit(None)  # type: ignore[arg-type]
