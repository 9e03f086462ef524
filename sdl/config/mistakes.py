"""Pydantic's validation errors as messages that say what would be right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from sdl.errors import Problem, near

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
PATTERNS = {
    NAME: "1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or a digit",
    r"^[^:]+\.py:[A-Za-z_]\w*$": "a file and a function in it, such as my_rig.py:measure",
    r"^[^\r\n]+$": "one line of text",
    r"^[ -~]+$": "one line of letters, digits and signs of ASCII",
    r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$": "a host name such as broker.example.org",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "the name of an environment variable such as LAB_USER",
    r"^[A-Za-z0-9_-]{1,64}$": "1 to 64 letters, digits, `_` or `-`",
}
"""Regular expressions as phrases."""

LIMITS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}

Elsewhere = Callable[[str], Sequence[str]]  # returns the kinds that have an option of this name


def problems_of(
    error: ValidationError, model: Any, given: Any = None, elsewhere: Elsewhere = lambda _: ()
) -> list[Problem]:
    """A message for each validation error of a model, with the allowed values.

    `given`, the validated input, tells keys of the file from pydantic's labels for the branches of a union; `elsewhere`
    returns the other kinds that have an option.
    """
    wants: dict[tuple[str, ...], list[str]] = {}
    messages: dict[tuple[str, ...], str] = {}
    for item in error.errors(include_url=False):
        real = tuple(item["loc"] if given is None else _real(item["loc"], given))
        path, kind = tuple(map(str, real)), item["type"]
        field = _field(model, real)
        if kind == "extra_forbidden":
            messages[path] = _unknown(path[-1], allowed_keys(model, real[:-1]), elsewhere(path[-1]))
        elif kind == "missing":
            messages[path] = "missing" + (f"; {field.description}" if field is not None and field.description else "")
        elif kind in ("value_error", "assertion_error"):
            messages[path] = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        elif not (kind == "too_short" and any(other[: len(path)] == path for other in messages)):
            # A list that is too short because its items are wrong would only repeat that mistake.
            wants.setdefault(path, []).append(_wanted(item, field, allowed_keys(model, real)))
            messages[path] = f"must be {' or '.join(dict.fromkeys(wants[path]))}, not {short(item['input'])}"
    # If an item of a list is wrong, a message that another form than a list is allowed would not help.
    outer = {path for path in wants if any(len(o) > len(path) and o[: len(path)] == path for o in messages)}
    return [Problem(message, ".".join(path)) for path, message in messages.items() if path not in outer]


def _unknown(key: str, allowed: Sequence[str], others: Sequence[str]) -> str:
    message = f"unknown key; {near(key, allowed, 0.7)}"
    if not others or "; did you mean" in message:
        return message
    return f"{message}; it belongs to kind {' and '.join(others)}: take it out"


def _wanted(item: Mapping[str, Any], field: Any, keys: Sequence[str]) -> str:
    """The expected value, as a phrase; `keys` are those of the model at that place."""
    kind, context = item["type"], item.get("ctx", {})
    example = field.examples[0] if field is not None and field.examples else None
    limits = _limits(field) or "".join(f" {LIMITS[name]} {context[name]}" for name in LIMITS if name in context)
    if kind.startswith("int_") or (kind in ("greater_than_equal", "less_than_equal") and _has(field, int)):
        return f"a whole number{limits}"
    if kind.startswith("float_") or kind.startswith(("greater_than", "less_than")):
        return f"a number{limits}"
    words = {
        "finite_number": f"a finite number{limits}",
        "bool_type": "true or false",
        "string_type": 'text, in quotes where it looks like a number: "12"',
        "string_pattern_mismatch": PATTERNS.get(context.get("pattern", ""), f"text like {context.get('pattern')}"),
        "string_too_long": f"text of at most {context.get('max_length')} characters",
        "string_too_short": f"text of at least {context.get('min_length')} characters",
        "literal_error": str(context.get("expected")),
        "tuple_type": "a list, [ …, … ]",
        "too_short": f"a {_collection(example)} of at least {context.get('min_length')}",
        "too_long": f"a list of at most {context.get('max_length')}",
        "dict_type": "a mapping, { name: value }",
        "none_required": "null",
    }
    if kind in ("model_type", "model_attributes_type"):
        return f"a mapping with the keys {', '.join(keys)}"
    if kind in ("dict_type", "tuple_type") and example is not None:
        return f"a {'list' if kind == 'tuple_type' else 'mapping'} such as {short(example)}"
    return words.get(kind) or f"something else ({item['msg'][0].lower()}{item['msg'][1:]})"


def _collection(example: Any) -> str:
    return "mapping" if isinstance(example, Mapping) else "list"


def _limits(field: Any) -> str:
    """The declared limits of a field, ` from 1 to 1000` or ` above 0`, also inside `… | None`."""
    marks = [mark for part in _parts(field) for mark in part]
    limits = {name: getattr(mark, name) for name in LIMITS for mark in marks if hasattr(mark, name)}
    if limits.keys() == {"ge", "le"}:
        return f" from {limits['ge']} to {limits['le']}"
    return " " + " and ".join(f"{LIMITS[name]} {limit}" for name, limit in limits.items()) if limits else ""


def _parts(field: Any) -> Iterator[Sequence[Any]]:
    """The metadata of a field, and of each branch of its annotation."""
    if field is not None:
        yield field.metadata
        for branch in get_args(field.annotation):
            for mark in getattr(branch, "__metadata__", ()):
                yield [mark, *getattr(mark, "metadata", ())]


def _has(field: Any, wanted: type) -> bool:
    annotation = getattr(field, "annotation", None)
    kinds = [annotation, *get_args(annotation), *(arg for part in get_args(annotation) for arg in get_args(part))]
    return wanted in kinds


def _real(loc: Sequence[int | str], given: Any) -> Iterator[int | str]:
    """The parts of a location that exist in the input, and a missing key at its end."""
    for part in loc:
        if isinstance(given, Mapping) and part in given:
            given = given[part]
        elif isinstance(given, (list, tuple)) and isinstance(part, int):
            given = given[part] if part < len(given) else None
        elif not (isinstance(given, Mapping) and part is loc[-1]):
            continue
        yield part


def _field(model: Any, path: Sequence[int | str]) -> Any:
    """The field at a path below a model; None inside mappings and lists."""
    field = None
    for part in path:
        field = _fields(model).get(part)
        model = _below(field)
    return field


def _fields(model: Any) -> dict[int | str, Any]:
    """The fields of a model by their keys in a file."""
    return {field.alias or name: field for name, field in getattr(model, "model_fields", {}).items()}


def allowed_keys(model: Any, path: Sequence[int | str]) -> list[str]:
    """The keys of the model at a path below a model; the key of a mapping, such as a channel, changes no model."""
    for part in path:
        if field := _fields(model).get(part):
            model = _below(field)
    return [str(key) for key in getattr(model, "ORDER", None) or _fields(model)]


def _below(field: Any) -> Any:
    """The model type of a field, also inside `… | None` and mappings; None without one."""
    pending = [field.annotation] if field is not None else []
    while pending:
        annotation = pending.pop(0)
        if hasattr(annotation, "model_fields"):
            return annotation
        pending += getattr(annotation, "__args__", ())
    return None


def short(value: Any) -> str:
    """A value as a message shows it: as in YAML, at most 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(_lists(value))
    except ValueError:  # Python does not spell out thousands of digits
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= 60 else text[:57] + "…"


def _lists(value: Any) -> Any:
    """The same value with lists for tuples, as in the file."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, (list, tuple)) else value
