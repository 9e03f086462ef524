"""Readings that are already there: our records and Claude-Light logs, as rows for a solver.

A Claude-Light log is what the instrument's own users keep, one JSON object a line: `{"in": [R, G, B],
"out": {"445nm": …}, "time": unix}` (paper, section 5.2; also the server's own results.jsonl, whose time is `t0`). A
campaign copies the rows of its priors into its own directory in the same form, with `background`, `saturated` and
`sitting` beside them, and reads nothing but that copy afterwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdl.errors import ConfigError, Damaged, Problem, RecordError
from sdl.events import Measured, Opened
from sdl.record import FILE, file_sha, read, write_file
from sdl.types import Channel, Input, Reading

MOST = 1e12
"""No sensor counts as far; beyond it squares lose their meaning."""
SITTING_GAP = 600.0
"""Seconds between two readings that make them two sittings."""


@dataclass(frozen=True, slots=True)
class Row:
    """One reading with where it belongs: `sitting` (readings taken together) and `day` (for leaving days out)."""

    reading: Reading
    sitting: int
    day: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one source.

    Attributes:
        source: as it was named.
        sha256: of the file.
        rows: in the order of the file.
        left_out: how many lines were not used, by reason.
    """

    source: str
    sha256: str
    rows: tuple[Row, ...]
    left_out: Mapping[str, int]


def load(
    source: str | Path,
    inputs: Sequence[str],
    channels: Sequence[Channel],
    wanted: Sequence[str],
    base: Path | None = None,
) -> Rows:
    """Reads a record (a run's directory or its record.jsonl) or a Claude-Light log.

    Args:
        source: path, relative to `base`.
        inputs: names, in the order of the log's `in`.
        channels: what the instrument measures; other keys of `out` are ignored.
        wanted: channels that a row must have to be used.
        base: directory that a relative path starts from; None is the present one.

    Raises:
        ConfigError: no such file, or a line that is neither; with file and line.
        Damaged: a record that is not as it was written.
    """
    path = (base or Path()) / source
    file = path / FILE if path.is_dir() else path
    try:
        sha = file_sha(file)
        with file.open("rb") as stream:
            first = stream.readline(1 << 16)
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error
    limits = {c.name: c.saturation for c in channels}
    if first.startswith(b'{"event": "Opened"'):
        found = _from_record(file, inputs)
    else:
        found = _from_log(file, inputs, limits)
    left_out: dict[str, int] = {}
    rows: list[Row] = []
    for row in found:
        reason = _unusable(row.reading, wanted)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            rows.append(row)
    return Rows(str(source), sha, tuple(rows), left_out)


def save(path: Path, sources: Iterable[Rows]) -> str:
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


def numbered(sources: Iterable[Rows]) -> Iterable[tuple[Rows, Row, int]]:
    """The rows of all sources, one after the other, each with a sitting that no other source shares."""
    offset = 0
    for source in sources:
        for row in source.rows:
            yield source, row, row.sitting + offset
        offset += 1 + max((row.sitting for row in source.rows), default=0)


def claude_light_line(event: Measured, inputs: Sequence[str]) -> dict[str, Any]:
    """One reading in the form of the paper's own log."""
    return {"in": [event.applied[name] for name in inputs], "out": dict(event.readings), "time": event.at}


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


def one_line(error: Exception) -> str:
    """What an error says, in a line that is not too long."""
    return " ".join(str(error).split())[:300]


def _unusable(reading: Reading, wanted: Sequence[str]) -> str:
    missing = [name for name in wanted if name not in reading.readings]
    if missing:
        return f"without {', '.join(missing)}"
    if any(name in reading.saturated for name in wanted):
        return "saturated in a channel of the goal"
    return ""


def _from_record(file: Path, inputs: Sequence[str]) -> Iterable[Row]:
    sitting, last = -1, -math.inf
    for event in read(file):
        if isinstance(event, Opened):
            have = [item.name for item in instrument_of(event, file)[0]]
            if sorted(have) != sorted(inputs):
                raise ConfigError(
                    Problem(f"has the inputs {', '.join(have)}; {', '.join(inputs)} are needed", file=str(file), line=1)
                )
        if isinstance(event, Measured):
            if event.at - last > SITTING_GAP:
                sitting += 1
            last = event.at
            try:
                day = datetime.fromtimestamp(event.at, UTC).date().isoformat()
            except (ValueError, OverflowError, OSError) as error:
                raise RecordError(f"{file}: a reading {event.at:g} s after 1970, which is no day") from error
            reading = Reading(event.applied, event.readings, event.background, event.saturated, event.fault)
            yield Row(reading, sitting, day)


def _from_log(file: Path, inputs: Sequence[str], limits: Mapping[str, float | None]) -> Iterable[Row]:
    import jsonlines

    sitting, last, last_day = 0, math.nan, ""
    with file.open("rb") as stream, jsonlines.Reader(stream) as reader:  # bytes: bad UTF-8 is found at its own line
        number = 0
        while True:
            number += 1
            try:
                line: Any = reader.read(skip_empty=False)
            except EOFError:
                return
            except (jsonlines.InvalidLineError, RecursionError) as error:
                if isinstance(error, jsonlines.InvalidLineError) and not error.line.strip():
                    continue  # a blank line
                raise ConfigError(Problem(f"not JSON: {error}", file=str(file), line=number)) from error
            try:
                settings, values = _numbers(line["in"], inputs), _numbers(line["out"], tuple(limits))
                base = _numbers(line["background"], tuple(limits)) if line.get("background") else None
                at, day = _when(line)
                sitting = int(line.get("sitting", sitting))
                if not 0 <= sitting < 2**53:
                    raise ValueError("`sitting` must be a whole number from 0 on")
                full = {str(name) for name in line.get("saturated", ())}
                if set(settings) != set(inputs):
                    raise ValueError(f"`in` has {len(settings)} inputs; {', '.join(inputs)} are needed")
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
                form = '{"in": [' + ", ".join(inputs) + '], "out": {"channel": value, …}, "time": seconds}'
                raise ConfigError(
                    Problem(
                        f"not a line of a record or a Claude-Light log, {form}: {error!r}", file=str(file), line=number
                    )
                ) from error
            if "sitting" not in line and number > 1 and (day != last_day or abs(at - last) > SITTING_GAP):
                sitting += 1
            last, last_day = at, day
            full |= {name for name, most in limits.items() if most is not None and values.get(name, 0) >= most}
            yield Row(Reading(settings, values, base, tuple(n for n in values if n in full)), sitting, day)


def _numbers(value: Any, names: Sequence[str]) -> dict[str, float]:
    """A list in the order of `names`, or a mapping (other keys ignored), as finite numbers by name."""
    pairs = zip(names, value, strict=True) if isinstance(value, list) else value.items()
    found: dict[str, float] = {}
    for name, number in pairs:
        if name in names and number is not None:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= MOST:
                raise ValueError(f"{name} is {str(number)[:40]}, not a number between -{MOST:g} and {MOST:g}")
            found[str(name)] = number
    return found


def _when(line: Mapping[str, Any]) -> tuple[float, str]:
    """Seconds since 1970 (NaN if not told) and the day of a log's line."""
    at = line.get("time", line.get("t0"))
    if isinstance(line.get("day"), str):
        return math.nan, line["day"]
    if isinstance(at, (int, float)) and not isinstance(at, bool) and math.isfinite(at):
        return float(at), datetime.fromtimestamp(at, UTC).date().isoformat()
    if isinstance(line.get("time_local"), str):
        return math.nan, str(line["time_local"])[:10]
    return math.nan, ""
