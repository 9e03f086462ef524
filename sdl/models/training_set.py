"""The training set: the usable rows of the data, scaled to the bounds, with a linear model fitted to them.

All models are fitted to a training set. Its linear model gives the slopes, scales and noise that every verdict needs.
Readings become rows in `sdl.core.history`; `TrainingSet.from_data` chooses among the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import linprog, lsq_linear

from sdl.arrays import Bools, Floats, Ints
from sdl.errors import Degenerate, NotEnoughData
from sdl.models.constants import DISTINCT, FREE
from sdl.models.data import Data, Targets
from sdl.models.forward.linear_model import LinearModel, fit_linear
from sdl.models.session_effects import align_to_current
from sdl.models.wrong_rows import wrong_rows_of
from sdl.space import Space, polytope
from sdl.space.region import Region

INTERACTION = 0.3
"""Standard deviation of the difference between the slopes of two choices, as a fraction of the slope."""
BESIDE = 0.1
"""Settings of a combination of choices count as measured if a row of it is within this fraction of the range."""
ROOM = 0.05
"""Settings are one of a family of solutions if they can move this fraction of the range along a free combination."""
TIE = 1e-8
"""Weight of the squared distance from the data between settings that come equally close to a goal."""


@dataclass(frozen=True)
class TrainingSet:
    """The usable rows, with a linear model fitted to them.

    Attributes:
        U: (n, d) settings in units of their bounds: 0 is low, 1 is high.
        Y: (n, m) readings; 0 where not usable.
        usable: (n, m) which readings are neither missing nor saturated. True for all channels of the goal (and those
            that a solver asked for), unless rows were picked with `by_channel`.
        goal: (g,) columns of the goal.
        low, range: (d,) lower bounds and widths of the columns of settings (`sdl.space`).
        linear: linear model of all channels that have enough rows.
        summary: a text such as "12 readings (3 saturated left out)".
        channels: names of the channels.
        prefer: (d,) cost of each input over its range; of settings that reach the goal the cheapest are preferred.
        average: number of readings averaged before they are compared with the goal.
        session_cov: (m, p, p) covariance of the coefficients from differences between sessions; None: one session.
        age: (n,) number of readings taken since each row.
        session: (n,) number of the session of each row; None: only one session.
        inputs: names of the columns.
        space: space of the data; None: bounds alone.
    """

    U: Floats
    Y: Floats
    usable: Bools
    goal: Ints
    low: Floats
    range: Floats
    linear: LinearModel
    summary: str
    channels: tuple[str, ...]
    prefer: tuple[float, ...] | None = None
    average: int = 1
    session_cov: Floats | None = None
    age: Floats | None = None
    session: Floats | None = None
    inputs: tuple[str, ...] = ()
    space: Space | None = None

    @classmethod
    def from_data(cls, data: Data, also: Sequence[int] = (), *, level: bool = True, by_channel: bool = False) -> Self:
        """Pick the rows with unsaturated readings of all channels of the goal (and the columns `also`), and fit them.

        Args:
            data: all rows.
            also: further columns that a row must hold.
            level: align the readings of other sessions to the current one.
            by_channel: also keep rows that are saturated in some channels of the goal, for their other channels. Has no
                effect unless the readings of every channel then determine its slopes.

        Raises:
            NotEnoughData: fewer than inputs + 1 usable rows.
            Degenerate: the rows do not vary every input independently of the others.
        """
        space = data.space
        low, span = space.low, space.width
        goal = np.flatnonzero(data.goal)
        if not len(goal):
            raise Degenerate("the goal names no channel that was measured")
        columns = sorted({*goal.tolist(), *also})
        complete = np.asarray(np.isfinite(np.hstack([data.X, data.Y[:, columns]])).all(axis=1))
        clear, right = ~data.saturated[:, columns].any(axis=1), ~wrong_rows_of(data)
        if by_channel and not clear.all():
            read = complete[:, None] & ~data.saturated[:, columns]
            settings = [(data.X[rows & right] - low) / span for rows in read.T]
            if all(len(U) > len(low) and not _lack_of_variety(U, space.columns) for U in settings):
                clear = read.any(axis=1)
        keep = complete & clear & right
        n, need = int(keep.sum()), len(low) + 1
        excluded = {"saturated": int((~clear).sum()), "incomplete": int((clear & ~complete).sum())}
        excluded |= {"contradicted by the others": int((~right).sum())}
        left_out = ", ".join(f"{count} {reason}" for reason, count in excluded.items() if count)
        if n < need:
            raise NotEnoughData(n, need, "usable rows" + (f" ({left_out} left out)" if left_out else ""))
        U = (data.X[keep] - low) / span
        if fault := _lack_of_variety(U, space.columns):
            raise Degenerate(fault)
        usable = np.isfinite(data.Y[keep]) & ~data.saturated[keep]
        Y = np.where(usable, data.Y[keep], 0.0)
        summary = f"{n} readings" + (f" ({left_out} left out)" if left_out else "")
        session = data.session[keep]
        if level and (session != session[0]).any():
            now = float(data.session[-1]) if data.current_session is None else data.current_session
            Y, fit, session_cov, message = align_to_current(U, Y, usable, session, now, goal)
            summary = f"{summary}; {message}"
        else:
            fit, session_cov = fit_linear(U, Y, usable), None
        names = tuple(channel.name for channel in data.channels)
        inputs = space.columns
        rest = (data.prefer, data.average, session_cov, data.age[keep], session, inputs, space)
        return cls(U, Y, usable, goal, low, span, fit, summary, names, *rest)

    def settings(self, U: Floats) -> Floats:
        """Convert settings from units of the bounds to units of the inputs."""
        settings: Floats = self.low + U * self.range
        return settings

    def units(self, X: Floats) -> Floats:
        """Convert settings from units of the inputs to units of the bounds."""
        units: Floats = (X - self.low) / self.range
        return units

    def region(self, space: Space) -> Region:
        """The feasible settings of a space, in units of the bounds."""
        return space.region.scaled(self.low, self.range)

    @property
    def own_region(self) -> Region:
        """The feasible settings of the data, in units of their bounds."""
        if self.space is None:
            return Region.box(np.zeros(len(self.low)), np.ones(len(self.low)))
        return self.region(self.space)

    def add_session_variance(self, spread: Floats, uncertainty: Floats, U: Floats) -> tuple[Floats, Floats]:
        """Add the variance between sessions to spread and uncertainty (k, d), at settings U (k, d)."""
        if self.session_cov is None:
            return spread, uncertainty
        between = []
        for u in U:
            x, inverse = np.concatenate([[1.0], u]), self.linear.inverse(self.goal, u)
            between.append(
                np.sqrt(inverse**2 @ np.maximum(np.einsum("p,mpq,q->m", x, self.session_cov[self.goal], x), 0.0))
            )
        return np.hypot(spread, np.array(between)), np.hypot(uncertainty, np.array(between))

    def interaction_variance(self, U: Floats) -> Floats:
        """(k, m) variance of the readings at settings (k, d) because slopes may differ between choices; 0 without any.

        It grows with the distance from the nearest row of the same choices: INTERACTION × the channel's response over
        the range of the numeric inputs. Models that share slopes or length scales between choices do not include this
        variance.
        """
        categorical = np.zeros(U.shape[1], bool) if self.space is None else self.space.categorical
        if not categorical.any():
            return np.zeros((len(U), 1))
        rows = self.U[: len(self.Y)]
        other = np.abs(U[:, None, categorical] - rows[:, categorical]).max(axis=2) > 0.5
        away = np.linalg.norm(U[:, None, ~categorical] - rows[:, ~categorical], axis=2)
        far = np.where(other, max(float(np.sqrt((~categorical).sum())), 1.0), away).min(axis=1)
        response = np.abs(np.nan_to_num(self.linear.slope)[:, ~categorical]).sum(axis=1)
        return np.asarray((INTERACTION * far[:, None] * response) ** 2, dtype=np.float64)

    def has_row_near(self, U: Floats) -> Bools:
        """(k,) whether a row is within BESIDE of settings (k, d) in every column."""
        apart = np.abs(U[:, None] - self.U[: len(self.Y)]).max(axis=2)
        return np.asarray((apart <= BESIDE).any(axis=1), dtype=np.bool_)

    def predict(self, X: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (n, m) of one reading at settings (n, d); NaN = unknown."""
        return self.linear.predict(self.units(X))

    def target_columns(self, value: Floats) -> Ints:
        """The channels of the goal for which `value` (m,) has a target."""
        return self.goal[np.isfinite(value[self.goal])]

    def nearest(self, target: Targets, region: Region) -> Floats:
        """(d,) settings inside a region, in units of the bounds, whose readings come closest to one goal.

        Distances are in tolerances, and limits are kept with a margin for the noise. If several settings are as close,
        the preferred ones are taken, or without a preference those closest to the middle of the data.
        """
        return self.preferred(self._nearest(self.activate_limits(target, region), region), target, region)

    def activate_limits(self, target: Targets, region: Region) -> Targets:
        """Turn each limit that the best settings for the other channels would break into a target (active-set method).

        Models that accept only targets then keep limits, too. The region is in units of the bounds.
        """
        limited = np.isnan(target.value) & (np.isfinite(target.low) | np.isfinite(target.high))
        free = self.goal[limited[self.goal]]
        if not len(free):
            return target
        active = target._replace(value=target.value.copy())
        for _ in free:
            y = self.linear.mean(self._nearest(active, region)[None])[0]
            if not self.activate_worst(active, y, free):
                break
        return active

    def activate_worst(self, target: Targets, y: Floats, free: Ints) -> bool:
        """Set a target for that channel in `free` whose reading in y (m,) is farthest outside; False if none is."""
        low, high = self.guarded_limits(target)
        beyond = np.fmax(np.fmax(low - y, y - high), 0.0) / self.tolerance_scale(target)
        broken = [c for c in free if np.isnan(target.value[c]) and beyond[c] > 1e-6]
        if broken:
            worst = max(broken, key=lambda c: float(beyond[c]))
            target.value[worst] = low[worst] if y[worst] < low[worst] else high[worst]
        return bool(broken)

    def active_targets(self, targets: Targets, space: Space) -> Floats:
        """(k, m) targets of k goals after `activate_limits`; NaN = no target."""
        region = self.region(space)
        return np.array([self.activate_limits(Targets(*parts), region).value for parts in zip(*targets, strict=True)])

    def preferred(self, u: Floats, target: Targets, region: Region) -> Floats:
        """(d,) the cheapest settings with the choices of u (d,) that come as close to one goal by the linear model."""
        if self.prefer is None or not self.is_underdetermined(target):
            return u
        columns = self.target_columns(target.value)
        response = np.maximum(np.abs(self.linear.slope).sum(axis=1), 1e-300)
        low_guarded, high_guarded = self.guarded_limits(target)
        free = np.setdiff1d(self.goal, columns)
        y = self.linear.mean(u[None])[0]
        slope = self.linear.slope / response[:, None]
        down = (np.minimum(low_guarded, y) - y) / response
        up = (np.maximum(high_guarded, y) - y) / response
        low, high = region.bounds_at(u)
        A = np.vstack([slope[free], -slope[free], region.A])
        b = np.concatenate([up[free], -down[free], region.b - region.A @ u])
        use = np.isfinite(b)
        solution = linprog(
            np.array(self.prefer),
            A[use] if use.any() else None,
            b[use] if use.any() else None,
            slope[columns] if len(columns) else None,
            np.zeros(len(columns)) if len(columns) else None,
            list(zip(low - u, high - u, strict=True)),
        )
        return u if solution.x is None else region.project(u + solution.x)

    def is_underdetermined(self, target: Targets) -> bool:
        """Whether several settings reach one goal, by the linear model."""
        slope = self.linear.slope[self.target_columns(target.value)]
        if not len(slope):
            return True
        response = np.maximum(np.abs(slope).sum(axis=1, keepdims=True), 1e-300)
        return bool(np.linalg.matrix_rank(slope / response, tol=FREE) < slope.shape[1])

    def has_family(self, target: Targets, region: Region, u: Floats) -> bool:
        """Whether settings u (d,) are one of a continuous family with the same readings of the targets.

        By the linear model: inside the region there is a step longer than ROOM along which no target's reading changes.
        The steps are a convex polytope. If it holds another point than 0, a linear programme finds one with any
        objective or its opposite, unless the objective is orthogonal to all of them.
        """
        columns = self.target_columns(target.value)
        if not len(columns) or not self.is_underdetermined(target):
            return False
        slope = self.linear.slope[columns] / np.maximum(np.abs(self.linear.slope[columns]).sum(axis=1), 1e-300)[:, None]
        _, strength, directions = np.linalg.svd(slope)
        fixed = directions[: int((strength > FREE).sum())]
        u = region.project(u)
        low, high = region.bounds_at(u)
        rest = (region.A, np.maximum(region.b - region.A @ u, 0.0)) if len(region.A) else (None, None)
        kept = *rest, fixed, np.zeros(len(fixed)), list(zip(low - u, high - u, strict=True))
        objective = np.sqrt(np.arange(2.0, len(u) + 2.0))
        ends = [linprog(sign * objective, *kept).x for sign in (1.0, -1.0)]
        return any(end is not None and float(np.abs(end).max()) > ROOM for end in ends)

    def _nearest(self, target: Targets, region: Region) -> Floats:
        """(d,) settings inside a region whose readings come closest to the targets; without any, the mean settings."""
        columns = self.target_columns(target.value)
        if not len(columns):
            return region.project(self.linear.middle)
        if not region.is_box:
            scale = self.tolerance_scale(target)[columns]
            return nearest_by_lines(self.linear, target.value[columns], columns, scale, region)
        low, high = region.low, region.high
        middle: Floats = np.clip(self.linear.middle, low, high)
        gap = target.value[columns] - self.linear.mean(middle[None])[0, columns]
        scale = self.tolerance_scale(target)[columns]
        weight = scale.min() / scale
        bounds = (low - middle - 1e-12, high - middle + 1e-12)
        # This method keeps bounds exactly; the default one stops short of them, at the expense of other channels.
        step = lsq_linear(self.linear.slope[columns] * weight[:, None], gap * weight, bounds, method="bvls").x
        return np.asarray(np.clip(middle + step, low, high), dtype=np.float64)

    def guarded_limits(self, target: Targets) -> tuple[Floats, Floats]:
        """(m,) limits moved inwards by three standard deviations of one reading in mid-range, at most to the middle."""
        noise = np.sqrt(np.diag(self.linear.covariance(np.full(self.U.shape[1], 0.5))[0]))
        least = 0.01 * np.abs(self.linear.slope).sum(axis=1)
        margin = np.fmin(np.where(np.isfinite(noise), 3.0 * noise, least), (target.high - target.low) / 2)
        margin = np.where(np.isfinite(margin), margin, 0.0)  # a free channel that was never read below full scale
        return target.low + margin, target.high - margin

    def fill_free_targets(self, targets: Targets, space: Space) -> Floats:
        """(k, g) targets of all channels of the goal, for models that map all of these readings to settings.

        A channel without a target gets the reading expected at the settings that are closest to the others' targets.
        """
        value = targets.value[:, self.goal].copy()
        for i in np.flatnonzero(~np.isfinite(value).all(axis=1)):
            nearest = self.nearest(Targets(*(part[i] for part in targets)), self.region(space))
            value[i] = np.where(np.isfinite(value[i]), value[i], self.linear.mean(nearest[None])[0, self.goal])
        return value

    def tolerance_scale(self, target: Targets) -> Floats:
        """(m,) unit of the error of each channel: half the width of its band, but at least 1 % of its response.

        Without this minimum a low target, whose few per cent are smaller than the noise, would outweigh all other
        channels of an unreachable goal. For a range or limit the unit is at most 1 % of the response, so that wide
        ranges are kept as strictly as narrow ones.
        """
        half = (target.high - target.low) / 2
        least = np.fmax(0.01 * np.abs(self.linear.slope).sum(axis=1), 1e-12)
        scale = np.fmax(np.where(np.isfinite(half), half, 0.0), least)
        has_target = np.isfinite(target.value) & np.isfinite(half)
        return np.asarray(np.where(has_target, scale, np.fmin(half, least)), dtype=np.float64)


