"""Lack of fit, tested apart from noise.

Replicates (readings repeated at the same settings) give the noise alone, the *pure error*. The part of the residuals
beyond it is lack of fit (Draper and Smith, Applied Regression Analysis (1998), section 2.1):

    F = (SS_residual - SS_pure) / (dof_residual - dof_pure) / (SS_pure / dof_pure)

Without replicates, noise and lack of fit cannot be told apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import fdtrc

from sdl.arrays import Bools, Floats, Ints
from sdl.models.constants import DISTINCT

SURE = 0.001
"""Significance level of the F test, divided by the number of channels tested."""


class LackOfFit(NamedTuple):
    """The lack-of-fit test of each channel, (m,) each; NaN for a channel without replicates.

    Standard deviations are in units of the shape of the noise.

    Attributes:
        probability: p value of the F test: the probability of a larger F if the model were right.
        sd: standard deviation of the lack of fit.
        noise: standard deviation of one reading, from replicates.
        dof: degrees of freedom of `noise`.
    """

    probability: Floats
    sd: Floats
    noise: Floats
    dof: Floats

    @property
    def is_sure(self) -> Bools:
        """(m,) whether the lack of fit is significant."""
        tested = np.isfinite(self.probability)
        return np.asarray(np.where(tested, self.probability, 1.0) < SURE / max(tested.sum(), 1), dtype=np.bool_)


def assess_fit(U: Floats, residual: Floats, usable: Bools, parameters: float, session: Floats) -> LackOfFit:
    """Test the residuals of a model for lack of fit.

    Args:
        U: (n, d) settings in units of their bounds.
        residual: (n, m) readings minus predictions, in units of the shape of the noise.
        usable: (n, m) which residuals are used.
        parameters: number of coefficients of the model for one channel.
        session: (n,) session of each row; only readings of one session are replicates of each other.
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
    """(n,) group number of each row: rows of one session whose settings differ by less than DISTINCT share one."""
    keys = np.column_stack([np.round(U / DISTINCT), session])
    return np.unique(keys, axis=0, return_inverse=True)[1].ravel()
