"""Formulas and linear constraints as text, parsed and never evaluated as code.

    formula      -log10(R / 240)      + - * / ( ), numbers, names, log10 ln exp sqrt abs min max
    constraint   red + yellow <= 300  two linear expressions and one of <= >= =

A name is a word of letters, digits and `_`; any other stands in double quotes: `"445nm" / 2`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdl.arrays import Floats

LONGEST = 500  # characters of an expression
DEEPEST = 50  # brackets and signs inside one another
TOLERANCE = 1e-9  # of an inequality, relative to its terms: the rounding of the sum
EQUALITY_TOLERANCE = 1e-6  # of an equality: the precision of settings (`sdl.space`)

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*)|\"(?P<quoted>[^\"]*)\""
    r"|(?P<sign><=|>=|==|≤|≥|\*\*|[-+−*/(),=<>^])|(?P<end>$))"
)
_SPELLINGS = {"−": "-", "≤": "<=", "≥": ">=", "==": "="}
_FUNCTIONS = ("log10", "ln", "exp", "sqrt", "abs", "min", "max")
_ALLOWED = f"+ - * / ( ), numbers, names and the functions {' '.join(_FUNCTIONS)}"


class UndefinedValue(ArithmeticError):
    """A formula has no finite value for these numbers."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of the tree: a number, a name, or an operation (`-` alone is neg) on other nodes."""

    kind: str
    value: Any
    parts: tuple[_Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Formula:
    """An arithmetic expression.

    Attributes:
        text: the text as written.
        names: the names in it, in the order of their appearance.
    """

    text: str
    names: tuple[str, ...]
    _root: _Node

    def value(self, numbers: Mapping[str, float]) -> float:
        """The value of the formula.

        Raises:
            UndefinedValue: the formula has no value there, such as the logarithm of 0.
        """
        try:
            value = float(_evaluate(self._root, numbers, _SCALAR))
        except (ArithmeticError, ValueError):
            value = math.nan
        if math.isfinite(value):
            return value
        where = ", ".join(f"{name} = {numbers[name]:g}" for name in self.names)
        raise UndefinedValue(f"{self.text} is undefined" + (f" at {where}" if where else ""))

    def values(self, columns: Mapping[str, Floats]) -> Floats:
        """The values of the formula for arrays of one shape; NaN where undefined."""
        import numpy as np  # here, since `sdl validate` loads this module

        functions: dict[str, Callable[..., Any]] = {
            "log10": np.log10, "ln": np.log, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs,
            "min": lambda *args: reduce(np.minimum, args), "max": lambda *args: reduce(np.maximum, args),
        }  # fmt: skip
        arrays = {name: np.asarray(columns[name], dtype=np.float64) for name in self.names}
        with np.errstate(all="ignore"):
            result = np.asarray(_evaluate(self._root, arrays, functions, np.divide), dtype=np.float64)
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        return np.where(np.isfinite(result), result, np.nan) + np.zeros(shape)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class LinearConstraint:
    """A condition on several inputs: Σ coefficient · input ≤ bound, or = bound.

    Attributes:
        coefficients: coefficient of each input that it names; none is 0.
        bound: right-hand side.
        equality: whether both sides must be equal.
        text: the text as written.
    """

    coefficients: Mapping[str, float]
    bound: float
    equality: bool
    text: str

    def excess(self, settings: Mapping[str, Any]) -> float:
        """The amount by which settings break the constraint; at most 0, apart from rounding, if they keep it."""
        beyond = math.fsum([*(c * settings[name] for name, c in self.coefficients.items()), -self.bound])
        return abs(beyond) if self.equality else beyond

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether settings keep the constraint, within the rounding of its terms."""
        scale = math.fsum([*(abs(c * settings[name]) for name, c in self.coefficients.items()), abs(self.bound)])
        return self.excess(settings) <= (EQUALITY_TOLERANCE if self.equality else TOLERANCE) * scale

    def at(self, fixed: Mapping[str, Any]) -> LinearConstraint | None:
        """The constraint on the other inputs where some are fixed; None if there are no others."""
        held = [name for name in self.coefficients if name in fixed]
        rest = {name: value for name, value in self.coefficients.items() if name not in fixed}
        if not held or not rest:
            return self if rest else None
        bound = self.bound - math.fsum(self.coefficients[name] * fixed[name] for name in held)
        return LinearConstraint(rest, bound, self.equality, _as_text(rest, bound, self.equality))

    def __str__(self) -> str:
        return self.text


def parse_formula(text: str) -> Formula:
    """Parse a formula.

    Raises:
        ValueError: the text is not a formula; the message names the place and what is allowed.
    """
    parser = _Parser(text)
    root = parser.expression()
    parser.expect_end()
    return Formula(text, tuple(dict.fromkeys(_names(root))), root)


def parse_constraint(text: str) -> LinearConstraint:
    """Parse a linear constraint.

    Raises:
        ValueError: the text is not a constraint, is not linear, or names no input.
    """
    parser = _Parser(text)
    left = parser.expression()
    sign = parser.comparison()
    right = parser.expression()
    parser.expect_end()
    (lower, low), (upper, high) = _linear(left, text), _linear(right, text)
    if sign == ">=":
        (lower, low), (upper, high) = (upper, high), (lower, low)
    names = dict.fromkeys([*_names(left), *_names(right)])
    coefficients = {name: lower.get(name, 0.0) - upper.get(name, 0.0) for name in names}
    coefficients = {name: value for name, value in coefficients.items() if value != 0}
    if not coefficients:
        raise ValueError(f"{text!r} constrains no input; write it like 'red + yellow <= 300'")
    if not all(map(math.isfinite, [*coefficients.values(), high - low])):
        raise ValueError(f"{text!r} has a number that is too large")
    return LinearConstraint(coefficients, high - low, sign == "=", text)


class _Parser:
    """Recursive descent over the tokens of a text."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ValueError(f"must be text, not {text!r}")
        if len(text) > LONGEST:
            raise ValueError(f"has {len(text)} characters; at most {LONGEST} are allowed")
        self._text = text
        self._tokens = list(self._split())
        self._at = self._depth = 0

    def _split(self) -> Iterator[_Token]:
        place, kind = 0, ""
        while kind != "end":
            if (match := _TOKEN.match(self._text, place)) is None or match.lastgroup is None:
                blank = len(self._text) - len(self._text[place:].lstrip())
                raise self._error(blank, self._text[blank], f"not allowed; allowed: {_ALLOWED}")
            kind, start = match.lastgroup, match.start(match.lastgroup)
            token = match[kind]
            following = self._text[match.end() : match.end() + 1]
            if kind == "number" and (following.isalnum() or following in ("_", ".")):
                word = re.match(r"[\w.]+", self._text[start:])
                word_text = word[0] if word else token
                raise self._error(start, word_text, f'a name that begins with a digit must be quoted: "{word_text}"')
            yield _Token(kind, _SPELLINGS.get(token, token), start)
            place = match.end()

    def expression(self) -> _Node:
        node = self._term()
        while (sign := self._take("+", "-")) is not None:
            node = _Node("operation", sign, (node, self._term()))
        return node

    def comparison(self) -> str:
        token = self._tokens[self._at]
        if (sign := self._take("<=", ">=", "=")) is not None:
            return sign
        wanted = "expected <=, >= or = between two linear expressions"
        raise self._error(token.start, token.text, "write <= or >=" if token.text in ("<", ">") else wanted)

    def expect_end(self) -> None:
        token = self._tokens[self._at]
        if token.kind != "end":
            hints = {"^": "no powers; write x * x", "**": "no powers; write x * x"}
            hints |= dict.fromkeys(("<=", ">=", "=", "<", ">"), "at most one comparison, and none in a formula")
            raise self._error(token.start, token.text, hints.get(token.text, "expected + - * / or the end"))

    def _term(self) -> _Node:
        node = self._factor()
        while (sign := self._take("*", "/")) is not None:
            node = _Node("operation", sign, (node, self._factor()))
        return node

    def _factor(self) -> _Node:
        token = self._tokens[self._at]
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(token.start, token.text, f"more than {DEEPEST} nested brackets and signs")
        try:
            if (sign := self._take("+", "-")) is not None:
                return _Node("operation", "neg", (self._factor(),)) if sign == "-" else self._factor()
            if self._take("(") is not None:
                node = self.expression()
                self._close()
                return node
            self._at += 1
            if token.kind == "number":
                if math.isinf(float(token.text)):
                    raise self._error(token.start, token.text, "a number that is too large")
                return _Node("number", float(token.text))
            if token.kind == "name" and self._tokens[self._at].text == "(" and self._tokens[self._at].kind == "sign":
                return self._call(token)
            if token.kind in ("name", "quoted") and token.text:
                return _Node("name", token.text)
            raise self._error(token.start, token.text, f"expected a number, a name or '('; allowed: {_ALLOWED}")
        finally:
            self._depth -= 1

    def _call(self, token: _Token) -> _Node:
        if token.text not in _FUNCTIONS:
            raise self._error(token.start, token.text, f"unknown function; allowed: {', '.join(_FUNCTIONS)}")
        self._at += 1
        parts = [self.expression()]
        while self._take(",") is not None:
            parts.append(self.expression())
        self._close()
        several = token.text in ("min", "max")
        if (len(parts) > 1) != several:
            raise self._error(token.start, token.text, f"takes {'two or more values' if several else 'one value'}")
        return _Node("call", token.text, tuple(parts))

    def _close(self) -> None:
        token = self._tokens[self._at]
        if self._take(")") is None:
            raise self._error(token.start, token.text, "expected ')'")

    def _take(self, *signs: str) -> str | None:
        token = self._tokens[self._at]
        if token.kind != "sign" or token.text not in signs:
            return None
        self._at += 1
        return token.text

    def _error(self, start: int, token: str, message: str) -> ValueError:
        place = f"at {token!r} (character {start + 1})" if token else "at its end"
        return ValueError(f"{self._text!r}: {place}: {message}")


def _as_text(coefficients: Mapping[str, float], bound: float, equality: bool) -> str:
    """A constraint as `parse_constraint` reads it: `2 * a - b <= 3`."""
    text = ""
    for name, value in coefficients.items():
        sign = (" - " if value < 0 else " + ") if text else ("-" if value < 0 else "")
        factor = "" if abs(value) == 1 else f"{abs(value):.12g} * "
        text += sign + factor + (name if re.fullmatch(r"[^\W\d]\w*", name) else f'"{name}"')
    return f"{text} {'=' if equality else '<='} {bound:.12g}"


def _names(node: _Node) -> Iterator[str]:
    if node.kind == "name":
        yield node.value
    for part in node.parts:
        yield from _names(part)


_SCALAR: dict[str, Callable[..., Any]] = {
    "log10": math.log10, "ln": math.log, "exp": math.exp, "sqrt": math.sqrt, "abs": abs, "min": min, "max": max,
}  # fmt: skip


def _evaluate(
    node: _Node,
    values: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]],
    divide: Callable[[Any, Any], Any] = lambda a, b: a / b,
) -> Any:
    if node.kind == "number":
        return node.value
    if node.kind == "name":
        return values[node.value]
    parts = [_evaluate(part, values, functions, divide) for part in node.parts]
    match node.value:
        case "neg":
            return -parts[0]
        case "+":
            return parts[0] + parts[1]
        case "-":
            return parts[0] - parts[1]
        case "*":
            return parts[0] * parts[1]
        case "/":
            return divide(*parts)
    return functions[node.value](*parts)


