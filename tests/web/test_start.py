"""Campaigns that the page makes, starts, continues and stops: what is taken, what is refused, what happens."""

from __future__ import annotations

import html
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import until

import sdl
from sdl import config, yamlfile
from sdl.cli.instrument import load_instrument
from sdl.core.events import Event, Interrupted, Resumed
from sdl.errors import ConfigError
from sdl.lab.http.api import create_app
from sdl.lab.http.auth import filtered_app
from sdl.lab.http.named_tokens import NamedTokens
from sdl.lab.http.token import Credentials, read
from sdl.runner import user
from sdl.runs.runs import open_run
from sdl.store import record
from sdl.web.pages import routes
from sdl.web.start.form import apply_form, form_of, of_run
from sdl.web.start.instruments import of_files
from sdl.web.start.launcher import Launcher
from tests.web.web_kit import Http, PageLab, copy

PORT = 8000
GOOD = "name: by-hand\ngoal: {445nm: 16384}\nsolver: linear\nstop: {trials: 12}\n"
ENDLESS = {
    "name": "endless", "instrument": {"kind": "twin", "realtime": True, "latency": 0.05},
    "goal": {"445nm": {"target": 16384, "tolerance": 0.001}}, "solver": "random",
    "stop": {"trials": 5000, "unreachable": None},
}  # fmt: skip


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Credentials]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "runs").mkdir()
    made = Credentials("bench", tmp_path, tmp_path)
    yield made
    made.close()


