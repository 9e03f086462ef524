"""Every solver on every plant: how many trials until the goal is hit, and what else they can do.

    python benchmarks/solvers.py                    campaigns: plants x solvers x 100 pairs of goal and noise
    python benchmarks/solvers.py --quick            a small subset, seconds
    python benchmarks/solvers.py --one-shot         how far off after one fit to 80 readings
    python benchmarks/solvers.py --coverage         do spread and uncertainty hold what they promise?
    python benchmarks/solvers.py --expected         do the expected readings hold what their standard errors promise?
    python benchmarks/solvers.py --verdicts         impossible goals found, false alarms raised
    python benchmarks/solvers.py --modes            every solution of a many-to-one plant, none invented
    python benchmarks/solvers.py --cost             CPU and memory of a fit and a proposal, beside upstream's default

All solvers of the registry take part, with the baselines `linear:intercept=false` (no intercept), `broyden` (undamped
secant), `ei` (plain Bayesian optimization of a scalar error), `random`, and `perfect`, which knows the plant: the floor
that noise alone sets. A label may carry options: `--solvers "gmm:trend=none"`.

Results are appended to OUT/results.jsonl as they come and those that are there already are not measured again, unless
the code of the solvers or plants has changed since. Interrupt it and start it again as you like.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cells import DESIGNS, FEASIBLE, MEASURES, UPSTREAM
from plants import CAP, PLANTS, SCENARIOS, Scenario

import sdl
from sdl.bench import markdown as table
from sdl.bench import quantile
from sdl.parallel.pool import each
from sdl.registry import find, kinds

ROOT = Path(__file__).resolve().parent
BASELINES = ("linear:intercept=false", "textbook broyden", "ei", "textbook quadratic", "ard", "ard log", "perfect")
MODELS_ONLY = ("random", "textbook broyden", "ei", "textbook quadratic", "ard", "ard log", "perfect")
"""Left out where a solver must say more than settings."""
QUICK = ("affine, 1 %", "curved .3, 1 %", "drift, 0.5 %, 10 points", "RGBW, 1 %", "known unit, room ≤ 5000")
SHOTS = ("affine", "curved .3", "curved .8", "gamma 1.8", "droop", "noise 1 %", "jitter", "saturating", "RGBW")
FORMS = ("plane", "products", "Beer", "Beer 5→4", "Michaelis", "competitive", "Hill", "square")
BEYOND = tuple(f"beyond {part} % {name}" for part in (2, 6) for name in FORMS)
"""Goals so far outside the band that the plant comes nearest to."""
OTHERS = ("linear", "quadratic", "textbook quadratic", "ard", "ard log", "botorch")
"""What `auto` is compared with after one fit."""
PAIRS = {"campaigns": 100, "one-shot": 60, "coverage": 1000, "expected": 300, "verdicts": 63, "modes": 20, "cost": 1}
CHUNK = {"campaigns": 5, "one-shot": 10, "coverage": 50, "expected": 10, "verdicts": 25, "modes": 5, "cost": 1}


class Job(NamedTuple):
    """One line of the results: `measure` of `solver` in `case` for the pairs first … last - 1."""

    measure: str
    case: str
    solver: str
    first: int
    last: int


def version(solver: str) -> str:
    """Changes whenever code does that the results of a solver depend on."""
    files = {ROOT / name for name in ("plants.py", "baselines.py", "cells.py")}
    package = Path(sdl.__file__).parent
    kind = solver.partition(":")[0]
    todo = [
        package / "inverse" / "propose.py",
        *(package / "designs" / f"{name}.py" for name in ("base", "filling", "classical")),
    ]
    if kind in kinds("solvers"):
        todo.append(Path(inspect.getfile(find("solvers", kind))))
    while todo:
        files.add(file := todo.pop())
        text = file.read_text()
        named = re.findall(r"sdl\.(solvers|models)((?:\.\w+)+)", text)
        found = {(package / part).joinpath(*name.strip(".").split(".")).with_suffix(".py") for part, name in named}
        if "sdl.registry" in text:  # asks other solvers
            found |= set((package / "solvers").glob("*.py"))
        todo += [one for one in found - files if one.exists()]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


def jobs(measure: str, cases: Sequence[str], solvers: Sequence[str], pairs: int) -> list[Job]:
    """All lines that a table needs, in an order that makes the time left easy to tell."""
    step = CHUNK[measure]
    found = [
        Job(measure, case, solver, first, min(first + step, pairs))
        for first in range(0, pairs, step)
        for case in cases
        for solver in solvers
    ]
    random.Random(0).shuffle(found)
    return found


def measured(job: Job) -> dict[str, Any]:
    """Does one job; runs in a process of its own."""
    return MEASURES[job.measure](job.case, job.solver, job.first, job.last)


def collect(wanted: Sequence[Job], file: Path, processes: int) -> dict[Job, dict[str, Any]]:
    """Results of all jobs, measuring those that `file` does not have yet."""
    code = {solver: version(solver) for solver in {job.solver for job in wanted}}
    known: dict[Job, dict[str, Any]] = {}
    if file.exists():
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed
            job = Job(*row.pop("job"))
            if row.pop("code") == code.get(job.solver):
                known[job] = row
    todo = [job for job in wanted if job not in known]
    file.parent.mkdir(parents=True, exist_ok=True)
    if todo:
        began = time.monotonic()
        with closing(each(measured, todo, processes, ordered=False)) as results, file.open("a") as out:
            if out.tell() and not file.read_bytes().endswith(b"\n"):
                out.write("\n")
            for done, (index, row) in enumerate(results, 1):
                job = todo[index]
                known[job] = row
                out.write(json.dumps({"job": job, "code": code[job.solver], **row}) + "\n")
                out.flush()
                progress(done, len(todo), time.monotonic() - began)
    return {job: known[job] for job in wanted}


def progress(done: int, of: int, seconds: float) -> None:
    """One line that is written over; where nobody watches, a line now and then."""
    watched = sys.stderr.isatty()
    if watched or done == of or done * 20 // of > (done - 1) * 20 // of:
        left = seconds / done * (of - done) / 60
        text = f"{done} of {of} parts, about {left:.1f} min left"
        print(text, end="  \r" if watched and done < of else "\n", file=sys.stderr, flush=True)


# Tables ----------------------------------------------------------------------------------------------------------
Cells = dict[tuple[str, str], list[dict[str, Any]]]


def cells(results: dict[Job, dict[str, Any]]) -> Cells:
    """Rows of each (case, solver), in the order of their pairs."""
    found: Cells = {}
    for job in sorted(results):
        found.setdefault((job.case, job.solver), []).append(results[job])
    return found


def joined(rows: Sequence[dict[str, Any]], key: str) -> list[Any]:
    """The lists under `key` of all rows as one."""
    return [value for row in rows for value in row[key]]


def middle(values: Sequence[float]) -> str:
    return f"{np.median(values):.1f}" if values else "–"


def shown(value: float) -> str:
    return f">{CAP}" if np.isinf(value) else f"{value:g}"


def asked(scenario: Scenario) -> str:
    if scenario.over_floor is not None:
        return f"floor + {scenario.over_floor}"
    if scenario.asked is None:
        return "–"
    median, tail = scenario.asked
    if median >= CAP:
        return "no failure"
    return f"{median} / {tail}" + (f" (p{scenario.tail})" if scenario.tail != 95 else "")


def planned(scenario: Scenario) -> int:
    """How many design points come before the first proposal."""
    inputs = len(PLANTS[scenario.plant](np.random.default_rng(0)).inputs)
    return inputs + 1 if scenario.initial is None else scenario.initial


def campaign_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def trials(case: str, solver: str) -> str:
        got = joined(found[case, solver], "trials")
        failed = sum(t is None for t in got)
        text = f"{shown(quantile(got, 50))} / {shown(quantile(got, SCENARIOS[case].tail))}"
        return text + (f" · {failed}" if failed else "")

    def judged(case: str, solver: str) -> str:
        want, over = SCENARIOS[case].asked, SCENARIOS[case].over_floor
        got = joined(found[case, solver], "trials")
        if over is not None and (case, "perfect") in found:
            want = quantile(joined(found[case, "perfect"], "trials"), 50) + over, np.inf
        if want is None or solver == "perfect":
            return trials(case, solver)
        good = quantile(got, 50) <= want[0] and quantile(got, SCENARIOS[case].tail) <= want[1]
        return f"**{trials(case, solver)}**" if good and None not in got else trials(case, solver)

    pairs = len(joined(found[cases[0], solvers[0]], "trials"))
    text = "Trials until the goal is hit, design included: median / p95 (or as asked) · failures in "
    text += f"{CAP} trials; {pairs} pairs. Bold: reaches what is asked of the default solver.\n\n"
    lines = table(
        "campaign", cases, ["asked", *solvers], lambda c, s: asked(SCENARIOS[c]) if s == "asked" else judged(c, s)
    )
    text += lines + "\nCPU milliseconds of a fit and a proposal, median of the campaigns.\n\n"
    text += table("campaign", cases, solvers, lambda c, s: middle(joined(found[c, s], "ms")))
    alarms = {key: sum(row["alarms"] for row in rows) for key, rows in found.items()}
    if any(alarms.values()):
        text += "\nProposals that called the goal, which can be reached, unreachable.\n\n"
        text += table("campaign", cases, solvers, lambda c, s: str(alarms[c, s]))
    errors = {f"{c}, {s}: {e}" for (c, s), rows in found.items() for e in joined(rows, "errors")}
    return text + "".join(f"\nfailed: {e}" for e in sorted(errors)[:20])


def shot_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def cell(case: str, solver: str) -> str:
        misses = joined(found[case, solver], "misses")
        return f"{np.median(misses):.2f} / {np.percentile(misses, 95):.2f}" if misses else "no answer"

    text = (
        "Worst channel's miss after one fit and one proposal, without noise, in per cent of the goal: median / p95.\n\n"
    )
    text += table("plant, rows", cases, solvers, cell)
    rivals = [one for one in OTHERS if one in solvers]
    if "auto" not in solvers or not rivals:
        return text
    text += "\nMedian of `auto` over that of each baseline: 90 % interval of a paired bootstrap.\n\n"
    return text + table(
        "plant, rows", cases, rivals, lambda c, s: ratio(*(joined(found[c, k], "misses") for k in ("auto", s)))
    )


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Ratio of two medians over the same sets, and the 5 and 95 % points of 2000 resamples of the sets."""
    n = min(len(ours), len(theirs))  # some baselines are given fewer sets
    a, b = np.array(ours[:n]), np.array(theirs[:n])
    drawn = np.random.default_rng(0).integers(n, size=(2000, n))
    low, high = np.percentile(np.median(a[drawn], axis=1) / np.median(b[drawn], axis=1), [5, 95])
    return f"{np.median(a) / np.median(b):.2f} ({low:.2f}–{high:.2f})"


