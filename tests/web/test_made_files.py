"""Reports, comparisons and downloads: made apart, told of while they are made, and refused with a reason."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from sdl.core.events import Event
from sdl.lab.http.auth import filtered_app
from sdl.lab.http.token import Credentials
from sdl.web import made_files
from sdl.web.made_files import DOWNLOADS, MadeFiles
from sdl.web.pages import routes
from tests.web.web_kit import Http, copy

STAMP, PORT = "20261101T120000.000000Z-a1", 8765
RUN = f"/runs/evening/{STAMP}"
BROWSER = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def runs(tmp_path: Path, events: Sequence[Event]) -> Path:
    copy(events, tmp_path / "runs", "evening", STAMP)
    copy(events, tmp_path / "runs", "evening", STAMP[:-2] + "b2", {"solver": {"kind": "gp"}})
    return tmp_path / "runs"


@pytest.fixture
def http(runs: Path, tmp_path: Path) -> Http:
    credentials = Credentials("web", tmp_path / "state", runs)
    return Http(filtered_app(routes(None, runs, credentials), credentials, PORT), f"http://127.0.0.1:{PORT}")


def test_the_readings_of_a_run_can_be_downloaded(http: Http, events: Sequence[Event]) -> None:
    shown = http.get(RUN).text
    assert all(f'href="{RUN}/download/{name}"' in shown for name in DOWNLOADS)
    table = http.get(f"{RUN}/download/readings.csv")
    assert table.headers["content-disposition"] == 'attachment; filename="evening-a1-readings.csv"'
    measured = sum(type(event).__name__ == "Measured" for event in events)
    assert len(table.text.strip().splitlines()) == measured + 1
    lines = http.get(f"{RUN}/download/readings.jsonl").text.strip().splitlines()
    assert len([json.loads(line) for line in lines]) == measured


def test_the_figures_of_a_run_can_be_downloaded_as_png_and_svg(http: Http) -> None:
    pytest.importorskip("matplotlib")
    archive = zipfile.ZipFile(io.BytesIO(http.get(f"{RUN}/download/figures.zip").content))
    names = archive.namelist()
    assert {"settings.png", "settings.svg"} <= set(names)
    assert all(name.endswith((".png", ".svg")) for name in names)
    assert archive.read("settings.png").startswith(b"\x89PNG")


def test_runs_are_compared_on_a_page_that_leads_back(http: Http) -> None:
    pytest.importorskip("matplotlib")
    answer = http.get("/compare", params={"run": [f"evening/{STAMP}", f"evening/{STAMP[:-2]}b2"]})
    assert "2 runs in 2 groups" in answer.text, answer.text
    assert "B · linear" in answer.text
    assert '<a href="/runs">Back to the runs</a>' in answer.text
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/compare", 400, "choose 1 to 200 runs"),
        ("/compare?" + "&".join(f"run=a/{n}" for n in range(201)), 400, "these are 201"),
        ("/compare?run=evening/nothing", 404, "no run"),
        ("/compare?run=../secret", 404, "no run"),
        ("/compare?run=evening", 404, "no run"),
        (f"{RUN}/download/record.jsonl", 404, "no download"),
        (f"{RUN}/download/..%2f..%2fsecret", 400, ""),
    ],
)
def test_what_cannot_be_made_is_refused_with_a_reason(http: Http, path: str, status: int, said: str) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    assert said in answer.text


def test_a_damaged_record_is_named_where_its_file_is_asked_for(http: Http, runs: Path) -> None:
    file = runs / "evening" / STAMP / "record.jsonl"
    file.write_bytes(file.read_bytes().replace(b"16384", b"16385", 1))
    answer = http.get(f"{RUN}/download/readings.csv", headers=BROWSER)
    while answer.status_code == 202:
        answer = http.get(f"{RUN}/download/readings.csv", headers=BROWSER)
    assert answer.status_code == 503
    assert "the table cannot be made" in answer.text
    assert "record.jsonl:1: damaged" in answer.text


def test_a_browser_is_told_that_its_file_is_being_made(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_files, "QUICK_SECONDS", 0.0)
    first = http.get(f"{RUN}/download/readings.csv", headers=BROWSER)
    assert first.status_code == 202
    assert "The table is being made." in first.text
    assert "content-disposition" not in first.headers
    answer = first
    while answer.status_code == 202:
        answer = http.get(f"{RUN}/download/readings.csv", headers=BROWSER)
    assert answer.status_code == 200
    assert answer.text.startswith("trial,")


def test_a_file_is_made_once_for_an_unchanged_record(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    before = http.get(f"{RUN}/download/readings.csv").content
    monkeypatch.setattr(MadeFiles, "_make", lambda *_: pytest.fail("made again"))
    assert http.get(f"{RUN}/download/readings.csv").content == before


def test_the_model_of_a_run_is_drawn_as_part_of_the_page(http: Http) -> None:
    pytest.importorskip("matplotlib")
    assert f'href="{RUN}/model"' in http.get(RUN).text
    shown = http.get(f"{RUN}/model")
    assert shown.status_code == 200
    assert shown.text.count('<svg role="img" aria-label="') >= 3
    assert "<title>trial " in shown.text  # on hover
    assert 'style="' not in shown.text  # the policy of the page forbids styles in it
    assert "<style" not in shown.text
    ids = re.findall(r' id="([^"]+)"', shown.text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', shown.text)) - {"main"} <= set(ids)


def test_without_enough_readings_the_page_of_the_model_says_so(http: Http, runs: Path, events: Sequence[Event]) -> None:
    copy(events[:1], runs, "evening", STAMP[:-2] + "c3")
    assert "No model can be shown" in http.get(f"{RUN[:-2]}c3/model").text
