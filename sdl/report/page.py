"""One self-contained HTML page about a run: no network, no script, opens from a mail attachment.

Everything that a record says is text to a page: Jinja escapes it, and a Content-Security-Policy allows nothing but our
one style sheet, by its hash, and pictures that are in the page itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError
from sdl.extras import missing
from sdl.formatting import visible
from sdl.report import style
from sdl.report.digest import TrialTable
from sdl.report.figures import draw, known
from sdl.report.summary import facts

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

    from sdl.runs.runs import Run

OURS = "<!doctype html>\n<!-- made by sdl -->"
"""How our pages begin: such a file may be written anew, any other is left alone."""

TEMPLATES = Path(__file__).parent / "templates"


def run_page(run: Run | TrialTable) -> str:
    """The page of a run, with every figure that has something to show."""
    told = run if isinstance(run, TrialTable) else TrialTable(run)
    figures, left_out = [], []
    for name, kind in known().items():
        drawn = draw(told, name)
        title, text = kind.said(told)
        if drawn is None:
            left_out.append(title.lower())
        else:
            figures.append(picture(drawn, title, text))
    return render("run.html.j2", title=told.run.opened.campaign, f=facts(told), figures=figures, left_out=left_out)


def piece(run: Run | TrialTable, name: str) -> str:
    """One piece as HTML, escaped, for another page: outcome, settings, channels, trials or about."""
    told = run if isinstance(run, TrialTable) else TrialTable(run)
    module: Any = environment().get_template("pieces.html.j2").module
    return str(getattr(module, name)(facts(told)))


def picture(figure: Figure, title: str, text: str) -> dict[str, str]:
    """A figure for `piece.figure`: its source is a data URI of an SVG that follows the reader's light or dark."""
    drawn = style.themed(style.svg(figure))
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"', drawn) or re.search(rb"()()", b"")
    wide, high = (str(round(float(part) * 4 / 3)) if part else "" for part in (size[1], size[2])) if size else ("", "")
    source = "data:image/svg+xml;base64," + base64.b64encode(drawn).decode("ascii")
    return {"title": title, "text": text, "source": source, "width": wide, "height": high}


def render(template: str, **values: Any) -> str:
    """A page of ours, its style sheet in it.

    Args:
        template: a file of `templates` that extends frame.html.j2.
        values: what it asks for; `title` is always asked for.
    """
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    from markupsafe import Markup

    text = environment().get_template(template).render(css=Markup(css), css_hash=Markup(digest), **values)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # half a character of a file name stays readable


def environment() -> Environment:
    """Jinja over our templates: everything escaped, every name that is missing an error.

    Raises:
        ConfigError: Jinja is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ConfigError(missing("pages", "", error)) from error
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )


def _shown(value: Any) -> Any:
    """Text of a record without signs that turn what stands beside them around; what is markup of ours as it is."""
    return visible(value) if type(value) is str else value


def write(path: Path, text: str) -> None:
    """Writes a page, whole or not at all; one of ours is replaced, nothing else.

    Raises:
        ConfigError: something else is there, or it cannot be written.
    """
    check(path)
    try:
        save(path, text.encode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def check(path: Path) -> None:
    """Whether a page may be written there.

    Raises:
        ConfigError: something else is there, or it cannot be read.
    """
    try:
        if path.exists():
            with path.open("rb") as stream:
                if stream.read(len(OURS)) != OURS.encode():
                    raise ConfigError(f"{path} exists and is no page of ours; name another file with -o")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def save(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def figure_files(run: Run | TrialTable, folder: Path, kinds: Sequence[str]) -> list[Path]:
    """Every figure of a run as a file.

    Args:
        run: opened.
        folder: is made where it is not there.
        kinds: `png`, `svg`.

    Raises:
        ConfigError: it cannot be written.
    """
    told = run if isinstance(run, TrialTable) else TrialTable(run)
    made: Mapping[str, Any] = {"png": style.png, "svg": style.svg}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in known():
            drawn = draw(told, name)
            for kind in kinds if drawn is not None else ():
                path = folder / f"{name}.{kind}"
                save(path, made[kind](drawn))
                written.append(path)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
    return written
