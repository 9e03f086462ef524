"""A record that grows, read on."""

from __future__ import annotations

from pathlib import Path

import pytest
import scripted

from sdl import runner
from sdl.core.events import Event, Stopped
from sdl.errors import Damaged, RecordError
from sdl.store import record
from sdl.store.tail import TailReader, follow


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with pytest.MonkeyPatch.context() as monkeypatch:
        scripted.register(monkeypatch)
        done = runner.run(scripted.campaign(scripted.with_script()), runs=tmp_path_factory.mktemp("runs"))
    return (Path(done.run) / "record.jsonl").read_bytes()


def test_what_is_read_in_any_pieces_is_what_was_written(raw: bytes, tmp_path: Path) -> None:
    file, found = tmp_path / "record.jsonl", []
    file.touch()
    tail = TailReader(tmp_path)
    for end in range(0, len(raw) + 700, 700):  # never at a line's end, but for the last
        file.write_bytes(raw[:end])
        found += tail.new()
    assert found == list(record.read(tmp_path))
    assert tail.new() == []


def test_a_line_that_was_changed_is_told_with_its_number(raw: bytes, tmp_path: Path) -> None:
    lines = raw.splitlines(keepends=True)
    (tmp_path / "record.jsonl").write_bytes(b"".join(lines[:2]))
    tail = TailReader(tmp_path)
    tail.new()
    (tmp_path / "record.jsonl").write_bytes(b"".join(lines[:3]) + lines[4])
    with pytest.raises(Damaged, match=r"record.jsonl:4: damaged"):
        tail.new()


def test_what_is_gone_or_was_never_there_is_told(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").write_bytes(raw)
    tail = TailReader(tmp_path)
    tail.new()
    (tmp_path / "record.jsonl").write_bytes(raw[:100])
    with pytest.raises(Damaged, match="lines that were read before are gone"):
        tail.new()
    with pytest.raises(RecordError, match="cannot be read"):
        TailReader(tmp_path / "nowhere").new()


def test_following_waits_between_looks_and_ends_with_the_run(raw: bytes, tmp_path: Path) -> None:
    file, written = tmp_path / "record.jsonl", len(raw) // 2
    file.write_bytes(raw[:written])
    waits = 0

    def wait() -> None:
        nonlocal waits, written
        waits += 1
        written += 400
        file.write_bytes(raw[:written])

    def ended(last: Event | None) -> bool:
        return isinstance(last, Stopped)

    assert list(follow(tmp_path, ended, wait)) == list(record.read(tmp_path))
    assert waits > 2


def test_what_is_written_while_the_end_is_looked_for_is_not_lost(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "record.jsonl"
    file.write_bytes(raw[: len(raw) // 2])

    def ended(_: Event | None) -> bool:
        file.write_bytes(raw)
        return True

    found = list(follow(tmp_path, ended, lambda: pytest.fail("it had ended")))
    assert isinstance(found[-1], Stopped)