class Page:
    """The page of `sdl web`, with the token in every change."""

    def __init__(self, runs: Path, door: Credentials, files: Sequence[Path] = ()) -> None:
        self.runs, self.launcher = runs, Launcher(runs, of_files({file: load_instrument(file, ()) for file in files}))
        app = filtered_app(routes(None, runs, door, launcher=self.launcher), door, PORT)
        self.http = Http(app, f"http://127.0.0.1:{PORT}")
        self.token = {"Authorization": f"Bearer {read(door.folder / 'token')}"}

    def post(self, name: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/api/v1/{name}", json=body, headers=self.token)

    def started(self, campaign: str = GOOD, instrument: str = "twin") -> Path:
        reply = self.post("start", campaign=campaign, instrument=instrument)
        assert reply.status_code == 200, reply.text
        return self.runs / reply.json()["run"]


@pytest.fixture
def page(tmp_path: Path, door: Credentials) -> Iterator[Page]:
    made = Page(tmp_path / "runs", door)
    yield made
    made.launcher.close()


def ended(run: Path) -> sdl.Run:
    until(lambda: open_run(run).result.outcome is not None)
    return open_run(run)


def spent(runs: Path) -> Path:
    """A run whose budget is used up."""
    tree = {"name": "spent", "instrument": "twin", "goal": {"445nm": 16384.5}, "tolerance": 0.001, "solver": "linear"}
    return Path(sdl.run({**tree, "stop": {"trials": 5}}, runs=runs).run)  # readings are whole numbers


# The form and its YAML ----------------------------------------------------------------------------------------------
FORM = {
    "name": "x", "tolerance": "2%", "average": "3", "solver": "gp", "trials": "30", "minutes": "", "prior": "a/b, c/d",
    "goal": {
        "A": {"how": "target", "value": "20000", "high": "", "tolerance": ""},
        "B": {"how": "target", "value": "5", "high": "", "tolerance": "1 %"},
        "C": {"how": "between", "value": "1", "high": "9.5", "tolerance": ""},
        "D": {"how": "at least", "value": "7", "high": "", "tolerance": ""},
        "E": {"how": "", "value": "", "high": "", "tolerance": ""},
    },
    "inputs": {
        "R": {"how": "", "low": "0.1", "high": "0.1", "choices": ""},
        "G": {"how": "", "low": "", "high": "0.5", "choices": ""},
        "solvent": {"how": "", "low": "", "high": "", "choices": "water, ethanol"},
        "free": {"how": "", "low": "", "high": "", "choices": ""},
    },
}  # fmt: skip
TREE = {
    "name": "x", "inputs": {"R": 0.1, "G": {"high": 0.5}, "solvent": {"choices": ["water", "ethanol"]}},
    "goal": {"A": 20000, "B": {"target": 5, "tolerance": "1 %"}, "C": {"between": [1, 9.5]}, "D": {"at least": 7}},
    "tolerance": "2%", "average": 3, "solver": "gp", "stop": {"trials": 30}, "prior": ["a/b", "c/d"],
}  # fmt: skip


def test_a_form_becomes_a_campaign_and_the_campaign_that_form() -> None:
    assert apply_form({}, FORM) == TREE
    shown = form_of(TREE)
    assert apply_form({}, shown) == TREE
    assert {key: value for key, value in shown["goal"].items() if value["how"]} == {
        key: value
        for key, value in FORM["goal"].items()
        if value["how"]  # type: ignore[attr-defined]
    }


def test_what_a_form_has_no_field_for_stays_as_it_is() -> None:
    tree = {
        "name": "x", "goal": {"A": {"strange": 1}}, "inputs": {"R": {"low": 1, "choices": []}}, "seed": 4,
        "solver": {"kind": "gp", "noise": 2}, "stop": {"failures": 2}, "design": {"kind": "sobol", "points": 8},
    }  # fmt: skip
    assert apply_form(tree, form_of(tree)) == tree
    assert apply_form(tree, {**form_of(tree), "solver": "linear"})["solver"] == "linear"


def test_a_goal_to_maximise_gets_an_end_and_loses_it_again() -> None:
    best = apply_form({}, {**FORM, "goal": {"A": {"how": "maximise"}}})
    assert (best["goal"], best["stop"]) == ({"A": "maximise"}, {"trials": 30, "improvement": "1%"})
    assert "improvement" not in apply_form(best, FORM)["stop"]


def test_the_campaign_of_a_run_is_short_and_gives_the_same_campaign(tmp_path: Path) -> None:
    first = sdl.open_run(spent(tmp_path))
    again = {
        "name": "again", "instrument": "twin", "goal": {"445nm": 16384}, "prior": [str(first.folder)], "seed": 3,
        "solver": {"kind": "linear", "intercept": False}, "stop": {"trials": 6}, "average": 2,
    }  # fmt: skip
    run = sdl.open_run(sdl.run(again, runs=tmp_path).run)
    tree = of_run(run.config, tmp_path)
    name = f"spent/{first.folder.name}"
    assert tree == {
        "name": "again", "goal": {"445nm": 16384}, "average": 2, "solver": {"kind": "linear", "intercept": False},
        "stop": {"trials": 6}, "prior": [name], "seed": 3,
    }  # fmt: skip
    parsed = config.parse({**tree, "instrument": run.config["instrument"]}, runs=tmp_path)
    assert {**parsed.plain(), "prior": []} == {**run.config, "prior": []}
    elsewhere = of_run({**run.config, "prior": ["/etc/passwd", str(first.folder / "prior.jsonl")]}, tmp_path)
    assert elsewhere["prior"] == [name]


# Drafts -------------------------------------------------------------------------------------------------------------
def test_a_draft_says_what_is_wrong_at_its_field_and_in_its_line(page: Page) -> None:
    form = {**form_of(yamlfile.parse(GOOD).value), "goal": {"445nm": {"how": "target", "value": "700000"}}}
    reply = page.post("draft", instrument="twin", campaign=GOOD, form=form).json()
    assert not reply["valid"]
    (problem,) = reply["problems"]
    assert (problem["path"], problem["line"]) == ("goal.445nm", 3)
    assert "saturates at 65535" in problem["message"]
    assert yamlfile.parse(reply["campaign"]).value["goal"] == {"445nm": 700000}
    text = GOOD.replace("16384", "{target: 16384, tolerance: 2.5%}").replace("linear", "linnear")
    reply = page.post("draft", instrument="twin", campaign=text, form=None).json()
    assert reply["form"]["goal"]["445nm"] == {"how": "target", "value": "16384", "high": "", "tolerance": "2.5%"}
    assert [problem["path"] for problem in reply["problems"]] == ["solver.kind"]
    assert page.post("draft", instrument="twin", campaign=GOOD, form=None).json()["at_most"].startswith("at most 12")
    assert page.post("draft", instrument="twin", campaign="name: x", form=None).json()["problems"] == [
        {"path": "goal", "message": "choose a channel and give its target", "line": None}
    ]
    broken = page.post("draft", instrument="twin", campaign="goal: [", form=None).json()
    assert (broken["form"], broken["problems"][0]["line"]) == (None, 1)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("instrument: {kind: command, command: [touch, /tmp/x]}", "names a program"),
        ("instrument: {kind: python, function: a.py:b}", "names Python code"),
        ("prior: [/etc/passwd]", "names no paths"),
        ("prior: [../other/run]", "names no paths"),
        ("notify: {to: {eve: {url: 'http://evil.example'}}}", "must not name recipients"),
        ("watch: /etc/passwd", "must not name a path"),
        ("solver: {kind: bayes, state: /etc/passwd}", "must not name a path"),
    ],
)
def test_a_campaign_names_no_code_and_no_path(page: Page, text: str, wrong: str) -> None:
    campaign = f"{GOOD.replace('solver: linear', '') if 'solver' in text else GOOD}{text}\n"
    for name in ("check", "start", "forecast"):
        reply = page.post(name, campaign=campaign, instrument="twin")
        assert reply.status_code == 409, name
        assert wrong in reply.json()["error"]
    drafted = page.post("draft", campaign=campaign, instrument="twin", form=None).json()
    assert any(wrong in problem["message"] for problem in drafted["problems"])
    assert list(page.runs.glob("*/*/record.jsonl")) == []


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("start", {"campaign": GOOD, "instrument": "twin", "folder": "/tmp"}),
        ("start", {"campaign": {"name": "x"}, "instrument": "twin"}),
        ("draft", {"campaign": GOOD, "instrument": 5, "form": None}),
        ("draft", {"campaign": GOOD, "instrument": "twin", "form": "x"}),
        ("resume-run", {"run": "../../etc/passwd", "changes": ""}),
        ("resume-run", {"run": "a/b/c", "changes": ""}),
        ("interrupt", {"run": "-rf"}),
        ("forecast", {"campaign": GOOD, "instrument": "twin", "seconds": "9999"}),
    ],
)
def test_a_body_of_another_form_is_refused(page: Page, name: str, body: dict[str, Any]) -> None:
    assert page.post(name, **body).status_code == 400


