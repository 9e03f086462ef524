"""A person at the bench: asked on the page, on a phone, with files beside a trial; what cannot be is refused."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from processes import start
from waiting import PATIENCE, until

import sdl
from sdl.lab.http.token import read
from sdl.report.table import TrialTable
from sdl.runner import instrument_lease
from sdl.runs.runs import open_run
from sdl.store import trial_files
from sdl.store.lock import ATTENDED, Lock
from sdl.web import person
from sdl.web.feeds import LabFeed, RunFeed
from tests.web.test_browser import CONTRAST, NAMELESS, tab_to

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HAND: dict[str, Any] = {
    "name": "hand",
    "instrument": {
        "kind": "manual",
        "label": "bench 3",
        "inputs": {
            "red": {"low": 0, "high": 100, "step": 1, "unit": "uL"},
            "blue": {"low": 0, "high": 100, "step": 1, "unit": "uL"},
        },
        "channels": {"R": {"unit": "counts", "low": 0, "high": 1000}, "T": {"unit": "°C"}},
        "derived": {"half": "R / 2"},
        "off": {"red": 0, "blue": 0},
    },
    "goal": {"R": {"target": 300, "tolerance": 4}},
    "confirm": 1,
    "solver": "linear",
    "stop": {"trials": 6},
}
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def plant(red: float, blue: float) -> dict[str, float]:
    return {"R": 5 + 4 * red + blue + red * blue / 200, "T": -3.5}


class Bench:
    """`sdl web` over a directory of runs."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.folder, self.url, self.token = folder, url, token
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE)

    def begin(self, *, ask: bool = True, **changes: Any) -> Path:
        opened = sdl.open_campaign({**HAND, **changes}, runs=self.folder / "runs", new=True)
        if ask:
            opened.ask()
        return opened.folder

    def page_of(self, run: Path) -> str:
        return f"{self.url}/runs/{run.parent.name}/{run.name}"

    def upload(self, run: Path, content: bytes, *, token: str = "", **query: Any) -> httpx.Response:
        head = {"Authorization": f"Bearer {token or self.token}"}
        return self.http.post(f"{self.page_of(run)}/files?{urlencode(query)}", content=content, headers=head)

    def post(self, call: str, run: Path, **body: Any) -> httpx.Response:
        head = {"Authorization": f"Bearer {self.token}"}
        return self.http.post(f"/api/v1/{call}", json={"run": "/".join(run.parts[-2:]), **body}, headers=head)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "runs").mkdir()
    process = start("web", "--url", "https://bench.example.org", cwd=folder, XDG_STATE_HOME=str(folder / "state"))
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        opened = Bench(folder, url, read(next((folder / "state").glob("sdl/labs/web-*/token"))))
        with opened.http:
            yield opened
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


# Files beside a trial -------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_file_is_kept_beside_its_trial_listed_on_the_page_and_in_the_report_and_only_downloaded(bench: Bench) -> None:
    pytest.importorskip("matplotlib")
    run = bench.begin()
    reply = bench.upload(run, PNG, trial=0, name="Zelle ä 1.PNG")
    assert reply.status_code == 200, reply.text
    name = reply.json()["name"]
    assert bench.upload(run, PNG, trial=0, name="Zelle ä 1.PNG").json()["name"] == name, "twice is once"
    assert [(one.trial, one.name, one.title) for one in trial_files.files(run)] == [(0, name, "Zelle-a-1.png")]
    page = bench.http.get(bench.page_of(run)).text
    assert f'{bench.page_of(run).removeprefix(bench.url)}/files/{name}"' in page
    got = bench.http.get(f"{bench.page_of(run)}/files/{name}")
    assert got.content == PNG
    assert got.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert got.headers["content-type"] == "application/octet-stream"
    assert (got.headers["x-content-type-options"], "sandbox" in got.headers["content-security-policy"]) == (
        "nosniff",
        True,
    )
    assert "file: Zelle-a-1.png" in bench.http.get(f"{bench.page_of(run)}/report").text


REFUSED: list[tuple[bytes, dict[str, Any], int, str]] = [
    (PNG, {"trial": 0, "name": "photo.exe"}, 409, "no accepted type of file; accepted: jpg, jpeg, png"),
    (PNG, {"trial": 0, "name": "photo"}, 409, "no accepted type of file"),
    (PNG, {"trial": 0, "name": "photo.svg"}, 409, "no accepted type of file"),
    (PNG, {"trial": 0, "name": "photo.jpg"}, 409, "its content is not of the type jpg"),
    (b"a\x00b", {"trial": 0, "name": "log.txt"}, 409, "its content is no text in UTF-8"),
    (b"", {"trial": 0, "name": "log.txt"}, 409, "empty"),
    (PNG, {"trial": 9, "name": "photo.png"}, 409, "there is no trial 9 yet"),
    (PNG, {"trial": "-1", "name": "photo.png"}, 400, "trial: must be a whole number"),
    (PNG, {"name": "photo.png"}, 400, "trial: must be a whole number"),
    (PNG + b"0" * trial_files.MAX_BYTES, {"trial": 0, "name": "photo.png"}, 413, "a file may have at most 10 MB"),
]


