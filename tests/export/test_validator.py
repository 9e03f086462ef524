"""roc-validator finds no error in exported runs; skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

import sdl
from export.terms import TERMS
from sdl.export.crate import write_crate, write_eln
from sdl.report import figures, page

pytest.importorskip("rocrate_validator")


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_crate", ROOT / "tools" / "check_crate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the libraries of roc-validator
def test_exported_runs_are_valid_crates(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "known", lambda: {"error": figures.KINDS["error"]})
    tree = {"name": "led", "instrument": {"kind": "twin"}, "goal": {"515nm": 16384}, "solver": "linear"}
    run = sdl.open_run(sdl.run(tree, runs=tmp_path / "runs").run)
    for version, terms in (("1.1", TERMS), ("1.2", {**TERMS, "sha256": "http://schema.org/sha256"})):
        (tmp_path / f"{version}.json").write_text(json.dumps({"@context": terms}), encoding="utf-8")
    tool.use_contexts(tmp_path)
    write_eln(run, tmp_path / "led.eln")
    write_crate(run, tmp_path / "crate")
    assert tool.check(tmp_path / "led.eln") == []
    assert tool.check(tmp_path / "crate") == []
    (tmp_path / "crate" / "ro-crate-metadata.json").write_text("{}", encoding="utf-8")
    assert tool.check(tmp_path / "crate") != []
