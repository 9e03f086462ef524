"""What the page says: section by section the paper's numbers, ours beside them, and why they differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sdl.paper import differences, more_sections
from sdl.paper.differences import doubt_of, raw_of
from sdl.paper.published import CHANNELS, FOREST_SAMPLED, GMM_SAMPLED, GOAL, INPUTS, METHODS, PAIR, ROWS, SECONDS
from sdl.paper.tables import HtmlTable, Section, counts, largest, number, same, three

if TYPE_CHECKING:
    from sdl.paper.appendix import Beside
    from sdl.paper.work import Findings


def all_of(found: Findings, beside: Beside) -> tuple[Section, ...]:
    """The page from top to bottom, appendix last."""
    return (
        summary(found),
        readings(found),
        linear(found),
        pls(found),
        mixture(found),
        forest(found),
        more_sections.outside(found),
        more_sections.ours(found),
        more_sections.gaussian(beside),
        more_sections.parabola(beside, found.quick),
    )


def summary(found: Findings) -> Section:
    """Table 1."""
    rows = []
    alike = [same(raw_of(one), method.answer) for one, method in zip(found.paper, METHODS, strict=True)]
    for one, method in zip(found.paper, METHODS, strict=True):
        raw = raw_of(one)
        miss = (number(one.goal.miss if one.goal else None, 2),) if found.pairs.plant else ()
        rows.append((method.name, three(method.answer, 2), three(raw), number(largest(raw, method.answer)), *miss))
    unseen = ("miss, %",) if found.pairs.plant else ()
    head = ("method", "paper: R, G, B", "here: R, G, B", "apart", *unseen)
    said = {0: "None of the four answers is", 1: "One of the four answers is", 4: "All four answers are"}.get(
        sum(alike), f"{sum(alike)} of the four answers are"
    )
    text = (
        "Which settings of a red, a green and a blue light-emitting diode read 2¹⁴ counts at 445, 515 and 630 nm? "
        f"The paper asks four methods; here they are asked again. {said} the paper's to within one of the last "
        "digits that it prints.",
        "Apart: by how much at most. Miss: how far the worst channel would be off at our settings without noise."
        if found.pairs.plant
        else "Apart: by how much at most.",
    )
    return Section(
        "table-1",
        "Table 1: four methods, one question",
        text,
        (("table-1", "Answers of the paper's methods and of our own solvers, with the spread for one noisy reading."),),
        (HtmlTable("Table 1, theirs and ours", head, tuple(rows)),),
        (differences.other_readings(found), differences.through_origin(found), differences.trees(found)),
        narrow=True,
    )


def readings(found: Findings) -> Section:
    """Section 2, section 3.1 and the printed pair of section 5.2; figure 2."""
    data, pairs = found.pairs.data, found.pairs
    together: Any = np.corrcoef(np.hstack([data.X, data.Y]).T)
    names = (*INPUTS, *CHANNELS)
    high = {("R", "590nm"), ("R", "630nm"), ("G", "515nm"), ("B", "445nm")}
    rows = []
    for item in INPUTS:
        for channel in CHANNELS:
            r = float(together[names.index(item), names.index(channel)])
            rows.append((f"{item} and {channel}", "high" if (item, channel) in high else "none", number(r)))
    printed = [
        (name, counts(PAIR[1][name]), counts(value), counts(PAIR[1][name] - value))
        for name, value in zip(CHANNELS, found.printed.tolist(), strict=True)
    ]
    where = ", ".join(f"{name} {number(PAIR[0][name], 4)}" for name in INPUTS)
    text = [f"{pairs.source}; {len(pairs.train)} are learnt from, {len(pairs.test)} kept for testing."]
    text += [f"Of them: {'; '.join(pairs.notes)}."] if pairs.notes else []
    if pairs.seconds is not None:
        text.append(
            f"Measuring {ROWS} readings took the paper {SECONDS:.0f} s; the twin's own clock counts "
            f"{pairs.seconds:.0f} s, because each of its readings takes the instrument's median of the year before."
        )
    differences = [
        "The paper calls correlations high or absent and prints no number; chance alone gives up to "
        f"{2 / len(data.X) ** 0.5:.1f} either way between variables of {len(data.X)} rows that have nothing to do "
        "with each other.",
        "The printed pair was taken at 7:53 in the morning (its time stamp, in New York), when the room gave other "
        "light than in the readings here; the rest of the last column is gains and noise.",
    ]
    return Section(
        "figure-2",
        "Figure 2: the readings",
        tuple(text),
        (("figure-2", "Inputs (bold) and channels (italic), every one against every other."),),
        (
            HtmlTable("How far inputs and channels go together", ("pair", "paper", "correlation here"), tuple(rows), 2),
            HtmlTable(
                f"The one pair that the paper prints, at {where}: counts",
                ("channel", "paper", "expected here", "paper less here"),
                tuple(printed),
            ),
        ),
        tuple(differences),
        narrow=True,
    )


def linear(found: Findings) -> Section:
    """Section 3.2, figure 3."""
    one = found.paper[0]
    expected = one.goal.answer.expected if one.goal else {}
    back = [expected.get(name) for name in GOAL]
    table = HtmlTable(
        "At the answer",
        ("", "paper", "here"),
        (
            ("R, G, B", three(METHODS[0].answer, 2), three(raw_of(one))),
            ("expected at 445, 515, 630 nm", ", ".join([counts(16384)] * 3), ", ".join(counts(v or 0) for v in back)),
        ),
    )
    return Section(
        "figure-3",
        "Figure 3: a linear forward model, turned round by a search",
        (
            "Least squares from the settings to four channels, through the origin; then an unbounded search for "
            "the goal.",
        ),
        (("figure-3", "Readings by the model against those measured; below, what is between them."),),
        (_scores(found, "linear"), table),
        (
            "The paper shows its R² in the picture only and calls them close to 1; ours are those of other readings.",
            differences.no_intercept(found),
        ),
        narrow=True,
    )


def pls(found: Findings) -> Section:
    """Section 3.3, figure 4."""
    parity = found.parity["pls"]
    mean = sum(parity.score(name, train=False).r2 for name in INPUTS) / len(INPUTS)
    raw = raw_of(found.paper[1])
    rows = (
        ("R² of the settings, test rows", "1.000", number(mean)),
        ("R, G, B for the goal", three(METHODS[1].answer, 2), three(raw)),
    )
    return Section(
        "figure-4",
        "Figure 4: partial least squares, a backward model",
        ("Straight from three channels to the settings, with three latent directions; no search.",),
        (("figure-4", "Settings by the model against those set; below, what is between them."),),
        (_scores(found, "pls"), HtmlTable("In the paper and here", ("", "paper", "here"), rows)),
        (
            f"The answers differ by at most {number(largest(raw, METHODS[1].answer))}; the paper's are rounded to "
            f".01, and the noise of the rows alone moves ours by some {number(doubt_of(found.paper[1].goal), 4)}.",
        ),
        narrow=True,
    )


def mixture(found: Findings) -> Section:
    """Section 3.4, figures 5 and 6."""
    one = found.paper[2]
    drawn = one.goal.drawn if one.goal else None
    mean, sd = ([float(value) for value in part] for part in drawn or ([math.nan] * 3,) * 2)
    spread = [one.goal.answer.spread[name] for name in INPUTS] if one.goal else []
    rows = (
        ("R, G, B, most likely", three(METHODS[2].answer, 2), three(raw_of(one))),
        ("mean of 100 draws", three(GMM_SAMPLED[0], 4), three(mean, 4)),
        ("standard deviation of 100 draws", three(GMM_SAMPLED[1], 4), three(sd, 4)),
        ("the same by our solver, its own doubt added", "–", three(spread, 4)),
    )
    ratio = max(abs(a / b - 1) for a, b in zip(sd, GMM_SAMPLED[1], strict=True))
    return Section(
        "figure-5",
        "Figures 5 and 6: one Gaussian of settings and readings together",
        (
            "A mixture of a single Gaussian over three settings and four channels. Drawn from freely it gives "
            "figure 5, with the settings fixed the readings of figure 6, with the readings fixed the settings for "
            "the goal.",
        ),
        (
            ("figure-5", "Five hundred pairs drawn from the fitted Gaussian."),
            ("figure-6", "Readings given the settings, against those measured; below, what is between them."),
        ),
        (_scores(found, "gmm"), HtmlTable("In the paper and here", ("", "paper", "here"), rows)),
        (
            f"The means differ by at most {number(largest(mean, GMM_SAMPLED[0]), 4)} and the standard deviations by "
            f"{ratio:.0%}: a standard deviation of 100 draws is itself known to 7 % only, and the rows are others.",
            "The library divides by the number of rows; our solver divides by the degrees of freedom that are left "
            "and adds the doubt of the fit, which makes its spread a little wider than that of the draws.",
        ),
    )


def forest(found: Findings) -> Section:
    """Section 3.5, figure 7."""
    one = found.paper[3]
    spread = [one.goal.answer.spread[name] for name in INPUTS] if one.goal else []
    raw = raw_of(one)
    rows = (
        ("mean of 100 draws for the goal", three(FOREST_SAMPLED[0], 2), three(raw)),
        ("standard deviation of 100 draws", three(FOREST_SAMPLED[1], 2), three(spread)),
        ("test error (root mean square) of R, G, B", "–", three(one.rmse.tolist() if one.rmse is not None else ())),
    )
    return Section(
        "figure-7",
        "Figure 7: ForestDiffusion, flow matching with boosted trees",
        ("Settings are drawn given three channels; one draw a row in the figure, one hundred for the goal.",),
        (("figure-7", "Settings drawn for the readings, against those set; below, what is between them."),),
        (_scores(found, "forest"), HtmlTable("In the paper and here", ("", "paper", "here"), rows)),
        (
            differences.trees(found),
            "The standard deviation of the draws says how alike they are, not how near to the truth: that is the "
            "last line of the table.",
            "The library is its present version, on one thread and with its rows in memory, so that the same seed "
            "gives the same draws; the paper's were not seeded.",
        ),
        narrow=True,
    )


def _scores(found: Findings, key: str) -> HtmlTable:
    parity = found.parity[key]
    digits = 0 if parity.unit == "counts" else 4
    rows = []
    for name in parity.columns:
        train, test = parity.score(name, train=True), parity.score(name, train=False)
        parts = [(number(s.r2, 5), number(s.mae, digits), number(s.rmse, digits)) for s in (train, test)]
        rows.append((name, *parts[0], *parts[1]))
    unit = parity.unit
    return HtmlTable(
        f"Rows learnt from ({train.n}) and test rows ({test.n}); errors in "
        f"{'counts' if unit == 'counts' else 'parts ' + unit}",
        ("", "R² learnt", "MAE", "RMSE", "R² test", "MAE", "RMSE"),
        tuple(rows),
    )
