"""Readings that are already there, as rows for a solver: our records, logs, and tables such as CSV or Parquet files.

A Claude-Light log is what the instrument's own users keep, one JSON object a line: `{"in": [R, G, B],
"out": {"445nm": …}, "time": unix}` (paper, section 5.2; also the server's own results.jsonl, whose time is `t0`); `in`
may also give each input by its name. A table has a column for each input and channel, as `sdl export` writes it. A
campaign copies the rows of its priors into its own directory in the log's form, with `background`, `saturated` and
`sitting` beside them, and reads nothing but that copy afterwards.

Rows are sorted by time, where they have one. Lines that cannot be used are left out one by one and counted by reason; a
file in which they are more than a tenth is refused.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sdl.core.events import Measured, Opened
from sdl.errors import ConfigError, Damaged, Problem, RecordError
from sdl.store import tables
from sdl.store.record import FILE, file_sha, read, write_file
from sdl.store.tables import Table, Unusable
from sdl.types import SESSION_GAP, Channel, Input, Reading

MOST = 1e12
"""No sensor counts as far; beyond it squares lose their meaning."""
TOLERATED = 0.1
"""Part of a file's lines that may be left out because they cannot be used."""
ROUNDING = 1e-6
"""Part of an input's range by which a setting may lie outside its bounds: a float of 32 bits is as far off."""
SCALES = (10, 100, 255, 1000, 1023, 4095, 65535, 1_000_000)
"""Factors between scales that people use: per cent, 8, 10, 12 and 16 bits, SI prefixes."""
SHOWN = 5
"""Lines that are named of those left out for one reason."""

