"""The page as the place to start, change and follow a campaign, in a real Chromium, from an empty directory on."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import COMMAND, environment
from waiting import PATIENCE, until

import sdl
from sdl.core.events import Interrupted, Resumed
from sdl.runs import notes
from sdl.runs.runs import open_run
from sdl.store import record
from tests.web.test_browser import CHROMIUM, CONTRAST, NAMELESS, tab_to
from tests.web.test_start import interrupted_events, spent

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]

MOST_CLICKS = 6
FORECAST = re.compile(r"Goal reached in ([1-5]) of \1 simulated campaigns? on this twin|ended in time")
"""On a busy machine fewer than five end in its seconds."""


class Site:
    """`sdl web` in a directory without runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url, self.state = f"http://127.0.0.1:{port}", folder / "state"
        self._out = (folder / "web.out").open("wb")
        command = [*COMMAND, "web", "--port", str(port)]
        variables = environment(XDG_STATE_HOME=str(self.state))
        self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=self._out, stderr=self._out)
        until(lambda: "until Ctrl-C" in (folder / "web.out").read_text(), self.process)

    @property
    def token(self) -> str:
        return next(self.state.glob("sdl/labs/web-*/token")).read_text().strip()

    def end(self) -> str:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self._out.close()
        return (self.folder / "web.out").read_text()

    def only(self, campaign: str) -> Path:
        until(lambda: any(self.runs.glob(f"{campaign}/*/record.jsonl")))
        return max(self.runs.glob(f"{campaign}/*/record.jsonl")).parent


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path)
    yield opened
    if opened.process.poll() is None:
        opened.end()


