"""The results of a sweep on disk.

    results.parquet   the data set: one row per campaign, in the order of the plan
    journal.jsonl     rows that are not in it yet, appended as campaigns end
    sweep.json        the sweep and the package versions
    records/<id>/     a campaign's record, if records are kept
    sweep.lock        the process that writes

A Parquet file cannot be appended to, and a kill would lose rows in memory, so each row is appended to the journal at
once; the journal is merged into the data set when the sweep ends, also by Ctrl-C. No row contains a time or the name of
a machine: the same sweep gives the same file, whatever the workers and however often it was interrupted.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError, Damaged, Full, Lost, RecordError, translated_os_errors
from sdl.extras import require
from sdl.store.lock import Lock
from sdl.store.plainfile import describe_change, open_existing, open_fd, open_new
from sdl.store.record import write_file
from sdl.sweep.plan import SweepPlan
from sdl.sweep.work import OUTCOME, Row

if TYPE_CHECKING:
    import pyarrow as pa

DATA, JOURNAL, ABOUT, LOCK, RECORDS = "results.parquet", "journal.jsonl", "sweep.json", "sweep.lock", "records"
MOVE = "move it away, and its campaigns are run again"
CHUNK = 10_000  # rows converted at a time


needs_pyarrow = partial(require, "the results of a sweep", "sweep", "pyarrow.parquet")


class Results:
    """The rows of one sweep in a directory, locked by this process until `close`.

    Attributes:
        known: ids of the campaigns with a result.
        changed: packages whose version differs from that of the earlier results, with both versions.
    """

    def __init__(self, folder: Path, plan: SweepPlan, versions: dict[str, str]) -> None:
        """Open the directory, or create it.

        Raises:
            ConfigError: it contains results of campaigns that are not in the plan.
            InUse: another process writes to it. Damaged: the journal was altered. RecordError: the directory cannot be
                read or written.
        """
        needs_pyarrow()
        self.folder, self._plan = folder, plan
        with translated_os_errors(folder, "made", RecordError):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(folder / LOCK, f"sweep {plan.sweep.name}")
        self._journal, self._length = -1, 0
        try:
            self.known = self._done()
            if strangers := self.known.difference(plan.ids()):
                raise ConfigError(
                    f"{folder} holds results of {len(strangers)} campaigns that are not in {plan.sweep.name}: values "
                    "or seeds may be added to a sweep, not taken away or changed; name another directory with -o"
                )
            self.changed = self._compare_versions(versions)
            self._journal = open_fd(folder / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._length = os.fstat(self._journal).st_size
        except OSError as error:
            self.close()
            raise RecordError(f"{folder}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows at once; afterwards they survive a kill of this process.

        Raises:
            Full: they could not be written; the file is unchanged.
            Lost: the journal was deleted, replaced or truncated by another process; run the sweep again.
        """
        before = self._check_journal()
        text = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        with translated_os_errors(self.folder / JOURNAL, kind=Full):
            written = os.write(self._journal, text)
        if written < len(text):
            os.ftruncate(self._journal, before)
            raise Full(f"{self.folder / JOURNAL}: no room for another row")
        self._length = before + len(text)

    def _check_journal(self) -> int:
        """The length of the journal; raises Lost if another process has changed it."""
        if happened := describe_change(self._journal, self.folder / JOURNAL, self._length):
            advice = "run the sweep again: the campaigns whose rows are missing are repeated"
            raise Lost(f"{self.folder / JOURNAL}: {happened} while it was being written; {advice}", None)
        return self._length

    def settle(self) -> None:
        """Move the rows of the journal into the data set, in the order of the plan."""
        journal = self.folder / JOURNAL
        self._check_journal()
        if self.folder.joinpath(DATA).exists() and not journal.stat().st_size:
            return
        import pyarrow as pa  # of the extra `sweep`
        import pyarrow.parquet as pq

        schema, data = schema_of(self._plan), self.folder / DATA
        tables = [schema.empty_table()]
        if data.exists():
            old = _read(data)
            # Values added to the plan change the numbers of the campaigns, and may change the type of a column.
            present = {name: old[name] for name in old.column_names}
            ids = present["id"].to_pylist()
            tables.append(self._table(ids, schema, lambda name, kind: present.get(name, pa.nulls(len(ids), kind))))
        unique = _unique(_lines(journal))
        while rows := list(itertools.islice(unique, CHUNK)):
            tables.append(self._table([row["id"] for row in rows], schema, partial(self._column, rows)))
        whole = pa.concat_tables(tables).sort_by("number")
        part = data.with_suffix(".part")
        try:
            with open_new(part) as stream:
                pq.write_table(whole, stream, compression="zstd", row_group_size=64 * 1024)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, data)
            os.ftruncate(self._journal, 0)
            self._length = 0
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Full(f"{data}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Release the directory; may be called twice."""
        if self._journal >= 0:
            journal = self.folder / JOURNAL
            if not self._length and not describe_change(self._journal, journal, 0):
                journal.unlink()
            os.close(self._journal)
            self._journal = -1
        self._lock.release()

    def _done(self) -> set[str]:
        known: set[str] = set()
        if (data := self.folder / DATA).exists():
            known.update(ids := _read(data, ["id"])["id"].to_pylist())
            if len(known) < len(ids):
                raise RecordError(f"{data}: damaged: {len(ids) - len(known)} campaigns occur twice; {MOVE}")
        journal = self.folder / JOURNAL
        if journal.exists():
            known.update(row["id"] for row in _lines(journal, mend=True))
        return known

    def _compare_versions(self, versions: dict[str, str]) -> dict[str, tuple[str, str]]:
        file = self.folder / ABOUT
        then: dict[str, str] = {}
        if file.exists():
            try:
                with open_existing(file) as stream:
                    then = dict(json.load(stream)["versions"])
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                raise RecordError(f"{file}: cannot be read: {error}") from error
        if not self.known:
            then = versions
        content = {"sweep": self._plan.sweep.model_dump(mode="json"), "versions": then}
        write_file(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        names = sorted({*then, *versions})
        return {n: (then.get(n, "none"), versions.get(n, "none")) for n in names if then.get(n) != versions.get(n)}

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._plan.ids())}

    def _column(self, rows: Sequence[Row], name: str, kind: pa.DataType) -> pa.Array:
        """One column of rows of the journal."""
        import pyarrow as pa

        try:
            return pa.array([row.get(name) for row in rows], kind)
        except (pa.ArrowException, OverflowError) as error:
            message = f"a row's {name} is no {kind}"
            raise RecordError(f"{self.folder / JOURNAL}: damaged: {message}: {error}; {MOVE}") from error

    def _table(self, ids: Sequence[str], schema: pa.Schema, column: Callable[[str, pa.DataType], Any]) -> pa.Table:
        """A table of some campaigns: identifying columns from the plan, the rest from `column`."""
        import pyarrow as pa

        numbers = [self._numbers[name] for name in ids]
        places = [self._plan.place(at) for at in numbers]
        planned: dict[str, Any] = {
            "number": numbers,
            "id": ids,
            "seed": [seed for _, seed, _ in places],
            "repeat": [repeat for *_, repeat in places],
        }
        for key in self._plan.sweep.keys:
            text = pa.types.is_string(schema.field(key).type)
            values = [point.values[key] for point, *_ in places]
            planned[key] = [v if isinstance(v, str) or not text else json.dumps(v) for v in values]
        return pa.table(
            [pa.array(planned[f.name], f.type) if f.name in planned else column(f.name, f.type) for f in schema],
            schema=schema,
        )