@pytest.mark.parametrize(("content", "query", "status", "message"), REFUSED, ids=[row[3][:30] for row in REFUSED])
def test_a_file_that_cannot_be_is_refused(
    bench: Bench, content: bytes, query: dict[str, Any], status: int, message: str
) -> None:
    run = bench.begin()
    reply = bench.upload(run, content, **query)
    assert (reply.status_code, message in reply.json()["error"]) == (status, True), reply.text
    assert not (run / "files").exists()


def test_a_file_needs_the_token_and_its_name_is_never_a_path(bench: Bench) -> None:
    run = bench.begin()
    assert bench.upload(run, PNG, token="wrong", trial=0, name="a.png").status_code == 401
    for name, title in (
        ("../../../etc/passwd.png", "passwd.png"),
        ("..\\..\\boot.ini.png", "boot.ini.png"),
        (".png", "file.png"),
        ("-rf /.png", "file.png"),
        ("\u202egnp.png", "gnp.png"),
        ("a" * 300 + ".png", "a" * 76 + ".png"),
    ):
        stored = bench.upload(run, PNG, trial=0, name=name).json()["name"]
        assert stored.partition("-")[2].split("-", 2)[2] == title
        assert (run / "files" / stored).read_bytes() == PNG
    (run / "files" / "trial-0000-000000000000-link.png").symlink_to("/etc/passwd")
    for path in ("trial-0000-000000000000-link.png", "..%2frecord.jsonl", "record.jsonl", "%2e%2e", "x%00"):
        assert bench.http.get(f"{bench.page_of(run)}/files/{path}").status_code in (400, 404), path
    assert {path.name for path in run.iterdir()} >= {"files", "record.jsonl"}


def test_a_folder_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(sdl.SdlError, match="is no directory"):
        trial_files.add(tmp_path / "run", 0, "a.png", PNG)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_run_has_at_most_two_hundred_files(tmp_path: Path) -> None:
    for n in range(trial_files.MAX_FILES):
        trial_files.add(tmp_path, n, "a.txt", b"%d" % n)
    with pytest.raises(sdl.SdlError, match="has 200 files already"):
        trial_files.add(tmp_path, 1, "b.txt", b"b")


def test_large_bodies_are_for_files_alone(bench: Bench) -> None:
    run = bench.begin()
    large = {"trial": 0, "repeat": 0, "readings": {"R": 1, "T": 2}, "note": "x" * 20_000}
    assert bench.post("tell", run, **large).status_code == 413


def test_the_page_answers_at_its_address_behind_a_proxy_and_at_no_other(bench: Bench) -> None:
    run = bench.begin()

    def status(host: str, origin: str) -> int:
        head = {"Host": host, "Origin": origin, "Authorization": f"Bearer {bench.token}"}
        return bench.http.post("/api/v1/ask", json={"run": "/".join(run.parts[-2:])}, headers=head).status_code

    assert status("bench.example.org", "https://bench.example.org") == 200
    assert status("bench.example.com", "https://bench.example.org") == 421
    assert status("bench.example.org", "http://bench.example.org") == 403
    assert status("bench.example.org", "https://evil.example.org") == 403


