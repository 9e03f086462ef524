"""What mkdocs does not know of the documentation: its order, the files outside docs/, the Python interface.

Pages link to files of the repository, as they do where they are read in a clone. Each such file becomes a page below
`repository/`, with its source if it is no Markdown, and the links lead there. A link to a file that does not exist is
left as it is, so that a strict build fails.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import notebook_pages
from mkdocs.structure.files import File, InclusionLevel

log = logging.getLogger("mkdocs.hooks.sdl")

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = "repository"  # where files outside docs/ are in the site
SECTIONS = {
    "Tutorial": "tutorial",
    "How-to guides": "how-to",
    "Reference": "reference",
    "Explanation": "explanation",
    "Decisions": "decisions",
}
API = "reference/api.md"
INTERFACE = {
    "Campaigns": ("sdl.run", "sdl.resume", "sdl.open_campaign", "sdl.OpenCampaign", "sdl.Request", "sdl.Result"),
    "Runs": ("sdl.open_run", "sdl.Run", "sdl.list_runs"),
    "Data sets": ("sdl.solve", "sdl.Solution"),
    "Solvers for other loops": ("sdl.asktell.Generator",),
    "Contracts of plug-ins": (
        *("sdl.solvers.base.Solver", "sdl.solvers.base.Fitted", "sdl.solvers.base.Data", "sdl.solvers.base.Targets"),
        *("sdl.solvers.base.Proposals", "sdl.drivers.base.Instrument", "sdl.drivers.base.Driver"),
        *("sdl.designs.base.Design", "sdl.core.stopping.Rule", "sdl.report.figures.FigureKind"),
    ),
    "Values": ("sdl.types.Input", "sdl.types.Channel", "sdl.types.Reading", "sdl.types.SafeState"),
    "Errors": ("sdl.errors",),
}
BOOST = {"tutorial": 4.0, "how-to": 4.0, "explanation": 2.0, "reference": 1.0, "decisions": 0.2, OUTSIDE: 0.2}
"""Weight of the pages of each folder in the search: people ask for what to do before they ask why it is so."""
LESS = {API: 0.3, "reference/constants.md": 0.2}
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")
PARAGRAPH, CODE = re.compile(r"<p>(.*?)</p>", re.DOTALL), re.compile(r"<pre.*?</pre>", re.DOTALL)
LOST_LIST = re.compile(r"\n((?:- |\d+\. |\| ).{0,40})")
FENCE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".cff": "yaml", ".json": "json"}


def on_config(config: Any) -> Any:
    """Set the anchors and the navigation: a section per folder, its pages in the order of docs/README.md."""
    order = list(LINK.findall((DOCS / "README.md").read_text(encoding="utf-8")))
    config.mdx_configs["toc"]["slugify"] = anchor
    config.nav = [{"Home": "README.md"}]
    for title, folder in SECTIONS.items():
        pages = [f"{folder}/{path.name}" for path in sorted((DOCS / folder).glob("*.md")) if path.name != "COPYME.md"]
        pages.sort(key=lambda page: order.index(page) if page in order else len(order))
        config.nav.append({title: [*([f"{folder}/index.md"] if folder == "decisions" else []), *pages]})
        if folder == "reference":
            config.nav[-1][title].append(API)
        if folder == "tutorial":
            config.nav.append({"Notebooks": sorted(map(notebook_pages.place, _notebooks()), key=_rank(order))})
    config.nav.append({"Project": [*sorted(_place(path) for path in _outside() if path.suffix == ".md"), *_loose()]})
    return config


def _notebooks() -> list[Path]:
    return sorted(notebook_pages.NOTEBOOKS.glob("*.ipynb"))


def _rank(order: list[str]) -> Callable[[str], int]:
    """The place of a notebook's page by the links of docs/README.md."""
    stems = [PurePosixPath(link).stem for link in order if link.endswith(".ipynb")]
    return lambda page: stems.index(PurePosixPath(page).stem) if PurePosixPath(page).stem in stems else len(stems)


