"""One input with choices: one column per choice beyond the first (treatment coding).

A column is 1 where its choice is set, else 0; at the first choice all are 0. With an intercept, a linear model then has
one coefficient per further choice, its effect against the first; one column for every choice would be collinear with
the intercept. Smooth models have a length scale for each column, so that one choice may differ more than the others
(Wu and Hamada, Experiments (2009), section 3.5).
"""

from __future__ import annotations

import numpy as np

from sdl.arrays import Floats
from sdl.types import Input


class Choice:
    """The values that an input with choices can take."""

    def __init__(self, item: Input) -> None:
        self.name, self.choices = item.name, item.choices or ()
        self.columns = tuple(f"{item.name}={text}" for text in self.choices[1:])
        self.codes: Floats = np.vstack([np.zeros(len(self.columns)), np.eye(len(self.columns))])

    def encode(self, value: object) -> Floats:
        """(c - 1,) columns of a choice; NaN for a value that is not a choice."""
        if value not in self.choices:
            return np.full(len(self.columns), np.nan)
        code: Floats = self.codes[self.choices.index(str(value))]
        return code

    def decode(self, columns: Floats) -> str:
        """The choice whose columns are closest."""
        return self.choices[int(((self.codes - columns) ** 2).sum(axis=1).argmin())]

    def contains(self, value: object) -> bool:
        return value in self.choices

    def project(self, value: object) -> str:
        """The value itself.

        Raises:
            ValueError: it is not one of the choices.
        """
        if not self.contains(value):
            raise ValueError(f"{self.name}: {value!r} is none of the choices {', '.join(self.choices)}")
        return str(value)
