"""Reading a growing record incrementally."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from sdl.core.events import Event
from sdl.errors import Damaged, RecordError
from sdl.store.plainfile import open_existing
from sdl.store.record import START, Shared, decode
from sdl.store.resolve import FILE


class TailReader:
    """Reads the new events of a record at each call of `new`, verified against the previous line.

    Args:
        folder: the run's directory.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._offset, self._number, self._sha = 0, 0, START
        self._shared: Shared = {}

    @property
    def offset(self) -> int:
        """Number of bytes that were read."""
        return self._offset

    def new(self) -> list[Event]:
        """The events written since the last call; an incomplete line is left for the next call.

        Raises:
            Damaged: a line does not follow the previous one, or lines that were read are gone.
            RecordError: the file cannot be read.
        """
        return list(self.each())

    def each(self) -> Generator[Event, None, None]:
        """As `new`, one event at a time; the events after the last one that was taken are left for the next call.

        Raises:
            Damaged, RecordError: as `new`.
        """
        try:
            with open_existing(self._file) as stream:
                stream.seek(0, 2)
                if stream.tell() < self._offset:
                    raise Damaged(str(self._file), self._number, "lines that were read before are gone")
                stream.seek(self._offset)
                for line in stream:
                    if not line.endswith(b"\n"):
                        return
                    try:
                        event, self._sha = decode(line[:-1], self._sha, shared=self._shared)
                    except ValueError as error:
                        raise Damaged(str(self._file), self._number + 1, str(error)) from error
                    self._number += 1
                    self._offset += len(line)
                    yield event
        except OSError as error:
            raise RecordError(f"{self._file}: cannot be read: {error.strerror}") from error


def follow(folder: Path, ended: Callable[[Event | None], bool], wait: Callable[[], None]) -> Iterator[Event]:
    """Yield the events of a run as they are written.

    When there is nothing new, `ended` receives the last event (None before the first), and true ends the iteration;
    otherwise `wait` is called.
    """
    tail, last = TailReader(folder), None
    while True:
        new = tail.new()
        for last in new:
            yield last
        if not new:
            if ended(last):
                yield from tail.new()  # written between the last read and the call of `ended`
                return
            wait()
