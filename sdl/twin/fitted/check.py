"""How well a fitted twin predicts new readings of its instrument.

The residuals of a session are made independent before they are judged: with the offset and gain that sessions differ
by, their covariance is

    V = diag(noise² + model²) + offset² + gain² d d',     d = f(u) - middle

and z = L⁻¹ r, V = L L'. So the first readings of a session tell its level, and the others are compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdl.arrays import Floats
from sdl.store.datasets import DatasetRow
from sdl.twin.comparison import FEW, Check, channel_checks
from sdl.twin.fitted.fit import Declaration, matrices
from sdl.twin.fitted.lag import lagged
from sdl.twin.fitted.state import FittedState, SessionEffect
from sdl.twin.fitted.surrogate import Surrogate


def check(rows: Sequence[DatasetRow], state: FittedState, sources: Sequence[str] = ()) -> Check:
    """Compare a twin with readings.

    Raises:
        ValueError: there is no reading that can be compared.
    """
    surrogate = Surrogate(state, noise=False)
    data = matrices(rows, Declaration(state.input_list(), state.channel_list()), surrogate.space)
    U = (data.X - surrogate.space.low) / surrogate.space.width
    mean, model_var = surrogate.predict(U)
    drift = np.array([channel.drift for channel in state.channels.values()])
    tau = np.array([channel.settling for channel in state.channels.values()])
    predicted = lagged(mean + drift * data.hours[:, None], data.wait, tau)
    residual = np.where(data.usable, data.Y - surrogate.cut(predicted), np.nan)
    noise = surrogate.noise_sd(mean)
    rounding = np.array([(channel.resolution or 0.0) ** 2 / 12.0 for channel in state.channels.values()])
    noise = np.sqrt(noise**2 + rounding)
    due = np.sqrt(noise**2 + model_var)
    white = np.full_like(residual, np.nan)
    for j, channel in enumerate(state.channels.values()):
        for session in np.unique(data.session):
            here = np.flatnonzero((data.session == session) & np.isfinite(residual[:, j]))
            away = mean[here, j] - surrogate.middle[j]
            white[here, j] = _whitened(residual[here, j], due[here, j], channel.session, away)
    found = channel_checks(tuple(state.channels), white * due, noise, due)
    if not found:
        raise ValueError(f"nothing to compare: no channel has {FEW} readings below the end of its range")
    compared = int(np.isfinite(residual).any(axis=1).sum())
    sessions = len(np.unique(data.session))
    text = f"{sessions} session{'s' * (sessions > 1)}"
    return Check(tuple(found), (), compared, len(data.Y) - compared, text, tuple(sources))


def _whitened(residual: Floats, due: Floats, effect: SessionEffect, away: Floats) -> Floats:
    """(k,) independent residuals in units of their standard deviations."""
    covariance = np.diag(due**2) + effect.offset**2 + effect.gain**2 * np.outer(away, away)
    white: Floats = np.linalg.solve(np.linalg.cholesky(covariance), residual)
    return white
