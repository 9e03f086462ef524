"""How many rows a solver needs, by where they were measured: does it pay to let a solver choose them?

    python benchmarks/learning.py               all plants, solvers and designs, an hour; faster with OMP_NUM_THREADS=1
    python benchmarks/learning.py --quick       a small part, seconds

For each solver, plant and design: so many rows are measured, the solver is fitted once and asked for goals from .1 to
.9 of the inputs' ranges, and the worst channel's miss is taken, without noise, in per cent of the goal. The designs:

    latin-hypercube    drawn anew for every number of rows, over the whole range, as in the paper
    latin-hypercube .1 the same over .1 to .9 of the range
    farthest           axis points, then always the point farthest from all that was measured: no model
    adaptive           axis points, then the points that `design: {kind: adaptive}` takes, its solver being `gp`
    adaptive, own      the same, its solver being the one that is judged (those that map readings to settings, and gp)

Results are appended to OUT/learning.jsonl as they come, and those that are there are not measured again unless the code
of solvers, designs or plants has changed since. Prints tables in Markdown, writes them to OUT/learning.md and draws a
figure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plants import PLANTS, Plant, targets

import sdl
from sdl.designs.adaptive import Adaptive
from sdl.designs.filling import Farthest, LatinHypercube
from sdl.errors import SolverError
from sdl.registry import find
from sdl.space import Space

Floats = NDArray[np.float64]

SOLVERS = ("linear", "pls", "gmm", "forest", "gp", "bayes")
CASES = ("affine", "curved .8")
ROWS = (6, 8, 12, 16, 24)
GOALS = 8
CHOOSERS = ("pls", "gmm", "forest", "gp")
"""Solvers that also choose rows for themselves."""
WITHIN = (0.5, 1.0, 2.0)
"""Per cent that nine of ten goals must be missed by at most, for the table of rows needed."""


# Where rows are measured ---------------------------------------------------------------------------------------------
def _all_at_once(low: float, high: float) -> Callable[..., Floats]:
    def points(n: int, d: int, seed: int) -> Floats:
        inputs = PLANTS["affine"](np.random.default_rng(0)).inputs[:d]
        design = LatinHypercube(trials=n, low=low, high=high)
        none = np.empty((0, d))
        return np.array([design.point(i, none, inputs, lambda k: _rng(seed, 3, n, k)) for i in range(n)])

    return points


def _sequence(plant: Plant, seed: int, solver: str | None, most: int) -> tuple[Floats, Floats]:
    """Settings and readings of so many rows, one after the other; None: the farthest point each time."""
    d, noise = len(plant.inputs), _rng(seed, 1)
    design = Adaptive(trials=most, solver=solver or "gp")
    X, Y = np.empty((0, d)), np.empty((0, len(plant.channels)))
    for trial in range(most):
        if solver is None:
            x = Farthest(trials=most).point(trial, X, plant.inputs, lambda n: _rng(seed, 2, n))
        else:
            x, _ = design.choose(trial, plant.data(X, Y), lambda n: _rng(seed, 2, n))
        X, Y = np.vstack([X, x]), np.vstack([Y, plant.read(x, trial, noise)])
    return X, Y


def rows_of(
    design: str, plant: Plant, seed: int, solver: str, sizes: Sequence[int] = ROWS
) -> dict[int, tuple[Floats, Floats]]:
    """Settings and readings for every number of rows."""
    if design.startswith("latin"):
        draw = _all_at_once(0.1, 0.9) if design.endswith(".1") else _all_at_once(0.0, 1.0)
        found = {}
        for n in sizes:
            X, noise = draw(n, len(plant.inputs), seed), _rng(seed, 1)
            found[n] = (X, np.array([plant.read(x, i, noise) for i, x in enumerate(X)]))
        return found
    chooser = {"farthest": None, "adaptive": "gp"}.get(design, solver)
    X, Y = _sequence(plant, seed, chooser, max(sizes))
    return {n: (X[:n], Y[:n]) for n in sizes}


DESIGNS = ("latin-hypercube", "latin-hypercube .1", "farthest", "adaptive", "adaptive, own")


# What the solvers make of them ---------------------------------------------------------------------------------------
def misses(plant: Plant, X: Floats, Y: Floats, solver: str, seed: int) -> list[float]:
    """Worst channel's miss in per cent, without noise, at so many goals; inf where the solver cannot answer."""
    rng = _rng(seed, 0)
    wanted = plant.noise_free(np.array([plant.draw(rng) for _ in range(GOALS)]))[:, plant.goal]
    try:
        fitted = find("solvers", solver)().fit(plant.data(X, Y))
        given = fitted.propose(targets(plant, wanted, 1.0), Space(plant.inputs), _rng(seed, 5))
    except SolverError:
        return [float("inf")] * GOALS
    got = plant.noise_free(np.clip(given.settings, 0, 1))[:, plant.goal]
    return (np.abs(got / wanted - 1).max(axis=1) * 100).round(5).tolist()