@pytest.mark.parametrize("form", [{"goal": 5}, {"goal": {"445nm": 5}}, {"inputs": []}, {"name": ["x"]}, {"trials": {}}])
def test_a_tampered_form_is_a_campaign_with_mistakes(page: Page, form: dict[str, Any]) -> None:
    reply = page.post("draft", instrument="twin", campaign="", form=form)
    assert reply.status_code == 200
    assert not reply.json()["valid"]


def test_an_unknown_instrument_is_refused_with_those_that_are_known(page: Page) -> None:
    for name in ("no-such", "/etc/passwd", "run a/b", "run ../../x"):
        for call in ("draft", "check", "start", "forecast"):
            reply = page.post(call, campaign=GOOD, instrument=name)
            assert reply.status_code == 409
    assert "allowed: twin" in page.post("check", campaign=GOOD, instrument="no-such").json()["error"]


@pytest.mark.parametrize("name", ["draft", "forecast", "check", "start", "resume-run", "interrupt"])
def test_every_call_needs_the_token(page: Page, name: str) -> None:
    body = {"campaign": GOOD, "instrument": "twin"}
    for heads in ({}, {"Authorization": "Bearer no"}, {**page.token, "Sec-Fetch-Site": "cross-site"}):
        reply = page.http.post(f"/api/v1/{name}", json=body, headers=heads)
        assert reply.status_code in (401, 403)
    assert list(page.runs.glob("*/*/record.jsonl")) == []


