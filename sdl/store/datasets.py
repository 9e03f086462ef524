"""Rows for a solver from existing readings: records of campaigns, logs, and tables such as CSV or Parquet files.

A Claude-Light log, as users of that instrument keep it, is one JSON object per line: `{"in": [R, G, B],
"out": {"445nm": …}, "time": unix}` (paper, section 5.2; also the server's results.jsonl, with `t0` for the time); `in`
may also map input names to values. A table has one column per input and channel, as `sdl export` writes it. A campaign
copies the rows of its priors to its own directory as a log, with `background`, `saturated` and `sitting` (the session),
and reads only that copy afterwards.

Rows with a time are sorted by it. Unusable lines are skipped and counted by reason; a file with more than a tenth of
them is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sdl.core.events import Attached, Measured, Opened
from sdl.core.trials import corrected, same_value
from sdl.errors import ConfigError, Damaged, Problem, RecordError
from sdl.store import plainfile, tables
from sdl.store.record import FILE, file_sha, read, write_file
from sdl.store.tables import Table, Unusable
from sdl.types import MOST_CHOICES, SESSION_GAP, Channel, Input, Reading, Settings, is_number

MAX_READING = 1e12  # largest absolute value of a reading; squares of larger ones lose precision
MAX_UNUSABLE = 0.1  # largest fraction of the lines of a file that may be unusable
# Fraction of an input's range by which a setting may exceed its bounds, from rounding to 32 bits.
BOUNDS_ROUNDING = 1e-6
# Factors between common scales: per cent, 8, 10, 12 and 16 bits, SI prefixes.
SCALES = (10, 100, 255, 1000, 1023, 4095, 65535, 1_000_000)
MAX_LINES_SHOWN = 5  # line numbers shown for each reason

# Columns that hold the time; the first one present counts.
TIME_COLUMNS = ("time", "t0", "at", "timestamp", "datetime", "utc_timestamp")
DUPLICATE = "the same reading again, with the same time"
ASKED_SUFFIX, BACKGROUND_SUFFIX = "_asked", "_background"
# Columns of `sdl export` besides inputs, channels and those that end in `_asked` or `_background`.
EXPORT_COLUMNS = ("trial", "repeat", "attempt", "by", "saturated", "fault", "elapsed", "at")
DAY_COLUMNS = ("time_local", "day", "date")  # columns that hold the day, for files without a time
_TIME_UNITS = {"ms": 1e-3, "min": 60.0, "h": 3600.0}
# A time from this value on is in milliseconds: as seconds it would be the year 5138, as milliseconds 1973.
_MILLISECONDS = 1e11
_UNIT = re.compile(r"(.*?)\s*(?:\(([^)]*)\)|\[([^\]]*)\]|\s/\s*(\S+))")


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One reading with its session, day (for cross-validation by days) and time (s since 1970; NaN: unknown)."""

    reading: Reading
    session: int
    day: str
    at: float = math.nan


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of one source.

    Attributes:
        source: name of the file or run, as given.
        sha256: hash of the file.
        rows: sorted by time; rows without a time keep their place in the file.
        lines: numbers of the unused lines, by reason.
        bad: the reasons that apply to lines that are not readings.
    """

    source: str
    sha256: str
    rows: tuple[DatasetRow, ...]
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()

    @property
    def left_out(self) -> dict[str, int]:
        return {reason: len(lines) for reason, lines in self.lines.items()}

    @property
    def omissions(self) -> tuple[str, ...]:
        """One sentence per reason for which lines were left out, with their numbers."""
        return tuple(map(self._describe, self.lines))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences about lines that are not readings at all."""
        return tuple(self._describe(reason) for reason in self.lines if reason in self.bad)

    def _describe(self, reason: str) -> str:
        lines = self.lines[reason]
        shown = ", ".join(map(str, lines[:MAX_LINES_SHOWN])) + ", …" * (len(lines) > MAX_LINES_SHOWN)
        return f"{len(lines)} left out: {reason} (line{'' if len(lines) == 1 else 's'} {shown})"


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Columns of inputs and channels that have other names in a file: name to column."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)


