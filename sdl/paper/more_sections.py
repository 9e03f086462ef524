"""The page's other sections: goals that cannot be had, our own solvers, and the appendix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sdl.formatting import display
from sdl.paper import differences
from sdl.paper.published import BEYOND, GAUSSIAN
from sdl.paper.tables import HtmlTable, Section, number, power, three

if TYPE_CHECKING:
    from sdl.paper.appendix import Beside
    from sdl.paper.work import Findings


def outside(found: Findings) -> Section:
    """The goals that cannot be had, of sections 3.3 to 3.5."""
    tables = []
    auto = next(one for one in found.ours if one.key == "auto")
    for n, goal in enumerate(BEYOND):
        rows = []
        for one in (*found.paper, auto):
            if n >= len(one.beyond):
                continue
            answer, drawn = one.beyond[n].answer, one.beyond[n].drawn
            asked = one.key == goal.by and one is not auto
            digits = 4 if goal.by == "gmm" else 2
            printed = three(goal.answer, digits) if asked else "–"
            theirs = three(goal.spread, digits) if asked and goal.spread else "–"
            spread = three(drawn[1].tolist() if drawn else answer.spread.values(), 4)
            name = "our auto" if one is auto else one.name
            raw = three(answer.raw.values(), 2)
            inside = three(answer.settings.values(), 2)
            rows.append((name, display(answer.verdict), printed, theirs, raw, spread, inside))
        target = ", ".join(power(value) for value in goal.target)
        head = ("method", "our verdict", "paper: R, G, B", "its spread", "here: R, G, B", "spread", "inside 0 … 1")
        tables.append(HtmlTable(f"Asked for {target} counts at 445, 515, 630 nm: {goal.what}", head, tuple(rows), 2))
    return Section(
        "outside",
        "Goals that no settings reach",
        (
            "The paper asks for less than no light and for more than the sensor can tell, and each method answers "
            "all the same. So do ours in the paper's form; but each answer comes with a verdict, which is made "
            "from the rows, and a campaign ends on it instead of measuring on.",
            differences.verdicts(found),
        ),
        (),
        tuple(tables),
        (
            differences.far_away(found),
            "The spread of draws from a fitted model does not grow with the distance from the rows, here as in the "
            "paper: far from them a narrow one says nothing.",
            "Only our linear, bayes, gp, auto, broyden, continuation and mcmc look for answers between 0 and 1; "
            "the others answer as their model has it, and the answer is clipped before anything is set.",
        ),
    )


def ours(found: Findings) -> Section:
    """What our solvers do with the same rows."""
    rows = []
    for one in (*found.ours, *found.paper):
        name = f"our {one.name}" if one in found.ours else f"{one.name}, as in the paper"
        if one.goal is None:
            rows.append((name, one.error, *["–"] * (3 + bool(found.pairs.plant))))
            continue
        answer = one.goal.answer
        rmse = one.rmse.tolist() if one.rmse is not None else [None] * 3
        miss = (number(one.goal.miss, 2),) if found.pairs.plant else ()
        spread, seconds = three(answer.spread.values(), 4), number(one.seconds, 2)
        rows.append((name, three(answer.raw.values()), spread, *miss, three(rmse, 4), seconds))
    unseen = ("miss, %",) if found.pairs.plant else ()
    head = ("solver", "R, G, B", "spread", *unseen, "error on test rows: R, G, B", "CPU s")
    text = [
        "The same rows and the same goal for every solver of this project, with its defaults. Spread: standard "
        "deviation of the settings for one noisy reading at the goal. Error: root mean square, over the test rows, "
        "of the settings found less those set.",
    ]
    if found.pairs.plant:
        text.append("Miss: how far the worst channel would be off at these settings without noise; only a twin knows.")
    if len(set(found.pairs.data.session.tolist())) > 1:
        text.append(
            "The rows are of several sittings. Our solvers add to their spread how far sittings lie apart, because "
            "the next reading would be of none of them; the paper's methods take all rows as they are."
        )
    text.append(differences.better(found))
    return Section(
        "ours",
        "What our own solvers make of the same rows",
        tuple(text),
        (),
        (HtmlTable("Our solvers, and the paper's four once more", head, tuple(rows)),),
    )


def gaussian(beside: Beside) -> Section:
    """Sections 5.3 and 5.4, figures 8 and 9."""
    told, turned = beside.gaussian, beside.transformed
    theirs, count = list(GAUSSIAN.values()), int(told.near.sum())
    labels = ("mean of x", "standard deviation of x", "mean of x, y near 1", "standard deviation of x, y near 1")
    exact = (0.0, 1.0, *told.exact)
    solved = (None, None, *told.solved)
    rows = tuple(
        (label, number(a, 2), number(b), number(c), number(d))
        for label, a, b, c, d in zip(labels, theirs, told.sampled, solved, exact, strict=True)
    )
    head = ("", "paper", "here, by filtering", "here, by our gmm solver", "by the formula")
    return Section(
        "figure-8",
        "Figures 8 and 9: conditioning, and turning one distribution into another",
        (
            "Ten thousand draws of two variables of correlation .999; then ten thousand of a uniform variable, "
            "each put through the inverse of the Gaussian's distribution function.",
        ),
        (
            ("figure-8", "All draws, those with y between .98 and 1.02, and x given y = 1 by our gmm solver (curve)."),
            ("figure-9", "Uniform on the x axis, Gaussian on the y axis; dashed, both as they should be."),
        ),
        (
            HtmlTable("x, and x given y = 1", head, rows),
            HtmlTable(
                "The transformed variable",
                ("", "here", "as it should be"),
                (
                    ("mean", number(turned.mean), "0"),
                    ("standard deviation", number(turned.sd), "1"),
                    ("largest distance of the two distributions", number(turned.distance, 4), "0"),
                ),
            ),
        ),
        (
            f"Draws differ from draws: the mean of ten thousand is known to .01, and the {count} near y = 1 give "
            f"their standard deviation to {0.5 / count**0.5 * 2**0.5:.0%}. The solver uses all of them.",
            "The paper prints no number for figure 9; with ten thousand draws a distance of up to .014 is chance.",
        ),
    )


def parabola(beside: Beside, quick: bool) -> Section:
    """Section 5.5, figures 10 and 11, and our Gaussian process."""
    told = beside.parabola
    truth = told.grid**2
    inside = np.isin(told.grid, told.x)
    between = ~inside & (np.abs(told.grid) <= 2.0)
    beyond = ~inside & ~between

    def row(name: str, values: object) -> tuple[str, ...]:
        off = np.abs(np.asarray(values, dtype=float) - truth)
        return (name, *(number(float(off[part].max()), 2) for part in (inside, between, beyond)))

    sure = (np.abs(told.gp - truth) / np.maximum(told.gp_sd, 1e-12))[~inside].max()
    apart = float(np.abs(told.mixture - told.likeliest).max())
    return Section(
        "figure-10",
        "Figures 10 and 11: where there is no data",
        (
            "y = x² for x from −5 to 5, but learnt only from −4 to −2 and from 2 to 4. The mixture goes on along "
            "straight lines, the trees along constants: neither is to be trusted there, as the paper says.",
        ),
        (
            ("figure-10", "Four Gaussians: y expected given x."),
            ("figure-11", "ForestDiffusion: one draw of y for each x."),
            ("ours", "Ours: a Gaussian process with its own idea of how sure it is."),
        ),
        (
            HtmlTable(
                "Largest distance from y = x²",
                ("model", "in the data", "between", "beyond"),
                (
                    row("mixture of four Gaussians", told.mixture),
                    row("ForestDiffusion" + (" (smaller than the paper's)" if quick else ""), told.forest),
                    row("our gp", told.gp),
                ),
            ),
        ),
        (
            "The paper prints no number here. The lines of the mixture depend on where its four Gaussians start: "
            "ours are the likeliest of five starts. Drawn is the mean of all four, as in the paper; our solver "
            f"answers with the likeliest alone, which differs by at most {number(apart, 2)}.",
            "For a single output the library needs a second column: the paper repeats y, our solver adds a column "
            "of zeros.",
            f"Outside its data our gp is off by up to {sure:.0f} of its own standard deviations"
            + (
                ": nearer, but far too sure of itself. What tells is the verdict: outside the data."
                if sure > 3
                else "."
            ),
        ),
    )
