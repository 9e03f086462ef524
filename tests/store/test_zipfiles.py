"""Files that are copied out of an archive."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path, PurePosixPath

import pytest

from sdl.errors import ConfigError
from sdl.store.zipfiles import Entry, copy_out


def test_a_file_is_copied_with_its_hash_and_refused_where_it_is_larger_than_it_says(tmp_path: Path) -> None:
    name, content = PurePosixPath("a/b"), b"abc"
    digest = copy_out(tmp_path, name, Entry(3, lambda: io.BytesIO(content)), tmp_path / "a" / "b")
    assert digest == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "a" / "b").read_bytes() == content
    with pytest.raises(ConfigError, match="a/b is larger than the archive says"):
        copy_out(tmp_path, name, Entry(2, lambda: io.BytesIO(content)), tmp_path / "c")