SAME_NAMES = ColumnNames()


def load(
    source: str | Path,
    inputs: Sequence[Input | str],
    channels: Sequence[Channel],
    required: Sequence[str],
    base: Path | None = None,
    *,
    columns: ColumnNames = SAME_NAMES,
    tolerated: float = MAX_UNUSABLE,
    session_gap: float | None = None,
    derive: Callable[[Reading], Reading] | None = None,
    derived: Collection[str] = (),
    held: Settings = MappingProxyType({}),
) -> Dataset:
    """Read a record (a run's directory or its record.jsonl), a log or a table.

    Args:
        source: path, relative to `base`.
        inputs: the inputs in the order of a log's `in`; names alone, for numeric inputs, if their bounds are unknown.
        channels: the channels of the instrument; others are ignored.
        required: channels without which a row is not used.
        base: directory that a relative path starts from; None is the working directory.
        columns: columns with other names in the file.
        tolerated: largest fraction of unusable lines.
        session_gap: seconds between two readings that begin a new session; None: as a record's instrument has it, else
            `SESSION_GAP`.
        derive: adds channels that are computed from the others, to each row.
        derived: their names; a file need not have them.
        held: values of inputs; rows at other values are not used.

    Raises:
        ConfigError: no such file, no column for an input, or too many unusable lines; with file and line.
        Damaged: a record was changed after it was written.
    """
    path = (base or Path()) / source
    file = path / FILE if path.is_dir() else path
    if file.exists() and not file.is_file():
        raise ConfigError(Problem("not a regular file", file=str(file)))  # a pipe would be waited for
    try:
        opened, sha = read_opened(file), file_sha(file)
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(file))) from error
    names = [item.name if isinstance(item, Input) else item for item in inputs]
    table = (
        tables.read(file) if opened is None else _record_table(file, opened, [columns.inputs.get(n, n) for n in names])
    )
    form = _parser(file, table, names, channels, [name for name in required if name not in derived], columns)
    known = [item for item in inputs if isinstance(item, Input)]
    bounds = {item.name: (item.low, item.high) for item in known if item.numeric}
    choices = {item.name: item.choices for item in known if item.choices}
    read_rows: list[_ReadRow] = []
    unusable: list[tuple[int, Unusable]] = []
    for number, cells in table.rows:
        try:
            read_rows.append(_read(number, cells, form, channels, bounds, choices))
        except Unusable as why:
            unusable.append((number, why))
    if len(unusable) > tolerated * len(table.rows):
        raise ConfigError(*_refusal(file, unusable, len(table.rows), _scale_hint(table, form, bounds)))
    lines: dict[str, list[int]] = {}
    for number, bad in unusable:
        lines.setdefault(bad.reason, []).append(number)
    rows: list[DatasetRow] = []
    seen: set[str] = set()
    gap = _recorded_gap(opened) if session_gap is None else session_gap
    for row, session in _sessions(read_rows, gap, by_day=opened is None):
        again = opened is None and row.key() in seen
        seen.add(row.key())
        reading = row.reading if derive is None else derive(row.reading)
        reason = DUPLICATE if again and row.at == row.at else _reason_unused(reading, required, held)
        if reason:
            lines.setdefault(reason, []).append(row.line)
        else:
            rows.append(DatasetRow(reading, session, row.day, row.at))
    by_reason = {reason: sorted(numbers) for reason, numbers in lines.items()}
    return Dataset(str(source), sha, tuple(rows), by_reason, frozenset(why.reason for _, why in unusable))


