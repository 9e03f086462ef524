"""Files of ours: no link is followed, nothing but a regular file is opened, and what others do to one is seen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sdl.store.plainfile import describe_change, open_existing, open_fd, open_new

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
WAYS = [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREAT]


@pytest.mark.parametrize("flags", WAYS)
def test_a_link_is_not_followed_and_what_it_leads_to_stays(tmp_path: Path, flags: int) -> None:
    (tmp_path / "precious").write_text("mine")
    for target in ("precious", "nothing"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / target)
        with pytest.raises(OSError, match="it is a link, and links are not followed here"):
            open_fd(tmp_path / "link", flags)
    assert {file.name for file in tmp_path.iterdir()} == {"precious", "link"}
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_link_that_the_user_named_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    with open_existing(tmp_path / "link", follow=True) as stream:
        assert stream.read() == b"mine"


@pytest.mark.parametrize("flags", WAYS)
def test_a_pipe_is_refused_at_once_and_so_is_a_directory(tmp_path: Path, flags: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    said: list[str] = []

    def look() -> None:
        for name in ("pipe", "folder"):
            try:
                open_fd(tmp_path / name, flags)
            except OSError as error:
                said.append(str(error.strerror))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(30)
    assert said[0] == "it is not a regular file"
    assert said[1] in ("it is not a regular file", "Is a directory")


def test_a_file_made_anew_takes_the_place_of_a_link_and_leaves_what_it_led_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with open_new(tmp_path / "link") as stream:
        stream.write(b"new")
    assert (tmp_path / "link").read_text() == "new"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "precious").read_text() == "mine"


def replace(file: Path) -> None:
    (file.parent / "other").write_bytes(file.read_bytes())
    (file.parent / "other").replace(file)


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda file: None, ""),
        (os.utime, ""),
        (Path.unlink, "was deleted"),
        (lambda file: file.parent.rename(file.parent.parent / "away"), "its folder was moved"),
        (replace, "was replaced by another file"),
        (lambda file: os.truncate(file, 3), "was cut from 5 to 3 bytes"),
        (lambda file: file.write_text("longer"), "was also written to by another program (1 bytes)"),
    ],
)
def test_what_others_did_to_an_open_file_is_told_from_its_name_inode_and_size(
    tmp_path: Path, do: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "runs").mkdir()
    file = tmp_path / "runs" / "file"
    file.write_text("12345")
    with file.open("ab") as stream:
        do(file)
        said = describe_change(stream.fileno(), file, 5)
    assert words in said
    assert bool(words) == bool(said)
