"""YAML text as plain values, with the line of each key. The only importer of yaml.

YAML 1.2's core scalars (PyYAML's 1.1 turns `20:00` into 1200, `on` into True, `010` into 8 and `1e3` into text), no
anchors, aliases, tags or second documents, no duplicate keys, and limits on size and depth that are checked before
anything is built. Sequences become tuples, as frozen models want them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sdl.errors import ConfigError, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_VALUES = 10_000
MAX_WHOLE = 2**63

Path_ = tuple[str | int, ...]

_SURROGATE = re.compile("[\ud800-\udfff]")
_SCALARS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("null", re.compile(r"(?:|~|null|Null|NULL)")),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (
        "float",
        re.compile(
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed file: its plain value, the line (from 1) of each path in it, and the duplicate keys."""

    value: Any
    lines: dict[Path_, int]
    file: str
    problems: tuple[Problem, ...] = ()

    def line(self, dotted: str) -> int | None:
        """The line of a path such as `a.b.0`, or of its nearest ancestor that exists."""
        path: Path_ = ()
        for part in dotted.split("."):
            here = (*path, part)
            if here not in self.lines and part.isdecimal() and len(part) < 10:
                here = (*path, int(part))
            if here not in self.lines:
                break
            path = here
        return self.lines.get(path)


def read(file: Path) -> Tree:
    """Read a YAML file.

    Raises:
        ConfigError: the file cannot be read, is too large, or is not YAML as described above; with file and line.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero in the name
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(Problem(f"cannot be read: {reason}", file=str(file))) from error
    if len(raw) > MAX_BYTES:
        message = f"larger than {MAX_BYTES // 1024} kB; a campaign file is a page or two"
        raise ConfigError(Problem(message, file=str(file)))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(Problem(f"not UTF-8 text: {error.reason}", file=str(file), line=line)) from error
    return parse(text, str(file))


def parse(text: str, file: str = "") -> Tree:
    """Parse YAML text; `file` is for messages.

    Raises:
        ConfigError: the text is not YAML as described above; with line. Duplicate keys are returned as problems.
    """
    problems: list[Problem] = []
    lines: dict[Path_, int] = {}
    try:
        node: yaml.Node | None = _Loader(text, file).get_single_node()
        if node is None:
            raise ConfigError(Problem("empty", file=file, line=1))
        value = _build(node, (), lines, problems, file)
    except yaml.YAMLError as error:
        raise ConfigError(_problem(error, text, file)) from error
    return Tree(value, lines, file, tuple(problems))


def scalar(text: str) -> Any:
    """A value parsed as in a file, for `--set key=value`: `80`, `2%`, `{kind: gmm}`, `[1, 2]`.

    Raises:
        ConfigError: it is not YAML.
    """
    return parse(text).value if text.strip() else None


def dump(value: Any) -> str:
    """A plain value as YAML; `parse` reads it back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def inline(value: Any) -> str:
    """A plain value as YAML on one line: `{kind: gp}`, `[0.1, 0.2]`, `true`."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=1 << 30)
    return str(text).removesuffix("\n...\n").strip()


class _Loader(yaml.SafeLoader):
    """Compose nodes in one pass; what is not allowed is refused before anything is built."""

    def __init__(self, text: str, file: str) -> None:
        self._file, self._depth, self._documents, self._values = file, 0, 0, 0
        super().__init__(text)

    def get_event(self) -> Any:
        event = super().get_event()  # type: ignore[no-untyped-call]
        is_scalar, opens = isinstance(event, yaml.ScalarEvent), isinstance(event, yaml.CollectionStartEvent)
        self._values += is_scalar or opens
        self._depth += opens - isinstance(event, yaml.CollectionEndEvent)
        self._documents += isinstance(event, yaml.DocumentStartEvent)
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        refused = {
            "anchors and aliases (& and *) are not allowed; write the value out": anchor,
            f"tags ({tag}) are not allowed": tag,
            "half a character (\\ud800 … \\udfff) is not allowed": is_scalar and _SURROGATE.search(event.value),
            f"more than {MAX_VALUES} words and numbers; a campaign file is a page or two": self._values > MAX_VALUES,
            f"nested deeper than {MAX_DEPTH} levels": self._depth > MAX_DEPTH,
            "a second document (---) is not allowed; one campaign a file": self._documents > 1,
        }
        if message := next((message for message, applies in refused.items() if applies), ""):
            line = event.start_mark.line + 1 if event.start_mark else None
            raise ConfigError(Problem(message, file=self._file, line=line))
        return event

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return ""  # what a word means is decided by `_scalar`, not by YAML 1.1


def _build(node: yaml.Node, path: Path_, lines: dict[Path_, int], problems: list[Problem], file: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return tuple(_build(item, (*path, i), lines, problems, file) for i, item in enumerate(node.value))
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem("a key must be a word", ".".join(map(str, path)), file, line))
            continue
        key = key_node.value
        here = (*path, key)
        if key in mapping:
            message = f"duplicate key {key!r}, first in line {lines[here]}"
            problems.append(Problem(message, ".".join(map(str, here)), file, line))
            continue
        lines[here] = line
        mapping[key] = _build(value_node, here, lines, problems, file)
    return mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    text: str = node.value
    if node.style is not None:
        return text
    kind = next((kind for kind, pattern in _SCALARS if pattern.fullmatch(text)), "str")
    match kind:
        case "null":
            return None
        case "bool":
            return text[0] in "tT"
        case "int":
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            # Python refuses thousands of digits; what is too large to be meant stays text, and is refused as such.
            return int(text, base) if len(text) < 32 and abs(int(text, base)) < MAX_WHOLE else text
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    message = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    line = mark.line + 1 if mark else None
    if "'\\t'" in message or "\\t" in message:
        message = "a tab; indent with spaces"
    elif isinstance(error, yaml.reader.ReaderError):
        line = text[: error.position].count("\n") + 1
        message = f"a character that YAML does not allow: #x{ord(text[error.position]):04x}"
    elif line is not None and re.match(r"\s*\t", "".join(text.splitlines()[line - 1 : line])):
        message = "a tab; indent with spaces"
    return Problem(f"not YAML: {message}", file=file, line=line)


class _Dumper(yaml.SafeDumper):
    """Quotes exactly what YAML 1.2 would read as something else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to say it

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML takes these for line breaks and would fold them; in double quotes it escapes them.
        style = '"' if re.search("[\x85\u2028\u2029]", data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


for _kind, _pattern in _SCALARS:
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern.pattern})$"), None)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
_Dumper.add_representer(str, _Dumper.represent_str)
