"""Formulas and linear constraints: parsed, never evaluated as code."""

import math
import random

import numpy as np
import pytest

from sdl.grammar import UndefinedValue, parse_constraint, parse_formula


def test_a_formula_has_the_value_that_python_computes():
    rng, names = random.Random(3), ["a", "b", "pH"]
    python = {"log10": math.log10, "ln": math.log, "exp": math.exp, "sqrt": math.sqrt}
    python |= {"abs": abs, "min": min, "max": max}

    def draw(depth):
        kind = rng.random()
        if depth == 0 or kind < 0.25:
            return rng.choice([*names, "2", "0.5", "1e-2", ".25"])
        if kind < 0.35:
            return f"-{draw(depth - 1)}"
        if kind < 0.5:
            return f"{rng.choice(['log10', 'ln', 'exp', 'sqrt', 'abs'])}({draw(depth - 1)})"
        if kind < 0.6:
            return f"{rng.choice(['min', 'max'])}({draw(depth - 1)}, {draw(depth - 1)})"
        inner = f"{draw(depth - 1)} {rng.choice('+-*/')} {draw(depth - 1)}"
        return f"({inner})" if rng.random() < 0.5 else inner

    defined = 0
    for _ in range(2000):
        text, numbers = draw(4), {name: rng.uniform(0.1, 3) for name in names}
        try:
            wanted = eval(text, python, numbers)
            finite = math.isfinite(wanted)
        except (ArithmeticError, ValueError):
            finite = False
        formula = parse_formula(text)
        if finite:
            defined += 1
            assert formula.value(numbers) == pytest.approx(wanted, rel=1e-12, abs=1e-300)
            column = formula.values({name: np.full(3, value) for name, value in numbers.items()})
            assert column == pytest.approx(np.full(3, wanted), rel=1e-12, abs=1e-300)
        else:
            with pytest.raises(UndefinedValue, match="is undefined"):
                formula.value(numbers)
    assert defined > 1000


def test_names_that_are_no_words_stand_in_double_quotes():
    formula = parse_formula('"445nm" / "a b" − R')
    assert formula.names == ("445nm", "a b", "R")
    assert formula.value({"445nm": 8.0, "a b": 2.0, "R": 1.0}) == 3.0


def test_an_array_is_nan_where_a_formula_is_undefined():
    values = parse_formula("log10(x) / (x - 10)").values({"x": np.array([0.0, 1.0, 10.0, 100.0])})
    assert np.isnan(values).tolist() == [True, False, True, False]
    assert values[3] == pytest.approx(2 / 90)


def test_an_undefined_value_names_the_formula_and_the_numbers():
    with pytest.raises(UndefinedValue, match=r"log10\(R / 240\) is undefined at R = -3"):
        parse_formula("log10(R / 240)").value({"R": -3.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at its end: expected a number"),
        ("1 +", "at its end: expected a number"),
        ("(a", "at its end: expected '\\)'"),
        ("a b", r"at 'b' \(character 3\): expected \+ - \* / or the end"),
        ("445nm / 2", r"at '445nm' \(character 1\): a name that begins with a digit must be quoted: \"445nm\""),
        ("a ** 2", "no powers; write x \\* x"),
        ("a ^ 2", "no powers"),
        ("__import__('os')", "allowed"),
        ("system(1)", r"unknown function; allowed: log10, ln"),
        ("a.b", "'.'"),
        ("a; b", "';'"),
        ("log10(1, 2)", "takes one value"),
        ("max(1)", "takes two or more values"),
        ("a <= 2", "none in a formula"),
        ('""', "expected a number"),
        ("1e999", "too large"),
        ("(" * 60 + "1" + ")" * 60, "more than 50"),
        ("a" * 501, "501 characters"),
    ],
)
def test_a_wrong_formula_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=message):
        parse_formula(text)


def test_the_longest_formula_is_evaluated():
    text = "+".join(["a"] * 250)
    assert parse_formula(text).value({"a": 1.0}) == 250


@pytest.mark.parametrize(
    ("text", "coefficients", "bound", "equality"),
    [
        ("red + yellow <= 300", {"red": 1, "yellow": 1}, 300, False),
        ("red >= 2 * yellow + 1", {"red": -1, "yellow": 2}, -1, False),
        ('("a b" - c) / 4 ≤ 1 - c', {"a b": 0.25, "c": 0.75}, 1, False),
        ("x + y + z = 1", {"x": 1, "y": 1, "z": 1}, 1, True),
        ("x == 3 * (y - 2)", {"x": 1, "y": -3}, -6, True),
        ("-x + x + y <= 2", {"y": 1}, 2, False),
    ],
)
def test_a_constraint_is_brought_to_one_form(text, coefficients, bound, equality):
    constraint = parse_constraint(text)
    assert dict(constraint.coefficients) == coefficients
    assert (constraint.bound, constraint.equality, str(constraint)) == (bound, equality, text)


def test_a_constraint_holds_up_to_rounding_and_not_beyond():
    sums = parse_constraint("a + b + c <= 0.3")
    assert sums.holds({"a": 0.1, "b": 0.1, "c": 0.1})  # the sum is 0.30000000000000004
    assert not sums.holds({"a": 0.1, "b": 0.1, "c": 0.1001})
    equal = parse_constraint("a + b = 1")
    assert equal.holds({"a": 0.3, "b": 0.7})
    assert not equal.holds({"a": 0.3, "b": 0.69})
    assert equal.excess({"a": 0.3, "b": 0.6}) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a * b <= 1", "not linear: it multiplies inputs"),
        ("1 / a <= 1", "not linear: it divides by an input"),
        ("exp(a) <= 1", "not linear: it calls exp"),
        ("a / 0 <= 1", "divides by 0"),
        ("a < 1", "write <= or >="),
        ("a + b", "expected <=, >= or ="),
        ("0 <= a <= 1", "at most one comparison"),
        ("1 <= 2", "constrains no input"),
        ("a - a <= 1", "constrains no input"),
    ],
)
def test_a_wrong_constraint_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_constraint(text)


def test_a_constraint_with_fixed_inputs_is_one_on_the_others_and_can_be_read_back():
    whole = parse_constraint('2 * a - "b c" + 3 * d <= 10')
    rest = whole.at({"a": 1.5, "x": 3})
    assert rest is not None
    assert str(rest) == '-"b c" + 3 * d <= 7'
    assert parse_constraint(str(rest)) == rest
    assert whole.at({}) is whole
    assert whole.at({"a": 1, "b c": 2, "d": 3}) is None
