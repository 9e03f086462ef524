"""The page in a real Chromium, against a lab that runs on twins in processes of its own."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import COMMAND, environment, lines_of
from waiting import PATIENCE, until

from sdl import yamlfile
from sdl.runner import user
from sdl.runs import notes
from tests.web.web_kit import copy, poisoned, real

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]

LATENCY = 0.4
ENDLESS: dict[str, Any] = {
    "name": "endless", "goal": {"515nm": {"target": 20000, "tolerance": 1}}, "solver": "random",
    "stop": {"trials": 2000, "minutes": None, "stagnation": None},
}  # fmt: skip
LAB = {
    "name": "bench",
    "instruments": {
        "led-1": {"instrument": {"kind": "twin", "seed": 1, "latency": LATENCY, "realtime": True}},
        "led-2": {"instrument": {"kind": "twin", "seed": 2}},
    },
    "jobs": {"endless": {"campaign": ENDLESS, "instrument": "led-1", "when": {"asked": True}}},
    "supervise": {"backoff": "1s"},
    "agents": {"claude": {"tier": "submit", "instruments": {"led-2": {"R": {"high": 0.9}}}}},
}


class Lab:
    """`sdl lab run`, on a port that it keeps when it comes back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, folder / "runs"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "lab.yaml").write_text(yamlfile.dump(LAB), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        command = [*COMMAND, "lab", "run", "lab.yaml", "--port", str(self.port)]
        variables = environment(XDG_STATE_HOME=str(self.folder / "state"))
        out = (self.folder / "lab.out").open("ab")
        self.process = subprocess.Popen(command, cwd=self.folder, env=variables, stdout=out, stderr=out)
        out.close()
        until(lambda: (self.folder / "lab.out").read_text().count("page: ") >= self.begun, self.process)

    begun = 1

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self.begun += 1

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)

    @property
    def token(self) -> str:
        return next((self.folder / "state").glob("sdl/labs/*/token")).read_text().strip()

    def journal(self) -> list[dict[str, Any]]:
        return lines_of(self.runs / "bench.lab" / "journal.jsonl")

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.journal() if line["event"] in ("Asked", "Held", "Released")]

    def newest(self, campaign: str) -> Path:
        until(lambda: any(self.runs.glob(f"{campaign}/*/record.jsonl")))
        return max(self.runs.glob(f"{campaign}/*/record.jsonl")).parent


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    opened = Lab(tmp_path_factory.mktemp("browser"))
    opened.begin()
    yield opened
    opened.end()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of a new context; errors of its console fail the test, except those that it expects in `page.expected`."""
    context = chromium.new_context(viewport={"width": 1100, "height": 800})
    context.set_default_timeout(1000 * PATIENCE)
    opened = context.new_page()
    errors: list[str] = []
    opened.expected = "ERR_CONNECTION|ERR_INCOMPLETE|status of 40[19]"
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("dialog", lambda dialog: errors.append(f"a dialog: {dialog.message}"))
    yield opened
    wrong = [error for error in errors if not re.search(opened.expected, error)]
    context.close()
    assert wrong == []


def tell(lab: Lab, *words: str) -> subprocess.CompletedProcess[bytes]:
    """`sdl lab …`, from a terminal of the same user."""
    variables = environment(XDG_STATE_HOME=str(lab.folder / "state"))
    return subprocess.run([*COMMAND, "lab", *words], cwd=lab.folder, env=variables, capture_output=True, check=False)


def begin(lab: Lab) -> Path:
    """An endless campaign is running on led-1, and nothing else; its directory."""
    finish(lab)
    before = set(lab.runs.glob("endless/*"))
    done = tell(lab, "run-now", "endless")
    assert done.returncode == 0, done.stderr
    until(lambda: any((folder / "record.jsonl").exists() for folder in set(lab.runs.glob("endless/*")) - before))
    return next(iter(set(lab.runs.glob("endless/*")) - before))


def finish(lab: Lab) -> None:
    """Nothing runs any more."""
    if running(lab):
        for words in (("resume", "lab"), ("abort", "lab")):
            tell(lab, *words)
        until(lambda: not running(lab))


def running(lab: Lab) -> bool:
    begun = {line["start"] for line in lab.journal() if line["event"] == "Started"}
    over = {line["start"] for line in lab.journal() if line["event"] in ("Ended", "GaveUp")}
    return bool(begun - over)


def kinds(run: Path) -> list[str]:
    return [line["event"] for line in lines_of(run / "record.jsonl")]


def at(run: Path) -> str:
    return f"/runs/{run.parent.name}/{run.name}"


# Live ---------------------------------------------------------------------------------------------------------------
WATCH = """() => { window.seen = []; new MutationObserver(() => {
  const results = /, (\\d+) readings?/.exec(document.querySelector('#live-state .used').textContent);
  if (results) window.seen.push([Number(results[1]), Date.now() / 1000]);
}).observe(document.getElementById('live-state'), {childList: true, subtree: true}); }"""


@pytest.mark.slow
def test_every_reading_comes_to_the_page_by_itself(lab: Lab, page: Any) -> None:
    run = begin(lab)
    page.goto(lab.url + at(run))
    page.evaluate(WATCH)
    written: dict[int, float] = {}
    while max(written, default=0) < 10:
        count = (run / "record.jsonl").read_bytes().count(b'{"event": "Measured"')
        written.setdefault(count, time.time())
        time.sleep(0.01)
    page.wait_for_function("n => window.seen.some(([count]) => count >= n)", arg=max(written))
    seen = page.evaluate("window.seen")
    delays = sorted(min(when for n, when in seen if n >= count) - moment for count, moment in list(written.items())[1:])
    print("seconds from the reading to the page:", [round(delay, 2) for delay in delays])
    finish(lab)
    page.locator("#live-state strong", has_text="aborted").wait_for()
    assert page.locator("#live-state button").count() == 0


# Steering -----------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_start_pause_resume_and_abort_by_clicks(lab: Lab, page: Any) -> None:
    page.goto(lab.url + "/start")
    page.get_by_label("Campaign, in YAML").fill("name: by-hand\ngoal: {999nm: 5}\nsolver: linnear\n")
    page.get_by_role("button", name="Check").click()
    page.locator("#ask-token").fill(lab.token)
    page.locator("#ask-yes").click()
    mistakes = page.locator("#check li")
    mistakes.first.wait_for()
    assert any("999nm" in text for text in mistakes.all_inner_texts())
    assert all(text.startswith("line ") for text in mistakes.all_inner_texts())
    page.get_by_label("Campaign, in YAML").fill(yamlfile.dump({**ENDLESS, "name": "by-hand"}))
    page.locator("#check", has_text="Valid: at most 2000 trials").wait_for()  # by itself, while it is written
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(lab.url + "/#main")
    page.get_by_role("link", name="by-hand").first.click()
    run = lab.newest("by-hand")
    page.get_by_role("button", name="Pause this campaign").click()
    page.get_by_label("Why").fill("a <b>lamp</b> is on")
    page.locator("#ask-yes").click()
    page.locator("#live-state strong", has_text="paused").wait_for()
    assert "a <b>lamp</b> is on" in page.locator("#live-state").inner_text()
    assert "Paused" in kinds(run)
    page.get_by_role("button", name="Resume this campaign").click()
    page.locator("#live-state strong", has_text="running").wait_for()
    assert "Continued" in kinds(run)
    page.get_by_role("button", name="Abort this campaign").click()
    page.get_by_label("Why").fill("seen enough")
    page.locator("#ask-yes").click()
    page.locator("#live-state strong", has_text="aborted").wait_for()
    assert "Stopped" in kinds(run)[-2:], "after it only whether the lamp is off"
    who = [(line.get("verb") or line["event"], line["by"]) for line in lab.requests()[-4:]]
    assert who == [("start", user()), ("Held", user()), ("Released", user()), ("abort", user())]
    for place in ("document.cookie", "location.href", "JSON.stringify(localStorage)"):
        assert lab.token not in page.evaluate(place)


def tab_to(page: Any, name: str) -> None:
    """Presses Tab until the element of this name has the focus, as a person without a mouse would."""
    for _ in range(80):
        page.keyboard.press("Tab")
        here = page.evaluate(
            "(e => (e.getAttribute('aria-label') || e.textContent.trim() || '') + '|' + "
            "[...(e.labels || [])].map(l => l.textContent).join(' '))(document.activeElement)"
        )
        if name in here.split("|"):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", "focus is visible"
            return
    raise AssertionError(f"no way to {name}")


@pytest.mark.slow
def test_start_pause_resume_and_abort_by_keyboard_alone(lab: Lab, page: Any) -> None:
    page.goto(lab.url + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to(page, "Start")
    page.keyboard.press("Enter")
    page.wait_for_url(lab.url + "/start")
    tab_to(page, "Campaign, in YAML")
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(yamlfile.dump({**ENDLESS, "name": "by-key"}))
    tab_to(page, "Start")
    page.keyboard.press("Enter")
    page.keyboard.type(lab.token)
    page.keyboard.press("Enter")
    page.wait_for_url(lab.url + "/#main")
    page.locator("#home-now a", has_text="by-key").wait_for()
    tab_to(page, "by-key")
    page.keyboard.press("Enter")
    run = lab.newest("by-key")
    page.locator("#live-state button").first.wait_for()
    tab_to(page, "Pause this campaign")
    page.keyboard.press("Enter")
    page.keyboard.type("a look")
    page.keyboard.press("Enter")
    page.locator("#live-state strong", has_text="paused").wait_for()
    page.locator("#live-state button", has_text="Resume").wait_for()
    assert page.evaluate("document.activeElement !== document.body"), "the focus is not lost where a button changed"
    tab_to(page, "Resume this campaign") if page.evaluate("document.activeElement.textContent") != "Resume" else None
    page.keyboard.press("Space")
    page.locator("#live-state strong", has_text="running").wait_for()
    page.locator("#live-state button", has_text="Pause").wait_for()
    tab_to(page, "Abort this campaign")
    page.keyboard.press("Enter")
    page.keyboard.type("enough")
    page.keyboard.press("Enter")
    page.locator("#live-state strong", has_text="aborted").wait_for()
    steps = ("Paused", "Continued", "Stopped")
    assert tuple(kind for kind in kinds(run) if kind in steps) == steps


def test_a_wrong_token_changes_nothing_and_is_told_where_it_was_typed(lab: Lab, page: Any) -> None:
    before = lab.requests()
    page.goto(lab.url + "/")
    page.get_by_role("button", name="Pause the whole lab").click()
    page.locator("#ask-token").fill("not-the-token")
    page.locator("#ask-yes").click()
    page.locator("#ask-error", has_text="wrong access token").wait_for()
    assert lab.requests() == before
    assert page.evaluate("document.activeElement.id") == "ask-token"
    page.keyboard.type(lab.token)
    page.keyboard.press("Enter")
    page.locator(".outcome.paused", has_text="lab").wait_for()
    page.get_by_role("button", name="End the pause of the whole lab").click()
    page.locator("#ask-yes").click()
    page.locator(".outcome.paused").wait_for(state="detached")
    assert [line["event"] for line in lab.requests()[len(before) :]] == ["Held", "Released"]


@pytest.mark.slow
def test_a_pause_of_the_whole_lab_is_ended_by_a_dialog_that_says_whose_it_is_and_why(lab: Lab, page: Any) -> None:
    run = begin(lab)
    page.goto(lab.url + at(run))
    page.evaluate("token => sessionStorage.setItem('token', token)", lab.token)
    page.get_by_role("button", name="Pause this campaign").wait_for()
    paused = tell(lab, "pause", "lab", "--reason", "person in <b>enclosure</b>", "--url", lab.url)
    assert paused.returncode == 0, paused.stderr
    page.locator("#live-state", has_text="paused with the whole lab by").wait_for()
    page.locator("#live-state strong", has_text="paused").wait_for()
    assert page.get_by_role("button", name="Resume this campaign").count() == 0
    quote = page.locator("#ask-text", has_text="person in <b>enclosure</b>")
    for place in (at(run), "/"):
        page.goto(lab.url + place)
        page.get_by_role("button", name="End the pause of the whole lab").click()
        quote.wait_for()
        assert "The whole lab is paused by " in quote.inner_text()
        assert page.locator("#ask-title").inner_text() == "End the pause of the whole lab"
        page.locator("#ask-no").click()
    assert [line["event"] for line in lab.requests()][-1] == "Held", "a look at the dialog ends nothing"
    page.get_by_role("button", name="End the pause of the whole lab").click()
    quote.wait_for()
    assert tell(lab, "resume", "lab").returncode == 0  # meanwhile, somewhere else
    assert tell(lab, "pause", "lab", "--reason", "laser").returncode == 0
    page.locator("#ask-yes").click()
    page.locator("#ask-error", has_text="paused again meanwhile; it is now paused by").wait_for()
    assert [line["event"] for line in lab.requests()][-1] == "Held"
    page.locator("#ask-no").click()
    page.goto(lab.url + at(run))
    page.get_by_role("button", name="End the pause of the whole lab").click()
    page.locator("#ask-text", has_text="laser").wait_for()
    page.locator("#ask-yes").click()
    page.locator("#live-state strong", has_text="running").wait_for()
    assert lab.requests()[-1]["what"] == "lab"
    finish(lab)


def test_a_page_of_another_site_changes_nothing(lab: Lab, page: Any) -> None:
    class Evil(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            text = f'<form method="post" action="{lab.url}/api/v1/pause" enctype="text/plain"><input name=a></form>'
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    before = lab.requests()
    page.expected = "ERR_|CORS|Failed to load|status of 4|Content Security|frame"
    try:
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        tries = page.evaluate(
            """async ([url, token]) => { const results = [];
            const heads = {Authorization: 'Bearer ' + token};
            for (const how of [{mode: 'no-cors'}, {headers: heads}, {credentials: 'include'}])
              results.push(await fetch(url + '/api/v1/pause', {method: 'POST', body: '{"target":"lab"}', ...how})
                .then(a => a.type === 'opaque' ? 'sent' : a.status, e => 'refused'));
            results.push(await fetch(url + '/api/v1/status').then(a => 'read', e => 'refused'));
            return results; }""",
            [lab.url, lab.token],
        )
        assert tries == ["sent", "refused", "refused", "refused"]
        page.evaluate("document.forms[0].submit()")
        page.wait_for_url(lab.url + "/api/v1/pause")
        assert json.loads(page.locator("pre, body").first.inner_text())["status"] in (401, 403)
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        page.evaluate(
            "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f); }", lab.url
        )
        page.wait_for_timeout(500)
        framed = page.frames[-1]
        assert "Instruments" not in framed.content(), "it cannot be put into a frame"
    finally:
        other.shutdown()
        other.server_close()
    assert lab.requests() == before


# For everybody ------------------------------------------------------------------------------------------------------
CONTRAST = """() => {
  const rgb = (text) => { const c = text.match(/[\\d.]+/g).map(Number); return c.length > 3 ? c : [...c, 1]; };
  const part = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const results = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();) {
    const e = node.parentElement;
    if (!node.textContent.trim() || !e.checkVisibility() || e.closest('.unseen')) continue;
    const style = getComputedStyle(e);
    const ink = e.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(rgb(ink)), light(ground(e))];
    results.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), node.textContent.trim().slice(0, 40)]);
  }
  return results.sort((x, y) => x[0] - y[0]);
}"""
NAMELESS = """() => [...document.querySelectorAll(
    'a, button, input, select, textarea, [tabindex="0"], svg[role], progress')]
  .filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || '').trim() && !(e.labels || []).length
    && !e.textContent.trim()).map(e => e.outerHTML.slice(0, 100))"""


@pytest.mark.slow
def test_every_text_can_be_read_every_control_has_a_name_and_a_phone_shows_all_of_it(lab: Lab, chromium: Any) -> None:
    ended = copy(real(lab.folder / "real-look"), lab.runs, "finished", "20261101T120000.000000Z-f1")
    run = begin(lab)
    notes.write(run, "a note", ["a tag"], 0, "ada", 5.0)
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    least = {}
    for path in ("/", "/runs", at(run), at(ended), "/start", "/runs/no/run"):
        page.goto(lab.url + path)
        for scheme, opened in (("light", False), ("dark", False), ("dark", True), ("light", True)):
            page.emulate_media(color_scheme=scheme)
            if opened and not page.locator("#ask").is_visible():
                page.locator("#token-button").click()
            rated = page.evaluate(CONTRAST)
            least[path] = min(least.get(path, 21.0), round(rated[0][0], 2))
            assert rated[0][0] >= 4.5, (scheme, rated[:5])
            assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    print("least contrast:", least)
    context.close()
    finish(lab)


@pytest.mark.slow
def test_without_a_script_everything_can_be_read(lab: Lab, chromium: Any) -> None:
    run = begin(lab)
    until(lambda: kinds(run).count("Measured") > 2)
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 800, "height": 800})
    page = context.new_page()
    page.goto(lab.url + at(run))
    assert "trial" in page.locator("#live-state").inner_text()
    assert page.locator("#live-trials tbody tr").count() >= 2
    assert not page.locator("#live-state button").first.is_visible(), "what would do nothing is not shown"
    first = page.locator("#live-state").inner_text()
    until(lambda: kinds(run).count("Measured") > 6)
    page.get_by_role("link", name="Reload").click()
    assert page.locator("#live-state").inner_text() != first
    page.goto(lab.url + "/runs")
    page.get_by_label("Search").fill("endless")
    page.get_by_role("button", name="Filter").click()
    assert "q=endless" in page.url
    context.close()
    finish(lab)


def open_list(page: Any, url: str, run: str) -> Any:
    """Load a list of runs until it has a new run, after some seconds; the link to it."""
    page.goto(url)
    link = page.get_by_role("link", name=run)
    until(lambda: link.count() or (page.reload() and link.count()))
    return link


def test_names_with_markup_are_text_in_a_browser(lab: Lab, page: Any) -> None:
    from sdl.store import record

    evil = "<img src=x onerror=alert(1)><script>alert(2)<svg onload=alert(3)>"
    events = real(lab.folder / "real-evil")
    folder = lab.runs / evil / "20261102T120000.000000Z-e1"
    record.write_whole(folder, [poisoned(event, evil) for event in events])
    notes.write(folder, evil, [evil[:38]], 0, evil, 5.0)
    open_list(page, lab.url + "/runs", evil).click()
    assert page.locator("h1").inner_text() == evil
    assert evil in page.locator("#live-channels").inner_text()
    page.goto(lab.url + "/runs?tag=" + "<img src=x onerror=alert(4)>")
    assert page.locator("img").count() == 0


def test_notes_are_saved_from_the_page(lab: Lab, page: Any) -> None:
    run = copy(real(lab.folder / "real-notes"), lab.runs, "noted", "20261103T120000.000000Z-n1")
    page.goto(lab.url + at(run))
    page.get_by_label("Note", exact=True).fill("the <i>blue</i> filter")
    page.get_by_label("Tags").fill("blue, first")
    page.get_by_role("button", name="Save the notes").click()
    page.locator("#ask-token").fill(lab.token)
    page.locator("#ask-yes").click()
    page.locator("#done", has_text="Notes saved.").wait_for()
    assert notes.read(run).tags == ("blue", "first")
    assert open_list(page, lab.url + "/runs?tag=blue", "noted").count() == 1
    page.goto(lab.url + at(run))
    assert page.get_by_label("Note", exact=True).input_value() == "the <i>blue</i> filter"


@pytest.mark.slow
def test_the_report_of_a_run_opens_from_its_page(lab: Lab, page: Any) -> None:
    pytest.importorskip("matplotlib")
    run = copy(real(lab.folder / "real-report"), lab.runs, "reported", "20261104T120000.000000Z-r1")
    page.goto(lab.url + at(run))
    page.get_by_role("link", name="Report", exact=True).click()
    page.wait_for_url("**/report")
    page.locator("figure img").first.wait_for()  # it is being made until then
    assert page.locator("figure img").count() >= 5
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST)[0][0] >= 4.5, scheme
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px", (
        "its style is let in"
    )


# The server away ------------------------------------------------------------------------------------------------------
def used(stat: Path) -> int:
    """Ticks of a processor that a process has had."""
    fields = stat.read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def idle(lab: Lab, n: int) -> list[socket.socket]:
    """Streams that are open and say nothing."""
    opened = []
    for _ in range(n):
        one = socket.create_connection(("127.0.0.1", lab.port))
        one.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{lab.port}\r\n\r\n".encode())
        opened.append(one)
    return opened


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_fifty_idle_streams_leave_nothing_behind_and_cost_the_lab_next_to_nothing(lab: Lab) -> None:
    assert lab.process is not None
    files = Path(f"/proc/{lab.process.pid}/fd")

    def spent() -> float:
        """Seconds of a processor that the lab needs in four, which no other process changes much."""
        assert lab.process is not None
        stat, tick = Path(f"/proc/{lab.process.pid}/stat"), os.sysconf("SC_CLK_TCK")
        before, _ = used(stat), time.sleep(4.0)
        return (used(stat) - before) / tick

    run = begin(lab)
    until(lambda: kinds(run).count("Measured") > 2)
    alone, opened = spent(), len(list(files.iterdir()))
    streams = idle(lab, 50)
    for stream in streams:
        stream.settimeout(PATIENCE)
        assert stream.recv(15) == b"HTTP/1.1 200 OK", "all of them are let in"
    watched = spent()
    for stream in streams:
        stream.close()
    until(lambda: len(list(files.iterdir())) <= opened + 3)
    print(f"processor seconds in 4 s: {alone} alone, {watched} with 50 streams")
    assert watched <= alone + 0.4
    finish(lab)


@pytest.mark.slow
def test_a_server_that_is_killed_is_said_and_found_again_when_it_is_back(lab: Lab, page: Any) -> None:
    run = begin(lab)
    page.goto(lab.url + at(run))
    page.locator("#live-state strong", has_text="running").wait_for()
    page.expected += "|ERR_CONTENT_LENGTH_MISMATCH"  # an answer may be broken off
    lab.kill()
    page.locator("#lost", has_text="The server does not answer").wait_for()
    page.get_by_role("button", name="Abort this campaign").click()
    page.locator("#ask-token").fill("x")
    page.locator("#ask-yes").click()
    page.locator("#ask-error", has_text="the server does not answer").wait_for()
    page.locator("#ask-no").click()
    lab.begin()
    page.locator("#lost").wait_for(state="hidden")
    before = kinds(run).count("Measured")
    until(lambda: kinds(run).count("Measured") > before + 2)  # the lab goes on with it
    count = "Number(/, (\\d+) readings?/.exec(document.querySelector('#live-state .used').textContent)[1])"
    page.wait_for_function(f"n => {count} > n", arg=before)
    finish(lab)


@pytest.mark.slow
def test_a_person_approves_what_an_agent_has_submitted(lab: Lab, page: Any) -> None:
    finish(lab)
    secret = tell(lab, "token", "new", "lab.yaml", "claude", "--scope", "submit").stdout.decode().strip()
    ada = tell(lab, "token", "new", "lab.yaml", "ada", "--scope", "approve").stdout.decode().strip()
    campaign = {"name": "asked", "goal": {"445nm": 16384}, "solver": "linear", "description": "<b>approve me</b>"}
    body = {"campaign": json.dumps(campaign), "instrument": "led-2"}
    with httpx.Client(base_url=lab.url, trust_env=False) as http:
        page.goto(lab.url)
        reply = http.post("/api/v1/submit", json=body, headers={"Authorization": f"Bearer {secret}"})
        assert reply.json()["decision"] == "waits"
    card = page.locator("#home-review section")
    card.locator("summary").click()
    assert "high: 0.9" in card.inner_text()
    assert "<b>approve me</b>" in card.inner_text()
    page.get_by_role("button", name="Approve submission 1").click()
    page.get_by_label("Why").fill("within what we agreed")
    page.locator("#ask-token").fill(ada)
    page.locator("#ask-yes").click()
    page.locator("#done", has_text="Approved submission 1").wait_for()
    until(lambda: not page.locator("#home-review section").count())
    run = lab.newest("asked")
    until(lambda: kinds(run)[-1] in ("Stopped", "Safe"))
    reviewed = [line for line in lab.journal() if line["event"] == "Reviewed"]
    assert [(line["by"], line["reason"]) for line in reviewed] == [("ada", "within what we agreed")]
    assert [line["by"] for line in lab.journal() if line["event"] == "Due"][-1] == "claude"