# Starting -----------------------------------------------------------------------------------------------------------
def test_a_campaign_is_started_in_a_process_of_its_own_and_its_run_is_told(page: Page) -> None:
    run = ended(page.started())
    assert run.result.outcome == "reached"
    assert run.config["instrument"]["kind"] == "twin"
    text = page.http.get(f"/runs/by-hand/{run.folder.name}").text
    assert "Run again with this run as prior" in text
    assert "data-resume" not in text, "a goal that was reached is not continued"


def test_a_campaign_that_cannot_begin_says_why(page: Page) -> None:
    first = page.started(yamlfile.dump({k: v for k, v in ENDLESS.items() if k != "instrument"}), "twin")
    assert first.parent.name == "endless"
    (page.runs / "blocked").write_text("a file where the runs of a campaign would be")
    reply = page.post("start", campaign=GOOD.replace("by-hand", "blocked"), instrument="twin")
    assert reply.status_code == 409
    assert "blocked" in reply.json()["error"]


def test_a_real_instrument_is_started_only_where_that_was_confirmed(page: Page) -> None:
    reply = page.post("start", campaign=GOOD, instrument="claude-light")
    assert reply.status_code == 409
    assert "is a real instrument" in reply.json()["error"]
    assert list(page.runs.glob("*/*")) == []


def test_the_instrument_of_a_run_may_be_used_again_but_not_that_of_another_account(
    page: Page, events: Sequence[Event]
) -> None:
    run = copy(events, page.runs, "evening", "20261101T120000.000000Z-a1")
    name = f"run evening/{run.name}"
    assert page.post("check", campaign=GOOD, instrument=name).status_code == 200
    code = {"kind": "python", "function": "x.py:f", "inputs": {"x": {}}, "channels": {"A": {}}, "off": "nothing"}
    other = copy(events, page.runs, "imported", "20261101T130000.000000Z-a2", {"instrument": code})
    (other / "imported.json").write_text("{}")
    reply = page.post("check", campaign=GOOD, instrument=f"run imported/{other.name}")
    assert reply.status_code == 409
    assert "its instrument names Python code" in reply.json()["error"]
    by_hand = copy(events, page.runs, "bench", "20261101T140000.000000Z-a3", {"instrument": {"kind": "manual"}})
    assert "driven by a person" in page.post("check", campaign=GOOD, instrument=f"run bench/{by_hand.name}").text


RIG = """
kind: command
command: [%s, rig.py]
inputs: {red: {high: 300}}
channels: {R: {}}
off: {red: 0}
"""
PROGRAM = """
import json, random, sys
for line in sys.stdin:
    ask = json.loads(line)
    settings = ask.get("measure") or ask["off"]
    readings = {"R": 250 - 0.5 * settings["red"] + random.gauss(0, 0.2)}
    print(json.dumps({"id": ask["id"], "readings": readings, "applied": settings}), flush=True)
"""


def rig(folder: Path, name: str = "my-rig.yaml") -> Path:
    """The file of an instrument of one's own, which is a program."""
    (folder / "rig.py").write_text(PROGRAM)
    (folder / name).write_text(RIG % sys.executable)
    return folder / name


def test_a_campaign_is_started_on_an_instrument_of_ones_own_that_the_server_was_given(
    tmp_path: Path, door: Credentials
) -> None:
    page = Page(tmp_path / "runs", door, [rig(tmp_path)])
    assert "my-rig" in page.http.get("/start").text
    goal = "name: mine\ngoal: {R: 200}\ntolerance: 2%\nsolver: linear\n"
    with closing(page.launcher):
        assert "is a real instrument" in page.post("start", campaign=goal, instrument="my-rig").text
        reply = page.post("start", campaign=goal, instrument="my-rig", real="yes")
        assert reply.status_code == 200, reply.text
        assert ended(page.runs / reply.json()["run"]).result.outcome == "reached"
    again = page.http.get("/start", params={"from": reply.json()["run"]}).text
    first = json.loads(html.unescape(again.partition('data-setup="')[2].partition('"')[0]))["instruments"][0]
    assert first["name"] == "my-rig", "run again chooses the instrument of the run"