def expected_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def cell(case: str, solver: str) -> str:
        within1, within2, known = np.sum([row["count"] for row in found[case, solver]], axis=0)
        return f"{within1 / known:.2f} / {within2 / known:.2f}" if known else "unknown"

    text = "Part of the expected readings at the answer within 1 / 2 standard errors of those without noise.\n\n"
    return text + table("plant, rows", cases, solvers, cell)


def coverage_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def cell(kind: str) -> Callable[[str, str], str]:
        def one(case: str, solver: str) -> str:
            within1, within2, known, unknown = np.sum([row[kind] for row in found[case, solver]], axis=0)
            note = f" · {unknown / (known + unknown):.0%} unknown" if unknown else ""
            return f"{within1 / known:.3f} / {within2 / known:.3f}{note}" if known else "unknown"

        return one

    titles = {
        "uncertainty": "The uncertainty, for goals without noise: part of the inputs within 1 / 2 standard deviations.",
        "spread": "The spread, for goals that are one noisy reading.",
    }
    return "\n".join(f"{title}\n\n{table('plant, rows', cases, solvers, cell(k))}" for k, title in titles.items())


def verdict_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def called(case: str, solver: str) -> dict[str, np.ndarray[Any, Any]]:
        total: dict[str, np.ndarray[Any, Any]] = {}
        for row in found[case, solver]:
            for kind, counts in row["called"].items():
                total[kind] = total.get(kind, np.zeros(2, int)) + counts
        return total

    impossible = [case for case in cases if case.startswith(("impossible", "beyond"))]
    rest = [case for case in cases if case not in impossible]
    text = "Goals of 0.5 % tolerance called unreachable. Those that are:\n\n"
    names = {f"{kind}, {case.split()[-1]}": (case, kind) for case in impossible for kind in called(case, solvers[0])}

    def share(name: str, solver: str) -> str:
        yes, total = called(names[name][0], solver)[names[name][1]]
        return f"{yes} of {total}"

    def alarms(name: str, solver: str) -> str:
        counts = [called(case, solver)[case.split(" n=")[0]] for case in rest if name in ("all", case)]
        yes, total = np.sum(counts, axis=0)
        return f"{yes} of {total}"

    text += table("goal, rows", list(names), solvers, share) if names else ""
    if not rest:
        return text
    text += "\nThose that are not (false alarms):\n\n" + table("plant, rows", [*rest, "all"], solvers, alarms)

    def below(case: str, solver: str) -> str:
        yes, total = np.sum([row["below"] for row in found[case, solver]], axis=0)
        return f"{yes} of {total}"

    text += "\nGoals of 1 % that perfect settings hit, called below the noise (of `noise` plants: rightly):\n\n"
    return text + table("plant, rows", rest, solvers, below)