def _read(data: Path, columns: list[str] | None = None) -> pa.Table:
    """The data set, or some of its columns.

    Raises:
        RecordError: the file cannot be read, or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_existing(data) as stream:  # only a file: pyarrow would also read a directory of files
            table = pq.read_table(stream, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"{data}: cannot be read: {str(error).splitlines()[0]}; {MOVE}") from error
    if missing := [name for name in columns or ("id", *OUTCOME) if name not in table.column_names]:
        raise RecordError(f"{data}: damaged: it has no column {missing[0]}; {MOVE}")
    return table


def schema_of(plan: SweepPlan) -> pa.Schema:
    """The columns of a sweep's data set: number and id, varied keys, results."""
    import pyarrow as pa

    columns = {"number": "int64", "id": "string"}
    for key in plan.sweep.keys:
        kinds = {type(point.values[key]) for point in plan.points}
        numbers = {frozenset({bool}): "bool", frozenset({int}): "int64"}
        columns[key] = numbers.get(frozenset(kinds)) or ("float64" if kinds <= {int, float} else "string")
    columns |= {"seed": "int64", "repeat": "int32"} | OUTCOME
    columns |= {f"{part}.{name}": "float64" for part in ("settings", "applied") for name in plan.inputs}
    columns |= {f"measured.{name}": "float64" for name in plan.channels}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def _lines(journal: Path, *, mend: bool = False) -> Iterator[Row]:
    """The rows of a journal; `mend` truncates an incomplete last line."""
    whole = 0
    with open_existing(journal) as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                row = json.loads(line)
                row["id"], [row[name] for name in OUTCOME]
            except (ValueError, TypeError, KeyError) as error:
                raise Damaged(str(journal), number, "not a row of a sweep") from error
            yield row
    if mend and whole < journal.stat().st_size:
        os.truncate(journal, whole)


def _unique(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows without duplicates, which occur if a journal has been copied."""
    seen: set[str] = set()
    for row in rows:
        if row["id"] not in seen:
            seen.add(row["id"])
            yield row
