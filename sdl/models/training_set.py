"""What every solver does before and after its own model: picks the rows, and judges the goal.

All solvers are judged by one affine fit of the same rows, so that a verdict means the same whoever answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog, lsq_linear

from sdl.arrays import Bools, Floats
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.data import Data, Proposals, Targets
from sdl.models.linear_model import LinearModel, fit_linear
from sdl.models.reachability import Reachability, assess
from sdl.models.session_effects import align_to_current
from sdl.models.verdict import assess_goal

DISTINCT = 1e-3
"""Settings that differ by less, as a part of the range, count as the same."""


@dataclass(frozen=True)
class TrainingSet:
    """The usable rows, their affine fit, and the names to speak of them.

    Attributes:
        U: (n, d) settings in units of their bounds: 0 is low, 1 is high.
        Y: (n, m) readings; 0 where not usable.
        usable: (n, m) neither missing nor saturated; all of the goal's columns (and those a solver asked for) are.
        goal: (g,) columns of the goal.
        low, range: (d,) lower bounds and widths.
        affine: fit of all channels that have enough rows.
        about: "12 rows (3 saturated left out)".
        channels: names.
        prefer: (d,) what each input costs over its range; of the settings that hit, the cheapest are wanted.
        average: how many readings are averaged before a goal is judged.
        apart: (m, p, p) doubt of the lines' coefficients that comes of several sittings; None: there was one.
        age: (n,) readings since each row.
        sitting: (n,) number of the sitting of each row; None: there was one.
    """

    U: Floats
    Y: Floats
    usable: Bools
    goal: NDArray[np.intp]
    low: Floats
    range: Floats
    affine: LinearModel
    about: str
    channels: tuple[str, ...]
    prefer: tuple[float, ...] | None = None
    average: int = 1
    apart: Floats | None = None
    age: Floats | None = None
    sitting: Floats | None = None

    @cached_property
    def reach(self) -> Reachability:
        """What can be read at which settings, for the verdict."""
        return assess(self.U[: len(self.Y)], self.Y, self.usable, self.linear, self.goal, self.sitting)

    def settings(self, U: Floats) -> Floats:
        """From units of the bounds to units of the inputs."""
        settings: Floats = self.low + U * self.range
        return settings

    def units(self, X: Floats) -> Floats:
        """From units of the inputs to units of the bounds."""
        units: Floats = (X - self.low) / self.range
        return units

    def doubted(self, spread: Floats, uncertainty: Floats, U: Floats) -> tuple[Floats, Floats]:
        """Doubts (k, d) of a model that takes all rows for one sitting's, put right, at its answers U (k, d)."""
        if self.apart is None:
            return spread, uncertainty
        more = []
        for u in U:
            x, inverse = np.concatenate([[1.0], u]), self.linear.inverse(self.goal, u)
            more.append(np.sqrt(inverse**2 @ np.maximum(np.einsum("p,mpq,q->m", x, self.apart[self.goal], x), 0.0)))
        return np.hypot(spread, np.array(more)), np.hypot(uncertainty, np.array(more))

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN = unknown."""
        return self.linear.predict(self.units(X))

    def wanted(self, value: Floats) -> NDArray[np.intp]:
        """The goal's columns that have a target in `value` (m,)."""
        return self.goal[np.isfinite(value[self.goal])]

    def nearest(self, target: Targets, low: Floats, high: Floats) -> Floats:
        """(d,) settings inside low…high (d,), in units, whose readings come nearest to one goal, in tolerances.

        A band without a target is kept with some room for the noise. Where that leaves a choice: the preferred
        settings, or those nearest to the middle of the data.
        """
        return self.preferred(self._least(self.activate_limits(target, low, high), low, high), target, low, high)

    def aimed(self, target: Targets, low: Floats, high: Floats) -> Targets:
        """One goal, with a target for each band without one that the settings for the others would break.

        So that every solver, which knows targets alone, keeps such a band too. Bounds are in units.
        """
        limited = np.isnan(target.value) & (np.isfinite(target.low) | np.isfinite(target.high))
        free = self.goal[limited[self.goal]]
        if not len(free):
            return target
        least, most = self.guarded_limits(target)
        room, aim = self.tolerance_scale(target), target._replace(value=target.value.copy())
        for _ in free:
            y = self.linear.mean(self._least(aim, low, high)[None])[0]
            off = np.maximum(np.maximum(least - y, y - most), 0.0) / room
            left = [c for c in free if np.isnan(aim.value[c]) and off[c] > 1e-6]
            if not left:
                break
            worst = max(left, key=lambda c: float(off[c]))
            aim.value[worst] = least[worst] if y[worst] < least[worst] else most[worst]
        return aim

    def aims(self, targets: Targets, low: Floats, high: Floats) -> Floats:
        """(k, m) targets of k goals, as `aimed` gives them; NaN = free. Bounds are in units of the inputs."""
        ends = self.units(low), self.units(high)
        return np.array([self.activate_limits(Targets(*parts), *ends).value for parts in zip(*targets, strict=True)])

    def preferred(self, u: Floats, target: Targets, low: Floats, high: Floats) -> Floats:
        """(d,) the cheapest settings whose readings, by the lines, hit one goal as well as those at u (d,) do."""
        if self.prefer is None or not self.is_underdetermined(target):
            return u
        columns = self.target_columns(target.value)
        response = np.maximum(np.abs(self.linear.slope).sum(axis=1), 1e-300)
        least, most = self.guarded_limits(target)
        free = np.setdiff1d(self.goal, columns)
        y = self.linear.mean(u[None])[0]
        slope = self.linear.slope / response[:, None]
        down, up = (np.minimum(least, y) - y) / response, (np.maximum(most, y) - y) / response
        A, b = np.vstack([slope[free], -slope[free]]), np.concatenate([up[free], -down[free]])
        use = np.isfinite(b)
        found = linprog(
            np.array(self.prefer),
            A[use] if use.any() else None,
            b[use] if use.any() else None,
            slope[columns] if len(columns) else None,
            np.zeros(len(columns)) if len(columns) else None,
            list(zip(low - u, high - u, strict=True)),
        )
        return u if found.x is None else np.asarray(np.clip(u + found.x, low, high), dtype=np.float64)

    def choice(self, target: Targets) -> bool:
        """Whether one goal leaves a choice between settings."""
        slope = self.linear.slope[self.target_columns(target.value)]
        if not len(slope):
            return True
        response = np.maximum(np.abs(slope).sum(axis=1, keepdims=True), 1e-300)
        return bool(np.linalg.matrix_rank(slope / response, tol=1e-4) < slope.shape[1])

    def _least(self, target: Targets, low: Floats, high: Floats) -> Floats:
        """(d,) settings inside low…high whose readings come nearest to the targets; the middle of the data without."""
        columns = self.target_columns(target.value)
        middle: Floats = np.clip(self.linear.middle, low, high)
        if not len(columns):
            return middle
        gap = target.value[columns] - self.linear.mean(middle[None])[0, columns]
        room = self.tolerance_scale(target)[columns]
        weight = room.min() / room
        bounds = (low - middle - 1e-12, high - middle + 1e-12)
        # Bounds are exact here; the default method stops short of them, and gives up other channels for that.
        step = lsq_linear(self.linear.slope[columns] * weight[:, None], gap * weight, bounds, method="bvls").x
        return np.asarray(np.clip(middle + step, low, high), dtype=np.float64)

    def inner(self, target: Targets) -> tuple[Floats, Floats]:
        """(m,) limits drawn in by three standard deviations of one reading in mid-range, to the middle at most."""
        noise = np.sqrt(np.diag(self.linear.covariance(np.full(self.U.shape[1], 0.5))[0]))
        least = 0.01 * np.abs(self.linear.slope).sum(axis=1)
        margin = np.fmin(np.where(np.isfinite(noise), 3.0 * noise, least), (target.high - target.low) / 2)
        margin = np.where(np.isfinite(margin), margin, 0.0)  # a free channel that was never read below full scale
        return target.low + margin, target.high - margin

    def filled(self, targets: Targets, low: Floats, high: Floats) -> Floats:
        """(k, g) targets of the goal's channels; one left free gets the reading that goes with the others.

        For models that map all readings of a goal to settings. Bounds are in units of the inputs.
        """
        value = targets.value[:, self.goal].copy()
        for i in np.flatnonzero(~np.isfinite(value).all(axis=1)):
            nearest = self.nearest(Targets(*(part[i] for part in targets)), self.units(low), self.units(high))
            value[i] = np.where(np.isfinite(value[i]), value[i], self.linear.mean(nearest[None])[0, self.goal])
        return value

    def room(self, target: Targets) -> Floats:
        """(m,) what a miss of each channel is counted in: half its band, but at least 1 % of its response.

        A low target's few percent are fewer counts than anything can hold; taken by the letter, they would have all
        other channels of a goal out of reach given up for them. Of a band without a target it is 1 % at most, so that
        a wide one is kept as strictly as a narrow one.
        """
        half = (target.high - target.low) / 2
        least = np.fmax(0.01 * np.abs(self.linear.slope).sum(axis=1), 1e-12)
        aimed = np.fmax(np.where(np.isfinite(half), half, 0.0), least)
        room: Floats = np.where(np.isfinite(target.value) & np.isfinite(half), aimed, np.fmin(half, least))
        return room

    def answer(
        self,
        model: str,
        settings: Floats,
        doubt: tuple[Floats, Floats],
        targets: Targets,
        bounds: tuple[Floats, Floats],
        expected: Floats | None = None,
        notes: Sequence[str] = (),
        *,
        prefers: bool = False,
    ) -> Proposals:
        """Puts verdict and sentence to a solver's k answers, and moves them to what is preferred.

        Args:
            model: what made them, for the sentence.
            settings: (k, d) in units.
            doubt: spread and uncertainty, each (k, d) in units.
            targets: each (k, m).
            bounds: low and high (d,), in units of the inputs.
            expected: (k, m) readings at the answers; those of the affine fit where NaN or not given.
            notes: one for each answer, added to its sentence.
            prefers: the solver has picked the preferred settings itself; else they are found along the lines.
        """
        low, high = (self.units(bound) for bound in bounds)
        goals = [Targets(*(part[i] for part in targets)) for i in range(len(settings))]
        if self.prefer is not None and not prefers:
            moved = np.array([self.preferred(u, goal, low, high) for u, goal in zip(settings, goals, strict=True)])
            if expected is not None:  # the lines say what the move changes, which is nothing of a target
                expected = expected + self.linear.mean(moved) - self.linear.mean(settings)
            settings = moved
        affine = self.linear.mean(settings)
        nearest = np.full(affine.shape, np.nan)
        verdicts, why = [], []
        for i, (u, goal) in enumerate(zip(settings, goals, strict=True)):
            verdict, said, readings = assess_goal(self, goal, low, high, u)
            if readings is not None:
                nearest[i] = readings
            chosen = ""
            if self.prefer is not None:
                chosen = "the preferred of the settings that hit" if self.is_underdetermined(goal) else "no choice left to prefer"
            verdicts.append(verdict)
            why.append("; ".join(filter(None, [f"{model} on {self.about}", *notes[i : i + 1], chosen, said])))
        return Proposals(
            settings=self.settings(settings),
            spread=doubt[0] * self.range,
            uncertainty=doubt[1] * self.range,
            expected=affine if expected is None else np.where(np.isfinite(expected), expected, affine),
            verdict=tuple(verdicts),
            why=tuple(why),
            nearest=nearest,
        )


