"""Notes and tags: beside the record, whole or not at all, and never over a change that the writer has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdl.errors import ConfigError
from sdl.runs import notes


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    assert notes.read(tmp_path) == notes.Notes()
    written = notes.write(tmp_path, "two\r\nlines", [" a ", "b", "a", ""], 0, "ada", 7.0)
    assert written == notes.Notes(note="two\nlines", tags=("a", "b"), version=1, by="ada", at=7.0)
    assert notes.read(tmp_path) == written


def test_nobody_overwrites_what_they_have_not_seen(tmp_path: Path) -> None:
    notes.write(tmp_path, "first", [], 0, "ada", 7.0)
    with pytest.raises(ConfigError, match="ada changed the notes meanwhile"):
        notes.write(tmp_path, "second", [], 0, "bob", 8.0)
    assert notes.read(tmp_path).note == "first"


@pytest.mark.parametrize(
    ("note", "tags"),
    [("x" * 8001, []), ("", ["t" * 41]), ("", ["a,b"]), ("", ["a\nb"]), ("", [str(n) for n in range(21)])],
)
def test_what_is_too_long_or_no_tag_is_refused(tmp_path: Path, note: str, tags: list[str]) -> None:
    with pytest.raises(ConfigError):
        notes.write(tmp_path, note, tags, 0, "ada", 7.0)
    assert not (tmp_path / notes.FILE).exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"note": 1, "tags": [], "version": 1, "by": "", "at": 0}', "x" * 70000]
)
def test_a_file_of_another_form_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / notes.FILE).write_text(text)
    with pytest.raises(ConfigError, match=r"notes\.json cannot be read"):
        notes.write(tmp_path, "mine", [], 0, "ada", 7.0)
    assert (tmp_path / notes.FILE).read_text() == text
