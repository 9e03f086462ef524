"""What a notebook shows of results, solutions and proposals."""

from __future__ import annotations

import html.parser

import numpy as np

import sdl
from sdl.notebook import table


class Cells(html.parser.HTMLParser):
    """The texts of all cells, and the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.texts = set[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_text_of_a_file_is_no_markup_and_unknown_numbers_are_empty() -> None:
    shown = Cells(table(("name", "value"), [("<script>x</script>", float("nan")), ("b & c", None)], "<b>why</b>"))
    assert shown.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert shown.texts == ["<b>why</b>", "name", "value", "<script>x</script>", "b & c"]


def test_a_result_shows_outcome_settings_and_readings() -> None:
    result = sdl.run({"name": "led", "instrument": {"kind": "twin"}, "goal": {"515nm": 16384}, "seed": 1}, runs=None)
    texts = Cells(result._repr_html_()).texts
    assert texts[0].startswith("reached: All channels within tolerance")
    assert f"{result.settings['G']:.4g}" in texts
    assert f"{result.measured['515nm']:.0f}" in texts


def test_a_solution_shows_settings_with_their_uncertainty_and_expected_readings() -> None:
    X = np.random.default_rng(0).random((30, 2))
    answer = sdl.solve(X, X @ [[300.0, 10.0], [20.0, 400.0]], [150.0, 200.0], solver="linear")
    texts = Cells(answer._repr_html_()).texts
    assert texts[0].startswith("reachable: ")
    for values in (answer.settings, answer.expected):
        assert {f"{value:.4g}" for value in values} <= set(texts)
