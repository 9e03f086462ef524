"""One name for each thing: no word of the old vocabulary, no class name with two meanings."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections import defaultdict
from pathlib import Path

import pytest

from sdl.formatting import DISPLAY
from sdl.types import Outcome, Verdict

ROOT = Path(__file__).resolve().parent.parent
# They name what was renamed:
EXEMPT = {"docs/from-0.1-to-0.2.md", "sdl/registry.py", "sdl/solvers/footing.py"}
LINES = (Path(__file__).parent / "forbidden_words.txt").read_text(encoding="utf-8").splitlines()
FORBIDDEN = [line for line in LINES if line and not line.startswith("#")]
PATTERN = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in FORBIDDEN))
EVENTS = {"sdl/core/events.py", "sdl/lab/core/events.py"}  # their names are in files on disk


def texts() -> dict[str, str]:
    """Every source file of the package and every page; decisions are history and keep their words."""
    kinds = (
        "sdl/**/*.py",
        "sdl/**/*.j2",
        "sdl/**/*.js",
        "docs/[!d]*/**/*.md",
        "docs/*.md",
        "README.md",
        "CONTRIBUTING.md",
    )
    paths = {path.relative_to(ROOT).as_posix(): path for kind in kinds for path in ROOT.glob(kind)}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if name not in EXEMPT}


@pytest.mark.slow
def test_no_word_of_the_old_vocabulary_is_used() -> None:
    uses = [
        f"{name}:{number}: {match[0]}"
        for name, text in texts().items()
        for number, line in enumerate(text.splitlines(), start=1)
        for match in PATTERN.finditer(line)
    ]
    assert uses == [], "say it in the words of docs/explanation/architecture.md"


def test_a_forbidden_word_is_found_as_a_whole_word_only() -> None:
    assert PATTERN.search("class Footing:")
    assert not PATTERN.search("class MyFooting:")


OF_ONE_INSTRUMENT = re.compile(r"\b(lights?|lamps?|dark|\d*nm)\b", re.IGNORECASE)
"""Words of the LED, which is one instrument among others."""


@pytest.mark.parametrize("room", ["core", "space", "models", "solvers", "runner", "config", "lab"])
def test_what_serves_every_instrument_has_no_word_of_a_single_one(room: str) -> None:
    uses = [
        f"{path.relative_to(ROOT).as_posix()}:{number}: {line.strip()}"
        for path in sorted((ROOT / "sdl" / room).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if OF_ONE_INSTRUMENT.search(line)
    ]
    assert uses == []


def test_a_public_class_name_stands_for_one_class() -> None:
    homes = defaultdict(list)
    for name, text in texts().items():
        if name.endswith(".py") and name not in EVENTS:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes[node.name].append(name)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_every_new_name_of_the_page_on_this_version_exists() -> None:
    page = (ROOT / "docs/from-0.1-to-0.2.md").read_text(encoding="utf-8")
    missing = []
    for title in ("Modules", "Classes", "Functions"):
        section = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
        for new in re.findall(r"^\| `[\w.]+` \| `([\w.]+)` \|$", section, re.MULTILINE):
            module, _, name = f"sdl.{new}".rpartition(".")
            try:
                if title == "Modules":  # found, not imported: `runner.preload` blocks signals for good
                    exists = importlib.util.find_spec(f"sdl.{new}") is not None
                else:
                    exists = hasattr(importlib.import_module(module), name)
            except ImportError:
                exists = False
            if not exists:
                missing.append(new)
    assert missing == []


def test_every_outcome_and_verdict_has_a_display_text():
    assert set(DISPLAY) == {str(word) for kind in (Outcome, Verdict) for word in kind}
