"""What axe-core finds on the pages and the reports: nothing, in both themes, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from processes import sdl
from report import kit
from waiting import PATIENCE

import sdl as package
from tests.web.test_browser import CHROMIUM, Lab, at, chromium, lab, playwright  # noqa: F401 - fixtures
from tests.web.web_kit import Served

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
VIEWS = [("light", 1200), ("dark", 390)]
CAMPAIGNS: Mapping[str, Mapping[str, Any]] = {
    "reached": {"confirm": 2, "solver": "auto"},
    "spent": {"tolerance": "0.05%", "solver": "pls", "stop": {"trials": 12}},
    "unreachable": {"goal": kit.GOAL | {"445nm": 60000}, "solver": "auto"},
    "maximising": {"goal": {"445nm": "maximise", "515nm": {"at most": 20000}}, "stop": {"trials": 12}},
}
VERIFIED = """
name: verified
instrument: {kind: twin, seed: 1}
goal: {445nm: 16384}
solver: linear
stop: {trials: 12}
expect: {outcome: reached, trials: {median: 6}, seeds: 1}
"""
SWEPT = """
name: swept
campaign: {name: swept, instrument: {kind: twin, seed: 1}, goal: {445nm: 16384}, stop: {trials: 12}}
grid: {solver: [linear, pls]}
seeds: 1
"""


class Site(Served):
    """`sdl web` over a run of each kind, and the pages that commands write into files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.runs = folder, folder / "runs"
        self.run = {name: kit.campaign(self.runs, name, **tree) for name, tree in CAMPAIGNS.items()}
        (folder / "verified.yaml").write_text(VERIFIED)
        (folder / "swept.yaml").write_text(SWEPT)
        self.written = [
            self._write("compare", "reached", "spent", "-o", "compare.html"),
            self._write("verify", "verified.yaml", "--report", "verify.html"),
            self._write("bench", "--solvers", "linear", "--goals", 1, "--jobs", 1, "--report", "bench.html"),
            self._write("sweep", "swept.yaml", "--jobs", 1, "--report", "sweep.html"),
            self._write("report", self.run["maximising"], "-o", "report.html"),
        ]
        super().__init__(self.runs, folder / "state")

    def _write(self, *words: object) -> Path:
        done = sdl(*words, cwd=self._folder)
        assert done.returncode == 0, done.stderr
        return self._folder / str(words[-1])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    opened = Site(tmp_path_factory.mktemp("axe"))
    yield opened
    opened.end()


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def violations(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Callable[[str], list[str]]]:  # noqa: F811
    """A function that opens an address and gives what axe finds on it; `page` is that page."""
    scheme, width = request.param
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()

    def found(address: str, ready: str = "h1") -> list[str]:
        if page.url != address:
            page.goto(address)
        page.locator(ready).first.wait_for()
        page.locator("#making").wait_for(state="detached")  # such a page loads itself again
        answer = axe.Axe().run(page).response
        return [
            f"{address}: {one['id']}: {node['html'][:200]}" for one in answer["violations"] for node in one["nodes"]
        ]

    found.page = page  # type: ignore[attr-defined]
    yield found
    context.close()


def test_axe_finds_a_fault_where_there_is_one(violations: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><html><h1>x</h1><img src=x><p style='color:#999;background:#fff'>faint</p></html>")
    found = " ".join(violations(bad.as_uri()))
    assert all(rule in found for rule in ("image-alt", "html-has-lang", "color-contrast"))


def test_no_page_of_sdl_web_has_a_violation(violations: Any, site: Site) -> None:
    runs = [site.url + at(run) for run in site.run.values()]
    compared = "&".join(f"run={run.parent.name}/{run.name}" for run in list(site.run.values())[:2])
    found = violations(site.url + "/") + violations(site.url + "/runs?q=reached")
    for address in (*runs, site.url + f"/compare?{compared}", runs[0] + "/model", runs[0] + "/report"):
        violations.page.goto(address)
        found += violations(address, "h1, h2")
    violations.page.goto(site.url + "/runs/none/such")
    found += violations(site.url + "/runs/none/such")
    assert found == []


def test_the_form_of_a_campaign_has_no_violation_with_mistakes_and_with_dialogs(violations: Any, site: Site) -> None:
    page = violations.page
    page.goto(site.url + "/start")
    page.evaluate("token => sessionStorage.setItem('token', token)", site.token)
    page.reload()
    page.get_by_label("445nm: reading").fill("900000")
    page.locator('[data-path="goal.445nm"] .field-error').wait_for()
    found = violations(page.url)
    page.goto(site.url + at(site.run["spent"]))
    page.get_by_role("button", name="Raise the budget…").click()
    page.locator("#ask[open]").wait_for()
    assert found + violations(page.url) == []


def test_no_page_of_a_lab_has_a_violation(violations: Any, lab: Lab) -> None:  # noqa: F811
    assert violations(lab.url + "/") + violations(lab.url + "/start") == []


def test_no_report_in_a_file_has_a_violation(violations: Any, site: Site) -> None:
    assert [one for file in site.written for one in violations(file.as_uri(), "h1")] == []


def test_the_runs_are_of_the_kinds_that_their_names_say(site: Site) -> None:
    ends = {name: package.open_run(run).result.outcome for name, run in site.run.items()}
    assert ends == {"reached": "reached", "spent": "spent", "unreachable": "unreachable", "maximising": "spent"}
