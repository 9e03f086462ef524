"""The values on the paper's page, as the template `paper.html.j2` needs them, and their text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sdl.arrays import Floats
from sdl.formatting import display
from sdl.paper.answers import Findings, SolverAnswers
from sdl.paper.appendix import Appendix
from sdl.paper.published import BEYOND, CHANNELS, GAUSSIAN, GMM_SAMPLED, GOAL, INPUTS, METHODS, PAIR
from sdl.types import numbers

ROUNDING = 0.01 + 1e-9  # one unit in the last digit of the settings that the paper prints
SMALL_ERROR = 1.0  # largest noise-free error (% of the goal) of an answer that is counted as good
SMALL_SHIFT = 0.005  # settings that differ by less are equal to the digits that the paper prints
BIASED = 0.6  # minimum fraction of test rows for a bias to be reported
HIGH = {("R", "590nm"), ("R", "630nm"), ("G", "515nm"), ("B", "445nm")}
"""Pairs of input and channel whose correlation the paper calls high."""


def facts(findings: Findings, appendix: Appendix) -> dict[str, Any]:
    """All values of the page, by their name in the template."""
    return {
        "findings": findings,
        **_of_methods(findings),
        **_of_data(findings),
        **_of_appendix(appendix),
        **{function.__name__: function for function in (number, counts, three, score_rows)},
    }


def _of_methods(findings: Findings) -> dict[str, Any]:
    """Table 1, the goals out of reach and our solvers."""
    raw = [one.goal.raw for one in findings.paper]
    printed = [method.answer for method in METHODS]
    shift = [a - b for a, b in zip(raw[0], raw[1], strict=True)]
    shifted = max(range(len(shift)), key=lambda i: abs(shift[i]))
    forest, linear = findings.parity["forest"], findings.parity["linear"]
    uncertainty = findings.paper[1].goal.answer.uncertainty
    errors = (forest.predicted - forest.known)[~forest.train]
    mean, sd = findings.paper[2].goal.drawn or (np.full(3, np.nan),) * 2
    solvers = (*findings.paper, *findings.ours)
    verdicts = Counter(display(answer.answer.verdict) for one in solvers for answer in one.answers[1:])
    missed = [(one.goal.miss, one.name) for one in findings.ours if one.answers and one.goal.miss is not None]
    rmse = [(float(np.mean(np.square(one.rmse)) ** 0.5), one.name) for one in findings.ours if one.rmse]
    return {
        "methods": list(zip(findings.paper, METHODS, strict=True)),
        "equal": sum(largest([round(v, 2) for v in a], b) <= ROUNDING for a, b in zip(raw, printed, strict=True)),
        "apart": [largest(a, b) for a, b in zip(raw, printed, strict=True)],
        "shift": {
            "input": INPUTS[shifted],
            "here": shift[shifted],
            "paper": printed[0][shifted] - printed[1][shifted],
            "small": abs(shift[shifted]) < SMALL_SHIFT,
        },
        "forest_apart": (largest(raw[3], raw[1]), largest(printed[3], printed[1])),
        "forest_low": (float(np.mean(errors < 0)), -float(errors.mean())),
        "biased": float(np.mean(errors < 0)) >= BIASED,
        "worst_linear": min(linear.columns, key=lambda name: linear.score(name, train=False).r2),
        "pls_r2": float(np.mean([findings.parity["pls"].score(name, False).r2 for name in INPUTS])),
        "pls_error": max((v for v in uncertainty.values() if v is not None), default=None),
        "expected": ", ".join(counts(findings.paper[0].goal.answer.expected.get(name) or 0.0) for name in GOAL),
        "drawn": (mean.tolist(), sd.tolist()),
        "drawn_apart": largest(mean, GMM_SAMPLED[0]),
        "drawn_ratio": max(abs(a / b - 1) for a, b in zip(sd, GMM_SAMPLED[1], strict=True)),
        "verdicts": ", ".join(f"{text}: {n}" for text, n in verdicts.items()),
        "beyond_tables": [_beyond_table(findings, n) for n in range(len(BEYOND))],
        "beyond_apart": [
            (largest(one.answers[1 + n].raw, goal.answer), one.name)
            for n, goal in enumerate(BEYOND)
            for one in findings.paper
            if one.key == goal.by
        ],
        "solver_rows": [_solver_row(findings, one) for one in (*findings.ours, *findings.paper)],
        "good": sum(miss <= SMALL_ERROR for miss, _ in missed),
        "missed": len(missed),
        "worst_miss": max(missed, default=None),
        "rmse_range": (min(rmse), max(rmse)),
    }


def _of_data(findings: Findings) -> dict[str, Any]:
    """The readings and the one pair that the paper prints."""
    data = findings.pairs.data
    correlation: Floats = np.asarray(np.corrcoef(np.hstack([data.X, data.Y]).T))
    return {
        "correlations": [
            (f"{item} and {name}", "high" if (item, name) in HIGH else "none", number(correlation[i, len(INPUTS) + k]))
            for i, item in enumerate(INPUTS)
            for k, name in enumerate(CHANNELS)
        ],
        "printed_at": ", ".join(f"{name} {number(PAIR[0][name], 4)}" for name in INPUTS),
        "printed_rows": [
            (name, counts(PAIR[1][name]), counts(value), counts(PAIR[1][name] - value))
            for name, value in zip(CHANNELS, findings.printed.tolist(), strict=True)
        ],
        "chance": 2 / len(data.X) ** 0.5,
        "sessions": len(set(data.session.tolist())),
    }


def _of_appendix(appendix: Appendix) -> dict[str, Any]:
    """The values of figures 8 to 11."""
    gaussian, parabola = appendix.gaussian, appendix.parabola
    labels = ("mean of x", "standard deviation of x", "mean of x, y near 1", "standard deviation of x, y near 1")
    columns = (GAUSSIAN.values(), gaussian.sampled, (None, None, *gaussian.solved), (0.0, 1.0, *gaussian.exact))
    truth = parabola.grid**2
    inside = np.isin(parabola.grid, parabola.x)
    between = ~inside & (np.abs(parabola.grid) <= 2.0)

    def errors(values: Floats) -> list[str]:
        return [number(float(np.abs(values - truth)[part].max()), 2) for part in (inside, between, ~inside & ~between)]

    return {
        "gaussian_rows": [
            (label, number(a, 2), number(b), number(c), number(d))
            for label, a, b, c, d in zip(labels, *columns, strict=True)
        ],
        "near": int(gaussian.near.sum()),
        "transformed": appendix.transformed,
        "mixture_errors": errors(parabola.mixture),
        "forest_errors": errors(parabola.forest),
        "gp_errors": errors(parabola.gp),
        "gp_sigmas": float((np.abs(parabola.gp - truth) / np.maximum(parabola.gp_sd, 1e-12))[~inside].max()),
        "likeliest_apart": float(np.abs(parabola.mixture - parabola.likeliest).max()),
    }


def _beyond_table(findings: Findings, n: int) -> dict[str, Any]:
    """The answers of the paper's methods and of our auto to one goal out of reach."""
    goal = BEYOND[n]
    digits = 4 if goal.by == "gmm" else 2
    solvers = [*findings.paper, *(one for one in findings.ours if one.key == "auto" and one.answers)]
    rows = [
        (
            one.name if one in findings.paper else f"our {one.name}",
            display(given.answer.verdict),
            three(goal.answer, digits) if one.key == goal.by else "–",
            three(goal.spread, digits) if one.key == goal.by and goal.spread else "–",
            three(given.raw, 2),
            three(given.drawn[1] if given.drawn else given.answer.spread.values(), 4),
            three(numbers(given.answer.settings).values(), 2),
        )
        for one, given in ((one, one.answers[1 + n]) for one in solvers)
    ]
    return {"target": ", ".join(map(power, goal.target)), "what": goal.what, "rows": rows}


