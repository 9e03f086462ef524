"""Self-contained HTML pages: they need no network and no script, and open from a mail attachment.

Jinja escapes all text of a record. A Content-Security-Policy allows only our style sheet, by its hash, and pictures
that are part of the page. `templates/base.*` is also the base of the web pages.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from sdl.errors import ConfigError, translated_os_errors
from sdl.formatting import visible
from sdl.report import style
from sdl.report.figures import draw, known
from sdl.report.figures.relevance import speaks
from sdl.report.summary import summary
from sdl.report.svg import inline
from sdl.report.table import TrialTable
from sdl.runs.runs import Run

OURS = "<!doctype html>\n<!-- made by sdl -->"
"""First bytes of our pages: such a file may be overwritten, any other is not."""

SVG = "data:image/svg+xml;base64,"
"""Beginning of the address of a figure that is part of a page."""

NOTEBOOK_STYLE = "max-width:48rem;border:1px solid #999;border-radius:.4rem;padding:.6rem 1rem"
TEMPLATES = Path(__file__).parent / "templates"


def run_page(run: Run | TrialTable, names: Sequence[str] = ()) -> str:
    """The report on a run.

    Args:
        run: the run.
        names: names of the figures; by default those that say something about this run.

    Raises:
        ConfigError: there is no such figure.
    """
    table = TrialTable.of(run)
    figures, left_out = [], []
    for name in names or known():
        drawn = draw(table, name) if names or speaks(table, name) else None
        if drawn is None:
            left_out.append(name)
        else:
            figures.append(picture(drawn, *known()[name].caption(table)))
    return render("run.html.j2", title=table.run.opened.campaign, f=summary(table), figures=figures, left_out=left_out)


def piece(run: Run | TrialTable, name: str) -> str:
    """One part of a report as escaped HTML: outcome, settings, channels, trials or about."""
    table = TrialTable.of(run)
    module: Any = environment(finalize=_shown).get_template("pieces.html.j2").module
    return str(getattr(module, name)(summary(table)))


def notebook_html(run: Run) -> str:
    """The HTML of a run in a notebook; all text from the record is escaped."""
    table = TrialTable(run)
    parts = [piece(table, name) for name in ("outcome", "settings", "channels")]
    text = "".join(parts).replace('class="swatch"', 'style="width:6rem;height:2rem"')
    name = escape(visible(f"{run.opened.campaign}, {run.folder.name}"))
    more = "<p>run.figure(&quot;settings&quot;), run.to_pandas()</p>" if run.measured() else ""
    return f'<div style="{NOTEBOOK_STYLE}"><strong>{name}</strong>{text}{more}</div>'


def picture(figure: Figure, title: str, text: str) -> dict[str, str]:
    """Values for the macro `figure`: a data URI of an SVG that follows the reader's light or dark mode."""
    drawn = style.themed(style.svg(figure))
    points = re.findall(rb'width="([\d.]+)pt" height="([\d.]+)pt"', drawn)[0]
    wide, high = (str(round(float(part) * 4 / 3)) for part in points)
    source = SVG + base64.b64encode(drawn).decode("ascii")
    return {"title": title, "text": text, "source": source, "width": wide, "height": high}


def inline_figures(page: str) -> list[dict[str, Any]]:
    """The figures of a report for a page of the site: title, text, and the SVG with the colours of that page.

    Args:
        page: made by `run_page`.
    """
    found = re.findall(
        r'<figure><h3>(.*?)</h3><figcaption>(.*?)</figcaption><img [^>]*src="data:image/svg\+xml;base64,([^"]*)">', page
    )
    colours = {f"var(--c{n})": f"var(--{name})" for n, name in enumerate(("ink", "faint", "line", "paper", "band"))}
    figures = []
    for n, (title, text, source) in enumerate(found):
        drawn = inline(base64.b64decode(source).decode(), f"f{n}", colours, unescape(title))
        figures.append({"title": Markup(title), "text": Markup(text), "svg": Markup(drawn)})
    return figures


THEMES = {"dark": "screen", "light": "not all"}
"""The themes that a reader can choose, and the media for which the colours of the dark one then hold."""


def with_theme(page: bytes, theme: str) -> bytes:
    """A page of ours in one theme, its figures included, whatever the mode of the reader's system is.

    Args:
        page: made by `render`.
        theme: a key of `THEMES`.
    """
    dark, media = "@media screen and (prefers-color-scheme:dark)", f"@media {THEMES[theme]}"

    def themed(text: str) -> str:
        return text.replace(dark, media).replace("color-scheme:light dark", f"color-scheme:{theme}")

    def figure(found: re.Match[str]) -> str:
        drawn = themed(base64.b64decode(found[1]).decode())
        return SVG + base64.b64encode(drawn.encode()).decode("ascii")

    text = re.sub(re.escape(SVG) + "([A-Za-z0-9+/=]*)", figure, page.decode())
    css = text.partition("<style>")[2].partition("</style>")[0]
    return text.replace(_digest(css), _digest(themed(css)), 1).replace(css, themed(css), 1).encode()


def _digest(css: str) -> str:
    """The hash by which the policy of a page allows its style sheet."""
    return base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")


def render(template: str, **values: Any) -> str:
    """A page with its style sheet, from a template that extends frame.html.j2 and uses these values."""
    css = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("base.css", "report.css"))
    digest = _digest(css)
    page = environment(finalize=_shown).get_template(template)
    text = page.render(css=Markup(css), css_hash=Markup(digest), **values)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # surrogates of a file name stay readable


def environment(*folders: Path, **options: Any) -> jinja2.Environment:
    """The Jinja environment of our templates: all text is escaped, and an undefined name is an error.

    Templates in `folders` come before ours; `options` are those of jinja2.Environment.
    """
    loader = jinja2.FileSystemLoader([*folders, TEMPLATES])
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, **options)


def _shown(value: Any) -> Any:
    """Text of a record with control characters escaped; our own markup is unchanged."""
    return visible(value) if type(value) is str else value


def write(path: Path, text: str) -> None:
    """Write a page completely or not at all; only pages made by sdl are overwritten.

    Raises:
        ConfigError: the file was not made by sdl, or it cannot be written.
    """
    check(path)
    with translated_os_errors(path):
        save(path, text.encode("utf-8"))


def check(path: Path) -> None:
    """Check that a page may be written there.

    Raises:
        ConfigError: the file was not made by sdl, or it cannot be read.
    """
    with translated_os_errors(path, "read"):
        if path.exists():
            with path.open("rb") as stream:
                if stream.read(len(OURS)) != OURS.encode():
                    raise ConfigError(f"{path} exists and was not made by sdl; choose another file with -o")


def save(path: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def figure_files(run: Run | TrialTable, folder: Path, kinds: Sequence[str], names: Sequence[str] = ()) -> list[Path]:
    """Write figures of a run, by default all, into a folder, which is created if missing, as `png` or `svg` files.

    Raises:
        ConfigError: there is no such figure, or the folder cannot be written to.
    """
    table = TrialTable.of(run)
    made: Mapping[str, Any] = {"png": style.png, "svg": style.svg}
    written = []
    with translated_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names or known():
            drawn = draw(table, name)
            for kind in kinds if drawn is not None else ():
                path = folder / f"{name}.{kind}"
                save(path, made[kind](drawn))
                written.append(path)
    return written
