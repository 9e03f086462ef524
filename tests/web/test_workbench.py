"""The list of runs as a workbench, in a real Chromium: find one of many, compare, tag in place, download."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sdl.core.events import Event, Opened
from sdl.runs import notes
from sdl.store import archive, record
from tests.web.test_browser import CONTRAST, NAMELESS, chromium, page, playwright  # noqa: F401 - fixtures
from tests.web.web_kit import Served, copy, real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
MANY = 400
START = datetime(2026, 11, 1, tzinfo=UTC)


def stamp(n: int) -> str:
    return f"{START + timedelta(hours=n):%Y%m%dT%H%M%S.000000Z}-{n:06x}"


def with_goal(events: Sequence[Event], target: int) -> list[Event]:
    """The record of a campaign for another target, which its readings miss; only for looking at."""
    opened = events[0]
    assert isinstance(opened, Opened)
    goal = {"445nm": {**opened.config["goal"]["445nm"], "target": target}}
    changed = dataclasses.replace(opened, config={**opened.config, "goal": goal})
    return [changed, *events[1:3]]


class Site(Served):
    """`sdl web` over many runs."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        events = real(folder / "real")
        for n in range(MANY):
            copy(events, self.runs, f"night-{n % 7}", stamp(n), {"solver": {"kind": "gp" if n % 2 else "linear"}})
        for n, tags in ((37, ["blue"]), (38, ["blue", "window"]), (200, ["window"])):
            shutil.rmtree(self.runs / f"night-{n % 7}" / stamp(n))
            place = self.runs / f"night-{n % 7}" / stamp(n)
            record.write_whole(place, with_goal(events, 12000) if n == 38 else list(events))
            notes.write(place, "", tags, 0, "ada", 5.0)
        super().__init__(self.runs, folder / "state")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    opened = Site(tmp_path_factory.mktemp("workbench"))
    yield opened
    opened.end()


@pytest.fixture
def listed(site: Site, page: Any) -> Any:  # noqa: F811 - the fixture
    """The list, once all runs are read."""
    page.goto(f"{site.url}/runs")
    page.locator("#found > p", has_text=f"{MANY} runs, 1 to 50").wait_for()
    return page


def ids(listed: Any) -> list[str]:
    return [text.split()[-1] for text in listed.locator("td.campaign").all_inner_texts()]


def test_one_of_many_runs_is_found_by_goal_and_tag_while_typing(site: Site, listed: Any) -> None:
    listed.get_by_label("Goal", exact=True).press_sequentially("445nm 12000")
    listed.get_by_label("Tag", exact=True).select_option("blue")
    listed.locator("#found > p", has_text="1 run").wait_for()
    assert ids(listed) == ["000026"]
    assert listed.url == f"{site.url}/runs?goal=445nm+12000&tag=blue", "the address is that of the list"
    listed.reload()
    assert ids(listed) == ["000026"]
    assert listed.get_by_label("Goal", exact=True).input_value() == "445nm 12000"
    listed.get_by_role("link", name="night-3").click()
    listed.wait_for_url("**/runs/night-3/*")


def test_a_heading_sorts_and_sorts_the_other_way(listed: Any) -> None:
    assert ids(listed)[0] == f"{MANY - 1:06x}"
    listed.get_by_role("link", name="started").click()
    listed.wait_for_url("**sort=started")
    assert ids(listed)[0] == "000000"
    assert listed.locator("th[aria-sort=ascending]").count() == 1
    listed.get_by_role("link", name="trials").click()
    listed.wait_for_url("**sort=-trials")
    assert "000026" not in ids(listed)
    listed.get_by_role("link", name="trials").click()
    listed.wait_for_url("**sort=trials")
    assert ids(listed)[0] == "000026", "it has the fewest trials"


def test_tags_and_note_are_edited_in_place(site: Site, listed: Any) -> None:
    listed.get_by_label("Search", exact=True).fill("night-5")
    listed.locator("#found > p", has_text="57 runs").wait_for()
    name = listed.locator("td.campaign").first.inner_text().split()[-1]
    listed.get_by_role("button", name=f"Add tags and note of night-5 {name}").click()
    assert listed.evaluate("document.activeElement.tagName") == "INPUT"
    listed.keyboard.type("paper, <b>bold</b>")
    listed.get_by_label("Note", exact=True).fill("for figure 3")
    listed.get_by_role("button", name="Save").click()
    listed.locator("#ask-token").fill("wrong")
    listed.locator("#ask-yes").click()
    listed.locator("#ask-error", has_text="wrong access token").wait_for()
    listed.locator("#ask-token").fill(site.token)
    listed.locator("#ask-yes").click()
    listed.locator("td.tags a", has_text="<b>bold</b>").wait_for()
    (folder,) = (site.runs / "night-5").glob(f"*-{name}")
    assert notes.read(folder).tags == ("paper", "<b>bold</b>")
    assert notes.read(folder).note == "for figure 3"
    listed.get_by_role("button", name=f"Edit tags and note of night-5 {name}").click()
    listed.keyboard.type("never")
    listed.keyboard.press("Escape")
    assert listed.locator(".editing").count() == 0
    assert notes.read(folder).version == 1


