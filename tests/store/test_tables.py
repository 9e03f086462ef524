"""Data as people have it: tables of many shapes are read right, or refused with the line and the reason."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sdl import config, runner
from sdl.errors import ConfigError
from sdl.export import ExportFormat, write
from sdl.inverse import dataset
from sdl.runs.runs import open_run
from sdl.store.datasets import ColumnNames, Dataset, describe_columns, load
from sdl.types import Channel, Input, Reading

INPUTS = (Input(name="R"), Input(name="G"))
CHANNELS = (Channel(name="red", high=1000), Channel(name="green", high=1000))
NOON = 1_760_000_000
PLAIN = "R,G,red\n0.5,0.25,100\n0,1,7.5\n1,0.125,900\n"
TRUE = [(0.5, 0.25, 100), (0, 1, 7.5), (1, 0.125, 900)]
COMMA = "R;G;red\n0,5;0,25;100\n0;1;7,5\n1;0,125;900\n"


def file_of(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def read(file: Path, **more: Any) -> Dataset:
    return load(file, INPUTS, CHANNELS, ("red",), **more)


def values(found: Dataset) -> list[tuple[float, ...]]:
    """Settings and reading of every row, in any order of the file."""
    return [(*(row.reading.applied[name] for name in "RG"), row.reading.readings["red"]) for row in found.rows]


RIGHT: dict[str, str | bytes] = {
    "commas": PLAIN,
    "semicolons and decimal commas": COMMA,
    "semicolons and decimal dots": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "tabs and decimal commas": COMMA.replace(";", "\t"),
    "bars": PLAIN.replace(",", " | "),
    "white space": PLAIN.replace(",", "   "),
    "the separator said in the first line": "sep=;\n" + COMMA,
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16 with its mark": COMMA.encode("utf-16"),
    "big-endian UTF-16 with its mark": b"\xfe\xff" + COMMA.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "units in the header, in UTF-8": PLAIN.replace("R,G,red", "R (µL),G [mL],red / counts"),
    "units in the header, in Windows-1252": PLAIN.replace("R,G,red", "R (µL),G [mL],red").encode("cp1252"),
    "units with a comma in quotes": PLAIN.replace("R,G,red", '"R (uL, total)",G,red'),
    "a header of two lines in quotes": PLAIN.replace("R,G,red", '"R\n(uL)",G,red'),
    "ends of line of Windows": PLAIN.replace("\n", "\r\n"),
    "ends of line of old Macs": PLAIN.replace("\n", "\r"),
    "mixed ends of line": PLAIN.replace("100\n", "100\r\n").replace("7.5\n", "7.5\r"),
    "no end of the last line": PLAIN.rstrip(),
    "blank lines and lines of separators only": PLAIN.replace("\n", "\n\n ,,\n"),
    "comments": "# night of the dyes\n" + PLAIN.replace("900", "900\n# the end, I think"),
    "numpy's header": "# made by savetxt\n# " + PLAIN,
    "everything in quotes": "\n".join(",".join(f'"{c}"' for c in x.split(",")) for x in PLAIN.splitlines()),
    "decimal commas in quotes": PLAIN.replace("0.5,0.25", '"0,5","0,25"')
    .replace("7.5", '"7,5"')
    .replace("0.125", '"0,125"'),
    "quotes behind spaces": PLAIN.replace("R,G,red", 'R, "G (a, b)", red'),
    "spaces around": PLAIN.replace(",", " , "),
    "trailing separators": PLAIN.replace("\n", ",,\n"),
    "pandas' index": "".join(f"{['', 0, 1, 2][i]},{x}\n" for i, x in enumerate(PLAIN.splitlines())),
    "names in other case": PLAIN.replace("R,G,red", "r,g,Red"),
    "other columns, in another order": "note,red,by,G,R\n" + "".join(f'"a, b",{y},x,{g},{r}\n' for r, g, y in TRUE),
    "marks of inches": "R,G,red,note\n" + "".join(f'{r},{g},{y},5" of tube\n' for r, g, y in TRUE),
    "a note of several lines": "R,G,red,note\n" + "".join(f'{r},{g},{y},"one\ntwo, {r}"\n' for r, g, y in TRUE),
    "powers of ten": "R,G,red\n5e-1,2.5E-1,1e2\n0e0,1.0,75e-1\n1,.125,9.e2\n",
    "gzip": gzip.compress(COMMA.encode()),
    "flat JSON lines": "".join(json.dumps({"R": r, "G": g, "red": y}) + "\n" for r, g, y in TRUE),
    "a JSON array of flat rows": json.dumps([{"R": r, "G": g, "red": y} for r, g, y in TRUE], indent=2),
    "a JSON array of log lines": json.dumps([{"in": [r, g], "out": {"red": y}} for r, g, y in TRUE]),
    "log lines in gzip": gzip.compress(
        "".join(json.dumps({"in": {"G": g, "R": r}, "out": {"red": y}}) + "\n" for r, g, y in TRUE).encode()
    ),
}


@pytest.mark.parametrize("shape", RIGHT)
def test_a_table_of_this_shape_is_read_right(tmp_path: Path, shape: str) -> None:
    found = read(file_of(tmp_path, RIGHT[shape]))
    assert (values(found), found.left_out) == (TRUE, {})


ROW = "0.5,0.25,100\n"
REFUSED: dict[str, tuple[str | bytes, int | None, str]] = {
    "no header": (PLAIN.partition("\n")[2], 1, "no header: the first line holds numbers only"),
    "a header name twice": (PLAIN.replace("R,G,red", "R,R,red"), None, "R is the name of 2 columns: R, R"),
    "a header name twice but for the unit": (PLAIN.replace("R,G,red", "R (a),R (b),red"), None, "R (a), R (b)"),
    "a column too few": (PLAIN.replace("R,G,red", "R,Q,red"), None, "no column G; it has R, Q, red"),
    "no channel": (PLAIN.replace("R,G,red", "R,G,rouge"), None, "no column red; it has R, G, rouge"),
    "decimal commas without quotes": ("R,G,red\n" + "0,5,0,25,100\n" * 3, 2, "5 cells, but 3 names in the header"),
    "thousands": ('R,G,red\n0.5,0.25,"1,000.5"\n', 2, "red is '1,000.5', not a number"),
    "what may be thousands": ("R;G;red\n1;0;16,384\n0;1;12,500\n", 2, "red is '16,384', not a number"),
    "mixed decimal signs": ("R;G;red\n0.5;0,25;100\n", 2, "G is '0,25', not a number"),
    "words": ("R,G,red\nlow,high,bright\n", 2, "R is 'low', not a number"),
    "units in the cells": ("R,G,red\n0.5,0.25,100 counts\n", 2, "red is '100 counts', not a number"),
    "an infinity": ("R,G,red\n0.5,0.25,inf\n", 2, "red is 'inf', not a number"),
    "an empty setting": ("R,G,red\n0.5,,100\n", 2, "no value of G"),
    "per cent": ("R,G,red\n50,25,100\n100,0,5\n", 2, "divided by 100 all would fit"),
    "8 bits": ("R,G,red\n255,0,100\n0,128,5\n", 2, "R is 255, outside its bounds, 0 … 1"),
    "another scale that no factor mends": ("R,G,red\n-255,0,100\n", 2, "1 of 1 lines cannot be used"),
    "a day before the month": ("R,G,red,time\n.5,.5,1,28.10.2025 17:06\n", 2, "'28.10.2025 17:06': write 2025-10-28"),
    "a workbook": (b"PK\x03\x04" + b"\0" * 40, None, "an Excel workbook"),
    "gzip that was cut": (gzip.compress(PLAIN.encode() * 50)[:-9], None, "its gzip data is damaged or cut off"),
    "a JSON array that was cut": ('[{"R": 0, "G": 1, "red": 2},\n{"R": 0, "G"', 2, "not JSON: "),
    "a JSON array without a comma": ('[{"R": 0, "G": 1, "red": 2}\n{"R": 0}]', 1, "lacks a comma"),
    "text behind a JSON array": ('[{"R": 0, "G": 1, "red": 2}]\n[]', 1, "more text after the end"),
    "a JSON array of numbers": ("[1, 2]", 1, "not a JSON object: 1"),
    "half a Parquet file": (b"PAR1" + b"\x01" * 30, None, "not a whole Parquet file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), None, "no column R"),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_a_table_of_this_shape_is_refused_with_line_and_reason(tmp_path: Path, shape: str) -> None:
    content, line, words = REFUSED[shape]
    file = file_of(tmp_path, content)
    with pytest.raises(ConfigError) as found:
        read(file)
    assert words in str(found.value)
    assert {problem.file for problem in found.value.problems} == {str(file)}
    assert found.value.problems[0].line == line
    assert len(found.value.problems) <= 6


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("0.5,0.25\n", "fewer cells than the header has names"),
        ("0.5,0.25,1,2\n", "more cells than the header has names"),
        ('0.5,"0.25,1\n', "fewer cells than the header has names"),
        ("0.5,1.5,100\n", "G outside its bounds, 0 … 1"),
        ("0.5,-1,100\n", "G outside its bounds, 0 … 1"),
        ("0.5,n/a,100\n", "no value of G"),
        ("0.5,0.25,NaN\n", "without red"),
        ("0.5,0.25,bright\n", "red is not a number"),
        ("0.5,0.25,1e13\n", "red is not a number"),
        ("0.5,0.25,1000\n", "saturated in a channel of the goal"),
        ("Ω,Ω,Ω\n", "R is not a number"),
    ],
)
def test_one_bad_line_of_many_is_left_out_and_named(tmp_path: Path, bad: str, reason: str) -> None:
    found = read(file_of(tmp_path, "R,G,red\n" + ROW * 3 + bad + ROW * 8))
    assert (len(found.rows), found.omissions) == (11, (f"1 left out: {reason} (line 5)",))


def test_more_than_a_tenth_of_bad_lines_refuses_the_file_with_the_first_five(tmp_path: Path) -> None:
    file = file_of(tmp_path, "R,G,red\n" + (ROW * 8 + "2,3,oops\n") * 7)
    with pytest.raises(ConfigError) as found:
        read(file)
    assert [problem.line for problem in found.value.problems] == [10, 19, 28, 37, 46, None]
    assert found.value.problems[-1].message.startswith("7 of 63 lines cannot be used")


@pytest.mark.parametrize("setting", ["1.0000000000000002", "-1e-17", "1.0000001192092896"])
def test_a_setting_outside_its_bounds_by_rounding_is_clipped(tmp_path: Path, setting: str) -> None:
    found = read(file_of(tmp_path, f"R,G,red\n{setting},0.25,100\n"))
    assert found.rows[0].reading.applied["R"] in (0, 1)
    assert found.left_out == {}


def test_names_alone_have_no_bounds(tmp_path: Path) -> None:
    found = load(file_of(tmp_path, "R,G,red\n255,-3,100\n"), "RG", CHANNELS, ())
    assert values(found) == [(255, -3, 100)]


# Columns ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "content",
    [
        "red (uL),G (uL),R (8-bit)\n0.5,0.25,100\n",
        '{"red": 0.5, "G": 0.25, "R": 100}\n',
        '{"in": {"red": 0.5, "G": 0.25}, "out": {"R": 100}}\n',
    ],
)
def test_a_column_may_be_named_for_an_input_or_a_channel(tmp_path: Path, content: str) -> None:
    found = read(file_of(tmp_path, content), columns=ColumnNames({"R": "red"}, {"red": "R"}))
    assert values(found) == [(0.5, 0.25, 100)]


def test_a_column_that_was_named_and_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    for columns in (ColumnNames({"R": "rouge"}), ColumnNames(channels={"green": "vert"})):
        with pytest.raises(ConfigError, match=r"data\.csv: no column (rouge|vert); it has R, G, red"):
            read(file_of(tmp_path, PLAIN), columns=columns)


def test_backgrounds_and_saturation_are_read_as_export_writes_them(tmp_path: Path) -> None:
    head = "R_asked,G_asked,R,G,red,green,red_background,saturated,fault,elapsed,at\n"
    file = file_of(
        tmp_path, head + f".4,.2,.5,.25,100,900,3,green,not-applied,.7,{NOON}\n.5,.5,.5,.5,1,2,,,,.7,{NOON + 1}\n"
    )
    first, second = (row.reading for row in read(file).rows)
    assert first == Reading({"R": 0.5, "G": 0.25}, {"red": 100, "green": 900}, {"red": 3}, ("green",), "not-applied")
    assert second == Reading({"R": 0.5, "G": 0.5}, {"red": 1, "green": 2})
    assert (describe_columns(file).inputs, describe_columns(file).channels) == (("R", "G"), ("red", "green"))


# Time -------------------------------------------------------------------------------------------------------------
def _iso(at: int, form: str) -> str:
    return datetime.fromtimestamp(at, UTC).strftime(form)


TIMES: dict[str, tuple[str, Callable[[int], str]]] = {
    "seconds": ("time", str),
    "seconds with decimals": ("t0", "{}.0".format),
    "milliseconds": ("timestamp", "{}000".format),
    "ISO with an offset": ("time", lambda at: _iso(at + 7200, "%Y-%m-%dT%H:%M:%S+02:00")),
    "ISO of UTC": ("Time", lambda at: _iso(at, "%Y-%m-%dT%H:%M:%SZ")),
    "ISO without an offset": ("time (UTC)", lambda at: _iso(at, "%Y-%m-%d %H:%M:%S")),
}


@pytest.mark.parametrize("form", TIMES)
def test_rows_are_sorted_by_times_of_this_form_and_gaps_part_them(tmp_path: Path, form: str) -> None:
    name, text = TIMES[form]
    at = [NOON + 2000, NOON, NOON + 1, NOON + 2001]
    lines = [f"{i / 10},0.5,{i},{text(seconds)}\n" for i, seconds in enumerate(at)]
    found = read(file_of(tmp_path, f"R,G,red,{name}\n" + "".join(lines)))
    assert [row.reading.readings["red"] for row in found.rows] == [1, 2, 0, 3]
    assert [row.session for row in found.rows] == [0, 0, 1, 1]
    assert {row.day for row in found.rows} == {"2025-10-09"}


def test_a_time_without_an_offset_is_utc_wherever_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    text = "R,G,red,time\n.5,.5,1,2025-10-28 17:06:07\n.5,.5,1,2025-10-28T17:06:07Z\n"
    found = read(file_of(tmp_path, text))
    monkeypatch.undo()
    time.tzset()
    assert len(found.rows) == 1


def test_elapsed_minutes_are_told_by_the_unit(tmp_path: Path) -> None:
    found = read(file_of(tmp_path, "R,G,red,time (min)\n0,0,1,0\n0,1,2,9\n1,1,3,20\n"))
    assert [row.session for row in found.rows] == [0, 0, 1]


def test_an_input_called_time_is_no_time(tmp_path: Path) -> None:
    inputs = (Input(name="time", high=60), Input(name="G"))
    found = load(file_of(tmp_path, "time (min),G,red\n30,0,1\n10,1,2\n10,1,2\n"), inputs, CHANNELS, ())
    assert [row.reading.applied["time"] for row in found.rows] == [30, 10, 10]


def test_a_day_alone_makes_no_row_a_repeat(tmp_path: Path) -> None:
    found = read(file_of(tmp_path, "R,G,red,date\n" + "0,0,1,2025-10-09\n" * 2 + "1,0,1,2025-10-08\n"))
    assert [(row.day, row.session) for row in found.rows] == [("2025-10-08", 0), *[("2025-10-09", 1)] * 2]


def test_the_order_of_a_file_makes_no_sittings(tmp_path: Path) -> None:
    lines = [f"{i % 10 / 10},0.5,{i},{NOON + 5 * i + 2000 * (i // 10)}\n" for i in range(30)]
    ordered, mixed = ("R,G,red,time\n" + "".join(part) for part in (lines, sorted(lines)))
    assert read(file_of(tmp_path, ordered)).rows == read(file_of(tmp_path, mixed)).rows
    assert {row.session for row in read(file_of(tmp_path, mixed)).rows} == {0, 1, 2}


def test_rows_equal_in_every_value_and_in_time_are_one_and_without_a_time_all_count(tmp_path: Path) -> None:
    once = f"0.5,0.25,100,{NOON}\n"
    found = read(file_of(tmp_path, "R,G,red,time\n" + once * 3 + f"0.5,0.25,101,{NOON}\n0.5,0.25,100,{NOON + 1}\n"))
    assert (len(found.rows), found.left_out) == (3, {"the same reading again, with the same time": 2})
    assert found.omissions == ("2 left out: the same reading again, with the same time (lines 3, 4)",)
    assert len(read(file_of(tmp_path, "R,G,red\n" + ROW * 5)).rows) == 5


# What export writes -----------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign on the twin, with backgrounds, repeats and saturated readings."""
    tree = {
        "name": "set",
        "instrument": {"kind": "twin", "background": "each"},
        "goal": {"515nm": 30000},
        "solver": "linear",
        "design": {"kind": "latin-hypercube", "trials": 8},
    }
    return Path(runner.run(tree, runs=tmp_path_factory.mktemp("runs")).run)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_what_export_writes_is_read_back_equal(run: Path, form: str, tmp_path: Path) -> None:
    file = tmp_path / f"x.{form}"
    assert write(open_run(run), ExportFormat(form), file) > 0
    twin = config.parse_kind("instrument", "twin")
    record, table = (load(source, twin.inputs, twin.channels, ("515nm",)) for source in (run, file))
    assert any(row.reading.background for row in record.rows)
    assert any(row.reading.saturated for row in record.rows)
    assert table.rows == record.rows
    assert describe_columns(file).inputs == ("R", "G", "B")
    assert describe_columns(file).channels == tuple(channel.name for channel in twin.channels)


