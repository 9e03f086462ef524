"""Small SVGs from those that matplotlib writes, for pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape

TOKEN = re.compile(r"<[^>]*>|[^<]+")
MARKER = r'<use(?: trial="\d+")? href="#\w+" x="[^"]*" y="[^"]*"'
TRIALS = "trials"
"""Beginning of the id of points that say their trials on hover: `trials-4-5-6`, in order."""


def compact(drawn: bytes) -> str:
    """The same picture with fewer bytes: about three fifths of what matplotlib wrote.

    Coordinates are cut to tenths of a point, those below 10 to hundredths. Left out are space, metadata, comments, ids
    that nothing refers to and groups without attributes; the other ids are shortened. Equal markers share their style.
    Points of `trials_id` get titles.
    """
    text = drawn.decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r">\s+<", "><", re.sub(r"\s+", " ", text))
    text = re.sub(r'style="[^"]*"', lambda match: re.sub(r"([:;]) ", r"\1", match[0]), text)
    # Glyphs keep their size, so numbers in scale(…) are not cut; small numbers are those of markers.
    text = re.sub(r"(scale\([^)]*\))|(\d\d\.\d|(?<!\d)\d\.\d\d)\d+", lambda match: match[1] or match[2], text)
    text = re.sub(r' d="([^"]*)"', lambda match: f' d="{_path(match[1])}"', text)
    text = re.sub(rf'<g id="{TRIALS}-([\d-]+)">(.*?</g>)</g>', _with_trials, text)
    text = _with_shared_styles("".join(_without_bare_groups(_short_ids(text))))
    return re.sub(r'<use trial="(\d+)"([^>]*)/>', r"<use\2><title>trial \1</title></use>", text)


def trials_id(trials: Iterable[float]) -> str:
    """The id (`set_gid`) of a line of points, for titles `trial 4` that a browser shows on hover."""
    return "-".join([TRIALS, *(f"{trial:.0f}" for trial in trials)])


def inline(drawn: str, prefix: str, colours: Mapping[str, str], label: str) -> str:
    """A picture made by `compact`, for insertion into a page whose policy forbids inline styles.

    Args:
        drawn: the SVG.
        prefix: prefix of its ids, because ids must be unique on a page.
        colours: replacements of texts, such as `var(--c0)` by a variable of the page.
        label: what the picture shows, for readers who cannot see it.
    """
    text = re.sub(r"<style[^>]*>.*?</style>", "", drawn)
    text = re.sub(r'( id="|href="#|url\(#)', lambda match: match[1] + prefix, text)
    text = re.sub(r' style="([^"]*)"', lambda match: "".join(_attributes(match[1])), text)
    for old, new in colours.items():
        text = text.replace(old, new)
    head = f'<svg role="img" aria-label="{escape(label)}" stroke-linejoin="round"'
    return text.replace("<svg", head, 1)


def _attributes(style: str) -> Iterator[str]:
    """Presentation attributes in place of a style."""
    for part in filter(None, style.split(";")):
        name, _, value = part.partition(":")
        yield f' {name.strip()}="{value.strip()}"'


def _with_trials(match: re.Match[str]) -> str:
    """The markers of a group with the numbers of their trials, unless some are not drawn."""
    trials = match[1].split("-")
    pieces = match[2].split("<use ")
    if len(pieces) != len(trials) + 1:
        return match[0]
    marked = [f'<use trial="{trial}" {piece}' for trial, piece in zip(trials, pieces[1:], strict=True)]
    return f"<g>{pieces[0]}{''.join(marked)}</g>"


def _path(commands: str) -> str:
    """The data of a path without needless spaces and zeros."""
    commands = re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", commands)
    commands = re.sub(r"\.(?=\D|$)", "", commands)
    return re.sub(r" ?([A-Za-z]) ?", r"\1", commands).replace(" -", "-").strip()


def _short_ids(text: str) -> str:
    """Short ids for elements that are referred to, and none for the others."""
    text = text.replace("xlink:href", "href")
    used = dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', text))
    short = {name: f"{'abcdefghij'[n % 10]}{n // 10 or ''}" for n, name in enumerate(used)}
    text = re.sub(r' id="([^"]*)"', lambda match: f' id="{short[match[1]]}"' if match[1] in short else "", text)
    return re.sub(r'(href="|url\()#([^")]+)', lambda match: f"{match[1]}#{short[match[2]]}", text)


def _with_shared_styles(text: str) -> str:
    """Equal markers that follow each other, in one group with their style."""
    run = rf'{MARKER}( style="[^"]*")/>(?:{MARKER}\1/>)+'
    return re.sub(run, lambda match: f"<g{match[1]}>{match[0].replace(match[1], '')}</g>", text)


def _without_bare_groups(text: str) -> Iterator[str]:
    """The tokens of a document without `<g>` elements that have no attribute, and their ends."""
    kept: list[bool] = []
    for token in TOKEN.findall(text):
        if token == "<g>":
            kept.append(False)
        elif token.startswith("<g ") and not token.endswith("/>"):
            kept.append(True)
            yield token
        elif token == "</g>":
            if kept.pop():
                yield token
        elif token != "<g/>":
            yield token