TIMES = ("time", "t0", "at", "timestamp", "datetime", "utc_timestamp")
"""Columns that say when; the first that is there."""
AGAIN = "the same reading again, with the same time"
ASKED, DARK = "_asked", "_background"
EXPORTED = ("trial", "repeat", "attempt", "by", "saturated", "fault", "elapsed", "at")
"""Columns of `sdl export` that are neither inputs nor channels; those that end in `_asked` and `_background` beside."""
DAYS = ("time_local", "day", "date")
"""Columns that say the day, where none says when."""
_TIME_UNITS = {"ms": 1e-3, "min": 60.0, "h": 3600.0}
_MILLISECONDS = 1e11
"""Seconds after 1970 from which on milliseconds are meant: the year 5138, or 1973."""
_UNIT = re.compile(r"(.*?)\s*(?:\(([^)]*)\)|\[([^\]]*)\]|\s/\s*(\S+))")


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One reading with where it belongs: `sitting` (readings taken together) and `day` (for leaving days out)."""

    reading: Reading
    sitting: int
    day: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of one source.

    Attributes:
        source: as it was named.
        sha256: of the file.
        rows: by time; those without one where they stand in the file.
        lines: the lines that were not used, by reason.
        bad: those of the reasons that make a line no reading at all.
    """

    source: str
    sha256: str
    rows: tuple[DatasetRow, ...]
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()

    @property
    def left_out(self) -> dict[str, int]:
        """How many lines were not used, by reason."""
        return {reason: len(lines) for reason, lines in self.lines.items()}

    @property
    def said(self) -> tuple[str, ...]:
        """What was left out, each reason with its lines in words."""
        return tuple(map(self._said, self.lines))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out because it is no reading, likewise."""
        return tuple(self._said(reason) for reason in self.lines if reason in self.bad)

    def _said(self, reason: str) -> str:
        lines = self.lines[reason]
        shown = ", ".join(map(str, lines[:SHOWN])) + (", …" if len(lines) > SHOWN else "")
        return f"{len(lines)} left out: {reason} (line{'' if len(lines) == 1 else 's'} {shown})"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of inputs and channels whose names in a file are others: name to column."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, str] = field(default_factory=dict)


NO_COLUMNS = Columns()


def load(
    source: str | Path,
    inputs: Sequence[Input] | Sequence[str],
    channels: Sequence[Channel],
    wanted: Sequence[str],
    base: Path | None = None,
    *,
    columns: Columns = NO_COLUMNS,
    tolerated: float = TOLERATED,
    session_gap: float = SESSION_GAP,
) -> Dataset:
    """Reads a record (a run's directory or its record.jsonl), a log or a table.

    Args:
        source: path, relative to `base`.
        inputs: in the order of a log's `in`; names alone where their bounds are not known.
        channels: what the instrument measures; others are ignored.
        wanted: channels that a row must have to be used.
        base: directory that a relative path starts from; None is the present one.
        columns: where the file calls them otherwise.
        tolerated: part of the lines that may be unusable.
        session_gap: seconds between two readings that begin a new session.

    Raises:
        ConfigError: no such file, no column for an input, or too many lines that cannot be used; with file and line.
        Damaged: a record that is not as it was written.
    """
    path = (base or Path()) / source
    file = path / FILE if path.is_dir() else path
    if file.exists() and not file.is_file():
        raise ConfigError(Problem("not a regular file", file=str(file)))  # a pipe would be waited for
    try:
        opened, sha = opened_of(file), file_sha(file)
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(file))) from error
    names = [item.name if isinstance(item, Input) else item for item in inputs]
    table = tables.read(file) if opened is None else _record(file, opened, [columns.inputs.get(n, n) for n in names])
    form = _form(file, table, names, channels, wanted, columns)
    bounds = {item.name: (item.low, item.high) for item in inputs if isinstance(item, Input)}
    found: list[_Found] = []
    unusable: list[tuple[int, Unusable]] = []
    for number, cells in table.rows:
        try:
            found.append(_read(number, cells, form, channels, bounds))
        except Unusable as why:
            unusable.append((number, why))
    if len(unusable) > tolerated * len(table.rows):
        raise ConfigError(*_refused(file, unusable, len(table.rows), _scale(table, form, bounds)))
    lines: dict[str, list[int]] = {}
    for number, bad in unusable:
        lines.setdefault(bad.reason, []).append(number)
    rows: list[DatasetRow] = []
    seen: set[str] = set()
    for one, sitting in _sittings(found, session_gap, by_day=opened is None):
        again = opened is None and one.key() in seen
        seen.add(one.key())
        reason = AGAIN if again and one.at == one.at else _not_wanted(one.reading, wanted)
        if reason:
            lines.setdefault(reason, []).append(one.line)
        else:
            rows.append(DatasetRow(one.reading, sitting, one.day))
    by_reason = {reason: sorted(numbers) for reason, numbers in lines.items()}
    return Dataset(str(source), sha, tuple(rows), by_reason, frozenset(why.reason for _, why in unusable))


@dataclass(frozen=True, slots=True)
class Offered:
    """What a file says of its inputs and channels by itself.

    Attributes:
        columns: every column.
        inputs: by name, where it names them; empty where it does not.
        unnamed: how many it lists without a name.
        channels: by name; empty where they cannot be told from other columns.
    """

    columns: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    unnamed: int = 0
    channels: tuple[str, ...] = ()


def offered(file: Path) -> Offered:
    """Looks at a log or a table.

    Raises:
        ConfigError: it cannot be read.
    """
    table = tables.read(file)
    if _is_log(table):
        rows = [cells for _, cells in table.rows if not isinstance(cells, Unusable)]
        given = [cells.get("in") for cells in rows]
        named = dict.fromkeys(name for part in given if isinstance(part, Mapping) for name in part)
        outs = [cells["out"] for cells in rows if isinstance(cells.get("out"), Mapping)]
        channels = dict.fromkeys(name for part in outs for name in part)
        unnamed = max((len(part) for part in given if isinstance(part, list)), default=0)
        return Offered((*named, *channels), tuple(named), unnamed, tuple(channels))
    inputs = [name for name in table.columns if f"{name}{ASKED}" in table.columns]
    rest = [name for name in table.columns if name not in (*inputs, *EXPORTED) and not name.endswith((ASKED, DARK))]
    return Offered(table.columns, tuple(inputs), 0, tuple(rest) if inputs else ())


def column(name: str, columns: Sequence[str]) -> str | None:
    """The column that `name` means: of that name, else so without its unit, `red (uL)`, else in other letter case.

    Raises:
        ConfigError: there are several.
    """
    keys: tuple[Callable[[str], str], ...] = (str, lambda text: _bare(text)[0], lambda text: _bare(text)[0].lower())
    for key in keys:
        found = [each for each in columns if key(each) == key(name)]
        if len(found) > 1:
            raise ConfigError(f"{name} is the name of {len(found)} columns: {', '.join(found)}; rename all but one")
        if found:
            return found[0]
    return None


def save(path: Path, sources: Iterable[Dataset]) -> str:
    """Writes the rows of all sources, one after the other, as a campaign's own prior.

    Returns:
        Hash of the file.
    """
    lines = []
    for source, row, sitting in numbered(sources):
        reading = row.reading
        line = {"in": dict(reading.applied), "out": dict(reading.readings), "sitting": sitting}
        line |= {"day": row.day, "source": source.source}
        if reading.background is not None:
            line["background"] = dict(reading.background)
        if reading.saturated:
            line["saturated"] = list(reading.saturated)
        lines.append(json.dumps(line, allow_nan=False) + "\n")
    write_file(path, "".join(lines))
    return file_sha(path)


def numbered(sources: Iterable[Dataset]) -> Iterable[tuple[Dataset, DatasetRow, int]]:
    """The rows of all sources, one after the other, each with a sitting that no other source shares."""
    offset = 0
    for source in sources:
        for row in source.rows:
            yield source, row, row.sitting + offset
        offset += 1 + max((row.sitting for row in source.rows), default=0)


def claude_light_line(event: Measured, inputs: Sequence[str]) -> dict[str, Any]:
    """One reading in the form of the paper's own log; inputs that are not the paper's by name, in no order to guess."""
    applied = {name: event.applied[name] for name in inputs}
    settings = [*applied.values()] if [*inputs] == ["R", "G", "B"] else applied
    return {"in": settings, "out": dict(event.readings), "time": event.at}


def instrument_of(opened: Opened, file: Path) -> tuple[tuple[Input, ...], tuple[Channel, ...]]:
    """The inputs and channels that the instrument of a record had.

    Raises:
        Damaged: none that an instrument can have; its hash fits, but no campaign wrote it.
    """
    try:
        inputs, channels = opened.instrument["inputs"], opened.instrument["channels"]
        return tuple(map(Input.model_validate, inputs)), tuple(map(Channel.model_validate, channels))
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(str(file), 1, f"no instrument has these inputs and channels: {one_line(error)}") from error


def opened_of(file: Path) -> Opened | None:
    """The first event where the file is a record.

    Raises:
        OSError: it cannot be read.
        Damaged: it is not as it was written.
    """
    with file.open("rb") as stream:
        if not stream.readline(1 << 16).startswith(b'{"event": "Opened"'):
            return None
    first = next(iter(read(file)), None)
    return first if isinstance(first, Opened) else None


def one_line(error: Exception) -> str:
    """What an error says, in a line that is not too long."""
    return " ".join(str(error).split())[:300]


def _not_wanted(reading: Reading, wanted: Sequence[str]) -> str:
    missing = [name for name in wanted if name not in reading.readings]
    if missing:
        return f"without {', '.join(missing)}"
    if any(name in reading.saturated for name in wanted):
        return "saturated in a channel of the goal"
    return ""


def _refused(file: Path, unusable: Sequence[tuple[int, Unusable]], total: int, hint: str) -> list[Problem]:
    first = [Problem(why.detail, file=str(file), line=number) for number, why in unusable[:SHOWN]]
    said = f"{len(unusable)} of {total} lines cannot be used; at most a tenth may be left out{hint}"
    return [*first, Problem(said, file=str(file))]


def _scale(table: Table, form: _Form, bounds: Mapping[str, tuple[float, float]]) -> str:
    """The factor that would bring all settings inside their bounds, in words; empty where no usual one does."""
    found: list[dict[str, float]] = []
    for _, cells in table.rows:
        with contextlib.suppress(Unusable):
            found.append(_numbers(form(cells).settings))
    values = [(number, *bounds[name]) for row in found for name, number in row.items() if name in bounds]
    if all(_inside(*value) for value in values):
        return ""
    for way in ("divided", "multiplied"):
        for scale in SCALES:
            factor = 1 / scale if way == "divided" else scale
            if all(_inside(number * factor, low, high) for number, low, high in values):
                return f"; the settings are of another scale than the instrument's: {way} by {scale} all would fit"
    return ""


def _inside(number: float, low: float, high: float) -> bool:
    slack = ROUNDING * (high - low)
    return low - slack <= number <= high + slack


# From a line to a reading -----------------------------------------------------------------------------------------
class _Cells(NamedTuple):
    """What a line says, by the names of inputs and channels, not yet looked at."""

    settings: Mapping[str, Any]
    readings: Mapping[str, Any]
    background: Any
    saturated: Sequence[str]
    fault: Any
    time: Any
    day: Any
    sitting: Any = None


_Form = Callable[[Mapping[str, Any] | Unusable], _Cells]


@dataclass(frozen=True, slots=True)
class _Found:
    """A reading on its line; `at` is NaN where it has no time."""

    line: int
    reading: Reading
    at: float
    day: str
    sitting: int | None

    def key(self) -> str:
        """Equal for readings that are equal in every value and in time."""
        return f"{self.at!r} {self.reading!r}"


def _record(file: Path, opened: Opened, names: Sequence[str]) -> Table:
    have = [item.name for item in instrument_of(opened, file)[0]]
    if sorted(have) != sorted(names):
        said = f"has the inputs {', '.join(have)}; {', '.join(names)} are needed"
        raise ConfigError(Problem(said, file=str(file), line=1))
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, event in enumerate(read(file), 1):
        if isinstance(event, Measured):
            try:
                datetime.fromtimestamp(event.at, UTC)
            except (ValueError, OverflowError, OSError) as error:
                raise RecordError(f"{file}: a reading {event.at:g} s after 1970, which is no day") from error
            cells = {"in": event.applied, "out": event.readings, "background": event.background, "time": event.at}
            rows.append((number, cells | {"saturated": event.saturated, "fault": event.fault}))
    return Table(rows, ())


def _is_log(table: Table) -> bool:
    """Whether settings and readings are parts of their own, `in` and `out`, in its lines; else each has a column."""
    return any(
        isinstance(cells, Mapping)
        and (isinstance(cells.get("in"), (list, Mapping)) or isinstance(cells.get("out"), Mapping))
        for _, cells in table.rows
    )


def _form(
    file: Path,
    table: Table,
    names: Sequence[str],
    channels: Sequence[Channel],
    wanted: Sequence[str],
    columns: Columns,
) -> _Form:
    """How the lines of a file are taken apart.

    Raises:
        ConfigError: a table without a column that is needed.
    """
    if _is_log(table) or not table.columns:
        return lambda cells: _of_log(cells, names, [channel.name for channel in channels], columns)
    try:
        inputs = _placed(names, names, columns.inputs, table.columns, ())
        needed = {*wanted, *columns.channels}
        outputs = _placed([c.name for c in channels], needed, columns.channels, table.columns, inputs.values())
        rest = [name for name in table.columns if name not in (*inputs.values(), *outputs.values())]
        dark = {name: found for name, place in outputs.items() if (found := column(f"{_bare(place)[0]}{DARK}", rest))}
        extra = {name: column(name, rest) for name in ("saturated", "fault", *TIMES, *DAYS)}
    except ConfigError as error:
        raise ConfigError(*(Problem(p.message, file=str(file)) for p in error.problems)) from error
    when = next((place for name in TIMES if (place := extra[name])), "")
    day = next((place for name in DAYS if (place := extra[name])), "")
    unit = _TIME_UNITS.get(_bare(when)[1])

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


def _placed(
    names: Sequence[str],
    needed: Iterable[str],
    given: Mapping[str, str],
    columns: Sequence[str],
    taken: Iterable[str],
) -> dict[str, str]:
    """The column of each name, those given first; none of the columns taken already."""
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name not in given):
        place = column(given.get(name, name), [each for each in columns if each not in (*taken, *found.values())])
        if place is not None:
            found[name] = place
        elif name in needed:
            raise ConfigError(f"no column {given.get(name, name)}; it has {', '.join(columns)}")
    return found


def _of_log(
    cells: Mapping[str, Any] | Unusable, names: Sequence[str], channels: Sequence[str], columns: Columns
) -> _Cells:
    if isinstance(cells, Unusable):
        raise cells
    given, out, full = cells.get("in"), cells.get("out"), cells.get("saturated") or ()
    if "error" in cells and (given is None or out is None):
        said = "an error instead of a reading"
        raise Unusable(said, f"{said}: {str(cells['error'])[:80]}")
    if not isinstance(given, (list, Mapping)):
        raise Unusable("no settings", "no settings: `in` must be a list or a mapping")
    if not isinstance(out, Mapping):
        raise Unusable("no readings", "no readings: `out` must be a mapping of channel to value")
    if isinstance(full, str) or not isinstance(full, Sequence):
        raise Unusable("`saturated` is no list", f"`saturated` must be a list of channels, not {str(full)[:40]}")
    if not isinstance(given, list):
        given = [given.get(columns.inputs.get(name, name)) for name in names]
    if len(given) != len(names):
        said = "another number of inputs"
        raise Unusable(said, f"{said}: `in` has {len(given)} values; the inputs are {', '.join(names)}")
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
        next((cells[name] for name in TIMES if name in cells), None),
        cells.get("day", cells.get("time_local")),
        cells.get("sitting"),
    )


def _read(
    number: int,
    cells: Mapping[str, Any] | Unusable,
    form: _Form,
    channels: Sequence[Channel],
    bounds: Mapping[str, tuple[float, float]],
) -> _Found:
    """The reading of a line.

    Raises:
        Unusable: it is none.
    """
    line = form(cells)
    settings, values = _numbers(line.settings), _numbers(line.readings)
    if missing := [name for name in line.settings if name not in settings]:
        raise Unusable(f"no value of {', '.join(missing)}")
    for name, (low, high) in bounds.items():
        if not _inside(settings[name], low, high):
            said = f"outside its bounds, {low:g} … {high:g}"
            raise Unusable(f"{name} {said}", f"{name} is {settings[name]:g}, {said}")
        settings[name] = min(max(settings[name], low), high)
    if line.background and not isinstance(line.background, Mapping):
        raise Unusable("`background` is no mapping", "`background` must be a mapping of channel to value")
    background = (_numbers(line.background) or None) if line.background else None
    sitting = line.sitting
    if sitting is not None and not (isinstance(sitting, int) and 0 <= sitting < 2**53):
        raise Unusable(
            "`sitting` is no whole number", f"`sitting` must be a whole number from 0 on, not {sitting!r:.40}"
        )
    at, day = _when(line.time, line.day)
    full = {c.name for c in channels if c.high is not None and values.get(c.name, 0) >= c.high}
    saturated = tuple(name for name in values if name in full or name in line.saturated)
    fault = str(line.fault) if line.fault else None
    return _Found(number, Reading(settings, values, background, saturated, fault), at, day, sitting)


def _numbers(cells: Mapping[str, Any]) -> dict[str, float]:
    """The cells that have a value; NaN is none.

    Raises:
        Unusable: one that is no number, or too large for any sensor.
    """
    found: dict[str, float] = {}
    for name, value in cells.items():
        if value is None or value != value:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MOST:
            said = f"{name} is {str(value)[:40]!r}, not a number between -{MOST:g} and {MOST:g}"
            raise Unusable(f"{name} is not a number", said)
        found[name] = value
    return found


def _when(time: Any, day: Any) -> tuple[float, str]:
    """Seconds since 1970 (NaN if not told), and the day.

    Raises:
        Unusable: a time that cannot be read.
    """
    told = day.strip()[:10] if isinstance(day, str) else ""
    if time is None or time != time or time == "":
        return math.nan, told
    try:
        if isinstance(time, str) and len(time.strip()) <= len("2025-10-28"):  # a day, which orders nothing within it
            return math.nan, datetime.fromisoformat(time.strip()).date().isoformat()
        moment = datetime.fromisoformat(time.strip()) if isinstance(time, str) else time
        if isinstance(moment, datetime):
            at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        else:
            at = float(moment) / (1000 if abs(moment) >= _MILLISECONDS else 1)
        return at, told or datetime.fromtimestamp(at, UTC).date().isoformat()
    except (ValueError, TypeError, OverflowError, OSError) as error:
        said = "a time that cannot be read"
        detail = f"{said}, {str(time)[:40]!r}: write 2025-10-28 17:06:07, seconds or milliseconds since 1970"
        raise Unusable(said, detail) from error


def _sittings(found: Sequence[_Found], session_gap: float, *, by_day: bool) -> Iterable[tuple[_Found, int]]:
    """The readings by time, and in which sitting each was taken.

    Those that have only a day come at its beginning, those without either behind the one before them in the file.
    """
    times, last = [], -math.inf
    for one in found:
        if one.at == one.at:
            last = one.at
        else:
            with contextlib.suppress(ValueError):
                last = datetime.fromisoformat(one.day).replace(tzinfo=UTC).timestamp()
        times.append(last)
    sitting, before = 0, None
    for i in sorted(range(len(found)), key=times.__getitem__):
        one = found[i]
        if one.sitting is not None:
            sitting = one.sitting
        elif before and ((by_day and one.day != before.day) or abs(one.at - before.at) > session_gap):
            sitting += 1
        before = one
        yield one, sitting


def _bare(name: str) -> tuple[str, str]:
    """A column without its unit, and the unit: `red (uL)`, `red [uL]`, `red / uL`."""
    found = _UNIT.fullmatch(name.strip())
    return (found[1], found[2] or found[3] or found[4] or "") if found and found[1] else (name.strip(), "")
