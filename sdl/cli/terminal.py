"""Output on a terminal: wrapped lines, tables, and streams that write control characters as escapes.

Names of files, campaigns and people, and the replies of an instrument, reach stdout and stderr in many ways. So the
streams escape control characters, not each caller. rich writes to the underlying stream, so its callers escape the
cells.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Container, Iterable, Sequence
from typing import Any, TextIO, cast

from sdl.formatting import aligned, truncate, visible


def width() -> int | None:
    """Columns of the terminal on stdout; None where stdout is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say(text: str, indent: int = 2) -> None:
    """Print one line; on a terminal wrap it between words and indent the rest."""
    columns, text = width(), visible(text)
    if columns is not None and len(text) > columns:
        wrapper = textwrap.TextWrapper(max(columns, 20), break_long_words=False, break_on_hyphens=False)
        wrapper.subsequent_indent = " " * indent
        text = wrapper.fill(text)
    print(text)


def print_table(rows: Sequence[Sequence[str]], left_aligned: Container[int]) -> None:
    """Print a table as by `aligned`; on a terminal its lines are truncated to the width."""
    columns = width()
    lines = [visible(line) for line in aligned(rows, left_aligned)]
    print("\n".join(lines if columns is None else [truncate(line, columns) for line in lines]))


class Escaped:
    """A text stream that writes control characters as escapes, `\\x1b` for ESC; else like the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """The stream behind; rich writes to the attribute of this name."""

    def write(self, text: str) -> int:
        """Write a text with its control characters escaped."""
        return self.rich_proxied_file.write(visible(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts with their control characters escaped."""
        self.rich_proxied_file.writelines(map(visible, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def escaped(stream: TextIO) -> TextIO:
    """The stream with control characters escaped."""
    return stream if isinstance(stream, Escaped) else cast("TextIO", Escaped(stream))
