"""Models that are read from TOML files, shipped ones by name and a user's own by path; and values as TOML text."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

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


def toml_items(table: Mapping[str, Any], number: Callable[[float], str] = repr) -> list[str]:
    """`name = value` for each item of a table that holds something; `number` formats the numbers with a fraction."""
    return [f"{toml_key(name)} = {toml_value(value, number)}" for name, value in table.items() if value != {}]


def toml_key(name: str) -> str:
    """A name as a key, in quotes where it needs them."""
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain else json.dumps(name, ensure_ascii=False)


def toml_value(value: Any, number: Callable[[float], str] = repr) -> str:
    """Plain values as TOML text on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(toml_items(value, number)) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item, number) for item in value) + "]"
    if isinstance(value, float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)  # true, false, whole numbers, and text with the escapes of JSON


def toml_comments(lines: Iterable[str]) -> list[str]:
    """Lines as comments."""
    return [f"# {line}".rstrip() for line in lines]
