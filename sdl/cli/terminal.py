"""The border to the terminal: whatever is printed, logged or raised, nothing in it steers the terminal.

Names of files, campaigns and people, and what an instrument answers, reach stdout and stderr on many ways. So it is
the streams that spell out control characters, not each of those who print. What draws tables and bars (rich) writes to
the stream behind, and has its cells made visible by those who fill them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO, cast

from sdl.formatting import visible


class Spelled:
    """A text stream on which control characters are spelled out, `\\x1b` for ESC; else as the stream behind."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """Where rich writes to, which finds it by this name."""

    def write(self, text: str) -> int:
        """Writes it, spelled."""
        return self.rich_proxied_file.write(visible(text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes all, spelled."""
        self.rich_proxied_file.writelines(map(visible, lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def spelled(stream: TextIO) -> TextIO:
    """The stream, spelling out control characters from now on."""
    return stream if isinstance(stream, Spelled) else cast("TextIO", Spelled(stream))


def raw(stream: TextIO) -> TextIO:
    """The stream behind one that is spelled, for our own control characters."""
    return stream.rich_proxied_file if isinstance(stream, Spelled) else stream
