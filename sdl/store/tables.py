"""Tables from files: JSON lines, a JSON array, CSV or Parquet, optionally compressed with gzip.

This module knows file formats, not instruments: each row is a mapping from column to cell, with its line number;
`sdl.store.datasets` makes rows for solvers of them. The format is recognised from the content of a file, not from its
name.

Rules for CSV files:

- UTF-8, UTF-16 (with or without a byte order mark), else Windows-1252; any line ending. Blank lines, lines of only
  separators and lines that begin with `#` are skipped.
- The first line is the header. If it holds only numbers, the last `#` line above it is the header if it has as many
  names (as numpy writes it); else the file is refused.
- The separator is the first of tab, `;`, `|`, `,` that the header has outside quotes (or that of a first line `sep=;`);
  without any of them, white space.
- The decimal sign is a comma where numbers with a comma are in the file and none with a dot. Thousands separators are
  not read: `16,384` might be 16384 or 16.384.
- An empty cell, `nan`, `NA`, `N/A`, `null`, `none` or `-` is no value.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonlines

from sdl.errors import ConfigError, Problem

MAX_BYTES = 1 << 30  # bytes of an uncompressed file
PEEK = 20  # a file is JSON lines if one of its first lines begins with `{`; this many are examined
MAX_QUOTE_LINES = 20  # largest number of lines in a quoted cell

_NOTHING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "-"})
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:[.,]\d{3})+")
_QUOTED = re.compile(r'"[^"]*"')
_OPEN_QUOTE = re.compile(r'(?:^|[\t;|,])\s*"')
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")


class Unusable(Exception):
    """Why a line cannot be used.

    Attributes:
        reason: text by which lines are counted.
        detail: text with the content of this line.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail or reason
        super().__init__(self.detail)


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file.

    Attributes:
        rows: line number (in Parquet: row number) from 1, and the cells by column, or why the line is unusable.
        columns: all columns in the order of the file; duplicate names are kept.
    """

    rows: Sequence[tuple[int, Mapping[str, Any] | Unusable]]
    columns: tuple[str, ...]


def read(file: Path) -> Table:
    """Read a table from a file.

    Raises:
        ConfigError: the file is damaged, of an unknown format, or has no header.
    """
    try:
        raw = _bytes(file)
        if raw.startswith(b"PAR1"):
            return _parquet(raw)
        if raw.startswith(b"PK\x03\x04"):
            raise ConfigError(Problem("an Excel workbook or another zip archive; save the sheet as CSV"))
        text = _text(raw)
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        filled = [line.lstrip() for line in lines if line.strip()]
        if filled and filled[0].startswith("["):
            return _json(_array("\n".join(lines)))
        if any(line.startswith("{") for line in filled[:PEEK]):
            return _json(_json_lines(lines))
        if _NOT_UTF_8.search(text):  # an older Excel: µL in a header
            lines = [line.encode("utf-8", "surrogateescape").decode("cp1252", "replace") for line in lines]
        return _csv(lines)
    except ConfigError as error:
        raise ConfigError(*(Problem(p.message, p.path, str(file), p.line) for p in error.problems)) from error


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            source = gzip.GzipFile(fileobj=stream) if packed else stream
            raw = source.read(MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"its gzip data is damaged or cut off: {error}") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"larger than {MAX_BYTES >> 30} GB; split it")
    return raw


def _text(raw: bytes) -> str:
    for mark, code in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if raw.startswith(mark):
            return raw[2:].decode(code, "replace")
    for first, code in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a mark: every second byte of plain text is 0
        half = raw[first:200:2]
        if half and half.count(0) > len(half) // 2 and raw[1 - first : 200 : 2].count(0) == 0:
            return raw.decode(code, "replace")
    return raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


# JSON -------------------------------------------------------------------------------------------------------------
def _json(rows: Iterator[tuple[int, Any]]) -> Table:
    table: list[tuple[int, Mapping[str, Any] | Unusable]] = []
    columns: dict[str, None] = {}
    for number, cells in rows:
        if isinstance(cells, Mapping):
            columns |= dict.fromkeys(cells)
        elif not isinstance(cells, Unusable):
            cells = Unusable("not a JSON object", f"not a JSON object: {json.dumps(cells)[:40]}")
        table.append((number, cells))
    return Table(table, tuple(columns))


def _json_lines(lines: Sequence[str]) -> Iterator[tuple[int, Any]]:
    reader = jsonlines.Reader(lines)
    value: Any
    for number, line in enumerate(lines, 1):
        try:
            value = reader.read(allow_none=True)
        except jsonlines.InvalidLineError as error:
            value = Unusable("not JSON", _not_json(error.__cause__ or error))
        except RecursionError as error:
            value = Unusable("not JSON", _not_json(error))
        if line.strip():
            yield number, Unusable("not UTF-8") if _NOT_UTF_8.search(line) else value


def _not_json(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.colno}"
    return f"not JSON: {'nested too deeply' if isinstance(error, RecursionError) else error}"


def _array(text: str) -> Iterator[tuple[int, Any]]:
    """The items of a JSON array; an error in it makes the whole file unusable."""
    decoder, space = json.JSONDecoder(), re.compile(r"\s*")
    at, number, counted = text.index("[") + 1, 1, 0

    def skip(position: int) -> int:
        match = space.match(text, position)
        return match.end() if match else position

    at = skip(at)
    while not text.startswith("]", at):
        number, counted = number + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise ConfigError(Problem(_not_json(error), line=getattr(error, "lineno", number))) from error
        yield number, value
        at = skip(at)
        if text.startswith(",", at):
            at = skip(at + 1)
        elif not text.startswith("]", at):
            raise ConfigError(Problem("not JSON: the array is cut off or lacks a comma here", line=number))
    if text[at + 1 :].strip():
        raise ConfigError(
            Problem("not JSON: more text after the end of the array", line=1 + text.count("\n", 0, at + 1))
        )


# CSV --------------------------------------------------------------------------------------------------------------
def _csv(lines: Sequence[str]) -> Table:
    separator, comments, rows = "", [""], list(_whole(lines))
    while rows and (rows[0][1].startswith("#") or (len(rows) > 1 and not separator and _says_separator(rows[0][1]))):
        if rows[0][1].startswith("#"):
            comments.append(rows[0][1].lstrip("#"))
        else:
            separator = rows[0][1][4]
        del rows[0]
    if not rows:
        return Table((), ())
    number, first = rows[0]
    split = _splitter(separator or _separator(first))
    try:
        names = split(first)
    except Unusable as why:
        raise ConfigError(Problem(why.detail, line=number)) from why
    if all(_NUMBER.fullmatch(name) for name in names if name):
        above = _splitter(separator or _separator(comments[-1]))(comments[-1])
        if len(above) != len(names):
            message = "no header: the first line holds numbers only; put a line with the columns' names above it"
            raise ConfigError(Problem(message, line=number))
        names = above
    else:
        del rows[0]
    while names and not names[-1]:
        names.pop()
    cut = [(number, _fields(split, text, len(names))) for number, text in rows if not text.startswith("#")]
    value = _reader([cell for _, cells in cut if not isinstance(cells, Unusable) for cell in cells])
    parsed: list[tuple[int, Mapping[str, Any] | Unusable]] = []
    for number, cells in cut:
        if isinstance(cells, Unusable):
            parsed.append((number, cells))
        elif any(cells):
            parsed.append((number, {name: value(cell) for name, cell in zip(names, cells, strict=True) if name}))
    return Table(parsed, tuple(name for name in names if name))


def _whole(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Lines with their number, without blank ones; the lines of a quoted cell are joined."""
    at = 0
    while at < len(lines):
        end = at + 1
        if not lines[at].startswith("#") and _OPEN_QUOTE.search(_QUOTED.sub("", lines[at])):
            closing = range(end, min(at + MAX_QUOTE_LINES, len(lines)))
            # Where it is never closed, each is a line of its own.
            end = next((i + 1 for i in closing if lines[i].count('"') % 2), end)
        text = "\n".join(lines[at:end])
        if text.strip():
            yield at + 1, text
        at = end


