"""The record: what is written is read back, whatever is lost is found, and a full disk leaves no ghosts."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from core_kit import HIT, any_event, failed, interrupted, measured, opened, proposed, stopped, write_record
from hypothesis import given
from hypothesis import strategies as st

from sdl.core.events import Event, Measured, Proposed
from sdl.errors import Damaged, Full, InUse, Lost, RecordError
from sdl.store.record import (
    CAMPAIGN,
    FILE,
    LOCK,
    PRIOR,
    SEAL,
    Checked,
    Line,
    Record,
    Shared,
    Tail,
    _read_any,
    _read_frequent,
    check,
    decode,
    encode,
    file_sha,
    read,
    scan,
    write_file,
)
from sdl.types import Outcome

START = "0" * 32
STORY: list[Event] = [opened(), proposed(why="größer"), measured(), stopped(Outcome.SPENT)]


def contents(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name not in without}


def lines_of(folder: Path) -> list[bytes]:
    return (folder / FILE).read_bytes().splitlines(keepends=True)


def assert_damaged(folder: Path, file: str, line: int | None = None) -> None:
    """`check`, reading and `open` refuse the record, name the place, and leave every byte as it is."""
    before = contents(folder)
    for look in (check, Record.open):
        with pytest.raises(Damaged) as found:
            look(folder)
        assert found.value.path == str(folder / file)
        if line is not None:
            assert found.value.line == line, found.value
        assert f"{folder / file}:{found.value.line}: damaged: " in str(found.value)
    # Only the lock shows the attempt to write.
    assert contents(folder, without=(LOCK,)) == {name: data for name, data in before.items() if name != LOCK}


# Round trip -------------------------------------------------------------------------------------------------------
@given(any_event)
def test_every_event_is_read_back_to_the_last_digit(event: Event) -> None:
    line, sha = encode(event, START)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    again, same = decode(line[:-1], START)
    assert (repr(again), same) == (repr(event), sha)


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, -0.0, 0.1 + 0.2, 2**53 + 1, 65535])
def test_extreme_numbers_are_read_back_to_the_last_digit(value: float) -> None:
    line, _ = encode(measured(readings={"red": value}), START)
    assert repr(decode(line[:-1], START)[0].readings["red"]) == repr(value)


@pytest.mark.parametrize(
    "text", ["", "a\nb\r\n\u2028", 'he said ", "sha": "x"}', "\\\udcff", "温度 🌈", "\x00\x7f", '"}']
)
def test_any_text_is_read_back(text: str) -> None:
    line, _ = encode(failed(error=text), START)
    line.decode()  # UTF-8, whatever the text is
    assert decode(line[:-1], START)[0].error == text


@pytest.mark.parametrize("key", ["sha", "event", ', "sha": "'])
def test_a_key_called_as_the_record_calls_its_own_does_no_harm(key: str) -> None:
    event = opened(config={key: {"sha": "x"}})
    assert decode(encode(event, START)[0][:-1], START)[0] == event


@given(any_event)
def test_the_quick_way_to_read_frequent_events_gives_what_the_general_way_gives(event: Event) -> None:
    line, _ = encode(event, START)
    text = line.rpartition(b', "sha": "')[0]
    quick, general = _read_frequent(text, CAMPAIGN), _read_any(text, CAMPAIGN)
    assert (quick is not None) == isinstance(event, (Proposed, Measured))
    assert repr(quick or general) == repr(general) == repr(event), "types and the signs of zeros included"


def test_events_of_a_long_record_share_what_is_equal_to_the_last_digit() -> None:
    shared: Shared = {}

    def again(event: Event) -> Any:
        return decode(encode(event, START)[0][:-1], START, shared=shared)[0]

    one, two = again(proposed(settings={"x": 0.5, "y": 0.0})), again(proposed(settings={"x": 0.5, "y": -0.0}))
    assert (math.copysign(1, one.settings["y"]), math.copysign(1, two.settings["y"])) == (1, -1)
    assert one.expected is two.expected
    readings = [again(measured(applied={"x": 0.5, "y": -0.0}, readings={"red": 40000, "green": 0.5})) for _ in "12"]
    assert readings[0].applied is readings[1].applied is two.settings
    assert readings[0].readings["red"] is readings[1].readings["red"]
    assert readings[0].readings == {"red": 40000, "green": 0.5}
    assert again(measured(applied={"y": -0.0, "x": 0.5})).applied is not two.settings, "another order"


def test_a_record_gives_its_events_in_their_order(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "a" / "b", STORY)
    assert list(read(folder)) == STORY
    assert list(read(folder / FILE)) == STORY
    record = Record.open(folder)
    record.close()
    assert record.events == tuple(STORY)
    assert record.notes == ()


def test_the_lines_are_json_that_anybody_can_read(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in lines_of(write_record(tmp_path / "run", STORY))]
    assert [line["event"] for line in lines] == ["Opened", "Proposed", "Measured", "Stopped"]
    assert lines[1]["why"] == "größer"
    assert lines[2]["readings"] == HIT
    assert "größer".encode() in lines_of(tmp_path / "run")[1]


def test_a_record_opened_again_goes_on_with_a_sound_chain(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY[:2])
    record = Record.open(folder)
    record.append(STORY[2])
    record.close()
    assert list(read(folder)) == STORY[:3]
    assert check(folder).lines == 3


def test_an_event_is_on_the_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record.create(tmp_path / "run")
    synced: list[bytes] = []
    fsync = os.fsync

    def spy(fd: int) -> None:
        fsync(fd)
        synced.append((tmp_path / "run" / FILE).read_bytes())

    monkeypatch.setattr(os, "fsync", spy)
    record.append(opened())
    record.close()
    assert synced == [(tmp_path / "run" / FILE).read_bytes()]


def test_the_names_of_a_new_record_are_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("sdl.store.record.sync_folder", synced.append)
    Record.create(tmp_path / "runs" / "run").close()
    assert synced == [tmp_path / "runs" / "run", tmp_path / "runs"]


# What is refused --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_and_the_file_is_as_before(tmp_path: Path, value: float) -> None:
    folder = write_record(tmp_path / "run", STORY[:2])
    record = Record.open(folder)
    before = (folder / FILE).read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        record.append(measured(readings={"red": value}))
    assert (folder / FILE).read_bytes() == before
    record.append(measured())
    record.close()
    assert check(folder).lines == 3


def test_a_record_is_created_once(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    before = contents(folder)
    with pytest.raises(RecordError, match="cannot be created"):
        Record.create(folder)
    assert contents(folder) == before


@pytest.mark.parametrize("look", [check, Record.open, lambda path: list(read(path))])
def test_what_is_not_there_is_a_record_error(tmp_path: Path, look: Callable[[Path], object]) -> None:
    with pytest.raises(RecordError, match=re.escape(str(tmp_path))):
        look(tmp_path)
    with pytest.raises(RecordError, match="nothing"):
        look(tmp_path / "nothing")


def test_an_empty_record_says_that_there_was_no_campaign_yet(tmp_path: Path) -> None:
    Record.create(tmp_path / "run").close()
    for look in (check, Record.open):
        with pytest.raises(RecordError, match="empty"):
            look(tmp_path / "run")
    Record.create(tmp_path / "other").close()  # and the refused open gave its lock back
    with pytest.raises(RecordError, match="empty"):
        Record.open(tmp_path / "run")


READ = {"event": "Measured", **dataclasses.asdict(measured())}


def test_a_whole_number_may_stand_for_a_measured_one(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", [opened(), measured(readings={"red": 100}, background={"red": -1}, at=1)])
    assert check(folder).lines == 2


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"event": "Measurred"}, "not an event of this version"),
        ({"event": "Continued", "by": "ada"}, "other fields: at"),
        ({"event": "Continued", "by": "ada", "at": 0, "extra": 1}, "other fields: extra"),
        ({"by": "ada", "at": 0}, "not an event of this version"),
        ({"event": ["Continued"], "by": "ada", "at": 0}, "not an event of this version"),
        ({"event": "Stopped", "outcome": "won", "reason": "", "best": None, "by": "", "at": 0}, "'won' is not a valid"),
        ([1, 2], "not an event of this version"),
        ({"event": "Continued", "by": "ada", "at": "noon"}, "Continued.at is 'noon'"),
        ({"event": "Continued", "by": None, "at": 0}, "Continued.by is 'None'"),
        ({"event": "Continued", "by": "ada", "at": True}, "Continued.at is 'True'"),
        ({"event": "Continued", "by": "ada", "at": 10**400}, "Continued.at is '1000"),
        ({"event": "Continued", "by": "ada", "at": math.inf}, "Continued.at is 'inf'"),
        (READ | {"trial": 1.0}, "Measured.trial is '1.0'"),
        ({"event": "Resumed", "versions": [], "changes": {}, "at": 0}, "Resumed.versions is"),
        (READ | {"readings": {"red": "much"}}, "Measured.readings is"),
        (READ | {"readings": {"red": None}}, "Measured.readings is"),
        (READ | {"background": 3.5}, "Measured.background is '3.5'"),
        (READ | {"saturated": ["red", 1]}, "Measured.saturated is"),
    ],
)
def test_a_line_with_a_true_sha_that_is_no_event_is_damage_too(tmp_path: Path, wrong: object, why: str) -> None:
    folder = write_record(tmp_path / "run", STORY[:1])
    sha = next(item.sha for item in scan(folder) if isinstance(item, Line))
    text = json.dumps(wrong)[:-1].encode()
    with (folder / FILE).open("ab") as stream:
        stream.write(text + f', "sha": "{hashlib.sha256(sha.encode() + text).hexdigest()[:32]}"}}\n'.encode())
    with pytest.raises(Damaged, match=why):
        check(folder)
    assert_damaged(folder, FILE, 2)


@pytest.mark.parametrize("events", [[proposed()], [opened(), opened()]])
def test_opened_is_the_first_line_and_no_other(tmp_path: Path, events: list[Event]) -> None:
    assert_damaged(write_record(tmp_path / "run", events), FILE, len(events))


# Torn tails -------------------------------------------------------------------------------------------------------
def test_a_line_torn_at_any_byte_is_kept_aside_and_cut_off(tmp_path: Path) -> None:
    original = write_record(tmp_path / "run", STORY[:3])
    *earlier, last = lines_of(original)
    for cut in range(1, len(last)):
        folder = tmp_path / f"cut-{cut}"
        shutil.copytree(original, folder)
        (folder / FILE).write_bytes(b"".join(earlier) + last[:cut])
        before = contents(folder)
        assert list(read(folder)) == STORY[: 3 if cut == len(last) - 1 else 2]
        assert "last line" in check(folder).notes[0]
        assert contents(folder) == before  # looking mends nothing

        record = Record.open(folder)
        record.append(interrupted())
        record.close()
        if cut == len(last) - 1:  # only the newline was missing: the line is whole
            assert record.notes == ("the last line lacked its newline; added",)
            assert list(read(folder)) == [*STORY[:3], interrupted()]
            assert not (folder / "record.torn-1").exists()
        else:
            assert f"line 3 was torn ({cut} bytes); kept as record.torn-1" in record.notes[0]
            assert list(read(folder)) == [*STORY[:2], interrupted()]
            assert (folder / "record.torn-1").read_bytes() == last[:cut]
        assert lines_of(folder)[:2] == earlier
        assert check(folder).notes == (
            "unfinished; whether whole lines are missing at its end cannot be told from a crash",
        )


def test_every_torn_piece_is_kept_under_a_name_of_its_own(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY[:2])

    def tear(piece: bytes) -> None:
        with (folder / FILE).open("ab") as stream:
            stream.write(piece)
        Record.open(folder).close()

    tear(b'{"event": "Mea')
    tear(b"\x00\x00\x00")
    (folder / "record.torn-1").unlink()
    tear(b"third")
    assert contents(folder)["record.torn-1"] == b"third"
    assert contents(folder)["record.torn-2"] == b"\x00\x00\x00"
    assert list(read(folder)) == STORY[:2]


@pytest.mark.parametrize("cut", [1, 40, -2])
def test_a_record_torn_in_its_very_first_line_is_refused_and_left_as_it_is(tmp_path: Path, cut: int) -> None:
    folder = write_record(tmp_path / "run", STORY[:1])
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:cut])
    before = contents(folder, without=(LOCK,))
    for look in (check, Record.open):
        with pytest.raises(RecordError, match="empty"):
            look(folder)
    assert contents(folder, without=(LOCK,)) == before


def test_a_finished_record_torn_in_its_last_line_is_damaged_because_its_seal_knows_better(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-9])
    assert_damaged(folder, FILE, 4)


# Damage -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("events", [STORY, STORY[:3]], ids=["finished", "unfinished"])
def test_a_flipped_bit_is_found_at_its_line(tmp_path: Path, events: list[Event]) -> None:
    folder = write_record(tmp_path / "run", events)
    whole = (folder / FILE).read_bytes()
    bits = random.Random(0)
    newlines = [place for place, byte in enumerate(whole) if byte == 10]
    places = [(place, bits.randrange(8)) for place in range(len(whole))] + list(itertools.product(newlines, range(8)))
    for place, bit in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        (folder / FILE).write_bytes(changed)
        assert_damaged(folder, FILE, whole[:place].count(b"\n") + 1)
    (folder / FILE).write_bytes(whole)
    assert check(folder).lines == len(events)


def test_a_flipped_bit_in_the_seal_is_found(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    whole = (folder / SEAL).read_bytes()
    for place, bit in itertools.product(range(len(whole)), range(8)):
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        (folder / SEAL).write_bytes(changed)
        assert_damaged(folder, SEAL, 1)


def test_a_removed_line_is_found_where_it_was(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    lines = lines_of(folder)
    for gone in range(len(lines)):
        (folder / FILE).write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        assert_damaged(folder, FILE, gone + 1)
    (folder / FILE).write_bytes(b"")
    assert_damaged(folder, FILE, 1)


def test_whole_lines_missing_at_the_end_of_an_unfinished_record_cannot_be_told_and_check_says_so(
    tmp_path: Path,
) -> None:
    folder = write_record(tmp_path / "run", STORY[:3])
    (folder / FILE).write_bytes(b"".join(lines_of(folder)[:2]))
    found = check(folder)
    assert (found.lines, found.finished, found.sealed) == (2, False, False)
    assert "cannot be told" in found.notes[0]


def test_two_swapped_lines_are_found_at_the_first_of_them(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    for one, other in itertools.combinations(range(len(STORY)), 2):
        lines = lines_of(write_record(tmp_path / f"{one}{other}", STORY))
        lines[one], lines[other] = lines[other], lines[one]
        (folder / FILE).write_bytes(b"".join(lines))
        assert_damaged(folder, FILE, one + 1)


def test_a_line_that_stands_twice_is_found_at_its_second_place(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    lines = lines_of(folder)
    for twice in range(len(lines)):
        (folder / FILE).write_bytes(b"".join([*lines[: twice + 1], *lines[twice:]]))
        assert_damaged(folder, FILE, twice + 2)


def test_a_line_of_another_record_does_not_fit_in(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY[:3])
    other = lines_of(write_record(tmp_path / "other", [opened(user="bob"), *STORY[1:]]))
    (folder / FILE).write_bytes(b"".join([*lines_of(folder), other[3]]))
    assert_damaged(folder, FILE, 4)


@given(st.binary(min_size=1, max_size=40).filter(lambda junk: b"\n" not in junk))
def test_junk_after_the_last_line_is_torn_and_junk_with_a_newline_is_damage(junk: bytes) -> None:
    whole, _ = encode(opened(), START)

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / FILE
        file.write_bytes(whole + junk)
        assert [type(item) for item in scan(file)] == [Line, Tail]
        file.write_bytes(whole + junk + b"\n")
        with pytest.raises(Damaged) as found:
            list(scan(file))
        assert found.value.line == 2


# Seal and prior ---------------------------------------------------------------------------------------------------
def test_a_stopped_record_is_sealed(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    found = check(folder)
    assert found == Checked(lines=4, finished=True, sealed=True, sha=found.sha, notes=())
    assert json.loads((folder / SEAL).read_text()) == {"lines": 4, "sha": found.sha}
    assert not (folder / (SEAL + ".new")).exists()


def test_a_record_that_goes_on_after_its_end_is_sealed_anew(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY)
    record = Record.open(folder)
    record.append(interrupted())
    found = check(folder)
    assert (found.lines, found.finished, found.sealed) == (5, False, False)
    record.append(stopped())
    record.close()
    found = check(folder)
    assert (found.lines, found.finished, found.sealed, found.notes) == (6, True, True, ())


@pytest.mark.parametrize("old", [None, b'{"lines": 4, "sha": "SHA"}\n'])
def test_a_finished_record_whose_end_no_seal_names_says_so(tmp_path: Path, old: bytes | None) -> None:
    folder = write_record(tmp_path / "run", STORY)
    seal = (folder / SEAL).read_bytes()
    record = Record.open(folder)
    record.append(stopped())
    record.close()
    (folder / SEAL).unlink()
    if old is not None:
        (folder / SEAL).write_bytes(seal)
    found = check(folder)
    assert (found.finished, found.sealed) == (True, False)
    assert "without its record.seal" in found.notes[0]


def test_a_prior_that_was_changed_or_lost_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = Record.create(folder)
    write_file(folder / "prior.jsonl", '{"in": [1]}\n')
    source = {"source": "log", "sha256": "", "rows": 1, "left_out": {}, "copy_sha256": file_sha(folder / "prior.jsonl")}
    record.append(opened(prior=(source,)))
    record.close()
    assert check(folder).lines == 1
    (folder / "prior.jsonl").write_text('{"in": [2]}\n')
    assert_damaged(folder, "prior.jsonl")
    (folder / "prior.jsonl").unlink()
    assert_damaged(folder, "prior.jsonl")


# Full and failing disks -------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("no right to mount a small tmpfs here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_leaves_the_record_as_it_was_and_no_ghost_once_there_is_room(small_disk: Path) -> None:
    record = Record.create(small_disk / "run")
    record.append(opened())
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    file, count = small_disk / "run" / FILE, 0
    refused: Full | None = None
    while refused is None:
        before = file.read_bytes()
        try:
            record.append(measured(count, fault="x" * 700))
            count += 1
        except Full as error:
            refused = error
    assert "Measured not written: no space left on" in str(refused).replace("No", "no")
    assert "make room and resume" in str(refused)
    assert count > 3
    for _ in range(3):  # still full: still nothing
        with pytest.raises(Full):
            record.append(measured(999, fault="x" * 700))
    assert file.read_bytes() == before
    ballast.unlink()
    record.append(measured(count))
    record.close()
    assert [event.trial for event in read(small_disk / "run") if hasattr(event, "trial")] == list(range(count + 1))
    assert check(small_disk / "run").notes[0].startswith("unfinished")


def test_a_full_disk_at_the_seal_loses_the_seal_and_not_the_end(small_disk: Path) -> None:
    record = Record.create(small_disk / "run")
    record.append(opened())
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(b"x" * 65536)
    record.append(stopped())  # fits into the block that the file has already
    record.close()
    found = check(small_disk / "run")
    assert (found.finished, found.sealed) == (True, False)
    assert not (small_disk / "run" / SEAL).exists()
    assert not (small_disk / "run" / (SEAL + ".new")).exists()


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_write_that_is_cut_short_is_taken_back(tmp_path: Path) -> None:
    import resource

    record = Record.create(tmp_path / "run")
    record.append(opened())
    file = tmp_path / "run" / FILE
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 1, 50):
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
        try:
            with pytest.raises(Full):
                record.append(proposed())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert file.read_bytes() == before
    record.append(proposed())
    record.close()
    assert list(read(tmp_path / "run")) == [opened(), proposed()]


@pytest.mark.parametrize("times", [1, 2], ids=["once", "on and on"])
def test_a_line_that_does_not_reach_the_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    record = Record.create(tmp_path / "run")
    record.append(opened())
    before = (tmp_path / "run" / FILE).read_bytes()
    fsync, left = os.fsync, [OSError(5, "Input/output error")] * times

    def broken(fd: int) -> None:
        if left:
            raise left.pop()
        fsync(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(RecordError, match="Proposed not written: Input/output error") as found:
            record.append(proposed())
    assert not isinstance(found.value, Full)
    assert (tmp_path / "run" / FILE).read_bytes() == before
    if times == 2:  # it could not be made sure of either: nothing more from this process
        with pytest.raises(RecordError):
            record.append(proposed())
        record = Record.open(tmp_path / "run")
    record.append(proposed())
    record.close()
    assert list(read(tmp_path / "run")) == [opened(), proposed()]


def test_where_a_line_cannot_even_be_taken_back_nothing_may_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record.create(tmp_path / "run")
    record.append(opened())
    real = os.write

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, line: real(fd, line[:20]))
        patched.setattr(os, "ftruncate", broken)
        with pytest.raises(RecordError):
            record.append(proposed())
    with pytest.raises(RecordError):
        record.append(proposed())
    record.close()
    again = Record.open(tmp_path / "run")
    again.append(proposed())
    again.close()
    assert "line 2 was torn (20 bytes)" in again.notes[0]
    assert list(read(tmp_path / "run")) == [opened(), proposed()]


def test_a_closed_record_takes_nothing_more(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "run")
    record.close()
    record.close()
    with pytest.raises(RecordError):
        record.append(opened())


# Deleted, replaced, cut ---------------------------------------------------------------------------------------------
def replaced(folder: Path) -> None:
    (folder / "other").write_bytes(b"of another program")
    (folder / "other").replace(folder / FILE)


def created_again(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


LOSSES: dict[str, Callable[[Path], object]] = {
    "deleted": shutil.rmtree,
    "deleted with all runs": lambda folder: shutil.rmtree(folder.parent),
    "moved": lambda folder: folder.rename(folder.parent.parent / "away"),
    "replaced": replaced,
    "created again": created_again,
    "cut": lambda folder: os.truncate(folder / FILE, (folder / FILE).stat().st_size - 100),
    "emptied": lambda folder: os.truncate(folder / FILE, 0),
    "also written to": lambda folder: (folder / FILE).write_bytes((folder / FILE).read_bytes() + b"x\n"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_record_that_others_take_away_is_missed_at_the_next_append_and_no_event_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_record(tmp_path / "runs" / "test" / "run", STORY[:1])
    record = Record.open(folder)
    record.append(STORY[1])
    LOSSES[loss](folder)
    left = (folder / FILE).read_bytes() if (folder / FILE).exists() else None
    with pytest.raises(Lost, match=r"record\.jsonl: .* while it was being written; a complete copy is saved") as found:
        record.append(STORY[2])
    with pytest.raises(Lost) as again:
        record.append(STORY[3])
    record.close()
    assert str(again.value) == str(found.value), "saved once"
    assert found.value.exit_code == 5
    saved = Path(str(found.value.saved))
    assert f"`sdl resume {saved}`" in str(found.value)
    assert list(read(saved)) == STORY[:3], "with the event that was to be written"
    assert check(saved).lines == 3
    if left is not None:
        assert (folder / FILE).read_bytes() == left, "what others wrote is theirs"
    if loss != "deleted with all runs":
        assert saved == folder.with_name("run.rescued"), "beside the run"
    Record.open(saved).close()


def test_the_copy_of_a_lost_record_has_the_rows_of_its_prior(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "run")
    write_file(tmp_path / "run" / PRIOR, "rows\n")
    record.append(opened(prior=({"copy_sha256": file_sha(tmp_path / "run" / PRIOR)},)))
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(Lost, match="a complete copy"):
        record.append(proposed())
    record.close()
    assert (tmp_path / "run.rescued" / PRIOR).read_text() == "rows\n"


@pytest.mark.parametrize("loss", ["deleted", "emptied"])
def test_of_a_record_longer_than_what_is_in_memory_the_rest_comes_from_the_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.setattr("sdl.store.record.SAVED_BYTES", 600)
    record = Record.create(tmp_path / "run")
    story = [opened(), *(proposed(n) for n in range(20))]
    for event in story:
        record.append(event)
    LOSSES[loss](tmp_path / "run")
    with pytest.raises(Lost) as found:
        record.append(proposed(20))
    record.close()
    assert ("a complete copy" in str(found.value)) == (loss == "deleted")
    saved = tmp_path / "run.rescued" / FILE
    if loss == "deleted":
        assert list(read(saved)) == [*story, proposed(20)]
    else:
        assert "what was left of it is saved in" in str(found.value)
        assert '"trial": 19,' in saved.read_text()


def test_a_second_copy_takes_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "run.rescued").mkdir()
    record = Record.create(tmp_path / "run")
    record.append(opened())
    (tmp_path / "run" / FILE).unlink()
    with pytest.raises(Lost):
        record.append(proposed())
    record.close()
    assert list(read(tmp_path / "run.rescued-2")) == [opened(), proposed()]


def test_where_no_copy_can_be_saved_the_event_stands_in_the_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record.create(tmp_path / "run")
    record.append(opened())
    (tmp_path / "run" / FILE).unlink()

    def full(path: Path, text: str | bytes) -> None:
        raise Full("no room")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("sdl.store.record.write_file", full)
    with pytest.raises(Lost, match=r'no copy could be saved; the line was: \{"event": "Proposed"') as found:
        record.append(proposed())
    record.close()
    assert found.value.saved is None


def test_a_file_system_that_was_unmounted_is_not_written_to_by_its_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record.create(tmp_path / "runs" / "test" / "run")
    record.append(opened())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("sdl.store.record._device", lambda place: 0)  # of whatever lies under the mount
    shutil.rmtree(tmp_path / "runs" / "test")
    with pytest.raises(Lost) as found:
        record.append(proposed())
    record.close()
    assert found.value.saved == "run.rescued"
    assert list(read(tmp_path / "here" / "run.rescued")) == [opened(), proposed()]


def test_a_plug_in_that_changes_the_working_directory_loses_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = Record.create(Path("runs") / "run")
    monkeypatch.chdir("/")
    record.append(opened())
    record.close()
    assert list(read(tmp_path / "runs" / "run")) == [opened()]


# Links and pipes --------------------------------------------------------------------------------------------------
@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
@pytest.mark.parametrize("name", [FILE, LOCK, SEAL, PRIOR])
@pytest.mark.parametrize("trap", ["link", "pipe"])
def test_a_link_or_a_pipe_in_the_place_of_a_file_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, trap: str
) -> None:
    folder = tmp_path / "run"
    record = Record.create(folder)
    write_file(folder / PRIOR, "rows\n")
    record.append(opened(prior=({"copy_sha256": file_sha(folder / PRIOR)},)))
    record.append(stopped())
    record.close()
    (folder / name).replace(tmp_path / "precious")
    before = (tmp_path / "precious").read_bytes()
    if trap == "link":
        (folder / name).symlink_to(tmp_path / "precious")
    else:
        os.mkfifo(folder / name)
    with pytest.raises(RecordError) as found:
        Record.open(folder)
    said = "it is a link" if trap == "link" else "it is not a regular file"
    assert name in str(found.value)
    assert said in str(found.value) or (name, trap) == (FILE, "pipe")
    assert (tmp_path / "precious").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_torn_piece_and_a_small_file_are_never_written_through_a_link(tmp_path: Path) -> None:
    folder = write_record(tmp_path / "run", STORY[:2])
    with (folder / FILE).open("ab") as stream:
        stream.write(b"torn")
    (folder / "record.torn-1").symlink_to(tmp_path / "nothing")
    (tmp_path / "precious").write_text("mine")
    (folder / f"{SEAL}.new").symlink_to(tmp_path / "precious")
    record = Record.open(folder)
    record.append(STORY[2])
    record.append(STORY[3])
    record.close()
    assert not (tmp_path / "nothing").exists()
    assert (folder / "record.torn-2").read_bytes() == b"torn"
    assert (tmp_path / "precious").read_text() == "mine"
    assert check(folder).sealed


@pytest.mark.parametrize(
    "seal",
    [
        '{"lines": 1e999, "sha": "SHA"}',
        '{"lines": 4.0, "sha": "SHA"}',
        '{"lines": true, "sha": "SHA"}',
        '{"lines": 0, "sha": "SHA"}',
        '{"lines": -1, "sha": "SHA"}',
        '{"lines": "4", "sha": "SHA"}',
        '{"lines": 4, "sha": 5}',
        '{"lines": 4, "sha": "no"}',
        '{"lines": ' + "9" * 900 + ', "sha": "SHA"}',
        '{"lines": ' + "9" * 5000 + ', "sha": "SHA"}',
        "[" * 900,
        "[4]",
        "\xff",
        "",
    ],
)
def test_a_seal_that_no_campaign_wrote_is_damage(tmp_path: Path, seal: str) -> None:
    folder = write_record(tmp_path / "run", STORY)
    sha = check(folder).sha
    (folder / SEAL).write_text(seal.replace("SHA", sha), encoding="latin-1")
    assert_damaged(folder, SEAL)


# Small files ------------------------------------------------------------------------------------------------------
def test_a_small_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    write_file(file, "ä\nold\n")
    assert file.read_bytes() == "ä\nold\n".encode()

    def broken(fd: int) -> None:
        assert file.read_bytes() == "ä\nold\n".encode()  # until the new one is on the disk
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(Full):
            write_file(file, "new\n")
    assert contents(tmp_path) == {"file": "ä\nold\n".encode()}
    write_file(file, "new\n")
    assert contents(tmp_path) == {"file": b"new\n"}


# One writer at a time ---------------------------------------------------------------------------------------------
HOLDER = """
import sys
from pathlib import Path
from sdl.store.record import Record
record = Record.open(Path(sys.argv[1]))
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the record open."""
    folder = write_record(tmp_path / "run", STORY[:2])
    process = subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"holding"
    yield process
    process.kill()
    process.communicate()


def test_a_record_in_use_is_refused_naming_the_holder_and_can_still_be_read(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    before = contents(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(InUse, match=rf"in use by process {holder.pid} on "):
            Record.open(tmp_path / "run")
    assert contents(tmp_path / "run") == before
    assert list(read(tmp_path / "run")) == STORY[:2]


def test_a_holder_that_was_killed_leaves_no_lock(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    assert f"process {holder.pid} on".encode() in contents(tmp_path / "run")[LOCK]  # its name is all that is left
    record = Record.open(tmp_path / "run")
    record.append(STORY[2])
    record.close()
    assert list(read(tmp_path / "run")) == STORY[:3]
