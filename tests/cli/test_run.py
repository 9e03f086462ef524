"""run, resume, collect and measure: what they print, for people and for programs, and how they end."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import scripted

from sdl.core.events import Measured
from sdl.errors import Busy
from sdl.runs import runs
from sdl.store import record
from sdl.types import Outcome, Reading, Verdict

from .conftest import Sdl

KEYS = [
    "outcome",
    "reason",
    "trials",
    "readings",
    "failed",
    "settings",
    "applied",
    "measured",
    "error",
    "miss",
    "worst",
    "best",
    "by",
    "run",
    "safe",
    "objective",
    "next",
    "cause",
    "pooled",
]


def test_run_prints_a_line_a_trial_and_the_end(sdl: Sdl, file: str) -> None:
    done = sdl("run", file)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "led on twin:night-2025-10:0 (simulated)"
    assert lines[1] == "goal: 445nm 16384 ± 327.68, 515nm 16384 ± 327.68, 630nm 16384 ± 327.68"
    assert lines[2].split()[:2] == ["0", "axis"]
    assert re.search(r"  worst 445nm: [0-9.]+ × tolerance$", lines[2])
    assert max(map(len, lines[2:7])) <= 150
    assert any(line.startswith("reached: All channels within tolerance") for line in lines)
    assert "\x1b" not in done.out
    (folder,) = Path("runs").glob("led/*")
    assert str(folder) in lines[-1]


def test_run_json_prints_exactly_one_object_with_these_keys(sdl: Sdl, file: str) -> None:
    done = sdl("run", file, "--json")
    printed = done.json
    assert list(printed) == KEYS
    assert (done.code, printed["outcome"], printed["readings"]) == (0, "reached", printed["trials"] + 2)
    assert set(printed["settings"]) == set(printed["applied"]) == {"R", "G", "B"}
    assert printed["error"] == pytest.approx(
        max(abs(printed["measured"][n] / 16384 - 1) for n in ("445nm", "515nm", "630nm"))
    )
    assert (Path(printed["run"]) / "record.jsonl").is_file()
    assert "led on twin" in done.err  # progress is beside it


def test_quiet_prints_only_the_end(sdl: Sdl, file: str) -> None:
    done = sdl("run", file, "--quiet")
    assert done.out.startswith("reached: ")
    assert sdl("run", file, "--quiet", "--json").err == ""


def test_a_change_is_made(sdl: Sdl, file: str) -> None:
    printed = sdl("run", file, "--set", "solver.kind=pls", "--set", "seed=3", "--json").json
    opened = next(iter(record.read(Path(printed["run"]))))
    assert (opened.config["solver"]["kind"], opened.config["seed"]) == ("pls", 3)


def test_the_runs_go_where_they_are_told_to(sdl: Sdl, file: str) -> None:
    assert sdl("run", file, "--runs", "elsewhere", "--json").json["run"].startswith("elsewhere/led/")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("changes", "outcome", "code"),
    [
        (["stop.trials=2"], "spent", 1),
        (["stop.minutes=.02"], "spent", 1),
        (["goal.445nm=60000"], "unreachable", 1),
        (["tolerance=1", "solver=random", "stop.stagnation={trials: 3}"], "stalled", 1),
    ],
)
def test_an_end_short_of_the_goal_is_exit_1(changes: list[str], outcome: str, code: int, sdl: Sdl, file: str) -> None:
    sets = [part for change in changes for part in ("--set", change)]
    done = sdl("run", file, "--json", *sets)
    assert (done.json["outcome"], done.code) == (outcome, code)
    assert done.json["reason"]


@pytest.mark.usefixtures("scripted_kinds")
def test_an_instrument_that_fails_is_exit_3_and_a_solver_that_fails_is_exit_4(sdl: Sdl) -> None:
    away = scripted.campaign(scripted.with_script(*[Busy("away")] * 9), stop={"failures": 1}, retry={"times": 0})
    Path("away.yaml").write_text(json.dumps(away), encoding="utf-8")
    assert (done := sdl("run", "away.yaml", "--json")).code == 3
    assert (done.json["outcome"], "away" in done.json["reason"]) == ("failed", True)
    odd = scripted.campaign(scripted.with_script(), solver=scripted.with_answers(RuntimeError("diverged")))
    Path("odd.yaml").write_text(json.dumps(odd), encoding="utf-8")
    assert (done := sdl("run", "odd.yaml", "--json")).code == 4
    assert "diverged" in done.json["reason"]


def test_a_mistake_is_exit_2_told_on_stderr_and_as_json_and_starts_nothing(sdl: Sdl) -> None:
    Path("bad.yaml").write_text("name: a\nspeed: 3\n", encoding="utf-8")
    done = sdl("run", "bad.yaml", "--json")
    assert done.code == 2
    assert done.json["outcome"] is None
    assert done.json["exit_code"] == 2
    assert "bad.yaml:2: speed: unknown key" in done.json["reason"]
    assert "bad.yaml:2: speed: unknown key" in done.err
    assert not Path("runs").exists()
    assert sdl("run", "nowhere.yaml").code == 2


@pytest.mark.usefixtures("scripted_kinds")
def test_retries_and_odd_readings_are_told_in_the_lines(sdl: Sdl) -> None:
    moved = {"R": 0.9, "G": 0.2, "B": 0.3}
    steps = [Busy("later"), lambda driver, settings: scripted.answer(moved)]
    Path("odd.yaml").write_text(json.dumps(scripted.campaign(scripted.with_script(*steps))), encoding="utf-8")
    out = sdl("run", "odd.yaml").out
    assert "trial 0: retry 1 after: busy: later" in out
    assert "not-applied" in out
    assert all(out.count(f"\n{trial:>4} ") == 1 for trial in range(4)), out  # each reading once


# --- resume -------------------------------------------------------------------------------------------------------


def test_resume_goes_on_with_changed_rules(sdl: Sdl, file: str) -> None:
    first = sdl("run", file, "--set", "stop.trials=2", "--json").json
    done = sdl("resume", "latest", "--set", "stop.trials=30", "--json")
    assert (done.code, done.json["outcome"], done.json["run"]) == (0, "reached", first["run"])
    assert "resumed with stop.trials=30" in done.err
    assert sdl("resume", first["run"]).code == 0  # reached already


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nowhere"], 2, "is no run"),
        (["latest", "--set", "goal.445nm=3"], 2, "allowed: stop, solver"),
        (["latest", "--set", "stop.trials=0"], 2, "from 1 to 1000000, not 0"),
        (["latest", "--set", "stop.trials"], 2, "key=value"),
    ],
)
def test_a_resume_that_cannot_be_is_told(args: list[str], code: int, words: str, sdl: Sdl, file: str) -> None:
    sdl("run", file, "--set", "stop.trials=1")
    done = sdl("resume", *args, "--json")
    assert (done.code, done.json["exit_code"] if done.out else code) == (code, code)
    assert words in done.err


def test_resuming_a_run_that_has_reached_says_so_and_does_nothing(sdl: Sdl, file: str) -> None:
    run = sdl("run", file, "--json").json["run"]
    before = (Path(run) / "record.jsonl").read_bytes()
    for more in ([], ["--set", "stop.trials=99"]):
        done = sdl("resume", "latest", *more)
        assert (done.code, "reached: already reached, nothing was done" in done.out) == (0, True)
        assert "best:" in done.out
    printed = sdl("resume", "latest", "--json").json
    assert (printed["outcome"], printed["run"], printed["reason"][:15]) == ("reached", run, "already reached")
    assert (Path(run) / "record.jsonl").read_bytes() == before
    assert sdl("resume", "latest", "--set", "goal.445nm=3").code == 2


# --- what can be done next ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "first", "advice"),
    [
        (["stop.trials=2"], "budget used up: all 2 trials used", "--set stop.trials=4"),
        (["stop.minutes=.02"], "budget used up: all 0.02 minutes used", "allow the same number of minutes again"),
        (
            ["goal.445nm=60000"],
            "unreachable: ",
            "goal 60000 ± 1200: lower the goal, or see why with",
        ),
        (
            ["tolerance=1", "solver=random", "stop.stagnation={trials: 3}"],
            "stalled: no improvement",
            "--set solver.kind=bayes --set stop.stagnation=null",
        ),
    ],
)
def test_an_end_short_of_the_goal_says_what_to_do_and_the_command_does_it(
    changes: list[str], first: str, advice: str, sdl: Sdl, file: str
) -> None:
    out = sdl("run", file, "--quiet", *(part for change in changes for part in ("--set", change))).out
    lines = out.splitlines()
    assert lines[0].startswith(first)
    assert advice in out
    command = lines[-1].split()
    assert command[0] == "sdl"
    more = sdl(*command[1:], "--json").json
    if command[1] == "resume":
        assert (more["trials"] > 2, more["outcome"]) != (False, first.partition(":")[0])
    else:
        assert more["trials"][0]["verdict"] == "unreachable"


def test_the_error_names_the_channel_that_is_worst_and_its_own_tolerance(sdl: Sdl, file: str) -> None:
    sets = ["--set", "goal.515nm={target: 16384, tolerance: 9000}", "--set", "stop.trials=1"]
    out = sdl("run", file, *sets).out
    assert "worst 445nm: 40.5 × tolerance" in out
    assert "worst:  445nm off by −81.0 % (tolerance ± 2 %)" in out
    printed = sdl("show", "latest", "--json").json
    assert (printed["worst"], printed["miss"]) == (
        "445nm",
        pytest.approx(abs(printed["measured"]["445nm"] / 16384 - 1) / 0.02),
    )


def test_one_of_a_thing_is_not_called_several(sdl: Sdl, file: str) -> None:
    out = sdl("run", file, "--set", "stop.trials=1").out + sdl("explain", "latest").out + sdl("validate", file).out
    assert "1 trial, 1 reading" in out
    for wrong in ("1 trials", "1 readings", "1 rows"):
        assert not re.search(rf"\b{wrong}", out), wrong


@pytest.mark.usefixtures("scripted_kinds")
def test_a_failed_reading_is_told_without_the_names_of_our_classes(sdl: Sdl) -> None:
    away = scripted.campaign(scripted.with_script(*[Busy("away")] * 9), stop={"failures": 2}, retry={"times": 1})
    Path("away.yaml").write_text(json.dumps(away), encoding="utf-8")
    out = sdl("run", "away.yaml").out
    assert "Busy" not in out.replace("the last: Busy: away", "")
    assert "  failed: trial 0: busy: away (× 2)\n" in out
    assert "check the instrument, then continue with" in out


# --- collect and measure ------------------------------------------------------------------------------------------


def collecting(*steps: object, **changes: object) -> str:
    """A campaign file without a goal on the scripted plant, whose four points meet these steps."""
    tree = scripted.campaign(scripted.with_script(*steps), retry={"times": 0}, **changes)  # type: ignore[arg-type]
    del tree["goal"]
    Path("c.yaml").write_text(json.dumps(tree), encoding="utf-8")
    return "c.yaml"


@pytest.mark.usefixtures("scripted_kinds")
def test_a_point_that_failed_for_good_is_exit_3_and_the_others_are_written(sdl: Sdl) -> None:
    done = sdl("collect", collecting(None, Busy("away")), "-o", "log.jsonl")
    assert done.code == 3
    assert "done: 3 of 4 points measured; the last failure: " in done.out
    assert "  failed: trial 1: busy: away\n" in done.out
    assert "log.jsonl: 3 readings written" in done.out
    assert len(Path("log.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    done = sdl("collect", collecting(None, Busy("away")), "-o", "again.jsonl", "--json")
    assert (done.code, done.json["failed"], done.json["output"]) == (3, 1, "again.jsonl: 3 readings written")


@pytest.mark.usefixtures("scripted_kinds")
def test_where_no_point_could_be_taken_no_empty_log_is_written(sdl: Sdl) -> None:
    done = sdl("collect", collecting(*[Busy("away")] * 4), "-o", "log.jsonl")
    assert (done.code, Path("log.jsonl").exists()) == (3, False)
    assert "log.jsonl is not written: there is no reading" in done.out
    assert "0 of 4 points measured" in done.out


@pytest.mark.usefixtures("scripted_kinds")
def test_a_log_that_appeared_meanwhile_is_kept_and_the_readings_are_not_lost(sdl: Sdl) -> None:
    def meanwhile(driver: scripted.ScriptedDriver, settings: Mapping[str, float]) -> Reading:
        Path("log.jsonl").write_text("mine", encoding="utf-8")
        return scripted.answer(settings)

    done = sdl("collect", collecting(meanwhile), "-o", "log.jsonl")
    assert (done.code, Path("log.jsonl").read_text(encoding="utf-8")) == (2, "mine")
    (folder,) = Path("runs").glob("scripted/*")
    assert f"the readings are in {folder}" in done.err


@pytest.mark.usefixtures("scripted_kinds")
def test_measure_says_how_many_readings_came_and_why_the_others_did_not(sdl: Sdl) -> None:
    done = sdl("measure", collecting(None, None, Busy("away")), "R=.1", "G=.2", "B=.3", "-n", "5")
    assert done.code == 3
    assert "done: 2 of 5 readings taken; busy: away" in done.out
    assert "  failed: trial 0: busy: away\n" in done.out
    printed = sdl("measure", collecting(Busy("away")), "R=.1", "G=.2", "B=.3", "--json")
    assert (printed.code, printed.json["failed"], printed.json["readings"]) == (3, 1, 0)
    assert printed.json["reason"].startswith("0 of 1 reading taken; ")


def test_measure_on_the_twin_says_that_the_same_call_gives_the_same_numbers(sdl: Sdl, file: str) -> None:
    point = ["R=.47", "G=.23", "B=.52"]
    one, other = (sdl("measure", file, *point).out.splitlines() for _ in range(2))
    assert one[:11] == other[:11]
    (printed,) = (line for line in one if "simulated" in line)
    assert "the same numbers" in printed
    option = printed.partition("others: ")[2].split()
    assert sdl("measure", file, *point, *option).out.splitlines()[:11] != one[:11]


def test_collect_takes_the_design_and_writes_a_log(sdl: Sdl, file: str) -> None:
    sets = ["--set", "design.kind=latin-hypercube", "--set", "design.trials=12"]
    done = sdl("collect", file, *sets, "-o", "rgb.jsonl", "--json")
    assert (done.code, done.json["outcome"], done.json["readings"]) == (0, "done", 12)
    lines = [json.loads(line) for line in Path("rgb.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 12
    assert list(lines[0]) == ["in", "out", "time"]
    again = sdl("collect", file, "-o", "rgb.jsonl")
    assert (again.code, "exists already" in again.err) == (2, True)
    assert len(list(Path("runs").glob("led/*"))) == 1  # refused before anything was started


def test_collect_needs_no_goal_and_run_does(sdl: Sdl) -> None:
    Path("c.yaml").write_text("name: c\ninstrument: twin\n", encoding="utf-8")
    assert sdl("collect", "c.yaml").code == 0
    assert sdl("run", "c.yaml").code == 2


def test_measure_takes_readings_and_tells_their_scatter(sdl: Sdl, file: str) -> None:
    done = sdl("measure", file, "R=.47", "G=.23", "B=.52", "-n", "5")
    assert done.code == 0
    row = next(line for line in done.out.splitlines() if line.split()[:1] == ["515nm"]).split()
    values = [float(text) for text in row[3:]]
    assert len(values) == 5
    mean = sum(values) / 5
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / 4)
    assert row[1:3] == [f"{mean:.1f}", f"{sd:.1f}"]
    assert "done: 5 of 5 readings taken" in done.out
    (folder,) = Path("runs").glob("led/*")
    taken = [e for e in record.read(folder) if isinstance(e, Measured)]
    assert [dict(e.applied) for e in taken] == [{"R": 0.47, "G": 0.23, "B": 0.52}] * 5
    assert runs.fold(record.read(folder), folder).campaign.history.outcome is Outcome.DONE


def test_measure_json_gives_the_mean(sdl: Sdl, file: str) -> None:
    printed = sdl("measure", file, "R=.1", "G=.2", "B=.3", "--json").json
    assert (printed["outcome"], printed["readings"], printed["settings"]) == ("done", 1, {"R": 0.1, "G": 0.2, "B": 0.3})
    assert set(printed["measured"]) >= {"445nm", "clear"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["R=.1"], "missing G, B; give every input: R=… G=… B=…"),
        (["R=.1", "G=.1", "B=.1", "r=.1"], "unknown input r; allowed: R, G, B"),
        (["R=.1", "G=.1", "B=2"], "outside the bounds [0, 1]"),
        (["R=.1", "G=.1", "B=-0.1"], "outside the bounds"),
        (["R=.1", "G=.1", "B=.nan"], "INPUT=NUMBER"),
        (["R=.1", "G=.1", "B=x"], "INPUT=NUMBER"),
        (["R=.1", "G=.1", "B=true"], "INPUT=NUMBER"),
        (["R=.1", "G=.1", "B"], "B: must be INPUT=NUMBER"),
        (["R=.1", "G=.1", "B="], "INPUT=NUMBER"),
    ],
)
def test_measure_refuses_settings_that_the_instrument_has_not(
    settings: list[str], words: str, sdl: Sdl, file: str
) -> None:
    done = sdl("measure", file, *settings)
    assert (done.code, words in done.err) == (2, True), done.err
    assert not Path("runs").exists()


def test_a_campaign_is_meant_where_a_newer_measurement_has_its_name(sdl: Sdl, file: str) -> None:
    campaign = sdl("run", file, "--json").json["run"]
    taken = sdl("measure", file, "R=.4", "G=.2", "B=.3", "--json").json["run"]
    for name in ("latest", "led", "runs/led"):
        for command in ("show", "resume", "explain"):
            done = sdl(command, name, "--json")
            assert (done.json["run"], f"{taken[-6:]} is newer but has none" in done.err) == (campaign, True)
    assert sdl("show", taken[-6:], "--json").json["run"] == taken
    assert sdl("check", "latest", "--json").json["run"] == taken
    Path(campaign).rename("elsewhere")
    done = sdl("show", "latest", "--json")
    assert (done.json["run"], done.err) == (taken, "")


@pytest.mark.usefixtures("scripted_kinds")
def test_a_number_of_points_is_enough_of_a_design_to_collect(sdl: Sdl) -> None:
    Path("c.yaml").write_text("name: c\ninstrument: {kind: twin}\n")
    assert sdl("collect", "c.yaml", "--trials", 5, "--json").json["readings"] == 5
    assert sdl("collect", "c.yaml", "--set", "design.trials=6", "--json").json["readings"] == 6
    sobol = sdl("collect", "c.yaml", "--trials", 3, "--set", "design.kind=sobol", "--json").json
    assert "sobol" in (Path(sobol["run"]) / "campaign.yaml").read_text()
    Path("c.yaml").write_text("name: c\ninstrument: {kind: twin}\ndesign: axis\n")
    refused = sdl("collect", "c.yaml", "--trials", 5)
    assert refused.code == 2
    assert "belongs to kind latin-hypercube" in refused.err, "what the file names is not replaced"


def test_a_collection_says_where_the_rest_of_its_channels_is(sdl: Sdl) -> None:
    Path("c.yaml").write_text("name: set\ninstrument: {kind: twin}\ndesign: {kind: axis}\n", encoding="utf-8")
    lines = sdl("collect", "c.yaml").out.splitlines()
    trials = [line for line in lines if re.match(r" +\d+ axis", line)]
    assert trials
    assert all(line.endswith("+6") and len(line) <= 110 for line in trials)
    assert any(re.fullmatch(r"  data:   all readings of 10 channels: sdl export \w{6} --to csv", x) for x in lines)


def test_no_light_is_not_answered_with_asking_for_less(sdl: Sdl) -> None:
    Path("dark.yaml").write_text(
        "name: dark\ninstrument: {kind: twin, faults: [{name: dead-led, after: 0}]}\n"
        "goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}\nsolver: {kind: linear}\n",
        encoding="utf-8",
    )
    out = sdl("run", "dark.yaml", "--quiet").out
    assert "lower the goal" not in out


def test_an_instrument_that_cannot_be_opened_ends_the_campaign_at_its_first_trial(
    sdl: Sdl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    Path("m.yaml").write_text("name: hand\ninstrument: {kind: manual}\ngoal: {515nm: 3000}\n", encoding="utf-8")
    done = sdl("run", "m.yaml", "--json")
    assert (done.code, done.json["outcome"], done.json["trials"]) == (3, "failed", 1)
    assert "the instrument cannot be used: " in done.json["reason"]
    assert "there is no terminal here" in done.json["reason"]


def test_a_prior_without_a_reading_says_how_many_trials_failed(sdl: Sdl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    Path("m.yaml").write_text("name: hand\ninstrument: {kind: manual}\ngoal: {515nm: 3000}\n", encoding="utf-8")
    sdl("run", "m.yaml")
    done = sdl("run", "m.yaml", "--set", "prior=[latest]")
    assert (done.code, "contains no reading: 1 trial, 1 failed" in done.err) == (2, True)


@pytest.mark.usefixtures("scripted_kinds")
def test_a_goal_between_two_steps_is_answered_by_a_wider_tolerance_and_not_by_more_trials(sdl: Sdl) -> None:
    between = scripted.proposals([0.1, 0.2, 0.3], Verdict.BETWEEN_STEPS)
    tree = scripted.campaign(scripted.with_script(), solver=scripted.with_answers(between), stop={"trials": 6})
    Path("steps.yaml").write_text(json.dumps(tree), encoding="utf-8")
    printed = sdl("run", "steps.yaml", "--json").json
    assert "widen the tolerance of" in printed["next"]
    assert "allow more trials" not in printed["next"]


def test_a_frozen_sensor_is_named_as_one(sdl: Sdl) -> None:
    Path("frozen.yaml").write_text(
        "name: frozen\ninstrument: {kind: twin, faults: [{name: frozen, after: 0}]}\n"
        "goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}\nsolver: {kind: linear}\n",
        encoding="utf-8",
    )
    printed = sdl("run", "frozen.yaml", "--json").json
    assert "all readings are equal: check the sensor" in printed["next"]


def test_explain_of_a_trial_beyond_the_only_one_names_the_run(sdl: Sdl, file: str) -> None:
    run = Path(sdl("run", file, "--set", "stop.trials=1", "--json").json["run"])
    assert f"trial 99 is not in led/{run.name}; it has trial 0 only" in sdl("explain", "latest", "99").err


def test_help_fits_80_columns(sdl: Sdl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, sdl("--help").out.splitlines())) <= 80


def test_the_best_settings_of_a_clamped_trial_are_those_that_were_applied(sdl: Sdl) -> None:
    Path("clamped.yaml").write_text(
        "name: clamped\ninstrument: {kind: twin, faults: [{name: clamp, after: 0, size: 0.4}]}\ngoal: {445nm: 12257}\n"
        "design: {kind: points, points: [{R: 0.1, G: 0.1, B: 0.9}]}\n",
        encoding="utf-8",
    )
    out = sdl("run", "clamped.yaml").out
    assert "best:   trial 0 at R 0.1000, G 0.1000, B 0.4000 (asked for B 0.9000)" in out


def test_what_was_asked_on_the_page_is_continued_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sdl.asktell import open_campaign
    from sdl.cli.display.outcome import print_outcome

    rig = {"kind": "manual", "inputs": {"red": {"low": 0, "high": 9}}, "channels": {"R": {}}, "off": "nothing"}
    opened = open_campaign({"name": "hand", "instrument": rig, "goal": {"R": 5}, "tolerance": 1}, runs=tmp_path)
    opened.ask()
    for page in (False, True):
        print_outcome(runs.open_run(opened.folder).result, json=True, page=page)
        command = json.loads(capsys.readouterr().out)["next"]
        assert "sdl resume" in command
        assert command.endswith(" --page") is page