def _solver_row(findings: Findings, one: SolverAnswers) -> tuple[str, ...]:
    name = f"our {one.name}" if one in findings.ours else f"{one.name}, as in the paper"
    if not one.answers:
        return (name, one.error, *["–"] * (3 + bool(findings.pairs.plant)))
    miss = (number(one.goal.miss, 2),) if findings.pairs.plant else ()
    spread = three(one.goal.answer.spread.values(), 4)
    return (name, three(one.goal.raw), spread, *miss, three(one.rmse, 4), number(one.seconds, 2))


def score_rows(findings: Findings, key: str) -> list[tuple[str, ...]]:
    """R², mean absolute and root mean square error of each column, in the training and in the test rows."""
    parity = findings.parity[key]
    digits = 0 if parity.unit == "counts" else 4
    scores = {name: [parity.score(name, train) for train in (True, False)] for name in parity.columns}
    return [
        (name, *(text for s in both for text in (number(s.r2, 5), number(s.mae, digits), number(s.rmse, digits))))
        for name, both in scores.items()
    ]


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of decimals and a true minus sign; `–` if it is unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


def counts(value: float) -> str:
    """A reading in counts, with thousands separated."""
    return f"{value:,.0f}".replace("-", "−").replace(",", "\u202f")


def power(value: float) -> str:
    """A target, as a power of two where the paper writes it so."""
    text = {2.0**14: "2¹⁴", 2.0**17: "2¹⁷", 2.0**18: "2¹⁸"}.get(abs(value)) or counts(abs(value))
    return f"−{text}" if value < 0 else text


def three(values: Iterable[float | None], digits: int = 3) -> str:
    """The values of the three inputs or channels."""
    return ", ".join(number(value, digits) for value in values)


def largest(ours: Sequence[float] | Floats, theirs: Sequence[float]) -> float:
    """The largest absolute difference."""
    return max(abs(float(a) - b) for a, b in zip(ours, theirs, strict=True))
