"""The page with the paper's results beside ours, and its figures and numbers as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from sdl.errors import translated_os_errors
from sdl.paper import answers, appendix, figures
from sdl.paper.answers import Findings, SolverAnswers, Tell
from sdl.paper.facts import facts
from sdl.paper.pairs import Pairs
from sdl.paper.published import FOREST_SAMPLED, GMM_SAMPLED, GOAL, INPUTS, METHODS, QUICK, ROWS, SECONDS, STATE
from sdl.report import style
from sdl.report.page import picture, render, save
from sdl.runner.setup import versions


class PaperPage(NamedTuple):
    """The results on the pairs, the figures by name, and the page."""

    findings: Findings
    drawn: dict[str, Figure]
    html: str


def reproduce(
    pairs: Pairs, *, seed: int = 0, quick: bool = False, tell: Tell = lambda _: None, command: str = "sdl paper"
) -> PaperPage:
    """All results of the paper on these pairs.

    The seed is that of all random numbers; `quick` fits a smaller forest; `tell` is called with each step of
    `answers.steps` that begins; the command is shown on the page.

    Raises:
        ConfigError: seaborn is not installed.
        SolverError: one of the paper's methods failed.
    """
    began = time.perf_counter()
    findings = answers.answer_all(pairs, seed=seed, quick=quick, tell=tell)
    extra = appendix.compute(seed=seed, quick=quick, tell=tell)
    tell("figures")
    drawn = figures.draw_all(findings, extra)
    pictures = {n: picture(drawn[n], figure.title, figure.caption) for n, figure in figures.FIGURES.items()}
    minutes, seconds = divmod(round(time.perf_counter() - began), 60)
    duration = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    provenance = {"command": command, "seed": str(seed), **versions()}
    return PaperPage(findings, drawn, page(findings, extra, pictures, duration=duration, provenance=provenance))


def page(findings: Findings, extra: appendix.Appendix, pictures: dict[str, dict[str, str]], **values: Any) -> str:
    """The page as HTML; `values` are the duration and the provenance."""
    published = {"gmm_sampled": GMM_SAMPLED, "forest_sampled": FOREST_SAMPLED, "paper_rows": ROWS}
    constants = published | {"paper_seconds": SECONDS, "quick_options": QUICK, "state": STATE}
    values = facts(findings, extra) | constants | values
    return render("paper.html.j2", title="The paper again", pictures=pictures, **values)


def save_figures(drawn: dict[str, Figure], folder: Path) -> list[Path]:
    """Write every figure as a PNG.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    paths = {folder / f"{name}.png": figure for name, figure in drawn.items()}
    with translated_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, figure in paths.items():
            save(path, style.png(figure))
    return list(paths)


def plain(findings: Findings) -> dict[str, Any]:
    """Table 1 and our solvers as JSON values: settings, spread, verdict and errors of each."""
    published = {method.key: list(method.answer) for method in METHODS}
    return {
        "source": findings.pairs.source,
        "rows": {"train": len(findings.pairs.train), "test": len(findings.pairs.test)},
        "goal": list(GOAL),
        "quick": findings.quick,
        "paper": [_plain_answers(one) | {"published": published[one.key]} for one in findings.paper],
        "ours": [_plain_answers(one) for one in findings.ours],
        "r2": {
            key: {name: parity.score(name, train=False).r2 for name in parity.columns}
            for key, parity in findings.parity.items()
        },
    }


def _plain_answers(one: SolverAnswers) -> dict[str, Any]:
    if not one.answers:
        return {"solver": one.key, "error": one.error}
    answer, drawn = one.goal.answer, one.goal.drawn
    return {
        "solver": one.key,
        "settings": dict(answer.raw),
        "spread": dict(answer.spread),
        "drawn": None if drawn is None else {"mean": drawn[0].tolist(), "sd": drawn[1].tolist()},
        "verdict": str(answer.verdict),
        "miss_percent": one.goal.miss,
        "test_rmse": dict(zip(INPUTS, one.rmse, strict=True)),
        "out_of_range": [
            {"settings": dict(given.answer.raw), "verdict": str(given.answer.verdict)} for given in one.answers[1:]
        ],
        "seconds": round(one.seconds, 3),
    }
