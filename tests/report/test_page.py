"""The page of a run: what it says, that it is safe to open, and that hostile names are text in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from pathlib import Path

import pytest

import sdl
from report import kit
from sdl.core.events import Proposed
from sdl.errors import ConfigError
from sdl.report import page
from sdl.report.figures import draw
from sdl.report.summary import summary
from sdl.report.table import TrialTable
from sdl.runs.runs import Run
from sdl.store import record


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.campaign(tmp_path_factory.mktemp("runs"), "night")


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return page.run_page(Run(folder))


def test_a_page_says_what_was_wanted_what_came_and_why_it_ended(folder: Path, text: str) -> None:
    run, seen = Run(folder), kit.Page(text).text
    assert f"reached : {run.result.reason}" in seen
    assert "goal: 445nm 16384 ± 327.68" in seen
    for name in kit.GOAL:
        assert f"{run.result.measured[name]:.0f}" in seen
    for value in run.result.settings.values():
        assert f"{value:.4f}" in seen
    assert run.sha in seen
    assert run.sha == record.check(folder).sha
    assert "solver: kind: linear" in seen  # the configuration
    for proposed in run.proposals.values():
        assert proposed.why in seen


def test_a_trial_s_error_comes_before_its_settings_and_times_name_their_zone(text: str) -> None:
    heads = re.findall(r"<th[^>]*>([^<]*)", text.partition('id="who"')[2])
    assert heads.index("× tolerance") < heads.index("R")
    assert re.search(r" · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC([+-]\d\d:\d\d)? · ", text)


def test_a_page_loads_nothing_and_runs_nothing(text: str) -> None:
    seen = kit.Page(text)
    assert set(seen.tags) & {"script", "link", "iframe", "object", "embed", "form", "base"} == set()
    assert [source for source in seen.all("img", "src") if not source.startswith("data:image/svg+xml;base64,")] == []
    assert [name for _, name, _ in seen.attributes if name.startswith("on") or name in ("style", "href")] == []
    pictures = [base64.b64decode(source.partition(",")[2]) for source in seen.all("img", "src")]
    assert len(pictures) == 7
    for picture in pictures:
        assert b"<script" not in picture
        assert re.findall(rb'(?:href|src)="(?!#|data:image/png;base64,)[^"]*"', picture) == []


def test_the_policy_allows_our_style_sheet_and_nothing_else(text: str) -> None:
    (policy,) = [value for value in kit.Page(text).all("meta", "content") if "default-src" in value]
    (css,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    wanted = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert policy == wanted
    assert "http" not in css
    assert "url(" not in css


@pytest.mark.parametrize(("theme", "media"), [("dark", "@media screen{"), ("light", "@media not all{")])
def test_a_chosen_theme_holds_for_page_and_figures_whatever_the_system_has(theme: str, media: str, text: str) -> None:
    def parts(content: str) -> list[str]:
        figures = re.findall(r"base64,([A-Za-z0-9+/=]+)", content)
        return [
            re.findall("<style>(.*?)</style>", content, re.DOTALL)[0],
            *(base64.b64decode(f).decode() for f in figures),
        ]

    assert len(parts(text)) > 2
    assert all("prefers-color-scheme" in part for part in parts(text))
    chosen = page.with_theme(text.encode(), theme).decode()
    assert len(parts(chosen)) == len(parts(text))
    for part in parts(chosen):
        assert "prefers-color-scheme" not in part
        assert media in part
    css = parts(chosen)[0]
    assert f"color-scheme:{theme};" in css
    assert f"'sha256-{base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()}'" in chosen


def test_every_picture_says_what_it_is_to_who_cannot_see_it(text: str) -> None:
    seen = kit.Page(text)
    assert all(len(alt) > 20 for alt in seen.all("img", "alt"))
    assert len(seen.all("img", "alt")) == len(seen.all("img", "src"))
    assert ("html", "lang", "en") in seen.attributes


HOSTILE = '</td><script>alert("1")</script><img src=x onerror=alert(1)>'


def test_hostile_names_are_text(folder: Path, tmp_path: Path) -> None:
    changes = {"515nm": HOSTILE, "night": "<b>night</b>&amp;", "point 1 of 4": "</svg><script>x()</script>"}
    run = Run(kit.renamed(folder, tmp_path / "<i>c" / "20260101T000000Z-abc123", changes))
    table = TrialTable(run)
    figures = [page.picture(draw(table, name), name, HOSTILE) for name in ("spectrum", "parity")]
    made = page.render("run.html.j2", title=run.opened.campaign, f=summary(table), figures=figures, left_out=[HOSTILE])
    seen = kit.Page(made)
    assert HOSTILE in seen.text
    assert "<b>night</b>&amp;" in seen.text
    assert "</svg><script>x()</script>" in seen.text
    assert "script" not in seen.tags
    assert "b" not in seen.tags
    assert "i" not in seen.tags
    assert [name for _, name, _ in seen.attributes if name.startswith("on")] == []
    shown = kit.Page(run._repr_html_())
    assert HOSTILE in shown.text
    assert {"script", "b"} & set(shown.tags) == set()


def test_half_a_character_in_a_name_breaks_no_page(folder: Path, tmp_path: Path) -> None:
    events = list(record.read(folder))
    events = [dataclasses.replace(e, why="caf\udce9") if isinstance(e, Proposed) else e for e in events]
    table = TrialTable(Run(kit.written(tmp_path / "c" / "20260101T000000Z-abc123", events)))
    assert "caf\\udce9" in page.render("run.html.j2", title="x", f=summary(table), figures=[], left_out=[])


def test_a_long_campaign_is_thinned_in_the_middle_and_keeps_its_best(tmp_path: Path) -> None:
    never = {"tolerance": "0.01%", "solver": {"kind": "random"}}
    table = TrialTable(Run(kit.campaign(tmp_path, "long", **never, stop={"trials": 200, "stagnation": None})))
    values = summary(table)
    shown = [row["trial"] for row in values["some"] if "trial" in row]
    assert shown[:12] == list(range(12))
    assert shown[-12:] == list(range(188, 200))
    assert table.run.result.best in shown
    hidden = sum(int(row["gap"].split()[0]) for row in values["some"] if "gap" in row)
    assert len(shown) + hidden == 200
    assert [row["trial"] for row in values["all"]] == list(range(200))
    assert values["all_title"] == "All 200 trials"


def test_an_aborted_run_s_page_says_who_and_why(folder: Path, tmp_path: Path) -> None:
    never = kit.campaign(tmp_path, "never", tolerance="0.01%", solver={"kind": "random"}, stop={"trials": 10})
    run = Run(kit.aborted(never, tmp_path / "aborted" / "20260101T000000Z-abc123", "it <smells>"))
    seen = kit.Page(page.piece(run, "outcome") + page.piece(run, "about")).text
    assert "aborted : it <smells>" in seen
    assert "ended by ada" in seen


def test_a_goal_with_a_range_and_one_at_zero_have_their_error_in_counts(tmp_path: Path) -> None:
    goal = {"515nm": {"between": [15000, 17000]}, "445nm": {"at most": 100}, "630nm": {"target": 0, "tolerance": 50}}
    values = summary(TrialTable(Run(kit.campaign(tmp_path, "ranges", goal=goal, stop={"trials": 6}))))
    rows = {row["name"]: row for row in values["channels"]}
    assert rows["515nm"]["goal"] == "15000 … 17000"
    assert rows["445nm"]["error"].startswith(("+", "−", "0"))
    assert "%" not in rows["630nm"]["error"]


# --- files --------------------------------------------------------------------------------------------------------


def test_a_page_of_ours_is_overwritten_and_nothing_else_is(text: str, tmp_path: Path) -> None:
    page.write(tmp_path / "a.html", text)
    page.write(tmp_path / "a.html", text + "<!-- again -->")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").endswith("<!-- again -->")
    (tmp_path / "b.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"b.html exists and was not made by sdl"):
        page.write(tmp_path / "b.html", text)
    assert (tmp_path / "b.html").read_text() == "mine"
    with pytest.raises(ConfigError, match="cannot be written"):
        page.write(tmp_path / "nowhere" / "c.html", text)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "b.html"]


# --- notebooks ----------------------------------------------------------------------------------------------------


def test_a_run_in_a_notebook_is_a_table_a_figure_and_a_data_frame(folder: Path) -> None:
    run = sdl.open_run(folder)
    shown = kit.Page(run._repr_html_())
    assert "reached" in shown.text
    assert "445nm" in shown.text
    frame = run.to_pandas()
    assert len(frame) == run.result.readings
    assert list(frame["trial"]) == [row["trial"] for row in run.rows()]
    assert run.figure()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="no figure 'nothing'"):
        run.figure("nothing")


def test_a_figure_that_a_run_cannot_have_says_so(tmp_path: Path) -> None:
    run = Run(kit.campaign(tmp_path, "data", collect=True, goal=None, design={"kind": "axis"}))
    with pytest.raises(ConfigError, match="has nothing to show in the figure 'spread'"):
        run.figure("spread")


def test_all_runs_are_listed_the_newest_first(folder: Path, tmp_path: Path) -> None:
    below = folder.parent.parent
    later = kit.campaign(below, "later", stop={"trials": 5})
    result = sdl.list_runs(below)
    assert [row["run"] for row in result][:2] == [str(later), str(folder)]
    assert result[1]["outcome"] == "reached"
    assert list(result.to_pandas()["campaign"])[:2] == ["later", "night"]
    assert "<td>night</td>" in result._repr_html_()
    assert sdl.list_runs(tmp_path / "none") == []
    assert sdl.open_run(result[0]["run"]).folder == later


def test_a_hostile_name_in_the_list_of_runs_is_text(folder: Path, tmp_path: Path) -> None:
    kit.renamed(folder, tmp_path / "<b>x" / "20260101T000000Z-abc123", {})
    assert "b" not in kit.Page(sdl.list_runs(tmp_path)._repr_html_()).tags


def test_signs_that_turn_a_line_around_are_spelled(folder: Path, tmp_path: Path) -> None:
    run = Run(kit.renamed(folder, tmp_path / "c" / "20260101T000000Z-abc123", {"515nm": "a\u202eb"}))
    shown = page.piece(run, "channels") + run._repr_html_()
    assert "\u202e" not in shown
    assert "a\\u202eb" in shown


def test_a_run_without_a_trial_has_a_page_that_says_so(folder: Path, tmp_path: Path) -> None:
    events = list(record.read(folder))[:1]
    seen = kit.Page(page.run_page(Run(kit.written(tmp_path / "c" / "20260101T000000Z-abc123", events))))
    assert "No trial was proposed." in seen.text
    assert "Figures" not in seen.text
    assert "1 event," in seen.text


def test_endless_words_are_cut(folder: Path, tmp_path: Path) -> None:
    events = [dataclasses.replace(e, why="word " * 9000) if isinstance(e, Proposed) else e for e in record.read(folder)]
    run = Run(kit.written(tmp_path / "c" / "20260101T000000Z-abc123", events))
    assert len(page.piece(run, "trials")) < 12_000


def test_a_print_is_light_and_cuts_no_table(text: str) -> None:
    (css,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    printed = css.partition("@media print{")[2]
    assert ":root{color-scheme:light}" in printed  # or the pictures of a reader in the dark come out black
    assert ".scroll{overflow:visible}" in printed


def test_a_notebook_names_the_run_and_one_without_readings_has_the_same_columns(folder: Path, tmp_path: Path) -> None:
    run = Run(folder)
    assert f"night, {folder.name}" in kit.Page(run._repr_html_()).text
    empty = Run(kit.written(tmp_path / "c" / "20260101T000000Z-abc123", list(record.read(folder))[:1]))
    assert list(empty.to_pandas().columns) == list(run.to_pandas().columns)
    assert "run.figure" not in empty._repr_html_()
