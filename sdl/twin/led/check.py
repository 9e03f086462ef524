"""How well a twin predicts readings that it was not fitted to, and whether the instrument still matches its twin.

    z = (reading + 1/2 - light of the inputs - ambient light) / standard deviation of this residual if the twin is right

The half count corrects for rounding down. If the ambient light of a session is estimated from its readings, one degree
of freedom is lost. The standard deviation includes the noise, the variation of the ambient light within a session, and
the change of the gains from day to day.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sdl.arrays import Floats
from sdl.twin.comparison import FEW, Check, LightCheck, channel_checks
from sdl.twin.led.evidence import DARK, TELLS, Evidence, TwinResiduals, twin_residuals
from sdl.twin.led.evidence import FEW as FEW_MOVES
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState


def comparable(data: Evidence, plant: Plant) -> TwinResiduals:
    """The residuals of the readings that can be compared; NaN for those from which the ambient light was estimated."""
    residuals = twin_residuals(data, plant)
    counts, fitted = residuals.counts.copy(), residuals.room.fitted
    counts[~data.X.any(axis=1) & np.isnan(data.background).all(axis=1)] = np.nan
    for sitting in np.unique(data.session[fitted]):
        here = (data.session == sitting) & fitted
        n = (~np.isnan(counts[here])).sum(axis=0)
        counts[here] *= np.where(n < 2, np.nan, np.sqrt(np.maximum(n, 2) / (np.maximum(n, 2) - 1)))
    return replace(residuals, counts=_without_moves(data, plant, residuals, counts))


def _without_moves(data: Evidence, plant: Plant, residuals: TwinResiduals, counts: Floats) -> Floats:
    """(n, m) residuals without the variation of the ambient light within a session.

    That variation is estimated from the channel with the smallest gains, as the part of it that the light of the inputs
    does not explain. Its size in every other channel is fitted together with changes of the inputs' light, so that it
    does not absorb them. The channel with the smallest gains then gives no information about the instrument.
    """
    gain = plant.arrays.gain.max(axis=1)
    least = int(gain.argmin())
    if gain[least] >= TELLS * gain.max():
        return counts
    counts = counts.copy()
    for sitting in np.unique(data.session):
        here = (data.session == sitting) & ~np.isnan(counts[:, least])
        if here.sum() < FEW_MOVES or np.nanmedian(residuals.room.counts[here, least]) < DARK:
            continue
        light = np.column_stack([np.ones(here.sum()), residuals.light[here]])
        move = counts[here, least] - light @ np.linalg.lstsq(light, counts[here, least], rcond=None)[0]
        A = np.column_stack([move, light])
        for column in np.flatnonzero(np.arange(len(gain)) != least):
            miss = counts[here, column]
            used = ~np.isnan(miss)
            if used.sum() >= FEW_MOVES:
                size = residuals.due[here, column][used, None]
                share = np.linalg.lstsq(A[used] / size, miss[used] / size[:, 0], rcond=None)[0][0]
                counts[here, column] -= share * move
        counts[here, least] = np.nan
    return counts


def check(data: Evidence, state: TwinState) -> Check:
    """Compare the twin of `state` with readings.

    Raises:
        ValueError: there is no reading that can be compared.
    """
    plant = Plant(state)
    residuals = comparable(data, plant)
    found = channel_checks(tuple(state.channels), residuals.counts, residuals.noise, residuals.due)
    compared = ~np.isnan(residuals.counts).all(axis=1)
    if not found:
        raise ValueError(f"nothing to compare: no channel has {FEW} readings besides those that give the ambient light")
    used_rows = int(compared.sum())
    lights = _lights(plant, residuals)
    return Check(tuple(found), lights, used_rows, len(data.X) - used_rows, residuals.room.told, data.sources)


def _lights(plant: Plant, residuals: TwinResiduals) -> tuple[LightCheck, ...]:
    """Relative excess of the light of each input, by least squares over the channel that it dominates."""
    light = residuals.light
    found = []
    for column, name in enumerate(plant.state.inputs):
        measured = ~np.isnan(residuals.counts).all(axis=0)
        channel = int(np.where(measured, _own(plant.arrays.gain, column), -1.0).argmax())
        used = ~np.isnan(residuals.counts[:, channel])
        parts = light[used] * plant.arrays.gain[channel]
        if not measured.any() or np.ptp(parts[:, column]) <= 0:
            continue
        centred = np.column_stack([parts[:, column], np.ones(used.sum())]) / residuals.due[used, channel, None]
        z = residuals.counts[used, channel] / residuals.due[used, channel]
        solution = np.linalg.lstsq(centred, z, rcond=None)[0]
        spread = np.sqrt(max(float(((z - centred @ solution) ** 2).mean()), 1.0))
        error = spread * math.sqrt(np.linalg.pinv(centred.T @ centred)[0, 0])
        found.append(LightCheck(name, float(solution[0]), float(error)))
    return tuple(found)


def _own(gain: Floats, column: int) -> Floats:
    """(m,) weight of each channel for one input: its gain if that is by far the largest of the channel, else little."""
    others = gain.sum(axis=1) - gain[:, column]
    own: Floats = gain[:, column] ** 2 / (gain[:, column] + others)
    return own
