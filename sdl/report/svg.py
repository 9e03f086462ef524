"""Small SVGs from those that matplotlib writes, for pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(r"<[^>]*>|[^<]+")


def compact(drawn: bytes) -> str:
    """The same picture with fewer bytes: about three fifths of what matplotlib wrote.

    Coordinates are cut to tenths of a point, those below 10 to hundredths. Left out are space, metadata, comments, ids
    that nothing refers to and groups without attributes; the other ids are shortened. Equal markers share their style.
    """
    text = drawn.decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r">\s+<", "><", re.sub(r"\s+", " ", text))
    text = re.sub(r'style="[^"]*"', lambda match: re.sub(r"([:;]) ", r"\1", match[0]), text)
    # Glyphs keep their size, so numbers in scale(…) are not cut; small numbers are those of markers.
    text = re.sub(r"(scale\([^)]*\))|(\d\d\.\d|(?<!\d)\d\.\d\d)\d+", lambda match: match[1] or match[2], text)
    text = re.sub(r' d="([^"]*)"', lambda match: f' d="{_path(match[1])}"', text)
    plain = "".join(_without_bare_groups(_short_ids(text)))
    return _with_shared_styles(plain)


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
    marker = r'<use href="#\w+" x="[^"]*" y="[^"]*"'
    run = rf'{marker}( style="[^"]*")/>(?:{marker}\1/>)+'
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
