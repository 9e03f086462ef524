"""solve: one shot on data that is there already."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sdl import runner
from sdl.cli import solve
from sdl.core.goal import Band, Goal
from sdl.store import datasets
from sdl.types import Input

from .conftest import Sdl

GOAL = ["--goal", "445nm=16384", "--goal", "515nm=16384", "--goal", "630nm=16384"]
CHANNELS = ("445nm", "515nm", "630nm")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 25 Latin-hypercube points on the twin."""
    tree = {"name": "set", "instrument": "twin", "design": {"kind": "latin-hypercube", "trials": 25}}
    return Path(runner.run(tree, runs=tmp_path_factory.mktemp("runs"), collect=True).run)


@pytest.fixture
def log(collected: Path, sdl: Sdl) -> str:
    """The same as a log."""
    assert sdl("export", collected, "--to", "claude-light", "-o", "log.jsonl").code == 0
    return "log.jsonl"


def test_all_solvers_answer_and_the_table_shows_them(collected: Path, sdl: Sdl) -> None:
    done = sdl("solve", collected, *GOAL, "--solver", "all", "--no-validate", "--json")
    answers = {answer["solver"]: answer for answer in done.json["answers"]}
    assert list(answers) == ["linear (intercept false)", "linear", "pls", "gmm", "forest", "bayes", "gp"]
    for answer in answers.values():
        assert answer["settings"] == pytest.approx({"R": 0.53, "G": 0.246, "B": 0.533}, abs=0.03)
        assert set(answer["spread"]) == set(answer["uncertainty"]) == {"R", "G", "B"}
        assert set(answer["expected"]) == set(CHANNELS)
        assert answer["verdict"]
        assert answer["why"]
        assert answer["options"]["kind"] in answer["solver"]
    assert (done.code, done.json["rows"], done.json["left_out"]) == (0, 25, {str(collected): {}})


def test_the_error_is_that_of_rows_left_out(collected: Path, sdl: Sdl) -> None:
    done = sdl("solve", collected, *GOAL, "--solver", "linear", "--solver", "pls")
    assert done.code == 0
    assert done.out.startswith("25 rows of ")
    assert "none left out" in done.out
    assert "in 25 predictions, 5 parts of the rows left out in turn" in done.out
    printed = sdl("solve", collected, *GOAL, "--solver", "linear", "--json").json["answers"][0]
    assert (printed["validated"]["rows"], printed["validated"]["by"]) == (25, "fold")
    assert all(0 < value < 0.02 for value in printed["validated"]["rmse"].values())


def test_a_log_gives_the_same_answer_as_the_record_it_came_from(collected: Path, log: str, sdl: Sdl) -> None:
    one, other = (sdl("solve", source, *GOAL, "--no-validate", "--json").json for source in (collected, log))
    assert one["answers"][0]["settings"] == other["answers"][0]["settings"]


