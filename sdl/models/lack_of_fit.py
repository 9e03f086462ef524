"""Lack of fit, tested apart from noise.

Readings repeated at the same settings tell the noise alone (the *pure error*); what the residuals have beyond it is
lack of fit (Draper and Smith, Applied Regression Analysis (1998), section 2.1):

    F = (SS_residual - SS_pure) / (dof_residual - dof_pure) / (SS_pure / dof_pure)

Without replicates residuals are noise or lack of fit, and nothing can tell which.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import DISTINCT

SURE = 0.001
"""Probability of a greater F below which a model is said to lack fit; divided by the number of channels."""
UNTOLD = "noise or lack of fit: repeat a setting to tell"


class LackOfFit(NamedTuple):
    """Of each channel, (m,); NaN: without replicates.

    Attributes:
        probability: of a greater F by chance.
        sd: standard deviation of what the model misses beyond the noise, over the noise's shape.
        noise: standard deviation of one reading from replicates, over the noise's shape.
        dof: degrees of freedom of `noise`.
    """

    probability: Floats
    sd: Floats
    noise: Floats
    dof: Floats

    @property
    def is_sure(self) -> Bools:
        """(m,) whether the model surely lacks fit."""
        tested = np.isfinite(self.probability)
        return np.asarray(np.where(tested, self.probability, 1.0) < SURE / max(tested.sum(), 1), dtype=np.bool_)


def assess_fit(U: Floats, residual: Floats, usable: Bools, parameters: float, session: Floats) -> LackOfFit:
    """Test the residuals of a model.

    Args:
        U: (n, d) settings in units of their bounds.
        residual: (n, m) readings less the model's, over the noise's shape.
        usable: (n, m) which of them count.
        parameters: coefficients of the model, one channel.
        session: (n,) session of each row: replicates belong to one.
    """
    m = residual.shape[1]
    probability, sd, noise, dof = np.full((4, m), np.nan)
    group = _groups(U, session)
    for c in range(m):
        use = usable[:, c]
        r, g = residual[use, c], np.unique(group[use], return_inverse=True)[1]
        if not len(r):
            continue
        count = np.bincount(g)
        means = np.bincount(g, r) / count
        pure, dof_pure = float(((r - means[g]) ** 2).sum()), float(len(r) - len(count))
        if dof_pure < 1 or pure <= 0:
            continue
        dof[c], noise[c] = dof_pure, np.sqrt(pure / dof_pure)
        rest, dof_rest = float(r @ r) - pure, len(count) - parameters
        if dof_rest >= 1:
            ratio = rest / dof_rest / noise[c] ** 2
            probability[c] = fdtrc(dof_rest, dof_pure, max(ratio, 0.0))
            sd[c] = np.sqrt(max(rest - dof_rest * noise[c] ** 2, 0.0) / len(r))
    return LackOfFit(probability, sd, noise, dof)


def _groups(U: Floats, session: Floats) -> Ints:
    """(n,) number of the setting of each row; settings that differ by less than DISTINCT are the same."""
    keys = np.column_stack([np.round(U / DISTINCT), session])
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel()