@pytest.fixture(params=[(1440, 900)], ids=["desktop"])
def page(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page of a new browser; errors of its console fail the test, but for refusals. `clicks` counts them."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        width, height = request.param
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
        context.set_default_timeout(1000 * PATIENCE)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        made = context.new_page()
        made.clicks = 0
        errors: list[str] = []
        made.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        made.on("pageerror", lambda error: errors.append(str(error)))
        yield made
        wrong = [error for error in errors if "status of 4" not in error and "ERR_" not in error]
        browser.close()
        assert wrong == []


def click(page: Any, locator: Any) -> None:
    page.clicks += 1
    locator.click()


def known(page: Any, site: Site) -> None:
    """The tab has the token."""
    page.evaluate("token => sessionStorage.setItem('token', token)", site.token)


def state(page: Any, word: str) -> None:
    page.locator("#live-state strong", has_text=word).wait_for()


# Create and start -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", [(1440, 900), (1024, 768), (390, 844)], indirect=True, ids=["1440", "1024", "390"])
def test_from_an_empty_directory_to_a_campaign_that_reached_its_goal_in_few_clicks(site: Site, page: Any) -> None:
    page.goto(site.url)
    page.get_by_text("No run yet.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    click(page, page.locator("main a.main", has_text="Start a campaign"))
    click(page, page.get_by_role("button", name="Enter the token"))
    page.keyboard.type("not-the-token")
    page.keyboard.press("Enter")
    page.locator("#ask-error", has_text="wrong access token").wait_for()
    page.keyboard.type(site.token)
    page.keyboard.press("Enter")
    page.locator("#ask").wait_for(state="hidden")
    click(page, page.get_by_label("515nm: reading"))
    page.keyboard.type("20000")
    page.locator("#forecast", has_text=FORECAST).wait_for()
    assert "515nm: 20000" in page.get_by_label("Campaign, in YAML").input_value()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    click(page, page.get_by_role("button", name="Start", exact=True))
    page.wait_for_url("**/runs/my-campaign/**")
    state(page, "reached")
    assert page.clicks <= MOST_CLICKS, page.clicks
    page.go_back()
    page.locator("#check .good", has_text="Valid").wait_for()
    expect(page.get_by_label("515nm: reading")).to_have_value("20000")
    assert open_run(site.only("my-campaign")).result.outcome == "reached"
    assert site.token not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")


def test_without_a_mouse_and_with_the_token_asked_for_at_the_start(site: Site, page: Any) -> None:
    page.goto(site.url + "/start")
    page.locator("#goal .row").first.wait_for()
    tab_to(page, "445nm: reading")
    page.keyboard.type("16384")
    tab_to(page, "Name")
    page.keyboard.press("Control+A")
    page.keyboard.type("by-key")
    tab_to(page, "Start")
    page.keyboard.press("Enter")
    page.keyboard.type("not-the-token")
    page.keyboard.press("Enter")
    page.locator("#ask-error", has_text="wrong access token").wait_for()
    assert not list(site.runs.glob("*/*"))
    page.keyboard.type(site.token)
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/by-key/**")
    state(page, "reached")


def test_form_and_yaml_change_each_other_and_mistakes_stand_at_their_fields(site: Site, page: Any) -> None:
    page.goto(site.url + "/start")
    known(page, site)
    page.get_by_label("445nm: reading").fill("700000")
    at_goal = page.locator('[data-path="goal.445nm"] .field-error')
    at_goal.wait_for()
    assert "saturates at 65535" in at_goal.inner_text()
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator('[data-path="goal.445nm"] :focus').wait_for()
    page.locator("#check .bad", has_text="goal.445nm").wait_for()
    assert not list(site.runs.glob("*/*")), "nothing was started"
    yaml = page.get_by_label("Campaign, in YAML")
    yaml.fill("name: typed\ngoal: {630nm: {at most: 9000}, 515nm: maximise}\ninputs: {R: 0.25}\nsolver: linnear\n")
    page.locator("#check .bad", has_text="line 4: solver.kind: unknown kind 'linnear'").wait_for()
    expect(page.get_by_label("630nm: what is wanted")).to_have_value("at most")
    expect(page.get_by_label("630nm: reading")).to_have_value("9000")
    expect(page.get_by_label("515nm: what is wanted")).to_have_value("maximise")
    expect(page.get_by_label("R: lowest")).to_have_value("0.25")
    expect(page.get_by_label("Name", exact=True)).to_have_value("typed")
    yaml.fill(yaml.input_value().replace("linnear", "auto").replace(", 515nm: maximise", ", 515nm: 20000"))
    page.locator("#check .good", has_text="Valid: at most 40 trials").wait_for()
    page.get_by_label("Trials at most").fill("17")
    page.locator("#check .good", has_text="Valid: at most 17 trials").wait_for()
    assert "trials: 17" in yaml.input_value()
    assert "at most: 9000" in yaml.input_value()
    yaml.fill("goal: [\n")
    page.locator("#check .bad", has_text="line").wait_for()
    yaml.fill("name: x\ngoal: {515nm: 5}\ninstrument: {kind: command, command: [touch, x]}\n")
    page.locator("#check .bad", has_text="names a program").wait_for()


def test_a_real_instrument_is_asked_about_first(site: Site, page: Any) -> None:
    page.goto(site.url + "/start")
    known(page, site)
    page.get_by_label("Instrument").select_option("claude-light")
    page.get_by_label("515nm: reading").fill("20000")
    page.locator("#check .good").wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator("#ask-text", has_text="is no simulation").wait_for()
    page.locator("#ask-no").click()
    assert not list(site.runs.glob("*/*"))


# Change ---------------------------------------------------------------------------------------------------------------
def test_the_budget_is_raised_from_the_run_and_the_command_beside_it_says_the_same(site: Site, page: Any) -> None:
    run = spent(site.runs)
    page.goto(f"{site.url}/runs/spent/{run.name}")
    known(page, site)
    assert page.get_by_role("button", name="Continue with stop.trials=10").count() == 1
    page.get_by_role("button", name="Raise the budget…").click()
    expect(page.get_by_label("Trials at most")).to_have_value("10")
    page.get_by_label("Trials at most").fill("7")
    assert "--set stop.trials=7" in page.locator("#ask-fields code").inner_text()
    page.locator("#ask-yes").click()
    until(lambda: open_run(run).result.trials == 7)
    changes = [event.changes for event in record.read(run) if isinstance(event, Resumed)]
    assert changes == [{"stop.trials": 7}]
    page.locator(".used", has_text="at most 7").wait_for()
    page.get_by_role("button", name="Continue with another average…").click()
    page.get_by_label("Readings per trial").fill("none")
    page.locator("#ask-yes").click()
    page.locator("#ask-error", has_text="average").wait_for()
    page.get_by_label("Readings per trial").fill("3")
    page.locator("#ask-yes").click()
    until(lambda: any(event.changes.get("average") == 3 for event in record.read(run) if isinstance(event, Resumed)))


def test_a_run_is_run_again_with_itself_as_prior(site: Site, page: Any) -> None:
    run = spent(site.runs)
    page.goto(f"{site.url}/runs/spent/{run.name}")
    known(page, site)
    click(page, page.get_by_role("link", name="Run again with this run as prior"))
    page.locator("#check .good").wait_for()
    expect(page.get_by_label("Earlier runs to start with")).to_have_value(f"spent/{run.name}")
    expect(page.get_by_label("Tolerance of every target")).to_have_value("0.001")
    page.get_by_label("Tolerance of every target").fill("2%")
    page.get_by_label("Name", exact=True).fill("again")
    click(page, page.get_by_role("button", name="Start", exact=True))
    page.wait_for_url("**/runs/again/**")
    state(page, "reached")
    again = open_run(site.only("again"))
    assert len(again.opened.prior) == 1
    assert page.clicks == 2


def test_a_campaign_is_stopped_and_continued_and_the_end_of_the_server_interrupts_it(site: Site, page: Any) -> None:
    run = endless(site)
    page.goto(f"{site.url}/runs/endless/{run.name}")
    known(page, site)
    page.get_by_role("button", name="Continue", exact=True).click()
    page.locator("#ask-yes").click()
    state(page, "running")
    page.get_by_role("button", name="Stop").click()
    state(page, "unfinished")
    until(lambda: sum(isinstance(event, Interrupted) for event in record.read(run)) == 2)
    page.get_by_role("button", name="Continue", exact=True).click()
    page.locator("#ask-yes").click()
    state(page, "running")
    assert f"interrupted: endless/{run.name}" in site.end().replace("\n", " ")
    assert sum(isinstance(event, Interrupted) for event in record.read(run)) == 3


def endless(site: Site) -> Path:
    """A campaign in real time that was interrupted."""
    interrupted_events(site.runs)
    return site.only("endless")


# Live -----------------------------------------------------------------------------------------------------------------
def test_a_selection_the_focus_and_the_scroll_positions_survive_updates(site: Site, page: Any) -> None:
    run = endless(site)
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(f"{site.url}/runs/endless/{run.name}")
    known(page, site)
    page.get_by_role("button", name="Continue", exact=True).click()
    page.locator("#ask-yes").click()
    state(page, "running")
    page.locator("#live-trials tr[data-id='trial 1']").wait_for()
    page.evaluate(
        """() => {
        const row = document.querySelector("#live-trials tr[data-id='trial 1']");
        window.row = row;
        getSelection().selectAllChildren(row);
        window.selected = String(getSelection());
        document.querySelector("#live-trials").scrollLeft = 60;
        document.querySelector("[data-copy]").focus({preventScroll: true});
        scrollTo(0, 500);
        window.story = () => document.querySelector("#live-story").getBoundingClientRect().top;
        window.at = story();
        }"""
    )
    before = len(list(record.read(run)))
    until(lambda: len(list(record.read(run))) > before + 12)
    page.wait_for_function(
        "n => Number(/(\\d+) readings?/.exec(document.querySelector('#live-state .used').textContent)[1]) > n", arg=6
    )
    kept = page.evaluate(
        """() => [row.isConnected, String(getSelection()) === selected && selected.length > 5,
        document.querySelector("#live-trials").scrollLeft, document.activeElement.dataset.key]"""
    )
    assert kept == [True, True, 60, "copy"]
    # A line less above the chart moves the page with it, so that the chart stays where one looks at it.
    assert page.evaluate("() => Math.abs(story() - at)") <= 1
    assert page.evaluate("() => scrollY") > 400
    assert page.locator("#live-trials tbody tr").first.get_attribute("data-id") != "trial 1"
    page.get_by_role("button", name="Stop").click()
    state(page, "unfinished")


def test_settings_are_copied_at_full_precision(site: Site, page: Any) -> None:
    run = spent(site.runs)
    page.goto(f"{site.url}/runs/spent/{run.name}")
    page.get_by_role("button", name="Copy the settings at full precision").click()
    page.locator("#done", has_text="Copied").wait_for()
    best = sdl.open_run(run).result.settings
    text = " ".join(f"{name}={value!r}" for name, value in best.items())
    assert page.evaluate("() => navigator.clipboard.readText()") == text


# For everybody --------------------------------------------------------------------------------------------------------
def test_the_theme_is_chosen_and_remembered(site: Site, page: Any) -> None:
    page.goto(site.url)
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.locator("#theme-button")
    assert button.inner_text() == "Theme: auto"
    button.click()
    assert (button.inner_text(), page.evaluate(ground)) == ("Theme: light", light)
    button.click()
    dark = page.evaluate(ground)
    assert dark != light
    page.goto(site.url + "/runs")
    assert (button.inner_text(), page.evaluate(ground)) == ("Theme: dark", dark)
    page.goto(f"{site.url}/runs/spent/{spent(site.runs).name}")
    page.get_by_role("link", name="Report", exact=True).click()
    page.wait_for_selector("h1:has-text('spent')")  # after the page that says it is being made
    page.wait_for_url("**/report?theme=dark")
    assert page.evaluate(ground) == dark
    page.goto(site.url + "/runs")
    page.emulate_media(color_scheme="dark")
    button.click()
    assert (button.inner_text(), page.evaluate(ground)) == ("Theme: auto", dark)


def test_notes_typed_in_two_tabs_are_both_kept_also_over_a_reload(site: Site, page: Any) -> None:
    run = spent(site.runs)
    page.goto(f"{site.url}/runs/spent/{run.name}")
    known(page, site)
    page.reload()
    page.get_by_label("Note", exact=True).fill("of this tab")
    page.get_by_label("Tags, separated").fill("mine")
    version = notes.read(run).version
    notes.write(run, "of the other tab", ["theirs"], version, "ada", 5.0)
    page.reload()
    page.locator("#done", has_text="Your notes that were not saved are back.").wait_for()
    assert page.get_by_label("Note", exact=True).input_value() == "of this tab"
    page.get_by_role("button", name="Save the notes").click()
    page.locator("#theirs", has_text="Saved by ada meanwhile").wait_for()
    assert "of the other tab" in page.locator("#theirs").inner_text()
    assert page.get_by_label("Note", exact=True).input_value() == "of this tab"
    assert notes.read(run).note == "of the other tab"
    page.get_by_role("button", name="Add to mine").click()
    page.get_by_role("button", name="Save the notes").click()
    page.locator("#done", has_text="Notes saved.").wait_for()
    assert (notes.read(run).note, notes.read(run).tags) == ("of this tab\nof the other tab", ("mine", "theirs"))
    page.reload()
    assert page.locator("#theirs").count() == 0
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('notes')).length") == 0


@pytest.mark.parametrize("page", [(390, 844)], indirect=True, ids=["390"])
def test_every_text_of_the_new_pages_can_be_read_and_every_control_has_a_name(site: Site, page: Any) -> None:
    run = spent(site.runs)
    for path in ("/", "/start", f"/runs/spent/{run.name}", f"/start?from=spent/{run.name}"):
        page.goto(site.url + path)
        known(page, site)
        page.reload()
        if "start" in path:
            page.get_by_label("445nm: reading").fill("700000")
            page.locator(".field-error").first.wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST)[0][0] >= 4.5, (path, scheme, page.evaluate(CONTRAST)[:3])
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
