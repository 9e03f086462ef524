"""Smaller SVGs: the same elements at the same places, and nothing that a page forbids."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from report import kit
from sdl.report import style
from sdl.report.figures import draw
from sdl.report.svg import compact, inline, trials_id
from sdl.report.table import TrialTable
from sdl.runs.runs import Run

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("story", "error", "slices", "contours", "settings", "spectrum", "importance", "pairs", "posterior")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = kit.campaign(tmp_path_factory.mktemp("runs"), "spent", tolerance="0.1%", stop={"trials": 12})
    table = TrialTable(Run(folder))
    return {name: style.svg(figure) for name in NAMES if (figure := draw(table, name)) is not None}


def elements(text: str) -> dict[str, int]:
    """Numbers of the elements that are drawn."""
    root = ElementTree.fromstring(text)
    return {tag: len(list(root.iter(SVG + tag))) for tag in ("path", "use", "rect", "image", "clipPath")}


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_picture_has_the_same_elements_and_all_that_they_refer_to(name: str, drawn: dict[str, bytes]) -> None:
    small = compact(drawn[name])
    assert elements(small) == elements(drawn[name].decode())
    assert len(small) < 0.85 * len(drawn[name])
    for text in (small, inline(small, "f3", {}, "a <figure>")):
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) == set(ids)


def test_coordinates_are_those_of_the_picture_to_a_tenth_of_a_point(drawn: dict[str, bytes]) -> None:
    def places(text: str) -> np.ndarray:
        found = re.findall(r'<use[^>]* x="([^"]*)" y="([^"]*)"', text)
        return np.array(found, float)

    before, after = places(drawn["slices"].decode()), places(compact(drawn["slices"]))
    assert len(before) > 50
    assert np.abs(before - after).max() <= 0.1


def test_a_picture_in_a_page_has_no_style_and_the_colours_of_the_page(drawn: dict[str, bytes]) -> None:
    themed = style.themed(drawn["error"]).decode()
    text = inline(themed, "f0", {"var(--c0)": "var(--ink)"}, 'error of "445nm"')
    assert "style" not in text
    assert 'fill="var(--ink)"' in text
    assert "var(--c0)" not in text
    assert 'role="img" aria-label="error of &quot;445nm&quot;"' in text
    assert elements(text) == elements(themed)


def test_points_tell_their_trials_where_all_of_them_are_drawn() -> None:
    with style.styled():
        figure = style.canvas(height=2)
        axes = figure.axes[0]
        axes.plot([1, 2, 3], [1, 2, 3], "o", gid=trials_id([4.0, 5.0, 17.0]))
        axes.plot([1, 2], [3, 3], "s", gid=trials_id([4.0, 5.0, 6.0]))  # one has no place
        text = compact(style.svg(figure))
    assert re.findall(r"<title>(.*?)</title>", text) == ["trial 4", "trial 5", "trial 17"]
    ElementTree.fromstring(text)