def test_files_that_the_page_cannot_offer_are_refused_by_name(tmp_path: Path) -> None:
    mine = rig(tmp_path)
    loaded = load_instrument(mine, ())
    with pytest.raises(ConfigError, match="cannot offer 'my rig'; use letters, digits"):
        of_files({tmp_path / "my rig.yaml": loaded})
    with pytest.raises(ConfigError, match="another instrument 'twin'; rename the file"):
        of_files({tmp_path / "twin.yaml": loaded})
    with pytest.raises(ConfigError, match="another instrument 'my-rig'"):
        of_files({mine: loaded, tmp_path / "other" / "my-rig.yaml": loaded})
    by_hand = tmp_path / "bench.yaml"
    by_hand.write_text("kind: manual\ninputs: {x: {}}\nchannels: {A: {}}\n")
    with pytest.raises(ConfigError, match="kind manual is driven by a person"):
        of_files({by_hand: load_instrument(by_hand, ())})


def test_the_page_begins_with_the_campaign_of_a_run(page: Page) -> None:
    run = spent(page.runs)
    name = f"spent/{run.name}"
    text = page.http.get("/start", params={"from": name, "prior": "1"}).text
    setup = json.loads(text.partition('data-setup="')[2].partition('"')[0].replace("&#34;", '"').replace("&gt;", ">"))
    assert setup["instruments"][0]["name"] == "twin"
    assert setup["form"]["goal"]["445nm"]["value"] == "16384.5"
    assert setup["form"]["prior"] == name
    assert page.http.get("/start", params={"from": "no/such"}).status_code == 404
    assert page.http.get("/start", params={"from": "../../etc"}).status_code == 404


# Continuing and stopping --------------------------------------------------------------------------------------------
def test_a_larger_budget_continues_the_record_with_the_change(page: Page) -> None:
    run = spent(page.runs)
    before = len(list(record.read(run)))
    text = page.http.get(f"/runs/spent/{run.name}").text
    assert 'data-changes="stop.trials=10"' in text, "the advice is a button"
    assert f"sdl resume {run} --set stop.trials=10" in text, "and the command beside it does the same"
    reply = page.post("resume-run", run=f"spent/{run.name}", changes="stop.trials=7\naverage=2")
    assert reply.json() == {"done": "Continued.", "run": f"spent/{run.name}"}
    until(lambda: open_run(run).result.trials == 7 and open_run(run).result.outcome is not None)
    after = list(record.read(run))
    assert len(after) > before
    assert [event.changes for event in after if isinstance(event, Resumed)] == [{"stop.trials": 7, "average": 2}]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ("goal.445nm=5", "cannot be changed in an existing run"),
        ("instrument.kind=command", "cannot be changed in an existing run"),
        ("notify={to: {eve: {url: x}}}", "must not name recipients"),
        ("solver={kind: bayes, state: /etc/passwd}", "must not name a path"),
        ("stop.trials=many", "stop.trials"),
        ("nonsense", "must be key=value"),
    ],
)
def test_a_change_that_a_resume_cannot_make_is_refused_and_nothing_is_written(
    page: Page, changes: str, wrong: str
) -> None:
    run = spent(page.runs)
    before = (run / "record.jsonl").read_bytes()
    reply = page.post("resume-run", run=f"spent/{run.name}", changes=changes)
    assert reply.status_code == 409
    assert wrong in reply.json()["error"]
    assert (run / "record.jsonl").read_bytes() == before


def test_a_run_that_has_reached_its_goal_or_is_gone_is_not_continued(page: Page, events: Sequence[Event]) -> None:
    run = copy(events, page.runs, "evening", "20261101T120000.000000Z-a1")
    reply = page.post("resume-run", run=f"evening/{run.name}", changes="stop.trials=80")
    assert (reply.status_code, "run it again" in reply.json()["error"]) == (409, True)
    assert page.post("resume-run", run="evening/none", changes="").status_code == 409


