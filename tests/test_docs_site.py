"""The documentation as a site: built strictly, without the network, with a search that works from files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_project import tracked
from waiting import TIMEOUT

pytest.importorskip("mkdocs", reason="mkdocs is not installed")
pytest.importorskip("material", reason="mkdocs-material is not installed")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.slow
LOADED = re.compile(
    r'<(?:script|img|iframe|source)[^>]* src="(?:https?:)?//|<link[^>]* rel="stylesheet"[^>]* href="https?://'
)


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=project, env=env, capture_output=True, text=True, timeout=10 * TIMEOUT, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_and_every_public_name_is_in_it_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    import sdl

    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.name not in ("COPYME.md", "README.md")]
    for path in pages:
        assert (site / path.relative_to(ROOT / "docs")).with_suffix(".html").is_file()
    interface = (site / "reference" / "api.html").read_text(encoding="utf-8")
    assert [name for name in sdl.__all__ if f'id="sdl.{name}"' not in interface and name != "SdlError"] == []
    assert 'id="sdl.errors.SdlError"' in interface
    for page in site.rglob("*.html"):
        assert LOADED.findall(page.read_text(encoding="utf-8")) == [], page


def test_a_file_of_the_repository_that_a_page_links_to_is_in_it(site: Path) -> None:
    page = (site / "how-to" / "own-optimiser.html").read_text(encoding="utf-8")
    assert "../repository/examples/sdl-optuna/sdl_optuna.py.html" in page
    source = (site / "repository" / "examples" / "sdl-optuna" / "sdl_optuna.py.html").read_text(encoding="utf-8")
    assert "class" in source
    assert "FittedOptuna" in source


def test_no_page_has_tags_which_the_search_ranks_above_all_words(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert any(entry["location"] == "repository/paper/paper.html" for entry in index["docs"])
    assert [entry["location"] for entry in index["docs"] if entry.get("tags")] == []


def test_each_dead_link_is_named_and_fails_the_build(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for path in tracked():
        copy = project / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    dead = ("missing.md", "goals.md#no-such-heading", "../../sdl/missing.py")
    with (project / "docs" / "explanation" / "paper.md").open("a", encoding="utf-8") as stream:
        stream.write("\n".join(["", *(f"[dead]({link})" for link in dead), ""]))
    done = build(project, tmp_path / "site")
    assert done.returncode != 0
    assert [link for link in dead if link not in done.stderr] == []
    assert "3 warnings in strict mode" in done.stderr + done.stdout


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1100, "height": 800})
        browser.close()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("how do I add a constraint", "choices-and-constraints"),
        ("what does unreachable mean", "questions"),
        ("where is my data", "data"),
        ("restart after power cut", "questions"),
        ("which solver", "solvers"),
    ],
)
def test_a_search_in_the_files_answers_a_newcomer_without_a_request(
    question: str, answer: str, site: Path, page: Any
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.locator(".md-search__input").press_sequentially(question)
    page.wait_for_selector(".md-search-result__item", timeout=1000 * TIMEOUT)
    found = page.eval_on_selector_all(".md-search-result__item > a", "items => items.map(a => a.href)")
    pages = list(dict.fromkeys(Path(address.partition("?")[0]).stem for address in found))
    assert answer in pages[:5]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