def stand_on(data: Data, also: Sequence[int] = (), *, level: bool = True) -> TrainingSet:
    """Picks the rows that hold all channels of the goal (and the columns `also`) unsaturated, and fits them.

    Args:
        data: all rows.
        also: further columns that a row must hold.
        level: bring the readings of other sittings to the level of the present one.

    Raises:
        NotEnoughData: fewer than inputs + 1 of them.
        Degenerate: they do not vary every input, independently of the others.
    """
    low = np.array([item.low for item in data.inputs])
    span = np.array([item.high - item.low for item in data.inputs])
    goal = np.flatnonzero(data.goal)
    if not len(goal):
        raise Degenerate("the goal names no channel that was measured")
    columns = sorted({*goal.tolist(), *also})
    complete = np.isfinite(data.Y[:, columns]).all(axis=1) & np.isfinite(data.X).all(axis=1)
    clear = ~data.saturated[:, columns].any(axis=1)
    keep = complete & clear
    n, need = int(keep.sum()), len(data.inputs) + 1
    left = {"saturated": int((~clear).sum()), "incomplete": int((clear & ~complete).sum())}
    left_out = ", ".join(f"{count} {reason}" for reason, count in left.items() if count)
    if n < need:
        raise NotEnoughData(n, need, "usable rows" + (f" ({left_out} left out)" if left_out else ""))
    U = (data.X[keep] - low) / span
    _require_variety(U, tuple(item.name for item in data.inputs))
    usable = np.isfinite(data.Y[keep]) & ~data.saturated[keep]
    Y = np.where(usable, data.Y[keep], 0.0)
    about = f"{n} rows" + (f" ({left_out} left out)" if left_out else "")
    sitting = data.sitting[keep]
    if level and (sitting != sitting[0]).any():
        now = float(data.sitting[-1]) if data.present is None else data.present
        Y, fit, apart, said = align_to_current(U, Y, usable, sitting, now, goal)
        about = f"{about}, {said}"
    else:
        fit, apart = fit_linear(U, Y, usable), None
    names = tuple(channel.name for channel in data.channels)
    rest = (data.prefer, data.average, apart, data.age[keep], sitting)
    return TrainingSet(U, Y, usable, goal, low, span, fit, about, names, *rest)


def _require_variety(U: Floats, names: tuple[str, ...]) -> None:
    """Raises Degenerate where the settings (n, d) do not span every input."""
    n, still = len(U), np.ptp(U, axis=0) < DISTINCT
    if still.all():
        raise Degenerate(f"all {n} usable rows are at one setting")
    if still.any():
        raise Degenerate(f"{names[int(np.argmax(still))]} never changed in {n} usable rows")
    if np.linalg.svd(U - U.mean(axis=0), compute_uv=False)[-1] < DISTINCT:
        raise Degenerate(f"{', '.join(names)} were not varied independently in {n} usable rows")
