"""The pages of the documentation that a language model may read, by name."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path

from sdl.errors import ConfigError

FOLDERS = ("reference", "how-to", "explanation", "tutorial")
MAX_PAGE = 60_000  # characters of a page in one answer


@lru_cache(maxsize=1)
def pages() -> dict[str, Path]:
    """The Markdown pages by name: those of the installed package, or of the source tree."""
    installed = Path(str(resources.files("sdl"))) / "docs"
    base = installed if installed.is_dir() else installed.parent.parent / "docs"
    return {path.stem: path for folder in FOLDERS for path in sorted((base / folder).glob("*.md"))}


def titles() -> dict[str, str]:
    """The title of each page, by name."""
    return {name: _text(path).partition("\n")[0].lstrip("# ") for name, path in pages().items()}


def page(name: str, part: int = 0) -> dict[str, object]:
    """A part of a page, with the number of its parts.

    Raises:
        ConfigError: no such page or part.
    """
    if name not in pages():
        raise ConfigError(f"unknown page; allowed: {', '.join(pages()) or 'none is installed'}")
    text = _text(pages()[name])
    count = max(1, -(-len(text) // MAX_PAGE))
    if not 0 <= part < count:
        raise ConfigError(f"{name} has the parts 0 to {count - 1}")
    lines = text[part * MAX_PAGE : (part + 1) * MAX_PAGE].splitlines()
    return {"page": name, "part": part, "parts": count, "lines": lines}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