def mode_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def cell(case: str, solver: str) -> str:
        hit, modes, invented = np.sum([row["modes"] for row in found[case, solver]], axis=0)
        distances = joined(found[case, solver], "mmd")
        text = f"{hit} of {modes}, {invented} invented" if modes else f"continuum, {invented} invented"
        return text + (f", {np.median(distances):.3f}" if distances else "")

    text = "Solutions found of those there are, solutions invented, and the median squared MMD of `sample`.\n\n"
    return text + table("plant, rows", cases, solvers, cell)


def cost_tables(found: Cells, cases: Sequence[str], solvers: Sequence[str]) -> str:
    def cell(case: str, solver: str) -> str:
        row = found.get((case, solver), [{"error": "–"}])[0]
        return row["error"] if "error" in row else f"{row['ms']:.1f} ms, {row['mb']:.0f} MB"

    text = "CPU of a fit and a proposal on one core, and the process's most memory (Python and libraries included).\n\n"
    lines = [f"| solver | {' | '.join(f'{case} rows' for case in cases)} |", f"|---|{'--:|' * len(cases)}"]
    lines += [f"| {solver} | {' | '.join(cell(case, solver) for case in cases)} |" for solver in solvers]
    return text + "\n".join(lines) + "\n"


TABLES = {
    "campaigns": campaign_tables,
    "one-shot": shot_tables,
    "coverage": coverage_tables,
    "expected": expected_tables,
    "verdicts": verdict_tables,
    "modes": mode_tables,
    "cost": cost_tables,
}