def test_a_running_campaign_is_stopped_after_its_reading_and_continued(page: Page) -> None:
    seen = copy([*interrupted_events(page.runs)], page.runs, "seen", "20261101T120000.000000Z-a1")
    run = f"seen/{seen.name}"
    assert page.post("interrupt", run=run).status_code == 409, "another process's"
    assert page.post("resume-run", run=run, changes="").status_code == 200
    assert "data-interrupt" in page.http.get(f"/runs/{run}").text
    assert page.post("resume-run", run=run, changes="").status_code == 409, "it runs already"
    assert page.post("interrupt", run=run).status_code == 200
    until(lambda: not page.launcher.is_running(run))
    assert any(isinstance(event, Interrupted) for event in list(record.read(seen))[-2:])
    text = page.http.get(f"/runs/{run}").text
    assert "Continue" in text
    assert "data-interrupt" not in text


def interrupted_events(runs: Path) -> Sequence[Event]:
    """The first events of a campaign in real time, which was interrupted."""
    page = Launcher(runs)
    begun = runs / page.start(config.parse(ENDLESS))
    until(lambda: open_run(begun).result.readings >= 2)
    assert page.close() == [f"endless/{begun.name}"]
    events = list(record.read(begun))
    assert any(isinstance(event, Interrupted) for event in events), "the end of the server interrupts what it started"
    return events


# Forecast -----------------------------------------------------------------------------------------------------------
def test_a_forecast_says_what_simulated_campaigns_took(page: Page) -> None:
    found = page.post("forecast", campaign=GOOD, instrument="twin").json()
    ended = found["campaigns"]  # fewer on a busy machine
    assert 1 <= ended <= 5
    assert found["good"] == ended
    assert found["text"].startswith(f"Goal reached in {ended} of {ended} simulated campaign")
    assert list(page.runs.glob("*/*/record.jsonl")) == []
    reply = page.post("forecast", campaign="name: x", instrument="twin")
    assert (reply.status_code, "goal: missing" in reply.json()["error"]) == (409, True)


def test_a_later_forecast_ends_the_one_before(page: Page) -> None:
    from concurrent.futures import ThreadPoolExecutor

    hard = GOOD.replace("linear", "auto") + "tolerance: 0.05%\n"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(page.post, "forecast", campaign=hard, instrument="twin")
        time.sleep(1.5)
        assert page.post("forecast", campaign=GOOD, instrument="twin").status_code == 200
    assert "a later forecast" in first.result().json()["error"]


# In a lab -----------------------------------------------------------------------------------------------------------
def test_in_a_lab_drafts_are_of_its_instruments_and_agents_have_no_part_in_them(
    tmp_path: Path, door: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    tokens = NamedTokens(tmp_path, {"claude": "submit"})
    credentials = Credentials("agents", tmp_path, tmp_path, tokens)
    lab = PageLab(runs)
    pages = routes(lab, runs, credentials, name="bench")
    app = create_app(
        lab, credentials, PORT, runs=runs, alive=lambda: 0.0, unready=lambda: (), metrics=bytes, routes=pages
    )
    http = Http(app, f"http://127.0.0.1:{PORT}")
    heads = {"Authorization": f"Bearer {read(credentials.folder / 'token')}"}
    body = {"campaign": GOOD, "instrument": "led-1", "form": None}
    assert http.post("/api/v1/draft", json=body, headers=heads).json()["valid"]
    assert http.post("/api/v1/draft", json={**body, "instrument": "twin"}, headers=heads).status_code == 409
    agent = {"Authorization": f"Bearer {tokens.new('claude', ['submit'], 5.0)}"}
    for name in ("draft", "forecast"):
        assert http.post(f"/api/v1/{name}", json=body, headers=agent).status_code == 403
    assert http.post("/api/v1/interrupt", json={"run": "a/b"}, headers=heads).status_code in (404, 405)
    run = spent(runs)
    done = http.post("/api/v1/resume-run", json={"run": f"spent/{run.name}", "changes": "stop.trials=9"}, headers=heads)
    assert done.status_code == 200
    assert lab.done == [("resume-run", f"spent/{run.name}", "stop.trials=9", user())]
    with pytest.raises(ConfigError):
        lab.instrument("other")
    credentials.close()
