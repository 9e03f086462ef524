"""Readings that are already there: records and Claude-Light logs as rows, and a campaign's own copy of them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from core_kit import HIT, SETTINGS, interrupted, measured, opened, proposed, write_record

from sdl import runner
from sdl.errors import ConfigError, Damaged
from sdl.runs.runs import open_run
from sdl.store.datasets import Dataset, claude_light_line, load, number_sessions, read_opened, recorded_instrument, save
from sdl.store.record import FILE, file_sha
from sdl.types import SESSION_GAP, Channel, Reading

INPUTS = ("R", "G")
CHANNELS = (Channel(name="red", high=1000), Channel(name="green", high=1000), Channel(name="clear"))
NOON = 1_760_000_000.0
ABOUT = {"inputs": [{"name": "R"}, {"name": "G"}], "channels": []}


def log_of(folder: Path, *lines: object) -> Path:
    file = folder / "log.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def line(
    at: float | None = NOON, settings: object = (0.5, 0.25), out: object = HIT, **more: object
) -> dict[str, object]:
    return {"in": settings, "out": out, **({} if at is None else {"time": at}), **more}


def rows_of(file: Path, wanted: tuple[str, ...] = ()) -> Dataset:
    return load(file, INPUTS, CHANNELS, wanted)


@pytest.mark.parametrize(("gap", "sessions"), [(600.0, 1), (0.5, 3)])
def test_a_record_is_split_into_sessions_by_the_gap_of_its_own_instrument(
    tmp_path: Path, gap: float, sessions: int
) -> None:
    tree = {"instrument": {"kind": "twin", "latency": 1.0, "session_gap": gap}}
    tree |= {"name": "gap", "design": {"kind": "latin-hypercube", "trials": 3}}
    run = runner.run(tree, runs=tmp_path, collect=True).run
    inputs, channels = recorded_instrument(open_run(run).opened, Path(run))
    assert len({row.session for row in load(run, inputs, channels, ()).rows}) == sessions
    assert len({row.session for row in load(run, inputs, channels, (), session_gap=600.0).rows}) == 1


# Claude-Light logs ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("settings", [[0.5, 0.25], {"R": 0.5, "G": 0.25}, {"G": 0.25, "R": 0.5, "W": 1}])
def test_settings_come_as_a_list_in_the_order_of_the_inputs_or_by_name(tmp_path: Path, settings: object) -> None:
    found = rows_of(log_of(tmp_path, line(settings=settings)))
    assert [row.reading for row in found.rows] == [Reading(SETTINGS, HIT)]


def test_a_log_is_named_hashed_and_told_row_by_row(tmp_path: Path) -> None:
    file = log_of(tmp_path, line(), line(out={**HIT, "red": 7}))
    found = load("log.jsonl", INPUTS, CHANNELS, (), base=tmp_path)
    assert (found.source, found.sha256, found.left_out) == ("log.jsonl", file_sha(file), {})
    assert [row.reading.readings["red"] for row in found.rows] == [100.0, 7]
    assert {row.day for row in found.rows} == {"2025-10-09"}


def test_channels_that_the_instrument_has_not_are_ignored(tmp_path: Path) -> None:
    found = rows_of(log_of(tmp_path, line(out={"red": 1, "ultraviolet": 2, "nir": None})))
    assert found.rows[0].reading.readings == {"red": 1}


def test_nan_is_no_value_as_null_is(tmp_path: Path) -> None:
    file = log_of(tmp_path, line(), '{"in": [0.5, 0.25], "out": {"red": NaN, "green": 1}}')
    assert rows_of(file).rows[1].reading.readings == {"green": 1}
    assert rows_of(file, ("red",)).omissions == ("1 left out: without red (line 2)",)


def test_rows_without_a_channel_that_is_wanted_are_left_out_and_counted_by_reason(tmp_path: Path) -> None:
    outs = [HIT, {"red": 5}, {"red": 5}, {}, {**HIT, "green": 1000}, {**HIT, "green": None}]
    file = log_of(tmp_path, *(line(NOON + i, out=out) for i, out in enumerate(outs)))
    found = rows_of(file, ("red", "green"))
    assert len(found.rows) == 1
    assert found.left_out == {"without green": 3, "without red, green": 1, "saturated in a channel of the goal": 1}
    assert len(rows_of(file).rows) == 6


def test_a_reading_at_the_end_of_its_range_is_saturated_and_of_use_where_nobody_asks_for_it(tmp_path: Path) -> None:
    file = log_of(tmp_path, line(out={"red": 1000, "green": 999.9, "clear": 1e9}), line(saturated=["clear"]))
    assert [row.reading.saturated for row in rows_of(file, ("green",)).rows] == [("red",), ("clear",)]
    assert rows_of(file, ("red",)).left_out == {"saturated in a channel of the goal": 1}


def test_a_gap_or_a_new_day_begins_a_new_sitting(tmp_path: Path) -> None:
    midnight = 1_759_968_000.0
    times = [midnight - 60, midnight - 59, midnight, midnight + SESSION_GAP, midnight + 2 * SESSION_GAP + 0.1]
    found = rows_of(log_of(tmp_path, *map(line, times)))
    assert [row.session for row in found.rows] == [0, 0, 1, 1, 2]
    assert [row.day for row in found.rows] == ["2025-10-08"] * 2 + ["2025-10-09"] * 3


def test_the_server_s_own_log_calls_its_time_t0(tmp_path: Path) -> None:
    found = rows_of(log_of(tmp_path, line(None, t0=NOON), line(None, t0=NOON + SESSION_GAP + 1)))
    assert [(row.session, row.day) for row in found.rows] == [(0, "2025-10-09"), (1, "2025-10-09")]


def test_rows_without_a_time_are_one_sitting_a_day_as_far_as_days_are_known(tmp_path: Path) -> None:
    local = [line(None, time_local=f"2025-07-{day} 10:00") for day in (29, 29, 31)]
    found = rows_of(log_of(tmp_path, line(None), line(None), *local, line(None)))
    assert [(row.session, row.day) for row in found.rows] == [
        *[(0, "")] * 2,
        *[(1, "2025-07-29")] * 2,
        (2, "2025-07-31"),
        (3, ""),
    ]


def test_local_times_without_a_zone_order_rows_and_part_sessions_and_make_no_duplicates(tmp_path: Path) -> None:
    minutes = ("17:36", "16:29", "16:29", "16:27", "12:12")
    found = rows_of(log_of(tmp_path, *(line(None, time_local=f"2025-07-29 {minute}") for minute in minutes)))
    assert [row.session for row in found.rows] == [0, 1, 1, 1, 2]
    assert {row.day for row in found.rows} == {"2025-07-29"}


BAD: dict[str, object] = {
    "no JSON": "hello",
    "torn": '{"in": [0.5, 0.2',
    "null": "null",
    "a list": "[1, 2]",
    "a number": "5",
    "no in": {"out": HIT},
    "no out": {"in": [0.5, 0.25]},
    "an input too few": line(settings=[0.5]),
    "an input too many": line(settings=[0.5, 0.25, 0.1]),
    "an input without its name": line(settings={"R": 0.5}),
    "an input unknown": line(settings=[0.5, None]),
    "settings as a text": line(settings="0.5 0.25"),
    "a reading as a text": line(out={"red": "7"}),
    "a reading as yes": line(out={"red": True}),
    "NaN for an input": '{"in": [0.5, NaN], "out": {"red": 1}}',
    "infinity": '{"in": [Infinity, 0.25], "out": {"red": 1}}',
    "too many digits": '{"in": [0.5, 0.25], "out": {"red": 1' + "0" * 400 + "}}",
    "far too many digits": '{"in": [0.5, 0.25], "out": {"red": 1' + "0" * 5000 + "}}",
    "a time in nanoseconds": line(NOON * 1e9),
    "a time in microseconds": line(NOON * 1e6),
    "saturated as a number": line(saturated=5),
    "a background as a text": line(background="dark"),
    "a session as a text": line(sitting="first"),
    "nested without end": "[" * 100_000,
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_line_is_left_out_and_named_and_more_than_a_tenth_refuse_the_file(tmp_path: Path, bad: str) -> None:
    good = [line(NOON + i) for i in range(9)]
    found = rows_of(log_of(tmp_path, *good[:2], BAD[bad], *good[2:]))
    (reason,) = found.lines
    assert (len(found.rows), found.lines[reason], found.omissions) == (9, [3], (f"1 left out: {reason} (line 3)",))
    file = log_of(tmp_path, *good[:2], BAD[bad], *good[2:8])
    with pytest.raises(ConfigError) as refused:
        rows_of(file)
    first, last = refused.value.problems
    assert (first.file, first.line) == (str(file), 3)
    assert first.message.split()[0] == reason.split()[0]
    assert last.message == "1 of 9 lines cannot be used; at most a tenth may be left out"


def test_bytes_that_are_no_utf_8_are_found_at_their_own_line(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(b'{"in": [0.5, 0.25], "out": {"red": 1}}\n' * 4 + b'{"in": [0.5, 0.25], "out": {"r\xe9d": 1}}\n')
    with pytest.raises(ConfigError) as found:
        rows_of(file)
    assert found.value.problems[0].line == 5


def test_a_log_whose_last_line_is_torn_is_refused_at_that_line(tmp_path: Path) -> None:
    file = log_of(tmp_path, line(), line())
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ConfigError) as found:
        rows_of(file)
    assert found.value.problems[0].line == 2


def test_a_last_line_without_its_newline_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    file = log_of(tmp_path, line(), line(NOON + 1))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()[:-1])
    assert len(rows_of(file).rows) == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.jsonl: cannot be read: No such file"):
        load("nothing.jsonl", INPUTS, CHANNELS, (), base=tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        rows_of(tmp_path)  # a directory that is no run
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: not a regular file"):
        rows_of(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read_opened(tmp_path / "pipe")


def test_blank_lines_of_a_log_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    file = log_of(tmp_path, line(), "", "  ", line(NOON + 1))
    assert len(rows_of(file).rows) == 2
    with pytest.raises(ConfigError) as found:
        rows_of(log_of(tmp_path, line(), "", "{", line()))
    assert found.value.problems[0].line == 3


def test_an_empty_log_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(log_of(tmp_path)).rows == ()


# Records ----------------------------------------------------------------------------------------------------------
def test_a_record_gives_every_reading_with_its_background_saturation_and_fault(tmp_path: Path) -> None:
    odd = measured(
        1, applied={"R": 0.4, "G": 0.25}, background={"red": 3.0}, saturated=("clear",), fault="not-applied", at=5.0
    )
    folder = write_record(tmp_path / "run", [opened(instrument=ABOUT), proposed(), measured(at=1.0), proposed(1), odd])
    found = rows_of(folder, ("red",))
    assert [row.reading for row in found.rows] == [
        Reading(SETTINGS, HIT),
        Reading({"R": 0.4, "G": 0.25}, HIT, {"red": 3.0}, ("clear",), "not-applied"),
    ]
    assert [(row.session, row.day) for row in found.rows] == [(0, "1970-01-01")] * 2
    assert rows_of(folder / FILE, ("red",)).rows == found.rows
    assert found.sha256 == file_sha(folder / FILE)


def test_a_record_s_sittings_are_told_by_the_gaps_between_its_readings(tmp_path: Path) -> None:
    times = [0.0, 5.0, 5.0 + SESSION_GAP, 6.0 + 2 * SESSION_GAP]
    events = [measured(trial, at=at) for trial, at in enumerate(times)]
    folder = write_record(tmp_path / "run", [opened(instrument=ABOUT), *events])
    assert [row.session for row in rows_of(folder).rows] == [0, 0, 0, 1]


def test_rows_of_a_record_are_left_out_by_the_same_reasons(tmp_path: Path) -> None:
    events = [measured(saturated=("red",)), measured(readings={"green": 1.0}), measured()]
    found = rows_of(write_record(tmp_path / "run", [opened(instrument=ABOUT), *events]), ("red",))
    assert len(found.rows) == 1
    assert found.left_out == {"saturated in a channel of the goal": 1, "without red": 1}


def test_a_torn_last_line_of_a_record_is_left_out(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", [opened(instrument=ABOUT), measured(), measured(1)])
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-30])
    assert len(rows_of(folder).rows) == 1


def test_a_damaged_record_is_no_prior(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", [opened(instrument=ABOUT), measured(), interrupted()])
    (folder / FILE).write_bytes((folder / FILE).read_bytes().replace(b'"red": 100.0', b'"red": 101.0'))
    with pytest.raises(Damaged) as found:
        rows_of(folder)
    assert found.value.line == 2


def test_a_record_of_other_inputs_is_no_prior(tmp_path: Path) -> None:
    folder = write_record(
        tmp_path / "run", [opened(instrument={"inputs": [{"name": "R"}, {"name": "W"}], "channels": []})]
    )
    with pytest.raises(ConfigError, match=r"record\.jsonl:1: has the inputs R, W; R, G are needed"):
        rows_of(folder)


# A campaign's own copy --------------------------------------------------------------------------------------------
def test_what_is_saved_is_loaded_again_row_by_row_each_source_in_sittings_of_its_own(tmp_path: Path) -> None:
    odd = measured(1, background={"red": 3.0, "green": 1.0}, saturated=("clear",), at=NOON)
    run = rows_of(write_record(tmp_path / "run", [opened(instrument=ABOUT), measured(at=0.0), odd]))
    log = rows_of(log_of(tmp_path, line(NOON), line(NOON + 700), line(None), line(NOON, out={"red": 1000})))
    copy = tmp_path / "prior.jsonl"
    sha = save(copy, [run, log])
    found = rows_of(copy)
    assert found.sha256 == sha == file_sha(copy)
    assert [row.reading for row in found.rows] == [row.reading for row in (*run.rows, *log.rows)]
    assert [row.day for row in found.rows] == [row.day for row in (*run.rows, *log.rows)]
    assert [row.session for row in run.rows] == [0, 1]
    assert [row.session for row in log.rows] == [0, 0, 1, 2]  # by time
    assert [row.session for row in found.rows] == [0, 1, 2, 2, 3, 4]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    log = rows_of(log_of(tmp_path, line(NOON), line(None)))
    assert save(tmp_path / "a", [log]) == save(tmp_path / "b", [rows_of(log_of(tmp_path, line(NOON), line(None)))])
    assert save(tmp_path / "none", []) == file_sha(tmp_path / "none")


def test_a_reading_goes_out_in_the_paper_s_form_and_comes_back(tmp_path: Path) -> None:
    event = measured(at=NOON)
    out = claude_light_line(event, INPUTS)
    assert out == {"in": SETTINGS, "out": HIT, "time": NOON}  # not the paper's inputs: by name
    assert rows_of(log_of(tmp_path, out)).rows[0].reading == Reading(SETTINGS, HIT)
    light = {"R": 0.5, "G": 0.25, "B": 1.0}
    assert claude_light_line(measured(at=NOON, applied=light), "RGB")["in"] == [0.5, 0.25, 1.0]


# The real instrument ----------------------------------------------------------------------------------------------
def test_the_real_log_is_read_and_what_is_left_out_is_accounted_for(real_readings: Path) -> None:
    names = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")
    channels = tuple(Channel(name=name, high=65535) for name in names)
    count = len(real_readings.read_bytes().splitlines())
    found = load(real_readings, ("R", "G", "B"), channels, ("445nm", "515nm", "630nm"))
    assert len(found.rows) + sum(found.left_out.values()) == count
    assert 300 < len(found.rows) < count
    assert set(found.left_out) <= {"without 445nm, 630nm", "saturated in a channel of the goal"}
    assert all(math.isfinite(value) for row in found.rows for value in row.reading.readings.values())
    assert all(not {"445nm", "515nm", "630nm"} & set(row.reading.saturated) for row in found.rows)


def test_the_source_with_the_newest_row_comes_last_and_no_two_share_a_session(tmp_path: Path) -> None:
    def source(name: str, *times: float | None) -> Dataset:
        lines = [{"in": [0.1], "out": {"y": 1.0}} | ({} if at is None else {"time": at}) for at in times]
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return load(tmp_path / name, ["x"], [Channel(name="y")], ["y"])

    later, earlier, timeless = source("later", 9000, 9001), source("earlier", 10, 11, 5000), source("none", None)
    numbered = [(row.at, session) for _, row, session in number_sessions([later, earlier])]
    assert numbered == [(10.0, 0), (11.0, 0), (5000.0, 1), (9000.0, 2), (9001.0, 2)]
    given = [source for source, _, _ in number_sessions([later, timeless, earlier])]
    assert given == [later, later, timeless, earlier, earlier, earlier]
