"""Whether a value that was read from a file is what the type of a field says; for the few types that events have."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

Check = Callable[[Any], bool]

_LARGEST = 2**1023
"""Whole numbers beyond have no floating-point number."""


def check_of(hint: Any) -> Check:
    """What says whether a value is of a type: of JSON's own, an Enum, Any, or a Mapping, tuple or choice of those.

    Args:
        hint: the type, as `typing.get_type_hints` gives it. A float may be a whole number, and no bool is a number.

    Raises:
        TypeError: a type that no field of an event has.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: True
    if hint is float:
        return lambda value: type(value) is float or (type(value) is int and -_LARGEST < value < _LARGEST)
    if hint is int:
        return lambda value: type(value) is int
    if origin is typing.Literal:
        return lambda value: value in args
    if origin in (types.UnionType, typing.Union):
        some = [check_of(arg) for arg in args]
        return lambda value: any(one(value) for one in some)
    if origin is tuple and args[1:] == (...,):
        item = check_of(args[0])
        return lambda value: isinstance(value, tuple) and all(map(item, value))
    if origin is Mapping and args[0] is str:
        below = check_of(args[1])
        return lambda value: isinstance(value, dict) and all(map(below, value.values()))
    if hint in (str, bool, types.NoneType) or (isinstance(hint, type) and issubclass(hint, Enum)):
        return lambda value: isinstance(value, hint)
    raise TypeError(f"no check of {hint}")