def _linear(node: _Node, text: str) -> tuple[dict[str, float], float]:
    """The coefficients and the constant of a linear expression.

    Raises:
        ValueError: it is not linear.
    """
    if node.kind == "number":
        return {}, node.value
    if node.kind == "name":
        return {node.value: 1.0}, 0.0
    if node.kind == "call":
        raise ValueError(f"{text!r} is not linear: it calls {node.value}")
    sides = [_linear(part, text) for part in node.parts]
    (left, constant), (right, other) = sides[0], sides[-1]
    match node.value:
        case "neg":
            return {name: -value for name, value in left.items()}, -constant
        case "+" | "-":
            sign = 1.0 if node.value == "+" else -1.0
            names = dict.fromkeys([*left, *right])
            added = {name: left.get(name, 0.0) + sign * right.get(name, 0.0) for name in names}
            return added, constant + sign * other
        case "*":
            if left and right:
                raise ValueError(f"{text!r} is not linear: it multiplies inputs by one another")
            if right:
                left, constant, other = right, other, constant
            return {name: value * other for name, value in left.items()}, constant * other
    if right:
        raise ValueError(f"{text!r} is not linear: it divides by an input")
    if other == 0:
        raise ValueError(f"{text!r} divides by 0")
    return {name: value / other for name, value in left.items()}, constant / other