def test_parquet_may_hold_times_and_log_lines(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    times = pa.array([(NOON + 9) * 10**9, NOON * 10**9 + 1], pa.timestamp("ns"))
    flat = pa.table({"R": [0.5, 1.0], "G": [0.25, 0.0], "red": [100, 7], "time": times})
    pq.write_table(flat, tmp_path / "flat.parquet")
    assert values(read(tmp_path / "flat.parquet")) == [(1, 0, 7), (0.5, 0.25, 100)]
    log = pa.Table.from_pylist([{"in": [r, g], "out": {"red": y}} for r, g, y in TRUE])
    pq.write_table(log, tmp_path / "log.parquet")
    assert values(read(tmp_path / "log.parquet")) == TRUE


# An input that never moved ----------------------------------------------------------------------------------------
def test_an_input_that_never_moved_is_held_and_that_is_said() -> None:
    x = [[i / 10, 0.3, 1 - (i % 4) / 4] for i in range(11)]
    y = [[200 * a + 5 + 40 * b, 30 * b + a] for a, _, b in x]
    found = dataset.solve(x, y, [125.0, 15.5], "linear", all_solutions=True)
    assert found.settings == pytest.approx([0.5, 0.3, 0.5], abs=0.01)
    assert found.why.endswith("held as in every row: x1 0.3")
    assert str(found.spread[1]) == "nan"
    assert found.solutions[0][1] == 0.3


def test_settings_far_below_one_have_the_range_of_the_data_for_bounds() -> None:
    x = [[i * 1e-5] for i in range(11)]
    y = [[2e7 * a + 5] for (a,) in x]
    found = dataset.solve(x, y, [1005.0], "linear")
    assert found.settings == pytest.approx([5e-5], abs=1e-6)
    assert dataset.solve(x, y, [9005.0], "linear").settings == pytest.approx([1e-4])


def test_a_csv_of_any_program_goes_through_the_csv_module(tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(
        [["R (x)", 'the "red", said', "G", "red"], *[[r, 'a "b", c\nd', g, y] for r, g, y in TRUE]]
    )
    assert values(read(file_of(tmp_path, text.getvalue()))) == TRUE


def test_a_reading_below_the_range_of_its_channel_is_left_out_and_named(tmp_path: Path) -> None:
    file = file_of(tmp_path, "R,G,red\n" + ROW * 12 + "0.5,0.25,-500\n" + "0.5,0.25,-20\n")
    channels = (Channel(name="red", low=-20.0),)
    found = load(file, INPUTS, channels, ("red",))
    assert found.left_out == {"red below its range, which begins at -20": 1}
    assert len(found.rows) == 13
    with pytest.raises(ConfigError, match="red is -500, below its range, which begins at -20"):
        load(file_of(tmp_path, "R,G,red\n0.5,0.25,-500\n"), INPUTS, channels, ("red",))