# Answers that cannot be -----------------------------------------------------------------------------------------------
ANSWERS: list[tuple[dict[str, Any], str]] = [
    ({"readings": {"R": 300}}, "lacks T"),
    ({"readings": {"R": 1001, "T": 1}}, "R"),
    ({"readings": {"R": -1, "T": 1}}, "R"),
    ({"readings": {"R": 300, "T": 1, "X": 2}}, "X"),
    ({"readings": {"R": 300, "T": 1}, "applied": {"green": 3}}, "allowed: red, blue"),
    ({}, "tell either the readings"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("body", "message"), ANSWERS, ids=[row[1] for row in ANSWERS])
def test_an_answer_that_cannot_be_is_refused_and_the_right_one_is_taken_afterwards(
    bench: Bench, body: dict[str, Any], message: str
) -> None:
    run = bench.begin()
    before = (run / "record.jsonl").read_bytes()
    reply = bench.post("tell", run, trial=0, repeat=0, **body)
    assert (reply.status_code, message in reply.json()["error"]) == (409, True), reply.text
    for text in ('"NaN"', "NaN", "1e999", '"3"', "null"):  # not JSON, or no finite number
        content = (
            f'{{"run": "{"/".join(run.parts[-2:])}", "trial": 0, "repeat": 0, "readings": {{"R": {text}, "T": 1}}}}'
        )
        head = {"Authorization": f"Bearer {bench.token}"}
        assert bench.http.post("/api/v1/tell", content=content, headers=head).status_code == 400, text
    assert (run / "record.jsonl").read_bytes() == before
    assert bench.post("tell", run, trial=0, repeat=0, readings={"R": 300, "T": 1}).json()["mean"]["half"] == 150
    second = bench.post("tell", run, trial=0, repeat=0, readings={"R": 301, "T": 1})
    assert second.status_code == 409
    assert "was told already: R=300 T=1 half=150; `correct` changes it" in second.json()["error"]


def test_without_a_script_the_page_says_what_is_asked_and_shows_no_form(bench: Bench) -> None:
    text = bench.http.get(bench.page_of(bench.begin())).text
    assert "Trial 0, reading 1: please set" in text
    assert '<form id="tell" class="act"' in text
    assert "<script>" not in text


def test_a_run_that_is_answered_at_a_terminal_has_no_form_and_one_that_is_attended_does_not_ask(tmp_path: Path) -> None:
    opened = sdl.open_campaign(HAND, runs=tmp_path)
    opened.ask()

    def form() -> str:
        return str(RunFeed(opened.folder, LabFeed(None)).whole()["parts"]["live-ask"])

    with instrument_lease(opened.config.instrument, opened.folder.name):
        assert form().strip() == ""
    with instrument_lease(opened.config.instrument, "another-run"):
        assert '<form id="tell"' in form()
    lock = Lock(opened.folder / ATTENDED)
    try:
        assert "data-attended" in form()
    finally:
        lock.release()
    assert "data-attended" not in form()


def test_the_form_has_the_inputs_that_are_fixed_the_choices_and_only_the_channels_that_are_read(tmp_path: Path) -> None:
    instrument = {**HAND["instrument"], "settle": "30 s"}
    instrument["inputs"] = {**instrument["inputs"], "solvent": {"choices": ["water", "ethanol"]}}
    instrument["off"] = {**instrument["off"], "solvent": "water"}
    tree = {**HAND, "instrument": instrument, "inputs": {"blue": 40, "solvent": "ethanol"}}
    opened = sdl.open_campaign(tree, runs=tmp_path)
    opened.ask()
    assert TrialTable(open_run(opened.folder)).X.tolist() == [[opened.open_request.settings["red"]]]  # type: ignore[union-attr]
    feed = RunFeed(opened.folder, LabFeed(None))
    text = str(feed.whole()["parts"]["live-ask"])
    asked = person.request(feed.view)
    assert [(one.name, one.value, one.unit) for one in asked["settings"]][1:] == [
        ("blue", "40", "uL"), ("solvent", "ethanol", ""),
    ]  # fmt: skip
    assert [(one["name"], one["range"], one["signed"]) for one in asked["channels"]] == [
        ("R", "0 … 1000", False), ("T", "", True),
    ]  # fmt: skip
    assert "Wait 30 s, then read." in text
    assert "<option>ethanol</option>" in text
    assert str(opened.open_request and opened.open_request.expected) not in text, (
        "what is expected would bias the person"
    )


def test_names_and_notes_with_markup_are_text(tmp_path: Path) -> None:
    evil = "<img/src>"
    tree = {**HAND, "instrument": {**HAND["instrument"], "derived": {}, "channels": {evil: {"unit": evil}}}}
    opened = sdl.open_campaign({**tree, "goal": {evil: 300}}, runs=tmp_path)
    request = opened.ask()
    assert request is not None
    opened.tell(request, {evil: 3.0}, note=evil)
    opened.ask()
    parts = RunFeed(opened.folder, LabFeed(None)).whole()["parts"]
    assert "<img" not in "".join(map(str, parts.values()))
    assert "&lt;img/src&gt;" in parts["live-told"]


# In a browser ---------------------------------------------------------------------------------------------------------
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture
def phone() -> Iterator[Any]:
    """A page on a phone; errors of its console fail the test, but for refusals."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        wrong = [error for error in errors if "status of 40" not in error]
        browser.close()
        assert wrong == []


def wanted(page: Any) -> dict[str, float]:
    """The settings on the page."""
    names = page.locator(".settings .name").all_inner_texts()
    values = page.locator(".settings .big").all_inner_texts()
    return {name: float(value.split()[0]) for name, value in zip(names, values, strict=True)}


def place(page: Any) -> str:
    return str(page.locator("#live-ask [data-request]").get_attribute("data-request"))


def after(page: Any, before: str) -> None:
    """Wait until something else is asked for, or nothing any more."""
    page.wait_for_function(
        "r => { const e = document.querySelector('#live-ask [data-request]');"
        " return !e || ![r, 'next'].includes(e.dataset.request) }",
        arg=before,
    )


def fill(page: Any, values: dict[str, float]) -> None:
    for name, value in values.items():
        page.locator(f'[data-channel="{name}"]').fill(f"{value:.2f}")


@pytest.mark.slow
@needs_chromium
def test_a_person_with_a_phone_takes_a_campaign_of_six_trials_to_its_goal(bench: Bench, phone: Any) -> None:
    run = bench.begin()
    phone.goto(bench.page_of(run))
    assert phone.locator(".change").all_inner_texts() == ["", ""], "nothing was set before"
    fill(phone, plant(**wanted(phone)))
    phone.locator("#tell-note").fill("first of the day")
    (bench.folder / "Cell.png").write_bytes(PNG)
    phone.locator("#tell-file").set_input_files(bench.folder / "Cell.png")
    phone.get_by_role("button", name="Save the reading").click()
    phone.locator("#ask-token").fill(bench.token)
    phone.locator("#ask-yes").click()
    phone.locator("#ask").wait_for(state="hidden")
    after(phone, "0.0")
    assert phone.locator(".change").first.inner_text()[0] in "+−"
    until(lambda: len(trial_files.files(run)) == 1)
    # typing errors are told where they are, and nothing is sent
    phone.locator('[data-channel="R"]').fill("12a")
    phone.get_by_role("button", name="Save the reading").click()
    assert "“12a” is not a number" in phone.locator("#tell-error").inner_text()
    assert phone.evaluate("document.activeElement.dataset.channel") == "R"
    phone.locator('[data-channel="R"]').fill("1,234")
    phone.get_by_role("button", name="Save the reading").click()
    assert "thousands" in phone.locator("#tell-error").inner_text()
    fill(phone, {"R": 1200, "T": 20})
    phone.get_by_role("button", name="Save the reading").click()
    phone.locator("#tell-error", has_text="R").wait_for()
    assert place(phone) == "1.0", "refused, and asked again"
    assert phone.locator('[data-channel="T"]').input_value() == "20.00", "what was typed is still there"
    for scheme in ("light", "dark"):
        phone.emulate_media(color_scheme=scheme)
        assert phone.evaluate(CONTRAST)[0][0] >= 4.5, scheme
    assert phone.evaluate(NAMELESS) == []
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    while phone.locator("#tell").count():
        now = place(phone)
        fill(phone, plant(**wanted(phone)))
        phone.get_by_role("button", name="Save the reading").click()
        after(phone, now)
    phone.locator("#live-state strong", has_text="reached").wait_for()
    assert (
        "Please set the instrument to its safe settings: red = 0 uL, blue = 0 uL."
        in phone.locator("#live-ask").inner_text()
    )
    done = open_run(run)
    assert (done.result.outcome, done.result.trials <= 6) == ("reached", True)
    assert next(iter(done.measured())).note == "first of the day"
    phone.reload()
    phone.get_by_role("button", name="Correct trial 0, reading 1").click()
    assert phone.get_by_label("T", exact=True).input_value() == "-3.5"
    phone.get_by_label("T", exact=True).fill("-2,5")
    phone.get_by_label("Why").fill("typing error")
    phone.locator("#ask-yes").click()
    until(lambda: open_run(run).trials[0].corrected == 1)
    assert open_run(run).trials[0].mean["T"] == -2.5


@pytest.mark.slow
@needs_chromium
def test_by_keyboard_alone_a_trial_is_answered_one_has_no_reading_and_one_is_skipped(bench: Bench, phone: Any) -> None:
    run = bench.begin(ask=False)
    phone.goto(bench.page_of(run))
    phone.evaluate("token => sessionStorage.setItem('token', token)", bench.token)
    tab_to(phone, "Ask for the next settings")
    phone.keyboard.press("Enter")
    phone.locator("#tell").wait_for()
    phone.evaluate("document.querySelector('[data-channel]').focus()")
    phone.keyboard.type("33")
    phone.keyboard.press("Tab")
    phone.keyboard.type("-4")
    phone.keyboard.press("Enter")
    after(phone, "0.0")
    assert phone.evaluate("document.activeElement !== document.body"), "the focus is not lost with the form"
    tab_to(phone, "No reading…")
    phone.keyboard.press("Enter")
    phone.keyboard.press("Enter")
    assert phone.locator("#ask-error").inner_text() == "Say why."
    phone.keyboard.type("bubble")
    phone.keyboard.press("Enter")
    after(phone, "1.0")
    tab_to(phone, "Skip the trial…")
    phone.keyboard.press("Enter")
    phone.keyboard.type("out of reagent")
    phone.keyboard.press("Enter")
    after(phone, "2.0")
    first, second, third = open_run(run).trials[:3]
    assert dict(first.mean) == {"R": 33, "T": -4, "half": 16.5}
    assert (second.failed, second.last_error, third.skipped) == (True, "bubble", True)