@dataclass(frozen=True, slots=True)
class FileColumns:
    """Inputs and channels that a file names itself.

    Attributes:
        columns: all columns.
        inputs: names of inputs; empty if the file has none.
        unnamed: number of inputs listed without names.
        channels: names of channels; empty if they cannot be distinguished from other columns.
        texts: for each column that holds only texts and could be an input with choices, its different texts, sorted.
    """

    columns: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    unnamed: int = 0
    channels: tuple[str, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def describe_columns(file: Path) -> FileColumns:
    """Inputs, channels and columns of a log or a table.

    Raises:
        ConfigError: it cannot be read.
    """
    table = tables.read(file)
    if _is_log(table):
        rows = [cells for _, cells in table.rows if not isinstance(cells, Unusable)]
        given = [cells.get("in") for cells in rows]
        named = dict.fromkeys(name for part in given if isinstance(part, Mapping) for name in part)
        channels = dict.fromkeys(name for cells in rows if isinstance(out := cells.get("out"), Mapping) for name in out)
        unnamed = max((len(part) for part in given if isinstance(part, list)), default=0)
        texts = _texts([part for part in given if isinstance(part, Mapping)], named)
        return FileColumns((*named, *channels), tuple(named), unnamed, tuple(channels), texts)
    inputs = tuple(name for name in table.columns if f"{name}{ASKED_SUFFIX}" in table.columns)
    own = (*inputs, *EXPORT_COLUMNS)
    rest = (n for n in table.columns if n not in own and not n.endswith((ASKED_SUFFIX, BACKGROUND_SUFFIX)))
    texts = _texts([cells for _, cells in table.rows if not isinstance(cells, Unusable)], table.columns)
    return FileColumns(table.columns, inputs, 0, tuple(rest) if inputs else (), texts)


def _texts(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The different texts of each column that holds only texts, where they are as many as an input has choices."""
    found = {}
    for name in columns:
        values = {
            value.strip() if isinstance(value, str) else value for row in rows if (value := row.get(name)) is not None
        }
        texts = sorted(value for value in values - {""} if isinstance(value, str))
        if len(texts) == len(values - {""}) and 2 <= len(texts) <= MOST_CHOICES:
            found[name] = tuple(texts)
    return found


def find_column(name: str, columns: Sequence[str]) -> str | None:
    """The column called `name`, ignoring its unit (`red (uL)`) and then letter case if there is no exact match.

    Raises:
        ConfigError: several columns match.
    """
    keys: tuple[Callable[[str], str], ...] = (str, _bare_name, lambda text: _bare_name(text).lower())
    for key in keys:
        matches = [each for each in columns if key(each) == key(name)]
        if len(matches) > 1:
            raise ConfigError(f"{name} is the name of {len(matches)} columns: {', '.join(matches)}; rename all but one")
        if matches:
            return matches[0]
    return None


def save(path: Path, sources: Iterable[Dataset]) -> str:
    """Write the rows of all sources, one source after the other as `number_sessions` orders them, as a prior.

    Returns:
        Hash of the file.
    """
    lines = []
    for source, row, session in number_sessions(sources):
        reading = row.reading
        line = {"in": dict(reading.applied), "out": dict(reading.readings), "sitting": session}
        line |= {"day": row.day, "source": source.source}
        if reading.background is not None:
            line["background"] = dict(reading.background)
        if reading.saturated:
            line["saturated"] = list(reading.saturated)
        lines.append(json.dumps(line, allow_nan=False) + "\n")
    write_file(path, "".join(lines))
    return file_sha(path)


def number_sessions(sources: Iterable[Dataset]) -> Iterable[tuple[Dataset, DatasetRow, int]]:
    """The rows of all sources with their sessions, renumbered so that no two sources share one.

    The source with the newest row comes last, because solvers take the last rows for the newest; sources stay in the
    order given where one of them has no times.
    """
    newest = [(source.rows[-1].at if source.rows else -math.inf, source) for source in sources]
    if not any(math.isnan(at) for at, _ in newest):
        newest.sort(key=lambda pair: pair[0])
    sources, offset = [source for _, source in newest], 0
    for source in sources:
        for row in source.rows:
            yield source, row, row.session + offset
        offset += 1 + max((row.session for row in source.rows), default=0)


def claude_light_line(event: Measured, inputs: Sequence[str]) -> dict[str, Any]:
    """One reading as a line of a Claude-Light log; inputs other than R, G, B are given by name."""
    applied = {name: event.applied[name] for name in inputs}
    settings = [*applied.values()] if [*inputs] == ["R", "G", "B"] else applied
    return {"in": settings, "out": dict(event.readings), "time": event.at}


def recorded_instrument(opened: Opened, file: Path) -> tuple[tuple[Input, ...], tuple[Channel, ...]]:
    """The inputs and channels of the instrument of a record.

    Raises:
        Damaged: they are invalid, although the hash of the line is right.
    """
    try:
        inputs, channels = opened.instrument["inputs"], opened.instrument["channels"]
        return tuple(map(Input.model_validate, inputs)), tuple(map(Channel.model_validate, channels))
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(str(file), 1, f"no instrument has these inputs and channels: {one_line(error)}") from error


def _recorded_gap(opened: Opened | None) -> float:
    """Session gap of a record's instrument in seconds; the default without a record or option."""
    instrument = opened.config.get("instrument") if opened else None
    gap = instrument.get("session_gap") if isinstance(instrument, Mapping) else None
    return float(gap) if isinstance(gap, (int, float)) else SESSION_GAP


def read_opened(file: Path) -> Opened | None:
    """The first event of a record; None if the file is not a record.

    Raises:
        OSError: it cannot be read.
        Damaged: it was changed after it was written.
    """
    with plainfile.open_existing(file, follow=True) as stream:
        if not stream.readline(1 << 16).startswith(b'{"event": "Opened"'):
            return None
    first = next(iter(read(file)), None)
    return first if isinstance(first, Opened) else None


def one_line(error: Exception) -> str:
    """The message of an error on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]


def _reason_unused(reading: Reading, required: Sequence[str], held: Settings) -> str:
    if missing := [name for name in required if name not in reading.readings]:
        return f"without {', '.join(missing)}"
    if other := [name for name, value in held.items() if not same_value(reading.applied[name], value)]:
        return f"at another {', '.join(other)} than this campaign"
    return "saturated in a channel of the goal" if any(name in reading.saturated for name in required) else ""


def _refusal(file: Path, unusable: Sequence[tuple[int, Unusable]], total: int, hint: str) -> list[Problem]:
    first = [Problem(why.detail, file=str(file), line=number) for number, why in unusable[:MAX_LINES_SHOWN]]
    message = f"{len(unusable)} of {total} lines cannot be used; at most a tenth may be left out{hint}"
    return [*first, Problem(message, file=str(file))]


def _scale_hint(table: Table, form: _Parser, bounds: Mapping[str, tuple[float, float]]) -> str:
    """Name the common factor that would bring all settings inside their bounds; empty if there is none."""
    values: list[tuple[float, float, float]] = []
    for _, cells in table.rows:
        with contextlib.suppress(Unusable):
            settings = {name: value for name, value in form(cells).settings.items() if name in bounds}
            values += [(value, *bounds[name]) for name, value in _numbers(settings).items()]
    if all(in_bounds(*value) for value in values):
        return ""
    for way, scale in itertools.product(("divided", "multiplied"), SCALES):
        factor = 1 / scale if way == "divided" else scale
        if all(in_bounds(number * factor, low, high) for number, low, high in values):
            return f"; the settings are of another scale than the instrument's: {way} by {scale} all would fit"
    return ""


def in_bounds(number: float, low: float, high: float) -> bool:
    """Whether a setting lies within its bounds, but for rounding."""
    slack = BOUNDS_ROUNDING * (high - low)
    return low - slack <= number <= high + slack


# From a line to a reading -----------------------------------------------------------------------------------------
class _Cells(NamedTuple):
    """The cells of a line by input and channel, not yet validated."""

    settings: Mapping[str, Any]
    readings: Mapping[str, Any]
    background: Any
    saturated: Sequence[str]
    fault: Any
    time: Any
    day: Any
    session: Any = None


_Parser = Callable[[Mapping[str, Any] | Unusable], _Cells]


@dataclass(frozen=True, slots=True)
class _ReadRow:
    """A reading with its line number.

    Attributes:
        at: seconds since 1970 UTC; NaN without a time.
        local: seconds since 1970 in an unknown time zone, from a day with a time of day; NaN without one.
    """

    line: int
    reading: Reading
    at: float
    day: str
    session: int | None
    local: float = math.nan

    def key(self) -> str:
        """A text that is equal for readings with equal values and times."""
        return f"{self.at!r} {self.reading!r}"


def _record_table(file: Path, opened: Opened, names: Sequence[str]) -> Table:
    recorded = [item.name for item in recorded_instrument(opened, file)[0]]
    if sorted(recorded) != sorted(names):
        message = f"has the inputs {', '.join(recorded)}; {', '.join(names)} are needed"
        raise ConfigError(Problem(message, file=str(file), line=1))
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, event in corrected(enumerate(read(file), 1)):
        if isinstance(event, (Measured, Attached)):
            try:
                datetime.fromtimestamp(event.at, UTC)
            except (ValueError, OverflowError, OSError) as error:
                raise RecordError(f"{file}: a reading {event.at:g} s after 1970, which is not a valid date") from error
            cells = {"in": event.applied, "out": event.readings, "time": event.at, "saturated": event.saturated}
            if isinstance(event, Measured):
                cells |= {"background": event.background, "fault": event.fault}
            rows.append((number, cells))
    return Table(rows, ())


def _is_log(table: Table) -> bool:
    """Whether the lines group settings and readings under `in` and `out`, instead of one column each."""
    return any(
        isinstance(cells, Mapping)
        and (isinstance(cells.get("in"), (list, Mapping)) or isinstance(cells.get("out"), Mapping))
        for _, cells in table.rows
    )


def _parser(
    file: Path,
    table: Table,
    names: Sequence[str],
    channels: Sequence[Channel],
    required: Sequence[str],
    columns: ColumnNames,
) -> _Parser:
    """The function that parses the lines of a file.

    Raises:
        ConfigError: a needed column is missing from a table.
    """
    if _is_log(table) or not table.columns:
        return lambda cells: _parse_log(cells, names, [channel.name for channel in channels], columns)
    try:
        inputs = _match_columns(names, names, columns.inputs, table.columns, ())
        needed = {*required, *columns.channels}
        outputs = _match_columns([c.name for c in channels], needed, columns.channels, table.columns, inputs.values())
        rest = [name for name in table.columns if name not in (*inputs.values(), *outputs.values())]
        dark = {
            name: background
            for name, place in outputs.items()
            if (background := find_column(f"{_bare_name(place)}{BACKGROUND_SUFFIX}", rest))
        }
        extra = {name: find_column(name, rest) for name in ("saturated", "fault", *TIME_COLUMNS, *DAY_COLUMNS)}
    except ConfigError as error:
        raise ConfigError(*(Problem(p.message, file=str(file)) for p in error.problems)) from error
    when = next((place for name in TIME_COLUMNS if (place := extra[name])), "")
    day = next((place for name in DAY_COLUMNS if (place := extra[name])), "")
    unit = _TIME_UNITS.get(_split_unit(when)[1])

    def of_table(cells: Mapping[str, Any] | Unusable) -> _Cells:
        if isinstance(cells, Unusable):
            raise cells
        full = f" {cells.get(extra['saturated'] or '') or ''} "
        time = cells.get(when)
        return _Cells(
            {name: cells.get(place) for name, place in inputs.items()},
            {name: cells.get(place) for name, place in outputs.items()},
            {name: cells.get(place) for name, place in dark.items()},
            [name for name, place in outputs.items() if f" {place} " in full],
            cells.get(extra["fault"] or ""),
            time * unit if unit and isinstance(time, (int, float)) else time,
            cells.get(day),
        )

    return of_table


def _match_columns(
    names: Sequence[str],
    needed: Iterable[str],
    given: Mapping[str, str],
    columns: Sequence[str],
    taken: Iterable[str],
) -> dict[str, str]:
    """The column of each name; explicitly given names are matched first, and columns in `taken` are excluded."""
    matches: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name not in given):
        place = find_column(
            given.get(name, name), [each for each in columns if each not in (*taken, *matches.values())]
        )
        if place is not None:
            matches[name] = place
        elif name in needed:
            raise ConfigError(f"no column {given.get(name, name)}; it has {', '.join(columns)}")
    return matches


def _parse_log(
    cells: Mapping[str, Any] | Unusable, names: Sequence[str], channels: Sequence[str], columns: ColumnNames
) -> _Cells:
    if isinstance(cells, Unusable):
        raise cells
    given, out, full = cells.get("in"), cells.get("out"), cells.get("saturated") or ()
    if "error" in cells and (given is None or out is None):
        reason = "an error instead of a reading"
        raise Unusable(reason, f"{reason}: {str(cells['error'])[:80]}")
    if not isinstance(given, (list, Mapping)):
        raise Unusable("no settings", "no settings: `in` must be a list or a mapping")
    if not isinstance(out, Mapping):
        raise Unusable("no readings", "no readings: `out` must be a mapping of channel to value")
    if isinstance(full, str) or not isinstance(full, Sequence):
        raise Unusable("`saturated` is no list", f"`saturated` must be a list of channels, not {str(full)[:40]}")
    if not isinstance(given, list):
        given = [given.get(columns.inputs.get(name, name)) for name in names]
    if len(given) != len(names):
        reason = "another number of inputs"
        raise Unusable(reason, f"{reason}: `in` has {len(given)} values; the inputs are {', '.join(names)}")
    places = {name: columns.channels.get(name, name) for name in channels}
    base = cells.get("background")
    if isinstance(base, Mapping):
        base = {name: base.get(place) for name, place in places.items()}
    return _Cells(
        dict(zip(names, given, strict=True)),
        {name: out.get(place) for name, place in places.items()},
        base,
        [name for name, place in places.items() if place in full],
        cells.get("fault"),
        next((cells[name] for name in TIME_COLUMNS if name in cells), None),
        cells.get("day", cells.get("time_local")),
        cells.get("sitting"),
    )


def _read(
    number: int,
    cells: Mapping[str, Any] | Unusable,
    form: _Parser,
    channels: Sequence[Channel],
    bounds: Mapping[str, tuple[float, float]],
    choices: Mapping[str, Sequence[str]],
) -> _ReadRow:
    """Parse and validate one line.

    Raises:
        Unusable: the line is not a reading.
    """
    line = form(cells)
    numbers = _numbers({name: value for name, value in line.settings.items() if name not in choices})
    texts = {name: _choice(name, line.settings[name], allowed) for name, allowed in choices.items()}
    values = _numbers(line.readings)
    if missing := [name for name in line.settings if name not in numbers and not texts.get(name)]:
        raise Unusable(f"no value of {', '.join(missing)}")
    for name, (low, high) in bounds.items():
        if not in_bounds(numbers[name], low, high):
            reason = f"outside its bounds, {low:g} … {high:g}"
            raise Unusable(f"{name} {reason}", f"{name} is {numbers[name]:g}, {reason}")
        numbers[name] = min(max(numbers[name], low), high)
    settings: Settings = {name: texts[name] if name in texts else numbers[name] for name in line.settings}
    if line.background and not isinstance(line.background, Mapping):
        raise Unusable("`background` is no mapping", "`background` must be a mapping of channel to value")
    background = (_numbers(line.background) or None) if line.background else None
    session = line.session
    if session is not None and not (isinstance(session, int) and 0 <= session < 2**53):
        raise Unusable(
            "`sitting` is no whole number", f"`sitting` must be a whole number from 0 on, not {session!r:.40}"
        )
    at, day = _parse_time(line.time, line.day)
    for channel in channels:
        value = values.get(channel.name, math.nan)
        if channel.low is not None and value < channel.low and not math.isclose(value, channel.low, rel_tol=1e-9):
            reason = f"below its range, which begins at {channel.low:g}"
            raise Unusable(f"{channel.name} {reason}", f"{channel.name} is {value:g}, {reason}")
    full = {c.name for c in channels if c.high is not None and values.get(c.name, 0) >= c.high}
    saturated = tuple(name for name in values if name in full or name in line.saturated)
    reading = Reading(settings, values, background, saturated, str(line.fault) if line.fault else None)
    return _ReadRow(number, reading, at, day, session, _local_time(line.day))


def _choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """The choice in a cell, also one that a table holds as a number; empty for an empty cell.

    Raises:
        Unusable: it is none of the input's choices.
    """
    if value is None or value != value:
        return ""
    text = value.strip() if isinstance(value, str) else f"{value:g}" if isinstance(value, (int, float)) else str(value)
    if text and text not in choices:
        reason = f"none of its choices, {', '.join(choices)}"
        raise Unusable(f"{name} is {reason}", f"{name} is {text[:40]!r}, {reason}")
    return text


def _numbers(cells: Mapping[str, Any]) -> dict[str, float]:
    """The cells that have a value; NaN counts as missing.

    Raises:
        Unusable: a value is not a number, or larger than any sensor reads.
    """
    numbers: dict[str, float] = {}
    for name, value in cells.items():
        if value is None or value != value:
            continue
        if not is_number(value) or not abs(value) <= MAX_READING:
            detail = f"{name} is {str(value)[:40]!r}, not a number between -{MAX_READING:g} and {MAX_READING:g}"
            raise Unusable(f"{name} is not a number", detail)
        numbers[name] = value
    return numbers


def _parse_time(time: Any, day: Any) -> tuple[float, str]:
    """Seconds since 1970 (NaN without a time), and the day.

    Raises:
        Unusable: a time that cannot be read.
    """
    day_text = day.strip()[:10] if isinstance(day, str) else ""
    if time is None or time != time or time == "":
        return math.nan, day_text
    try:
        if _is_day(time):  # it orders nothing within the day
            return math.nan, datetime.fromisoformat(time.strip()).date().isoformat()
        if isinstance(time, (str, datetime)):
            at = _timestamp(time)
        else:
            at = float(time) / (1000 if abs(time) >= _MILLISECONDS else 1)
        return at, day_text or datetime.fromtimestamp(at, UTC).date().isoformat()
    except (ValueError, TypeError, OverflowError, OSError) as error:
        reason = "a time that cannot be read"
        detail = f"{reason}, {str(time)[:40]!r}: write 2025-10-28 17:06:07, seconds or milliseconds since 1970"
        raise Unusable(reason, detail) from error


def _local_time(day: Any) -> float:
    """Seconds since 1970 of `2025-07-29 16:29`, its time zone unknown and taken as UTC; NaN of a day alone."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if isinstance(day, str) and not _is_day(day):
            return _timestamp(day)
    return math.nan


def _is_day(time: Any) -> bool:
    return isinstance(time, str) and len(time.strip()) <= len("2025-10-28")


def _timestamp(time: str | datetime) -> float:
    """Seconds since 1970; a time without a zone is taken as UTC."""
    moment = datetime.fromisoformat(time.strip()) if isinstance(time, str) else time
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _sessions(read_rows: Sequence[_ReadRow], session_gap: float, *, by_day: bool) -> Iterable[tuple[_ReadRow, int]]:
    """The readings sorted by time, each with its session.

    A reading without a time is placed at its local time, one with a day alone at the start of that day, any other
    after the line before it.
    """
    stamps = [row.local if math.isnan(row.at) else row.at for row in read_rows]
    times, last = [], -math.inf
    for row, stamp in zip(read_rows, stamps, strict=True):
        with contextlib.suppress(ValueError):
            last = _timestamp(row.day) if math.isnan(stamp) else stamp
        times.append(last)
    session, before = 0, None
    for i in sorted(range(len(read_rows)), key=times.__getitem__):
        row = read_rows[i]
        if row.session is not None:
            session = row.session
        elif before is not None:
            other_day = by_day and row.day != read_rows[before].day
            session += other_day or abs(stamps[i] - stamps[before]) > session_gap
        before = i
        yield row, session


def _bare_name(column: str) -> str:
    return _split_unit(column)[0]


def _split_unit(name: str) -> tuple[str, str]:
    """Split a column name into name and unit: `red (uL)`, `red [uL]`, `red / uL`."""
    match = _UNIT.fullmatch(name.strip())
    return (match[1], match[2] or match[3] or match[4] or "") if match and match[1] else (name.strip(), "")