Key = tuple[str, str, str, int]
"""Plant, design, solver, seed."""


def measured(known: dict[Key, Any], wanted: Sequence[Key], sizes: Sequence[int]) -> Any:
    """Yields (keys, results) of all that is wanted and not known, a design at a time."""
    groups: dict[tuple[str, str, str, int], list[Key]] = {}
    for key in wanted:
        plant, design, solver, seed = key
        if key not in known:
            own = solver if design.endswith("own") else ""
            group = (plant, "adaptive", "", seed) if own == "gp" else (plant, design, own, seed)  # the same rows
            groups.setdefault(group, []).append(key)
    for number, ((name, design, solver, seed), keys) in enumerate(groups.items(), 1):
        plant = PLANTS[name](_rng(seed, 4))
        rows = rows_of(design, plant, seed, solver, sizes)
        for key in keys:
            yield key, {str(n): misses(plant, X, Y, key[2], seed) for n, (X, Y) in rows.items()}, number / len(groups)


def version() -> str:
    """Changes whenever code does that the results depend on."""
    package = Path(sdl.__file__).parent
    files = [Path(__file__), Path(__file__).with_name("plants.py"), package / "registry.py"]
    files += [*(package / "solvers").glob("*.py"), *(package / "designs").glob("*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:12]


def collect(wanted: Sequence[Key], file: Path, sizes: Sequence[int] = ROWS, *, anyway: bool = False) -> dict[Key, Any]:
    """Results of all keys, measuring those that `file` does not have from the same code (`anyway`: from any)."""
    code, known = version(), {}
    if file.exists():
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a run that was killed
            if (row["code"] == code or anyway) and set(map(str, sizes)) <= set(row["misses"]):
                known[tuple(row["key"])] = row["misses"]
    file.parent.mkdir(parents=True, exist_ok=True)
    began, said = time.monotonic(), 0.0
    with file.open("a") as out:
        if out.tell() and not file.read_bytes().endswith(b"\n"):
            out.write("\n")
        for key, found, done in measured(known, wanted, sizes):
            known[key] = found
            out.write(json.dumps({"key": key, "code": code, "misses": found}) + "\n")
            out.flush()
            if done >= said + 0.05 or done == 1:
                said, left = done, (time.monotonic() - began) * (1 / done - 1) / 60
                print(f"{done:.0%}, about {left:.1f} min left", file=sys.stderr, flush=True)
    return {key: {str(n): known[key][str(n)] for n in sizes} for key in wanted}


# Tables and figure ---------------------------------------------------------------------------------------------------
Curves = dict[tuple[str, str, str], dict[int, Floats]]


def curves(found: dict[Key, Any]) -> Curves:
    """Misses of all seeds by (plant, design, solver) and number of rows."""
    pooled: Curves = {}
    for plant, design, solver, seed in sorted(found):
        for n, values in found[plant, design, solver, seed].items():
            of = pooled.setdefault((plant, design, solver), {})
            of[int(n)] = np.concatenate([of.get(int(n), np.empty(0)), np.array(values, dtype=float)])
    return pooled


def needed(curve: dict[int, Floats], within: float, part: float = 90) -> int | None:
    """The fewest rows from which on that part of the goals is missed by at most so many per cent."""
    good = [n for n in sorted(curve) if np.percentile(curve[n], part) <= within]
    bad = [n for n in sorted(curve) if np.percentile(curve[n], part) > within]
    good = [n for n in good if not bad or n > bad[-1]]
    return good[0] if good else None


def tables(found: Curves, plants: Sequence[str], solvers: Sequence[str], designs: Sequence[str]) -> str:
    seeds = max(len(values) for curve in found.values() for values in curve.values()) // GOALS
    text = f"Rows needed until nine of ten goals are missed by at most so much; {seeds} seeds × {GOALS} goals. "
    sizes = sorted(next(iter(found.values())))
    text += f"–: not with {sizes[-1]} rows.\n\n"
    text += f"| plant | miss | solver | {' | '.join(designs)} |\n|---|--:|---|{'--:|' * len(designs)}\n"
    for plant in plants:
        for within in WITHIN:
            for solver in solvers:
                lines = [found.get((plant, design, solver)) for design in designs]
                cells = [line and needed(line, within) for line in lines]
                if any(cells):
                    shown = " | ".join(
                        " " if line is None else str(n or "–") for line, n in zip(lines, cells, strict=True)
                    )
                    text += f"| {plant} | {within:g} % | {solver} | {shown} |\n"
    for n in sorted({sizes[0], sizes[len(sizes) // 2 - 1], sizes[-1]}):
        text += f"\nMiss in per cent at {n} rows: median / 90th percentile.\n\n"
        text += f"| plant | solver | {' | '.join(designs)} |\n|---|---|{'--:|' * len(designs)}\n"
        for plant in plants:
            for solver in solvers:
                both = [
                    np.percentile(line[n], (50, 90)) if (line := found.get((plant, d, solver))) else () for d in designs
                ]
                shown = " | ".join(f"{cell[0]:.2f} / {cell[1]:.2f}" if len(cell) else " " for cell in both)
                text += f"| {plant} | {solver} | {shown} |\n"
    return text


def draw(found: Curves, plants: Sequence[str], solvers: Sequence[str], designs: Sequence[str], file: Path) -> None:
    """The 90th percentile against the number of rows: a panel for each plant and solver."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    styles = {
        "latin-hypercube": ("0.35", "-", "o"),
        "latin-hypercube .1": ("0.65", "-", "s"),
        "farthest": ("#009e73", "-", "^"),
        "adaptive": ("#d55e00", "-", "D"),
        "adaptive, own": ("#0072b2", "--", "v"),
    }
    plt.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    size = (1.55 * len(solvers) + 0.6, 1.45 * len(plants) + 0.9)
    figure, axes = plt.subplots(len(plants), len(solvers), figsize=size, sharex=True, sharey="row", squeeze=False)
    for i, plant in enumerate(plants):
        for j, solver in enumerate(solvers):
            axis = axes[i, j]
            for design in designs:
                colour, line, marker = styles[design]
                curve = found.get((plant, design, solver))
                if curve is None:
                    continue
                rows = sorted(curve)
                values = [np.percentile(curve[n], 90) for n in rows]
                axis.plot(rows, values, line, color=colour, marker=marker, ms=2.8, lw=1, label=design)
            axis.axhline(1, color="0.8", lw=0.8, zorder=0)
            axis.set(yscale="log", xscale="log")
            axis.set_xticks([6, 12, 24], ["6", "12", "24"])
            axis.minorticks_off()
            if i == 0:
                axis.set_title(solver, fontsize=9)
            if i == len(plants) - 1:
                axis.set_xlabel("rows")
        ticks = [
            t for t in (0.2, 0.5, 1, 2, 5, 10, 20, 50) if axes[i, 0].get_ylim()[0] <= t <= axes[i, 0].get_ylim()[1]
        ]
        axes[i, 0].set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes[i, 0].set_ylabel(f"{plant}\nmiss, % (p90)")
    handles, labels = axes[0, solvers.index("pls") if "pls" in solvers else 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(designs), frameon=False)
    figure.tight_layout(rect=(0, 0.06, 1, 1), pad=0.4)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def _rng(*words: int) -> np.random.Generator:
    return np.random.default_rng(list(words))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, two solvers, one plant, five rows")
    parser.add_argument("--seeds", type=int, default=10, help="noises and goals; default 10")
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS))
    parser.add_argument("--plants", nargs="+", choices=list(PLANTS), default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="default: runs/benchmarks")
    parser.add_argument("--figure", type=Path, help="default: OUT/learning.png")
    parser.add_argument("--anyway", action="store_true", help="take results of earlier code too")
    given = parser.parse_args(arguments)
    sizes: Sequence[int] = ROWS
    if given.quick:
        given.solvers, given.plants, given.seeds, sizes = ["linear", "pls"], ["affine"], 2, (5,)
    wanted = [
        (plant, design, solver, seed)
        for seed in range(given.seeds)
        for plant in given.plants
        for design in DESIGNS
        for solver in given.solvers
        if solver in CHOOSERS or not design.endswith("own")
    ]
    found = curves(collect(wanted, given.out / "learning.jsonl", sizes, anyway=given.anyway))
    text = tables(found, given.plants, given.solvers, DESIGNS)
    (given.out / "learning.md").write_text(text)
    print(text)
    draw(found, given.plants, given.solvers, DESIGNS, given.figure or given.out / "learning.png")


if __name__ == "__main__":
    main()
