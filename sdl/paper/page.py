"""The page and the files: everything together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from sdl.errors import ConfigError
from sdl.paper import appendix, figures, sections, work
from sdl.paper.published import GOAL, INPUTS, METHODS
from sdl.paper.work import Tell
from sdl.report import style
from sdl.report.page import environment, picture, render, save
from sdl.runner.setup import versions

if TYPE_CHECKING:
    from sdl.paper.appendix import Beside
    from sdl.paper.pairs import Pairs
    from sdl.paper.work import Findings, SolverAnswers


@dataclass(frozen=True)
class Paper:
    """All of the page.

    Attributes:
        found, beside: what was found.
        drawn: the figures by name.
        html: the page.
    """

    found: Findings
    beside: Beside
    drawn: dict[str, Figure]
    html: str


def reproduce(
    pairs: Pairs, *, seed: int = 0, quick: bool = False, tell: Tell = lambda _: None, command: str = "sdl paper"
) -> Paper:
    """Everything of the paper on these pairs.

    Args:
        pairs: to learn from.
        seed: of all that is drawn at random; the same seed gives the same numbers.
        quick: a forest that is smaller than the paper's, for a first look.
        tell: told what begins, by the names of `work.steps`.
        command: what the page says it was made with.

    Raises:
        ConfigError: matplotlib, seaborn or jinja2 is not installed.
        SolverError: one of the paper's methods cannot answer.
    """
    environment()  # a missing package is told now, not after a minute of work
    with style.styled():
        pass
    began = time.perf_counter()
    found = work.find(pairs, seed=seed, quick=quick, tell=tell)
    beside = appendix.show(seed=seed, quick=quick, tell=tell)
    tell("figures")
    drawn = figures.all_of(found, beside)
    told = sections.all_of(found, beside)
    captions = {name: text for one in told for name, text in one.figures}
    titles = {name: _title(name) for name in captions}
    pictures = {name: picture(drawn[name], titles[name], captions[name]) for name in captions}
    minutes, seconds = divmod(round(time.perf_counter() - began), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    html = render(
        "paper.html.j2",
        title="The paper again",
        source=pairs.source,
        made=f"made in {took}",
        warnings=_warnings(found),
        sections=told,
        pictures=pictures,
        about=[("command", command), ("seed", str(seed)), *versions().items()],
        version=versions().get("sdl", ""),
    )
    return Paper(found, beside, drawn, html)


def save_figures(drawn: dict[str, Figure], folder: Path) -> list[Path]:
    """Every figure as a PNG.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawn.items():
            path = folder / f"{name}.png"
            save(path, style.png(figure))
            written.append(path)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from error
    return written


def plain(found: Findings) -> dict[str, Any]:
    """The numbers, for a program: Table 1 and our solvers, each with settings, spread, verdict and error."""
    published = {method.key: list(method.answer) for method in METHODS}
    return {
        "source": found.pairs.source,
        "rows": {"train": len(found.pairs.train), "test": len(found.pairs.test)},
        "goal": list(GOAL),
        "quick": found.quick,
        "paper": [_answer(one) | {"published": published[one.key]} for one in found.paper],
        "ours": [_answer(one) for one in found.ours],
        "r2": {
            key: {name: parity.score(name, train=False).r2 for name in parity.columns}
            for key, parity in found.parity.items()
        },
    }


def _answer(one: SolverAnswers) -> dict[str, Any]:
    if one.goal is None:
        return {"solver": one.key, "error": one.error}
    answer, drawn = one.goal.answer, one.goal.drawn
    return {
        "solver": one.key,
        "settings": dict(answer.raw),
        "spread": dict(answer.spread),
        "drawn": None if drawn is None else {"mean": drawn[0].tolist(), "sd": drawn[1].tolist()},
        "verdict": str(answer.verdict),
        "miss_percent": one.goal.miss,
        "test_rmse": None if one.rmse is None else dict(zip(INPUTS, one.rmse.tolist(), strict=True)),
        "out_of_range": [
            {"settings": dict(said.answer.raw), "verdict": str(said.answer.verdict)} for said in one.beyond
        ],
        "seconds": round(one.seconds, 3),
    }


def _title(name: str) -> str:
    word, _, n = name.partition("-")
    return {"figure": f"Figure {n}", "table": f"Table {n} as a picture"}.get(word, "Our Gaussian process")


def _warnings(found: Findings) -> list[str]:
    if not found.quick:
        return []
    return [
        "Made with --quick: ForestDiffusion is far smaller than the paper's, so its numbers are not to be held "
        "against the paper's. Everything else is as without it."
    ]