def _says_separator(line: str) -> bool:
    return (len(line.strip()) == 5 and line.lower().startswith("sep=")) or line == "sep=\t"


def _separator(header: str) -> str:
    plain = _QUOTED.sub("", header)
    return next((sign for sign in "\t;|," if sign in plain), "")


def _splitter(separator: str) -> Callable[[str], list[str]]:
    def split(line: str) -> list[str]:
        if not separator:
            return line.split()
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
        except csv.Error as error:
            raise Unusable("not CSV", f"not CSV: {error}") from error

    return split


def _fields(split: Callable[[str], list[str]], line: str, width: int) -> list[str] | Unusable:
    try:
        cells = split(line)
    except Unusable as why:
        return why
    while len(cells) > width and not cells[-1]:
        cells.pop()
    if len(cells) != width and any(cells):
        reason = "cells than the header has names"
        return Unusable(
            f"{'more' if len(cells) > width else 'fewer'} {reason}",
            f"{len(cells)} cells, but {width} names in the header",
        )
    return cells


def _reader(cells: Sequence[str]) -> Callable[[str], Any]:
    """A function that converts a cell to None, a number or text, by the number format of these cells."""
    numbers = [cell for cell in cells if ("," in cell or "." in cell) and _NUMBER.fullmatch(cell)]
    commas = [cell for cell in numbers if "," in cell]
    comma = bool(commas) and len(commas) == len(numbers) and not all(map(_THOUSANDS.fullmatch, commas))

    def value(cell: str) -> Any:
        if cell.lower() in _NOTHING:
            return None
        if not _NUMBER.fullmatch(cell) or ("," in cell and not comma):
            return cell
        return float(cell.replace(",", ".")) if re.search("[.,eE]", cell) or len(cell) > 15 else int(cell)

    return value


# Parquet ----------------------------------------------------------------------------------------------------------
def _parquet(raw: bytes) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            f"a Parquet file is read with pyarrow, which the extra `sweep` of this package brings ({error})"
        ) from error
    try:
        table = pq.read_table(pa.BufferReader(raw))
        for i, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):  # nanoseconds are no datetime of Python's
                table = table.set_column(i, field.name, table[i].cast(pa.timestamp("us", field.type.tz), safe=False))
        rows = [
            (number, {name: float(cell) if isinstance(cell, Decimal) else cell for name, cell in cells.items()})
            for number, cells in enumerate(table.to_pylist(), 1)
        ]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(f"not a whole Parquet file: {' '.join(str(error).split())[:200]}") from error
    return Table(rows, tuple(table.column_names))