def anchor(heading: str, separator: str) -> str:
    """The anchor of a heading, as GitHub makes it: links work in a clone and in the site."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    made = {
        API: _interface(),
        "decisions/index.md": _decisions(),
        "assets/iframe-worker.js": (ROOT / "tools" / "site" / "iframe-worker.js").read_text(encoding="utf-8"),
        **{_place(path): _content(path) for path in {*_outside(), *_notebooks()}},
    }
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    for file in files:
        if file.src_uri == "decisions/COPYME.md" or (file.src_uri.startswith(OUTSIDE) and not _is_page(file.src_uri)):
            file.inclusion = InclusionLevel.NOT_IN_NAV
    return files


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Let links to files of the repository lead to their pages; weigh the page in the search."""
    place = page.file.src_uri
    page.meta.pop("tags", None)  # those of paper.md: the search puts every page with a matching tag first
    page.meta.setdefault("search", {}).setdefault("boost", LESS.get(place, BOOST.get(place.partition("/")[0], 1.0)))
    source = _source(page.file.src_uri)
    return _links(text, source, page.file.src_uri) if source.suffix == ".md" else text


def on_page_content(html: str, page: Any, **_: Any) -> None:
    """Warn of a list that is shown as running text, because no empty line is before it."""
    for paragraph in PARAGRAPH.findall(CODE.sub("", html)):
        if match := LOST_LIST.search(paragraph):
            log.warning("Doc file '%s' needs an empty line before the list at %r", page.file.src_uri, match[1])


def _links(text: str, source: Path, place: str) -> str:
    """The text with every relative link as it is in the site; code is left as it is."""

    def target(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(source.parent / match[1]))
        if not path.exists() or not path.is_relative_to(ROOT):
            return match[1]
        there = f"{path.relative_to(DOCS).as_posix()}/index.md" if path.is_dir() else _place(path)
        return posixpath.relpath(there, posixpath.dirname(place))

    parts, end = [], 0
    for code in FENCE.finditer(text):
        parts += [LINK.sub(target, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(target, text[end:])])


def _outside() -> list[Path]:
    """The files outside docs/ that pages link to, and those that these link to."""
    waiting, seen = sorted(DOCS.rglob("*.md")), set[Path]()
    while waiting:
        path = waiting.pop()
        for linked in _linked(path):
            if (
                linked.is_file()
                and linked.is_relative_to(ROOT)
                and not linked.is_relative_to(DOCS)
                and linked not in seen
            ):
                seen.add(linked)
                waiting += [linked] if linked.suffix == ".md" else []
    return sorted(seen)


def _linked(page: Path) -> Iterator[Path]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return (Path(os.path.normpath(page.parent / target)) for target in LINK.findall(text))


def _place(path: Path) -> str:
    """Where a file of the repository is in the site."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    if path.suffix == ".ipynb":
        return notebook_pages.place(path)
    name = path.relative_to(ROOT).as_posix()
    return f"{OUTSIDE}/{name}" if name.endswith(".md") else f"{OUTSIDE}/{name}.md"


def _is_page(place: str) -> bool:
    """Whether a page of the site is Markdown in the repository as well."""
    return _source(place).suffix == ".md" and _source(place).is_file()


def _source(place: str) -> Path:
    """The file of the repository that a page of the site shows."""
    outside = place.startswith(f"{OUTSIDE}/")
    return ROOT / place.removeprefix(f"{OUTSIDE}/") if outside else DOCS / place


def _content(path: Path) -> str:
    """A Markdown file as it is; another one as a page with its source."""
    if path.suffix == ".ipynb":
        return notebook_pages.page(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    fence = "`" * (3 + max((len(ticks) for ticks in re.findall(r"`+", text)), default=0))
    name = path.relative_to(ROOT).as_posix()
    return (
        f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text}{fence}\n"
    )


def _loose() -> list[str]:
    """Pages of docs/ that belong to no section."""
    return [path.name for path in sorted(DOCS.glob("*.md")) if path.name != "README.md"]


def _decisions() -> str:
    """The list of decision records."""
    lines = ["# Decisions", "", "Each choice that may be questioned later, with its reasons and figures.", ""]
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        lines.append(f"- [{path.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')}]({path.name})")
    return "\n".join(lines) + "\n"


def _interface() -> str:
    """The public names by topic, for mkdocstrings."""
    lines = [
        "# Python interface",
        "",
        "The public names of the package `sdl`, and the contracts that plug-ins keep.",
        "",
    ]
    for title, names in INTERFACE.items():
        lines += [f"## {title}", "", *(f"::: {name}\n" for name in names)]
    return "\n".join(lines) + "\n"