def test_runs_of_two_weeks_are_compared(listed: Any) -> None:
    pytest.importorskip("matplotlib")
    listed.get_by_label("From", exact=True).fill("2026-11-10")
    listed.get_by_label("To", exact=True).fill("2026-11-10")
    listed.locator("#found > p", has_text="24 runs").wait_for()
    listed.locator("td.pick input").first.check()
    listed.get_by_label("From", exact=True).fill("2026-11-03")
    listed.get_by_label("To", exact=True).fill("2026-11-03")
    listed.locator("td.campaign", has_text="000047").wait_for()
    for box in (0, 1):
        listed.locator("td.pick input").nth(box).check()
    listed.locator("#picked-text", has_text="3 runs chosen").wait_for()
    listed.get_by_role("button", name="Compare").click()
    listed.get_by_role("heading", name="Differences of the configurations").wait_for()
    text = listed.locator("main").inner_text()
    assert "3 runs in 2 groups" in text
    assert "solver.kind" in text
    assert listed.evaluate("[...document.images].length >= 2 && [...document.images].every(i => i.naturalWidth > 0)")
    listed.get_by_role("link", name="Back to the runs").click()
    listed.locator("#picked-text", has_text="3 runs chosen").wait_for()
    listed.get_by_role("button", name="Clear").click()
    assert listed.locator("#picked-go").is_hidden()


def test_readings_are_downloaded_from_the_page_of_a_run(site: Site, listed: Any) -> None:
    listed.locator("td.campaign a").first.click()
    with listed.expect_download() as waiting:
        listed.get_by_role("link", name="readings, CSV").click()
    assert waiting.value.suggested_filename == f"night-0-{MANY - 1:06x}-readings.csv"
    assert Path(waiting.value.path()).read_text().startswith("trial,")


def test_an_archived_run_is_listed_and_opened_and_says_how_to_change_it(site: Site, listed: Any) -> None:
    archive.pack(site.runs / "night-0" / stamp(0))
    listed.goto(f"{site.url}/runs?sort=started")
    while "archived" not in listed.locator("td.campaign").first.inner_text():
        listed.reload()
    listed.locator("td.campaign a").first.click()
    listed.get_by_text(f"sdl archive --restore night-0/{stamp(0)}").wait_for()
    assert listed.locator("#live-trials tbody tr").count() >= 3


def test_the_list_can_be_read_on_a_phone_in_both_themes(site: Site, chromium: Any) -> None:  # noqa: F811
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    phone = context.new_page()
    phone.goto(f"{site.url}/runs")
    phone.locator("#found > p", has_text=f"{MANY} runs, 1 to 50").wait_for()
    phone.locator("td.pick input").first.check()
    phone.locator("button.edit").nth(1).click()
    for scheme in ("light", "dark"):
        phone.emulate_media(color_scheme=scheme)
        rated = phone.evaluate(CONTRAST)
        assert rated[0][0] >= 4.5, (scheme, rated[:5])
        assert phone.evaluate(NAMELESS) == []
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [phone.locator(f"tbody tr:first-child td.{name}").bounding_box() for name in ("outcome-cell", "campaign")]
    assert boxes[0]["y"] < boxes[1]["y"], "the outcome comes first"
    context.close()


def test_without_a_script_runs_are_filtered_and_compared(site: Site, chromium: Any) -> None:  # noqa: F811
    context = chromium.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{site.url}/runs?tag=window")
    assert plain.locator("#found > p").inner_text() == "2 runs"
    plain.get_by_label("Search", exact=True).fill("night-3")
    plain.get_by_role("button", name="Filter").click()
    assert plain.locator("#found > p").inner_text() == "1 run"
    plain.locator("td.pick input").check()
    assert plain.get_by_role("button", name="Compare").is_visible()
    context.close()
