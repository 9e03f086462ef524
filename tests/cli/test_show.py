"""list, show, explain, check and export: they read, and change nothing."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import processes
import pytest
import scripted

import sdl as public
from sdl import runner
from sdl.cli.runs import show
from sdl.config import parse_kind
from sdl.core.events import Measured
from sdl.store import datasets
from sdl.types import Power, SafeState

from .conftest import CAMPAIGN, Sdl


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run below the present directory's runs/."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "led" / finished.name))


@pytest.fixture(autouse=True)
def _nothing_changes(request: pytest.FixtureRequest) -> object:
    """No command here writes into a run."""
    if "run" not in request.fixturenames or "damaged" in request.node.name:
        yield
        return
    folder: Path = request.getfixturevalue("run")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    yield
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_list_tells_every_run(run: Path, sdl: Sdl) -> None:
    shutil.copytree(run, run.parent / "20990101T000000Z-ffffff")
    (run.parent / "20990101T000000Z-ffffff" / "record.jsonl").write_text("broken\n", encoding="utf-8")
    done = sdl("list")
    assert done.code == 0
    head, first, second = done.out.splitlines()
    assert head.split() == ["id", "campaign", "when", "outcome", "trials", "error", "solver", "goal", "run"]
    assert first.split()[:2] == ["ffffff", "led"]
    assert "unreadable" in first
    ident, campaign, _, _, outcome, trials, error, per_cent, solver, *goal = second.split()
    assert (ident, campaign, outcome, trials, per_cent, solver) == (run.name[-6:], "led", "reached", "5", "%", "linear")
    assert float(error) < 2
    assert " ".join(goal) == f"16384 ± 327.68 at 445nm 515nm 630nm {Path('runs/led') / run.name}"
    assert {line.index("reached") for line in (second,)} == {head.index("outcome")}
    printed = sdl("list", "--json").json["runs"]
    assert [row["outcome"] for row in printed] == ["unreadable", "reached"]
    assert printed[1]["instrument"] == "twin:night-2025-10:0"
    assert (printed[1]["worst"], printed[1]["goal"]) == (public.open_run(run).result.worst, " ".join(goal[:-1]))


def test_list_tells_when_a_run_was_started_in_local_time(run: Path, sdl: Sdl, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run, run.parent / "20260301T223000.500000Z-abcdef")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert "2026-03-02 07:30" in sdl("list").out
        assert sdl("list", "--json").json["runs"][-1]["when"] == "2026-03-02T07:30:00+09:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_list_without_runs_says_so(sdl: Sdl) -> None:
    assert (sdl("list").code, sdl("list").out) == (0, "no runs in runs\n")
    assert sdl("list", "--json").json == {"runs": []}


def test_show_prints_what_was_shown_while_it_ran(run: Path, sdl: Sdl) -> None:
    done = sdl("show", "latest")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("led on twin:night")
    assert lines[1].startswith("goal: 445nm 16384 ± 327.68, ")
    assert [line.split()[0] for line in lines[2:7]] == ["0", "1", "2", "3", "4"]
    assert "(mean of 3)" in lines[6]
    assert "  reached" in lines[6]
    assert lines[7].startswith("reached: ")
    assert sdl("show", run, "--json").json["outcome"] == "reached"


@pytest.mark.skipif(os.name != "posix", reason="signals and processes of POSIX")
def test_show_lists_the_latest_trials_of_a_long_run_and_all_on_request(
    run: Path, sdl: Sdl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "MOST_TRIALS", 2)
    short, every = sdl("show", "latest").out.splitlines(), sdl("show", "latest", "--all").out.splitlines()
    first = next(n for n, line in enumerate(every) if line.startswith("   0 "))
    trials = public.open_run(run).result.trials
    assert short[first] == f"The first {trials - 2} trials are left out; `sdl show --all` lists them."
    assert short[:first] == every[:first]
    assert short[first + 1 :] == every[first + trials - 2 :]


def test_show_says_where_nothing_proves_that_the_instrument_is_off(
    tmp_path: Path, sdl: Sdl, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.register(monkeypatch)
    why = "status 500: the server failed to measure"
    stuck = scripted.with_script(says=[SafeState(Power.UNKNOWN, None, why)] * 200)
    done = runner.run(scripted.campaign(stuck), runs=tmp_path / "runs")
    shown = sdl("show", done.run)
    assert f"off: not proven: the instrument may still be on: {why}; check it" in " ".join(shown.out.split())
    printed = sdl("show", done.run, "--json").json
    assert (printed["outcome"], printed["safe"]["state"], printed["safe"]["why"]) == ("reached", "unknown", why)
    resumed = sdl("resume", done.run, "--json")
    assert (resumed.code, resumed.json["outcome"], resumed.json["safe"]) == (3, "reached", printed["safe"])


@pytest.mark.slow
def test_show_says_whether_a_run_is_going_on_was_interrupted_or_was_killed(tmp_path: Path, sdl: Sdl) -> None:
    slow = CAMPAIGN.replace("{kind: twin}", "{kind: twin, realtime: true, latency: 0.2}")
    (tmp_path / "led.yaml").write_text(slow, encoding="utf-8")

    def shown() -> tuple[str, str, str]:
        printed = sdl("show", "latest", "--json").json
        return printed["reason"], printed["next"], sdl("list", "--json").json["runs"][0]["outcome"]

    process = processes.start("run", "led.yaml", cwd=tmp_path)
    assert processes.wait_for(tmp_path / "runs", 2, process)
    going = shown()
    process.kill()
    process.communicate()
    ident = next((tmp_path / "runs" / "led").iterdir()).name[-6:]
    again = f"continue with sdl resume {ident}"
    assert going == (f"running now (process {process.pid})", "", "running")
    assert shown() == ("its process was killed, or runs on another machine", again, "unfinished")

    file = processes.the_record(tmp_path / "runs")
    assert file
    written = len(processes.lines_of(file))
    process = processes.start("resume", "latest", cwd=tmp_path)
    assert processes.wait_for(tmp_path / "runs", written + 2, process)  # resumed, and at work
    process.send_signal(signal.SIGINT)
    assert "unfinished: interrupted by Ctrl-C" in process.communicate()[0]
    assert shown() == ("interrupted; it can be resumed", again, "unfinished")
    assert f"          sdl resume {ident}\n" in sdl("show", "latest").out


def test_explain_tells_who_proposed_why_what_was_expected_and_what_came(run: Path, sdl: Sdl) -> None:
    one = sdl("explain", run.name[-6:], "4").out
    assert one.startswith("trial 4: proposed by linear from 4 rows: ")
    assert re.search(r"^  verdict: [a-z ]+$", one, re.MULTILINE)
    assert ["channel", "goal", "expected", "measured"] in [line.split() for line in one.splitlines()]
    assert ["445nm", "16384", "±", "327.68"] in [line.split()[:4] for line in one.splitlines()]
    assert "measured: mean of 3 readings" in one
    assert "(tolerance ± 2 %), within tolerance" in one
    every = sdl("explain", "latest").out
    assert every.count("proposed by") == 5
    assert every.endswith(one)
    printed = sdl("explain", "latest", "4", "--json").json["trials"][0]
    assert (printed["by"], printed["rows"], printed["readings"], printed["failed"]) == ("linear", 4, 3, [])
    assert printed["miss"] <= 1
    assert set(printed["expected"]) == set(printed["measured"]) == {"445nm", "515nm", "630nm"}


def test_explain_of_a_trial_that_is_not_there_is_exit_2(run: Path, sdl: Sdl) -> None:
    done = sdl("explain", "latest", "9")
    assert (done.code, "it has trials 0 … 4" in done.err) == (2, True)


def test_a_name_that_fits_several_runs_is_exit_2_everywhere(run: Path, sdl: Sdl) -> None:
    shutil.copytree(run, run.parent / "20990101T000000Z-ffffff")
    for command in (["show"], ["explain"], ["check"], ["resume"], ["export", "--to", "csv"]):
        done = sdl(command[0], "led/20", *command[1:])
        assert (done.code, "fits 2 runs: led/2099" in done.err) == (2, True), command


@pytest.mark.parametrize("command", ["show", "explain", "check", "resume"])
def test_a_mistyped_name_is_exit_2_and_one_json_object_with_what_may_have_been_meant(
    command: str, run: Path, sdl: Sdl
) -> None:
    done = sdl(command, "lde", "--json")
    assert (done.code, done.json["exit_code"], done.json["outcome"]) == (2, 2, None)
    assert "did you mean led" in done.json["reason"]
    assert "did you mean led" in done.err


@pytest.mark.parametrize("name", ["led", "led/latest", "runs/led", "runs", "latest", "led/2026", "./runs/led/"])
def test_a_run_is_shown_by_whatever_a_person_calls_it(name: str, run: Path, sdl: Sdl) -> None:
    shutil.copytree(run, run.parent / "20000101T000000Z-000000")
    assert sdl("show", name, "--json").json["run"].endswith(run.name)


def test_check_tells_that_a_record_is_sound(run: Path, sdl: Sdl) -> None:
    done = sdl("check", "latest")
    assert (done.code, "sound; " in done.out, "finished" in done.out) == (0, True, True)
    printed = sdl("check", run, "--json").json
    assert (printed["sound"], printed["finished"], printed["sealed"], printed["notes"]) == (True, True, True, [])


@pytest.mark.parametrize("damage", ["a bit", "a line lost", "two lines swapped", "the last line", "the end lost"])
def test_a_damaged_record_is_exit_5_naming_the_line_and_stays_as_it_is(damage: str, run: Path, sdl: Sdl) -> None:
    file = run / "record.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    n, number = len(lines), 4
    match damage:
        case "a bit":
            lines[3] = lines[3].replace(b"0.1", b"0.3", 1)
        case "a line lost":
            del lines[3]
        case "two lines swapped":
            lines[3], lines[4] = lines[4], lines[3]
        case "the last line":
            lines[-1], number = lines[-1].replace(b"reached", b"stalled", 1), n
        case "the end lost":
            lines, number = lines[:-2], n - 1
    file.write_bytes(b"".join(lines))
    for command in (["check"], ["resume"]):
        done = sdl(*command, run)
        assert done.code == 5
        assert f"record.jsonl:{number}: damaged" in done.err
    printed = sdl("check", run, "--json")
    assert (printed.code, printed.json["sound"], f":{number}:" in printed.json["reason"]) == (5, False, True)
    assert file.read_bytes() == b"".join(lines)


# --- export -------------------------------------------------------------------------------------------------------


def test_export_csv_has_a_row_a_reading(run: Path, sdl: Sdl) -> None:
    assert sdl("export", "latest", "--to", "csv", "-o", "out.csv").code == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    taken = public.open_run(run).measured()
    assert len(rows) == len(taken)
    assert [float(row["R"]) for row in rows] == [e.applied["R"] for e in taken]
    assert [float(row["515nm"]) for row in rows] == [e.readings["515nm"] for e in taken]
    assert sdl("export", "latest", "--to", "csv").out == Path("out.csv").read_text(encoding="utf-8")


def test_export_jsonl_has_the_rows_of_python(run: Path, sdl: Sdl) -> None:
    lines = sdl("export", "latest", "--to", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == public.open_run(run).rows()


def test_export_as_claude_light_can_be_read_back_and_be_a_prior(run: Path, sdl: Sdl) -> None:
    assert sdl("export", "latest", "--to", "claude-light", "-o", "log.jsonl").code == 0
    twin = parse_kind("instrument", "twin")
    rows = datasets.load("log.jsonl", "RGB", twin.channels, ()).rows
    taken = [e for e in public.open_run(run).events if isinstance(e, Measured)]
    assert [(row.reading.applied, row.reading.readings) for row in rows] == [(e.applied, e.readings) for e in taken]
    Path("next.yaml").write_text(CAMPAIGN + "prior: [log.jsonl]\nseed: 9\n", encoding="utf-8")
    done = runner.run("next.yaml", runs=None)
    assert done.reached
    assert done.trials <= 3  # no design needed


def test_export_overwrites_nothing(run: Path, sdl: Sdl) -> None:
    Path("out.csv").write_text("mine", encoding="utf-8")
    done = sdl("export", "latest", "--to", "csv", "-o", "out.csv")
    assert (done.code, Path("out.csv").read_text(encoding="utf-8")) == (2, "mine")
    assert sdl("export", "latest", "--to", "csv", "-o", "no/such/folder.csv").code == 2


def test_a_run_that_maximises_tells_the_best_with_its_standard_error_and_what_was_expected(
    tmp_path: Path, sdl: Sdl
) -> None:
    tree = {
        "name": "brightest",
        "instrument": {"kind": "twin"},
        "goal": {"445nm": "maximise", "515nm": {"at most": 20000}},
        "solver": "linear",
        "stop": {"trials": 25, "improvement": "1%"},
    }
    done = runner.run(tree, runs=tmp_path / "runs")
    assert done.objective is not None
    shown = sdl("show", "brightest")
    assert re.search(r"  445nm:  ?\d+(\.\d)? ± \d+(\.\d+)? \(mean of \d readings\); the model estimated", shown.out)
    assert "confirmation" in shown.out
    assert "0.00 × tolerance" not in shown.out
    object_ = sdl("show", "brightest", "--json").json["objective"]
    assert (object_["value"], object_["readings"]) == (done.objective.value, done.objective.readings)
    trials = sdl("explain", "brightest", "--json").json["trials"]
    assert [trial["expected_improvement"] is None for trial in trials[:5]] == [True] * 4 + [False]
    confirmed = next(trial["trial"] for trial in trials if trial["by"] == "confirmation")
    assert f"trial {confirmed}: proposed by the campaign: the best settings so far" in sdl("explain", "brightest").out
    one = sdl("explain", "brightest", str(confirmed - 1)).out
    assert "best before: R " in one
    assert "expected improvement: " in one
    (listed,) = sdl("list", "--json").json["runs"]
    assert (listed["outcome"], listed["goal"]) == ("done", "maximise at 445nm, at most 20000 at 515nm")


def test_a_list_of_old_runs_needs_an_age_that_can_be_read(run: Path, sdl: Sdl) -> None:
    assert run.name.rpartition("-")[2] in sdl("list", "--older-than", "1ms").out
    assert "no runs" in sdl("list", "--older-than", "1h").out
    wrong = sdl("list", "--older-than", "soon")
    assert (wrong.code, "--older-than soon: must be a time such as 90s, 10min, 1h or 7d" in wrong.err) == (2, True)