def draw(found: Cells, cases: Sequence[str], solvers: Sequence[str], file: Path) -> None:
    """The campaigns as one picture: the colour is what the median costs beyond the design and one trial."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LogNorm
    from PIL import Image  # comes with matplotlib

    trials = {key: joined(rows, "trials") for key, rows in found.items()}
    floor = {case: planned(SCENARIOS[case]) + 1 for case in cases}
    extra = np.array([[min(quantile(trials[c, s], 50), CAP) - floor[c] for s in solvers] for c in cases]).clip(0, 40)
    figure, axes = plt.subplots(figsize=(1.6 + 0.9 * len(solvers), 1.4 + 0.4 * len(cases)), layout="constrained")
    image = axes.imshow(1 + extra, cmap="YlGnBu", norm=LogNorm(1, 41), aspect="auto")
    for i, case in enumerate(cases):
        for j, solver in enumerate(solvers):
            got = trials[case, solver]
            failed = sum(t is None for t in got)
            middle, tail = (shown(quantile(got, q)) for q in (50, SCENARIOS[case].tail))
            text = f"{middle} / {tail}" if failed < len(got) / 2 else f"fails {failed / len(got):.0%}"
            if 0 < failed < len(got) / 2:
                text += f"\n✗ {failed}"
            ink = "white" if extra[i, j] > 9 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=ink)
    pairs = {s: len(trials[cases[0], s]) for s in solvers}
    shared = len(set(pairs.values())) == 1
    heads = [s.replace(":", "\n") + ("" if shared else f"\n{pairs[s]} pairs") for s in solvers]
    axes.set_xticks(range(len(solvers)), heads, fontsize=8)
    axes.set_yticks(range(len(cases)), cases, fontsize=8)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for side in axes.spines.values():
        side.set_visible(False)
    figure.suptitle(f"Trials until the goal is hit: median / p95, ✗ campaigns that failed in {CAP} trials", fontsize=10)
    axes.set_xticks(np.arange(len(solvers) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(cases) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.5, pad=0.01, ticks=[1, 2, 4, 11, 21, 41])
    bar.ax.set_yticklabels(["0", "1", "3", "10", "20", "≥ 40"], fontsize=8)
    bar.ax.minorticks_off()
    bar.set_label("colour: trials beyond design + 1, median", fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(64).save(file, optimize=True)  # a third of the size


def cases_of(
    measure: str, wanted: Sequence[str] | None, rows_wanted: Sequence[str] | None, *, quick: bool
) -> list[str]:
    """The cases of a measure, or those of some plants (or scenarios) alone."""
    if measure == "campaigns":
        names = list(QUICK if quick else SCENARIOS)
        if wanted:
            names = [n for n, scenario in SCENARIOS.items() if n in wanted or scenario.plant in wanted]
        return names
    if measure == "cost":
        return ["100"] if quick else ["100", "10000", "10000×10×3", "300×10×10", "100×50×30"]
    rows: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
        "one-shot": ((*FORMS, *SHOTS), (20, 80)),
        "coverage": (("affine", "jitter", "curved .3", "curved .8"), (8, 20, 80, 200)),
        "expected": (FORMS, (8, 20, 80, 200)),
        "verdicts": (("impossible", *BEYOND, *FEASIBLE, *FORMS), (20, 80)),
        "modes": (("square", "swap", "sine", "ring"), (20, 80)),
    }
    plants, sizes = rows[measure]
    return [f"{plant} n={n}" for plant in wanted or plants for n in rows_wanted or (sizes[:1] if quick else sizes)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for measure in list(TABLES)[1:]:
        parser.add_argument(f"--{measure}", dest="measure", action="store_const", const=measure, help=argparse.SUPPRESS)
    parser.set_defaults(measure="campaigns")
    parser.add_argument("--quick", action="store_true", help="few pairs, few plants")
    parser.add_argument("--solvers", nargs="+", help=f"default: {', '.join(kinds('solvers'))} and the baselines")
    known = f"of {', '.join(PLANTS)}; or names of campaigns"
    parser.add_argument(
        "--plants", "--cells", nargs="+", help=known.replace("%", "%%")
    )  # argparse takes a lone one for a format
    parser.add_argument("--rows", nargs="+", help=f"numbers of rows, or designs: {', '.join(DESIGNS)}, random 27")
    parser.add_argument(
        "--pairs", "--sets", type=int, help="goals, each with its own noise; default 100, 1000 for --coverage"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="default: runs/benchmarks")
    parser.add_argument("--figure", type=Path, help="default: OUT/solvers.png")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    measure: str = given.measure
    solvers = list(given.solvers or default_solvers(measure, quick=given.quick))
    unknown = set(given.plants or ()) - set(PLANTS) - set(SCENARIOS) - {"impossible", *BEYOND}
    if unknown:
        parser.error(f"no such plant: {', '.join(sorted(unknown))}; there are {', '.join(PLANTS)}")
    cases = cases_of(measure, given.plants, given.rows, quick=given.quick)
    pairs = given.pairs or (min(PAIRS[measure], 5) if given.quick else PAIRS[measure])
    wanted = jobs(measure, cases, solvers, 1 if measure == "cost" else pairs)
    found = cells(collect(wanted, given.out / "results.jsonl", 1 if measure == "cost" else given.processes))
    text = TABLES[measure](found, cases, solvers)
    (given.out / f"{measure}.md").write_text(text)
    print(text)
    if measure == "campaigns":
        draw(found, cases, solvers, given.figure or given.out / "solvers.png")


def default_solvers(measure: str, *, quick: bool) -> list[str]:
    """All of the registry with the baselines, as far as they can take part."""
    if measure in ("coverage", "expected", "verdicts", "modes"):
        return [kind for kind in kinds("solvers") if kind not in MODELS_ONLY]
    found = [*(kind for kind in kinds("solvers") if kind != "random"), *BASELINES, "random"]
    if measure == "one-shot":
        found = [kind for kind in found if kind not in ("random", "textbook broyden", "ei", "perfect")]
    if measure == "cost":
        found = [kind for kind in found if kind != "perfect"] + [UPSTREAM]
    return [kind for kind in found if kind not in ("ei", "forest", "mcmc", UPSTREAM)] if quick else found


if __name__ == "__main__":
    main()
