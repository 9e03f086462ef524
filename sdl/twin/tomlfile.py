"""Models that are read from TOML files: shipped ones by name, a user's own by path."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def shipped(folder: Path) -> tuple[str, ...]:
    """The names of the files in a folder of `sdl`."""
    return tuple(sorted(file.stem for file in folder.glob("*.toml")))


def locate(name: str, folder: Path) -> Path:
    """The file of a shipped name, or of a path that ends in `.toml`.

    Raises:
        ValueError: there is none; the message lists the shipped names.
    """
    kind, known = folder.name.removesuffix("s"), ", ".join(shipped(folder))
    if name.endswith(".toml"):
        file = Path(name).expanduser()
        if not file.is_file():
            raise ValueError(f"no such file: {name!r}; shipped {kind}s: {known}")
        return file.resolve()
    if name not in shipped(folder):
        raise ValueError(f"unknown {kind} {name!r}; allowed: {known}, or the path of a .toml file")
    return folder / f"{name}.toml"


def load(model: type[M], name: str, folder: Path) -> M:
    """Read and validate a model.

    Raises:
        ValueError: the file cannot be found, read or understood; the message names the wrong key.
    """
    loaded: M = _parse(model, *read(name, folder))
    return loaded


def read(name: str, folder: Path) -> tuple[Path, bytes]:
    """A file and its content.

    Raises:
        ValueError: it cannot be found or read.
    """
    file = locate(name, folder)
    try:
        return file, file.read_bytes()
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from error


@lru_cache(maxsize=24)
def _parse(model: type[M], file: Path, content: bytes) -> M:
    try:
        return model.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}".removeprefix(": ") for e in error.errors())
        raise ValueError(f"{file}: {'; '.join(problems)}") from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
