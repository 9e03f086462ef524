"""Models that are read from TOML files: shipped ones by name, a user's own by path."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


class TomlFiles(Generic[M]):
    """The files of one model.

    Args:
        model: validates their content.
        folder: folder of the shipped files.
    """

    def __init__(self, model: type[M], folder: Path) -> None:
        self._folder, self._kind = folder, folder.name.removesuffix("s")
        self._parse = lru_cache(maxsize=24)(lambda file, content: _parse(model, file, content))

    def shipped(self) -> tuple[str, ...]:
        """The names of the shipped files."""
        return tuple(sorted(file.stem for file in self._folder.glob("*.toml")))

    def locate(self, name: str) -> Path:
        """The file of a shipped name, or of a path that ends in `.toml`.

        Raises:
            ValueError: there is no such file; the message lists the shipped names.
        """
        known = ", ".join(self.shipped())
        if name.endswith(".toml"):
            file = Path(name).expanduser()
            if not file.is_file():
                raise ValueError(f"no such file: {name!r}; shipped {self._kind}s: {known}")
            return file.resolve()
        if name not in self.shipped():
            raise ValueError(f"unknown {self._kind} {name!r}; allowed: {known}, or the path of a .toml file")
        return self._folder / f"{name}.toml"

    def load(self, name: str) -> M:
        """Read and validate a model.

        Raises:
            ValueError: the file cannot be found, read or understood; the message names the wrong key.
        """
        model: M = self._parse(*self._read(name))
        return model

    def fingerprint(self, name: str) -> str:
        """The name of a shipped file; name and content hash of a user's file."""
        file, content = self._read(name)
        return file.stem if file.parent == self._folder else f"{file.stem}@{sha256(content).hexdigest()[:8]}"

    def _read(self, name: str) -> tuple[Path, bytes]:
        file = self.locate(name)
        try:
            return file, file.read_bytes()
        except OSError as error:
            raise ValueError(f"{name}: {error.strerror}") from error


def _parse(model: type[M], file: Path, content: bytes) -> M:
    try:
        return model.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}".removeprefix(": ") for e in error.errors())
        raise ValueError(f"{file}: {'; '.join(problems)}") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
