"""What every solver does before and after its own model: picks the rows, and judges the goal.

All solvers are judged by one affine fit of the same rows, so that a verdict means the same whoever answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdl.errors import Degenerate, NotEnoughData
from sdl.solvers.affine import Affine, fit_affine
from sdl.solvers.base import Data, Proposals, Targets
from sdl.types import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

DISTINCT = 1e-3
"""Settings that differ by less, as a part of the range, count as the same."""
SURE = 0.99977
"""How sure (one-sided, 3.5 standard deviations) a goal's being out of reach must be before it is said."""
MARGIN = 0.1
"""How far from the settings seen, as a part of the range, an answer still counts as among them."""


@dataclass(frozen=True)
class Footing:
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
    """

    U: Floats
    Y: Floats
    usable: Bools
    goal: NDArray[np.intp]
    low: Floats
    range: Floats
    affine: Affine
    about: str
    channels: tuple[str, ...]

    def settings(self, U: Floats) -> Floats:
        """From units of the bounds to units of the inputs."""
        settings: Floats = self.low + U * self.range
        return settings

    def units(self, X: Floats) -> Floats:
        """From units of the inputs to units of the bounds."""
        units: Floats = (X - self.low) / self.range
        return units

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN = unknown."""
        return self.affine.predict(self.units(X))

    def wanted(self, value: Floats) -> NDArray[np.intp]:
        """The goal's columns that have a target in `value` (m,)."""
        import numpy as np

        return self.goal[np.isfinite(value[self.goal])]

    def nearest(self, target: Targets, low: Floats, high: Floats) -> Floats:
        """(d,) settings inside low…high (d,), in units, whose readings come nearest to one goal, in tolerances."""
        import numpy as np
        from scipy.optimize import lsq_linear

        columns = self.wanted(target.value)
        middle: Floats = np.clip(self.affine.middle, low, high)
        if not len(columns):
            return middle
        gap = target.value[columns] - self.affine.mean(middle[None])[0, columns]
        room = self.room(target)[columns]
        weight = room.min() / room
        bounds = (low - middle - 1e-12, high - middle + 1e-12)
        step = lsq_linear(self.affine.slope[columns] * weight[:, None], gap * weight, bounds).x
        return np.asarray(np.clip(middle + step, low, high), dtype=np.float64)

    def filled(self, targets: Targets, low: Floats, high: Floats) -> Floats:
        """(k, g) targets of the goal's channels; one left free gets the reading that goes with the others.

        For models that map all readings of a goal to settings. Bounds are in units of the inputs.
        """
        import numpy as np

        value = targets.value[:, self.goal].copy()
        for i in np.flatnonzero(~np.isfinite(value).all(axis=1)):
            nearest = self.nearest(Targets(*(part[i] for part in targets)), self.units(low), self.units(high))
            value[i] = np.where(np.isfinite(value[i]), value[i], self.affine.mean(nearest[None])[0, self.goal])
        return value

    def room(self, target: Targets) -> Floats:
        """(m,) what a miss of each channel is counted in: half its band, but at least 1 % of its response.

        A low target's few percent are fewer counts than anything can hold; taken by the letter, they would have all
        other channels of a goal out of reach given up for them.
        """
        import numpy as np

        half = (target.high - target.low) / 2
        least = 0.01 * np.abs(self.affine.slope).sum(axis=1)
        room: Floats = np.fmax(np.where(np.isfinite(half), half, 0.0), np.fmax(least, 1e-12))
        return room

    def judge(self, target: Targets, low: Floats, high: Floats, u: Floats) -> tuple[Verdict, str]:
        """Whether one goal (each part (m,)) can be hit inside low…high, and how far the answer u (d,) is from the data.

        Unreachable: no settings at all bring every channel into its band, not even with every band widened by what
        the fit might be wrong by.
        """
        import numpy as np

        best = self.nearest(target, low, high)
        expected = self.affine.mean(best[None])[0]
        miss = np.maximum(target.low - expected, expected - target.high)[self.goal]
        if (miss > 0).any() and not self._feasible(target, low, high, best):
            worst = int(np.argmax(miss / self.room(target)[self.goal]))
            c = self.goal[worst]
            return Verdict.UNREACHABLE, (
                f"out of reach: at the nearest settings {self.channels[c]} is {expected[c]:.6g}, "
                f"{miss[worst]:.6g} outside {target.low[c]:.6g}…{target.high[c]:.6g}"
            )
        inside = np.clip(u, low, high)
        beyond = np.maximum(self.U.min(axis=0) - inside, inside - self.U.max(axis=0))
        if (beyond > MARGIN + 1e-9).any():
            return Verdict.OUTSIDE, f"{beyond.max():.0%} of the range away from the settings seen so far"
        return Verdict.REACHABLE, ""

    def _feasible(self, target: Targets, low: Floats, high: Floats, best: Floats) -> bool:
        import numpy as np
        from scipy.optimize import linprog
        from scipy.special import stdtrit

        fit, c = self.affine, self.goal
        # The noise of mid-range, not of the edge where such a goal ends up: there the response is off the line.
        noise, model = fit.covariance(np.full(len(low), 0.5))[0], fit.covariance(best)[1]
        doubt = np.sqrt(np.diag(noise + model))[c]
        width = np.abs(fit.slope).sum(axis=1)[c]
        # Never more than a quarter of the response, so that what is plainly absurd is said from the first fit on.
        doubt = np.fmin(stdtrit(np.fmax(fit.dof[c], 1.0), SURE) * doubt, 0.25 * width)
        zero = fit.mean(np.zeros((1, len(low))))[0, c]
        A = np.vstack([fit.slope[c], -fit.slope[c]])
        b = np.concatenate([target.high[c] + doubt - zero, zero - target.low[c] + doubt])
        use = np.isfinite(b)
        scale = np.abs(A[use]).max(initial=1e-300)
        found = linprog(np.zeros(len(low)), A[use] / scale, b[use] / scale, bounds=list(zip(low, high, strict=True)))
        return bool(found.status != 2)  # 2: proven infeasible

    def answer(
        self,
        model: str,
        settings: Floats,
        doubt: tuple[Floats, Floats],
        targets: Targets,
        bounds: tuple[Floats, Floats],
        expected: Floats | None = None,
        notes: Sequence[str] = (),
    ) -> Proposals:
        """Puts verdict and sentence to a solver's k answers.

        Args:
            model: what made them, for the sentence.
            settings: (k, d) in units.
            doubt: spread and uncertainty, each (k, d) in units.
            targets: each (k, m).
            bounds: low and high (d,), in units of the inputs.
            expected: (k, m) readings at the answers; those of the affine fit where NaN or not given.
            notes: one for each answer, added to its sentence.
        """
        import numpy as np

        low, high = (self.units(bound) for bound in bounds)
        affine = self.affine.mean(settings)
        verdicts, why = [], []
        for i, u in enumerate(settings):
            verdict, said = self.judge(Targets(*(part[i] for part in targets)), low, high, u)
            verdicts.append(verdict)
            why.append("; ".join(filter(None, [f"{model} on {self.about}", *notes[i : i + 1], said])))
        return Proposals(
            settings=self.settings(settings),
            spread=doubt[0] * self.range,
            uncertainty=doubt[1] * self.range,
            expected=affine if expected is None else np.where(np.isfinite(expected), expected, affine),
            verdict=tuple(verdicts),
            why=tuple(why),
        )


def stand_on(data: Data, also: Sequence[int] = ()) -> Footing:
    """Picks the rows that hold all channels of the goal (and the columns `also`) unsaturated, and fits them.

    Raises:
        NotEnoughData: fewer than inputs + 1 of them.
        Degenerate: they do not vary every input, independently of the others.
    """
    import numpy as np

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
    fit = fit_affine(U, Y, usable)
    return Footing(U, Y, usable, goal, low, span, fit, about, tuple(channel.name for channel in data.channels))


def _require_variety(U: Floats, names: tuple[str, ...]) -> None:
    """Raises Degenerate where the settings (n, d) do not span every input."""
    import numpy as np

    n, still = len(U), np.ptp(U, axis=0) < DISTINCT
    if still.all():
        raise Degenerate(f"all {n} usable rows are at one setting")
    if still.any():
        raise Degenerate(f"{names[int(np.argmax(still))]} never changed in {n} usable rows")
    if np.linalg.svd(U - U.mean(axis=0), compute_uv=False)[-1] < DISTINCT:
        raise Degenerate(f"{', '.join(names)} were not varied independently in {n} usable rows")
