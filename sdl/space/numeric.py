"""One numeric input, with or without steps: a single column in the input's own unit."""

from __future__ import annotations

import math

from sdl.types import Input, Value

# Settings that differ by less, as a fraction of the range, are the same: inputs without a step are rounded to it.
PRECISION = 1e-6


class Numeric:
    """The values that a numeric input can take."""

    def __init__(self, item: Input) -> None:
        self.name, self._low, self._high, self._step = item.name, item.low, item.high, item.step
        self._width = item.high - item.low
        self._decimals = 6 - math.floor(math.log10(self._width))

    @property
    def rounding(self) -> float:
        """Largest change of a value by rounding to decimals; 0 if the steps have no further decimals."""
        exact = self._step is not None and all(round(x, self._decimals) == x for x in (self._low, self._step))
        return 0.0 if exact else 0.5 * 10.0**-self._decimals

    @property
    def last_step(self) -> int:
        """Number of the highest step inside the bounds, counted from `low`; 0 for an input without steps."""
        return math.floor(self._width / self._step + 1e-9) if self._step is not None else 0

    def is_outside(self, value: float) -> bool:
        """Whether a value lies beyond the bounds by more than the precision."""
        return abs(value - min(max(value, self._low), self._high)) > PRECISION * self._width

    def contains(self, value: Value) -> bool:
        """Whether the input can be set to a value."""
        if isinstance(value, str):
            return False
        return not math.isnan(value) and abs(value - self.project(value)) <= PRECISION * self._width

    def project(self, value: float) -> float:
        """The nearest value that the input can be set to; without steps, the value rounded to the precision.

        Raises:
            ValueError: it is NaN.
        """
        if math.isnan(value):
            raise ValueError(f"no number for {self.name}")
        inside = min(max(value, self._low), self._high)
        if self._step is not None:
            inside = self._low + min(round((inside - self._low) / self._step), self.last_step) * self._step
        return min(max(round(inside, self._decimals), self._low), self._high)

    def steps_near(self, value: float, reach: int = 2) -> list[float]:
        """The steps on either side of a value, `reach` each; the value itself where the input has no steps."""
        if self._step is None:
            return [value]
        below = math.floor((value - self._low) / self._step + 1e-9)
        numbers = {min(max(k, 0), self.last_step) for k in range(below - reach + 1, below + reach + 1)}
        return [self._low + k * self._step for k in sorted(numbers)]
