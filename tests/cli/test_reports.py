"""report, compare and watch, as they are typed."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import processes
import pytest
from rich.console import Console
from waiting import PATIENCE

from cli.conftest import Sdl
from sdl.cli.display.story import story
from sdl.cli.runs.watch import TrendTable
from sdl.core.events import Proposed
from sdl.core.goal import Band, Goal
from sdl.core.trials import Trial
from sdl.runs.runs import Run, fold_stepwise
from sdl.store import record
from sdl.store.lock import Lock
from sdl.types import Reading

# --- report -------------------------------------------------------------------------------------------------------


def test_report_writes_a_page_with_the_run_s_name_and_the_figures_beside_it(
    sdl: Sdl, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdl.report import page
    from sdl.report.figures import KINDS

    few = {name: KINDS[name] for name in ("error", "timeline")}  # all of them would take seconds
    monkeypatch.setattr(page, "known", lambda: few)
    done = sdl("report", finished, "--png", "figures")
    assert done.code == 0
    name = f"led-{finished.name.rpartition('-')[2]}.html"
    assert done.out.startswith(f"{name}: 0.")
    assert (tmp_path / name).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {file.name for file in (tmp_path / "figures").iterdir()} == {"error.png", "timeline.png"}
    assert done.err == ""


def test_report_of_several_runs_goes_into_a_directory(
    sdl: Sdl, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdl.report import page

    monkeypatch.setattr(page, "run_page", lambda printed, names: page.OURS + printed.run.folder.name)
    other = tmp_path / "runs" / "led" / "20260101T000000Z-abc123"
    shutil.copytree(finished, other)
    printed = sdl("report", finished, other, "-o", tmp_path / "one.html")
    assert printed.code == 2
    assert "must be a directory that exists" in printed.err
    (tmp_path / "pages").mkdir()
    done = sdl("report", finished, other, other, "-o", tmp_path / "pages", "--json")
    assert [Path(part["page"]).parent.name for part in done.json["reports"]] == ["pages", "pages"]
    assert len(list((tmp_path / "pages").iterdir())) == 2


def test_report_leaves_other_people_s_files_alone(sdl: Sdl, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.html").write_text("mine")
    done = sdl("report", finished, "-o", "notes.html")
    assert done.code == 2
    assert "notes.html exists and was not made by sdl" in done.err
    assert (tmp_path / "notes.html").read_text() == "mine"
    assert sdl("report", finished, "--svg").code == 2
    assert sdl("report", "nothing").code == 2


def test_report_of_a_damaged_record_says_where_and_writes_nothing(sdl: Sdl, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs" / "led" / finished.name
    shutil.copytree(finished, copy)
    raw = (copy / "record.jsonl").read_bytes().replace(b'"trial": 2', b'"trial": 3', 1)
    (copy / "record.jsonl").write_bytes(raw)
    done = sdl("report", copy)
    assert done.code == 5
    assert "record.jsonl:" in done.err
    assert list(tmp_path.glob("*.html")) == []


# --- compare ------------------------------------------------------------------------------------------------------


def test_compare_takes_a_directory_a_campaign_or_a_run(sdl: Sdl, finished: Path, tmp_path: Path) -> None:
    done = sdl("compare", finished.parent.parent, "-o", "both.html")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["group", "runs", "reached"]
    assert lines[1].split()[:3] == ["all", "1", "1/1"]
    assert (tmp_path / "both.html").exists()
    for name in ("led", "latest", finished):
        (group,) = sdl("compare", name, "--runs", finished.parent.parent, "--json").json["groups"]
        assert [run["run"] for run in group["runs"]] == [str(finished)]
        assert group["runs"][0]["reached"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["led", "--by", "solver.kin"], "did you mean 'solver.kind'?"),
        (["nothing"], "nothing is no run"),
        (["led", "-o", "x.pdf"], "must end in .html, .png, .svg"),
    ],
)
def test_what_compare_cannot_do_it_says(words: list[str], message: str, sdl: Sdl, finished: Path) -> None:
    done = sdl("compare", *words, "--runs", finished.parent.parent)
    assert done.code == 2
    assert message in done.err


# --- watch --------------------------------------------------------------------------------------------------------


def test_compare_of_a_directory_leaves_out_what_cannot_be_read_and_of_a_name_says_why(
    sdl: Sdl, finished: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "both"
    shutil.copytree(finished.parent, runs / "good")
    (runs / "begun" / "20260101T000000Z-abc123").mkdir(parents=True)
    (runs / "begun" / "20260101T000000Z-abc123" / "record.jsonl").touch()
    code, out, err = sdl("compare", str(runs))
    assert code == 0
    assert "medians of 1 run," in out
    assert "left out: " in err
    assert "empty" in err
    code, _, err = sdl("compare", "abc123", "--runs", str(runs))
    assert code == 5
    assert "empty" in err
    code, _, err = sdl("compare", str(runs / "begun"))
    assert code == 2
    assert "none of these runs can be read" in err


def test_what_a_record_says_steers_no_terminal(sdl: Sdl, finished: Path, tmp_path: Path) -> None:
    events = [
        dataclasses.replace(e, why="a\x1b[31mb", by="c\x1b[2Jd") if isinstance(e, Proposed) else e
        for e in record.read(finished)
    ]
    made = record.Record.create(tmp_path / "c" / "20260101T000000Z-abc123")
    for event in events:
        made.append(event)
    made.close()
    for words in (["explain", "abc123"], ["show", "abc123"], ["watch", "abc123"]):
        code, out, err = sdl(*words, "--runs", str(tmp_path))
        assert code == 0, err
        assert "\x1b" not in out
        assert "\\x1b[" in out


def test_watch_through_a_pipe_prints_what_show_prints_and_what_came_between(sdl: Sdl, finished: Path) -> None:
    watched, shown = (sdl(verb, finished).out.splitlines() for verb in ("watch", "show"))
    assert [line for line in watched if line in shown] == shown
    (more,) = [line for line in watched if line not in shown]
    assert "  confirming 0/2" in more


def test_watch_follows_a_run_that_another_process_writes(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "led" / finished.name
    copy.mkdir(parents=True)
    lines = (finished / "record.jsonl").read_bytes().splitlines(keepends=True)
    lock = Lock(copy / "record.lock")
    with (copy / "record.jsonl").open("wb", buffering=0) as stream:
        stream.write(b"".join(lines[:5]) + lines[5][:30])
        process = processes.start("watch", copy, cwd=tmp_path)
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(4)]
        assert head[0].startswith("led on twin")
        assert head[3].split()[:2] == ["1", "axis"]
        stream.write(lines[5][30:] + b"".join(lines[6:]))
        rest, _ = process.communicate(timeout=PATIENCE)
    lock.release()
    assert "reached:" in rest
    assert process.returncode == 0


def test_watch_of_a_run_whose_process_is_gone_says_so(sdl: Sdl, finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "led" / finished.name
    copy.mkdir(parents=True)
    lines = (finished / "record.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "record.jsonl").write_bytes(b"".join(lines[:6]))
    assert "its process was killed" in sdl("watch", copy).out


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (40, 12)])
@pytest.mark.parametrize("colour", [True, False])
def test_the_picture_fits_the_terminal(columns: int, rows: int, colour: bool, finished: Path) -> None:
    out = StringIO()
    console = Console(
        file=out, width=columns, height=rows, force_terminal=True, no_color=not colour, highlight=False,
        color_system="truecolor" if colour else None, legacy_windows=False, _environ={"TERM": "xterm"},
    )  # fmt: skip
    view, run = TrendTable(console), Run(finished)
    for event, folded in fold_stepwise(iter(run.events), run.folder):
        view(event, folded.campaign)
    out.truncate(0)
    console.print(view._draw())
    text = out.getvalue()
    assert len(text.splitlines()) <= rows
    assert "+1 |" in text or "+-1 |" in text
    assert "last at R" in text
    # Which codes stand for a colour may be those of an earlier terminal: rich keeps them with a style.
    assert bool(re.search(r"\x1b\[(?:\d+;)*(?:[39][0-7]|38;[25];[\d;]+)m", text)) == colour
    if not colour:
        assert max(map(len, text.splitlines())) <= columns


def deviating(*deviations: tuple[float, float]) -> list[Trial]:
    """Trials whose readings of A (100 ± 1) and B (50 ± 2) deviate by so many tolerances."""
    trials = []
    for n, (a, b) in enumerate(deviations):
        proposed = Proposed(n, {"x": 0.5}, {}, "gp", 0, "", {}, {}, {}, None, (), float(n))
        trial = Trial(proposed, GOAL)
        trial.add(Reading({"x": 0.5}, {"A": 100.0 + a, "B": 50.0 + 2 * b}))
        trials.append(trial)
    return trials


GOAL = Goal({"A": Band.around(100.0, 1.0), "B": Band.around(50.0, 2.0)})


def test_the_story_in_text_has_each_channel_on_its_side_of_the_band() -> None:
    lines = [line.plain for line in story(deviating((90.0, -90.0), (0.5, -0.5), (4.0, 0.0)), GOAL, 60, 9)]
    assert len(lines) == 10
    assert [line[:7].strip() for line in lines[:9]] == ["+100", "", "", "+1", "0", "−1", "", "", "−100"]
    first, second, third = ([line[8 + 3 * n : 10 + 3 * n] for line in lines[:9]] for n in range(3))
    assert [cell.strip(" ·") for cell in first] == ["●", "", "", "", "", "", "", "", "■"]
    assert [cell.strip(" ·") for cell in second] == ["", "", "", "●", "", "■", "", "", ""]
    assert [cell.strip(" ·") for cell in third] == ["", "", "●", "", "■", "", "", "", ""]
    assert "● A  ■ B" in lines[9]


def test_the_story_in_text_shows_the_latest_of_many_trials_and_of_a_poor_terminal_is_ascii() -> None:
    trials = deviating(*[(50.0, 50.0)] * 5000, (0.0, 0.0))
    lines = [line.plain for line in story(trials, GOAL, 80, 3, symbols=False)]
    assert max(map(len, lines)) <= 100, "the line with the names is cut by the terminal"
    assert all(len(line) <= 80 for line in lines[:3])
    assert "".join(lines).isascii()
    assert lines[1][79] == "#", "the last trial, both channels in one place"
    assert lines[0][78] == "#"
    assert story([], GOAL, 80, 3) == []
    assert story(trials, None, 80, 3) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
def test_ctrl_c_leaves_a_run_that_goes_on(finished: Path, tmp_path: Path) -> None:
    import pty

    copy = tmp_path / "led" / finished.name
    copy.mkdir(parents=True)
    lines = (finished / "record.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "record.jsonl").write_bytes(b"".join(lines[:6]))
    lock = Lock(copy / "record.lock")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*processes.COMMAND, "watch", str(copy)],
        env=processes.environment(TERM="xterm", COLUMNS="80", LINES="24"), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"now at" not in seen:
        seen += os.read(ours, 65536)
    process.send_signal(2)
    while b"is not affected" not in seen:
        seen += os.read(ours, 65536)
    assert process.wait(timeout=PATIENCE) == 0
    os.close(ours)  # not before: what it still has to flush would fail
    lock.release()
    assert (copy / "record.jsonl").read_bytes() == b"".join(lines[:6])