def nearest_by_lines(linear: LinearModel, value: Floats, columns: Ints, scale: Floats, region: Region) -> Floats:
    """(d,) settings inside a region where a linear model comes closest to the targets `value` of `columns`.

    Every combination of choices is tried; of equally close ones, that closest to the mean of the data is taken.
    """
    slope = linear.slope[columns] / scale[:, None]
    gap = (value - linear.mean(np.zeros((1, slope.shape[1])))[0, columns]) / scale
    best, least = region.project(linear.middle), np.inf
    size = float((slope**2).sum()) or 1.0
    for block in region.blocks():
        u = polytope.least_squares(slope, gap, linear.middle, block.low, block.high, block.A, block.b)
        if u is None:
            continue
        cost = float(((slope @ u - gap) ** 2).sum()) / size + TIE * float(((u - linear.middle) ** 2).sum())
        if cost < least:
            best, least = u, cost
    return best


def _lack_of_variety(U: Floats, names: tuple[str, ...]) -> str:
    """Why the settings (n, d) do not vary every input independently; empty if they do."""
    n, constant = len(U), np.ptp(U, axis=0) < DISTINCT
    if constant.all():
        return f"all {n} usable rows are at one setting"
    if constant.any():
        return f"{names[int(np.argmax(constant))]} never changed in {n} usable rows"
    if np.linalg.svd(U - U.mean(axis=0), compute_uv=False)[-1] < DISTINCT:
        return f"{', '.join(names)} were not varied independently in {n} usable rows"
    return ""