def test_days_are_left_out_where_there_are_several(log: str, sdl: Sdl) -> None:
    lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines()]
    for i, line in enumerate(lines):
        line["time"] += 86400 * (i % 3)
    Path("days.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    checked = sdl("solve", "days.jsonl", *GOAL, "--solver", "linear", "--json").json["answers"][0]["validated"]
    assert (checked["by"], checked["folds"]) == ("day", 3)


def test_sessions_of_several_files_stay_apart_and_in_the_order_of_time(log: str, sdl: Sdl) -> None:
    lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["time"] += 86400
        line["out"] = {name: value + 3000 for name, value in line["out"].items()}  # a day of another background
    Path("next_day.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = (*GOAL, "--solver", "linear", "--no-validate", "--json")
    one, other = (
        sdl("solve", *files, *options).json["answers"][0]
        for files in ((log, "next_day.jsonl"), ("next_day.jsonl", log))
    )
    assert one["settings"] == other["settings"]
    assert "2 sessions" in one["why"]


def test_the_gap_between_sessions_is_that_of_the_named_instrument(
    log: str, sdl: Sdl, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps, load = [], datasets.load

    def watched(*args: Any, **more: Any) -> datasets.Dataset:
        gaps.append(more["session_gap"])
        return load(*args, **more)

    monkeypatch.setattr(datasets, "load", watched)
    for instrument in ("claude-light", "{kind: claude-light, session_gap: 3600}"):
        assert sdl("solve", log, *GOAL, "--solver", "linear", "--no-validate", "--instrument", instrument).code == 0
    assert gaps == [600.0, 3600.0]


def test_the_solver_may_have_options_and_is_named_with_them(log: str, sdl: Sdl) -> None:
    done = sdl("solve", log, *GOAL, "--solver", "{kind: gmm, components: bic}", "--no-validate", "--json")
    assert done.json["answers"][0]["solver"] == "gmm (components bic)"


def test_rows_that_lack_a_channel_or_are_saturated_are_left_out_and_counted(log: str, sdl: Sdl) -> None:
    lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines()]
    del lines[0]["out"]["515nm"]
    lines[1]["out"]["515nm"] = 65535
    Path("odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    done = sdl("solve", "odd.jsonl", *GOAL, "--solver", "linear")
    assert done.out.startswith("23 rows of odd.jsonl; 1 left out: without 515nm (line 1); 1 left out: saturated")


def test_a_goal_out_of_reach_is_clipped_and_says_so(log: str, sdl: Sdl) -> None:
    done = sdl("solve", log, "--goal", "445nm=60000", "--solver", "pls", "--no-validate")
    assert "unreachable" in done.out
    assert "clipped to the bounds; unclipped:" in done.out


@pytest.mark.parametrize("solvers", [["--solver", "linear"], ["--solver", "all"]])
def test_the_answers_fit_80_columns_with_every_number_named(solvers: list[str], collected: Path, sdl: Sdl) -> None:
    out = sdl("solve", collected, *GOAL, *solvers, "--no-validate").out
    table = out[out.index("solver  ") :].partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert table[0].split() == ["solver", "setting", "spread", "uncertainty", "error", "expected"]
    assert table[1].split()[:2] == ["linear", "R"]
    printed = sdl("solve", collected, *GOAL, *solvers, "--no-validate", "--json").json["answers"]
    for answer, block in zip(printed, [table[i : i + 3] for i in range(1, len(table), 3)], strict=True):
        for name, channel, line in zip("RGB", CHANNELS, block, strict=True):
            cells = line.split()[-7:]
            values = [answer[key][name] for key in ("settings", "spread", "uncertainty")]
            assert cells[:5] == [name, *("?" if v is None else f"{v:.4f}" for v in values), "?"]
            assert cells[5] == channel
    assert "spread: standard deviation of the settings" in out


def test_data_may_be_the_name_of_a_run(collected: Path, sdl: Sdl) -> None:
    printed = sdl("solve", "latest", *GOAL, "--runs", collected.parent.parent, "--no-validate", "--json")
    assert (printed.code, list(printed.json["left_out"])) == (0, [str(collected)])
    done = sdl("solve", "lates", *GOAL, "--runs", collected.parent.parent, "--json")
    assert (done.code, "did you mean latest" in done.json["reason"]) == (2, True)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["log.jsonl", "--goal", "446nm=3"], 2, "unknown channel 446nm; allowed: 415nm, 445nm, 480nm"),
        (["log.jsonl", "--goal", "445nm"], 2, "--goal 445nm: must be CHANNEL=NUMBER"),
        (["log.jsonl", "--goal", "445nm=bright"], 2, "CHANNEL=NUMBER"),
        (["log.jsonl", "--goal", "445nm=.nan"], 2, "CHANNEL=NUMBER"),
        (["log.jsonl", "--goal", "445nm=1", "--goal", "445nm=2"], 2, "given twice"),
        (["log.jsonl", "--goal", "445nm=1e300"], 2, "1e+300 is no plausible reading"),
        (["log.jsonl", "--goal", "445nm={at most: 1e300}"], 2, "1e+300 is no plausible reading"),
        (["log.jsonl", "--goal", "445nm=0"], 2, "is 0; give it in the unit of the channel"),
        (["log.jsonl", "--goal", "445nm=9", "--tolerance", "0"], 2, "--tolerance 0: must be 2% (of the target)"),
        (["log.jsonl", "--goal", "445nm=9", "--tolerance", "wide"], 2, "--tolerance"),
        (["log.jsonl", "--goal", "446nm=3"], 2, "did you mean '445nm'?"),
        (["log.jsonl", "--goal", "445nm=9", "--solver", "gnm"], 2, "--solver gnm: unknown kind 'gnm'; allowed: "),
        (["log.jsonl", "--goal", "445nm=9", "--solver", "gnm"], 2, "did you mean 'gmm'? (`all` and `paper`"),
        (["log.jsonl", "--goal", "445nm=9", "--solver", "{kind: gmm, n: 3}"], 2, "unknown key"),
        (["log.jsonl", "--goal", "445nm=9", "--solver", "{"], 2, "not YAML"),
        (["log.jsonl", "--goal", "445nm=9", "--seed", "-1"], 2, "--seed"),
        (["nowhere.jsonl", "--goal", "445nm=9"], 2, "no such file or directory: nowhere.jsonl"),
        (["words.txt", "--goal", "445nm=9"], 2, "words.txt: the inputs are unknown: name the columns that are inputs"),
        (["other.jsonl", "--goal", "445nm=9"], 2, "the columns are a"),
        (["none.jsonl", "--goal", "445nm=9"], 2, "no usable row for this goal; 2 left out: without 445nm"),
        (["empty.jsonl", "--goal", "445nm=9"], 2, "no usable row for this goal; the data is empty"),
        (["few.jsonl", "--goal", "445nm=9"], 4, "no solver could answer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_solved_is_told(args: list[str], code: int, words: str, log: str, sdl: Sdl) -> None:
    row = '{"in": [0, 0, 0], "out": {"515nm": 1}, "time": 1}\n'
    Path("none.jsonl").write_text(row + row.replace('"time": 1', '"time": 2'), encoding="utf-8")
    Path("few.jsonl").write_text(row.replace("515nm", "445nm"), encoding="utf-8")
    Path("empty.jsonl").touch()
    Path("words.txt").write_text("hello\n", encoding="utf-8")
    Path("other.jsonl").write_text('{"a": 1}\n', encoding="utf-8")
    done = sdl("solve", *args)
    assert (done.code, words in done.err) == (code, True), done.err
    assert "Traceback" not in done.err


DYES = "red (uL),yellow,blue (uL),R (8-bit),G (8-bit)\n" + "".join(
    f"{10 * i},25,{7 * i % 50},{200 - 3 * i - 7 * i % 50},{50 + 2 * (7 * i % 50)}\n" for i in range(20)
)
"""An instrument of its own: two dyes that move and one that does not."""


def test_inputs_and_channels_are_those_of_the_data_and_what_never_moved_is_held(sdl: Sdl) -> None:
    Path("dyes.csv").write_text(DYES, encoding="utf-8")
    named = ["--input", "red", "--input", "yellow", "--input", "blue"]
    done = sdl("solve", "dyes.csv", *named, "--goal", "R=150", "--goal", "G=90", "--solver", "linear", "--json")
    answer = done.json["answers"][0]
    assert (done.code, done.json["rows"], done.json["held"]) == (0, 20, {"yellow": 25})
    assert answer["settings"] == pytest.approx({"red": 100, "yellow": 25, "blue": 20}, abs=0.5)
    assert (answer["spread"]["yellow"], answer["validated"]["rmse"].keys()) == (None, {"red", "blue"})
    assert "held as in every row: yellow 25" in sdl("solve", "dyes.csv", *named, "--goal", "R=150").out


def test_bounds_are_those_of_the_data_or_as_told(sdl: Sdl) -> None:
    Path("dyes.csv").write_text(DYES, encoding="utf-8")
    args = ["dyes.csv", "--input", "red", "--input", "blue", "--goal", "R=-100", "--solver", "linear", "--no-validate"]
    largest = [
        sdl("solve", *args, *more, "--json").json["answers"][0]["settings"]["red"]
        for more in ([], ["--high", "red=80"])
    ]
    assert largest == [190, 80]
    wrong = sdl("solve", *args, "--low", "Red=1")
    assert "--low Red: no such numeric input; allowed: red, blue; did you mean 'red'?" in wrong.err
    assert sdl("solve", *args, "--high", "red").code == 2


def test_a_table_says_which_columns_it_has_where_nobody_says_which_are_inputs(sdl: Sdl) -> None:
    Path("dyes.csv").write_text(DYES, encoding="utf-8")
    done = sdl("solve", "dyes.csv", "--goal", "R=150")
    assert (done.code, "the columns are red (uL), yellow, blue (uL), R (8-bit), G (8-bit)" in done.err) == (2, True)
    Path("log.jsonl").write_text('{"in": [1, 2], "out": {"pH": 3}}\n', encoding="utf-8")
    assert "the file lists 2 inputs without names" in sdl("solve", "log.jsonl", "--goal", "pH=3").err


def test_the_columns_of_an_instrument_may_have_other_names(collected: Path, sdl: Sdl) -> None:
    assert sdl("export", collected, "--to", "csv", "-o", "x.csv").code == 0
    text = Path("x.csv").read_text(encoding="utf-8").replace(",R,G,B,", ",red,green,blue,").replace(",515nm,", ",lime,")
    Path("x.csv").write_text(text.replace("R_asked,G_asked,B_asked", "a,b,c"), encoding="utf-8")
    Path("c.yaml").write_text("name: x\ninstrument: {kind: twin}\ngoal: {515nm: 9}\n", encoding="utf-8")
    renamed = ["--input", "R=red", "--input", "G=green", "--input", "B=blue", "--channel", "515nm=lime"]
    printed = [
        sdl("solve", source, *GOAL, *more, "--no-validate", "--json").json["answers"][0]["settings"]
        for source, more in [
            (collected, []),
            ("x.csv", [*renamed, "--instrument", "c.yaml"]),
            ("x.csv", [*renamed, "--instrument", "twin"]),
            ("x.csv", renamed),
        ]
    ]
    assert all(one == printed[0] for one in printed)
    done = sdl("solve", "x.csv", *GOAL, "--instrument", "twin", "--input", "Red=red")
    assert (done.code, "--input Red: twin has no such input; allowed: R, G, B" in done.err) == (2, True)
    assert "--instrument tvin: kind: unknown kind" in sdl("solve", "x.csv", *GOAL, "--instrument", "tvin").err


def test_a_goal_and_a_tolerance_may_carry_the_unit_of_the_channel_and_no_other(tmp_path: Path, sdl: Sdl) -> None:
    Path("cell.yaml").write_text(
        "name: x\ninstrument:\n  kind: manual\n  inputs: {acid: {low: 0, high: 10, unit: mL}}\n"
        "  channels: {pH: {}, k: {unit: mS/cm}}\ngoal: {k: 3 mS/cm}\n",
        encoding="utf-8",
    )
    Path("x.csv").write_text("acid,k,pH\n" + "".join(f"{x},{1 + x / 2},7\n" for x in range(9)), encoding="utf-8")
    ask = partial(sdl, "solve", "x.csv", "--solver", "linear", "--no-validate", "--json", "--instrument", "cell.yaml")
    plain = ask("--goal", "k=3", "--tolerance", "0.1").json["answers"][0]["settings"]
    assert ask("--goal", "k=3 mS/cm", "--tolerance", "0.1 mS/cm").json["answers"][0]["settings"] == plain
    assert plain["acid"] == pytest.approx(4.0, abs=0.1)
    for given, said in (
        (["--goal", "k=3 mol"], "--goal: k is in mS/cm, not in 'mol'"),
        (["--goal", "k=3", "--tolerance", "1 mol"], "--tolerance: k is in mS/cm, not in 'mol'"),
        (["--goal", "pH=3 mol"], "--goal: pH has no unit, not in 'mol'"),
    ):
        done = ask(*given)
        assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_what_export_writes_is_solved_to_the_same_answer(collected: Path, form: str, sdl: Sdl) -> None:
    assert sdl("export", collected, "--to", form, "-o", f"x.{form}").code == 0
    one, other = (
        sdl("solve", source, *GOAL, "--solver", "linear", "--json").json for source in (collected, f"x.{form}")
    )
    for answer in (one["answers"][0], other["answers"][0]):
        answer.pop("seconds")
    assert one["answers"] == other["answers"]


def test_a_bad_line_is_left_out_with_its_line_and_reason(log: str, sdl: Sdl) -> None:
    text = Path(log).read_text(encoding="utf-8")
    Path("odd.jsonl").write_text(text + '{"error": "instrument busy"}\n' + text[:60], encoding="utf-8")
    done = sdl("solve", "odd.jsonl", *GOAL, "--solver", "linear", "--no-validate")
    message = "1 left out: an error instead of a reading (line 26); 1 left out: not JSON (line 27)"
    assert done.out.replace("\n  ", " ").startswith(f"25 rows of odd.jsonl; {message}")


def test_settings_of_another_scale_are_refused_with_the_factor(log: str, sdl: Sdl) -> None:
    lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines()]
    for line in lines:
        line["in"] = [round(255 * value) for value in line["in"]]
    Path("in_255.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    done = sdl("solve", "in_255.jsonl", *GOAL)
    assert (done.code, "divided by 255 all would fit" in done.err) == (2, True)


def test_an_answer_without_enough_rows_to_check_it_is_still_an_answer(log: str, sdl: Sdl) -> None:
    lines = Path(log).read_text(encoding="utf-8").splitlines()[:4]
    Path("four.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = sdl("solve", "four.jsonl", *GOAL, "--solver", "linear", "--json")
    answer = done.json["answers"][0]
    assert (done.code, "settings" in answer, "not enough data: " in answer["error"]) == (0, True, True)


def test_a_damaged_record_is_exit_5(collected: Path, tmp_path: Path, sdl: Sdl) -> None:
    lines = (collected / "record.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "record.jsonl").write_bytes(b"".join([*lines[:5], *lines[6:]]))
    done = sdl("solve", tmp_path, *GOAL)
    assert (done.code, "record.jsonl:6: damaged" in done.err) == (5, True)


@pytest.mark.slow
def test_the_real_readings_are_answered_with_what_was_left_out(real_readings: Path, sdl: Sdl) -> None:
    done = sdl("solve", real_readings, *GOAL, "--solver", "pls", "--json")
    assert done.code == 0
    printed = done.json
    assert printed["rows"] > 300
    assert any("without 445nm" in reason for reason in printed["left_out"][str(real_readings)])
    for answer in printed["answers"]:
        assert answer["settings"] == pytest.approx({"R": 0.5, "G": 0.24, "B": 0.53}, abs=0.06)
        assert answer["validated"]["by"] == "day"


def test_long_options_of_a_solver_go_below_its_name() -> None:
    solver = "forest (trend none, n_t 50, duplicate_K 100, n_estimators 100)"
    none: dict[str, float | None] = {"R": None}
    printed = {
        "solver": solver,
        "settings": {"R": 0.5},
        "spread": none,
        "uncertainty": none,
        "expected": {},
        "verdict": "x",
    }
    rows = solve._block(printed, [Input(name="R")], Goal({"y": Band.around(1, 0.1)}))
    assert [row[0] for row in rows] == ["forest", "trend none, n_t", "50, duplicate_K", "100, n_estimators", "100", "x"]
    assert rows[0][1:] == ("R", "0.5000", "?", "?", "?", "y", "?")


def test_a_channel_is_maximised_in_the_model_of_the_data_and_the_next_settings_are_named(
    collected: Path, sdl: Sdl
) -> None:
    asked = ("solve", collected, "--goal", "445nm=maximise", "--goal", "515nm={at most: 20000}")
    (answer,) = sdl(*asked, "--json").json["answers"]
    assert answer["solver"] == "auto"
    assert {name: answer["settings"][name] for name in "RB"} == pytest.approx({"R": 1.0, "B": 1.0}, abs=0.01)
    assert answer["expected"]["515nm"] == pytest.approx(20000, rel=0.01)
    assert answer["estimate"] == answer["expected"]["445nm"] > answer["best_measured_estimate"]
    assert answer["estimate_error"] > 0
    assert answer["expected_improvement"] > 0
    assert set(answer["next"]) == set(answer["best_measured"]) == set("RGB")
    printed = sdl(*asked, "--solver", "linear")
    assert "goal: 445nm maximise, 515nm at most 20000" in printed.out
    assert "linear: measure next: R " in printed.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--solver", "gmm"), "gmm cannot maximise 445nm; use auto, gp, quadratic or linear"),
        (("--goal", "515nm=minimise"), "only one channel can be maximised or minimised, not 445nm and 515nm"),
        (("--all-solutions",), "--all-solutions: has no meaning with a channel to maximise"),
    ],
)
def test_what_has_no_meaning_for_a_maximum_is_refused(
    more: tuple[str, ...], message: str, collected: Path, sdl: Sdl
) -> None:
    refused = sdl("solve", collected, "--goal", "445nm=maximise", *more)
    assert refused.code == 2
    assert message in refused.err
