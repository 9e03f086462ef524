"""What readings and trials cost, in a unit of the user's own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from sdl.types import Frozen, Settings


class Prices(Frozen):
    """What readings and trials cost, in a unit of the user's own."""

    reading: float = Field(0.0, ge=0, description="of each reading")
    trial: float = Field(0.0, ge=0, description="of each trial")
    per: Mapping[str, float] = Field({}, description="of one unit of an input in one reading: `{red: 0.01}`")

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return not self.reading and not self.trial and not any(self.per.values())

    def of_reading(self, settings: Settings) -> float:
        """The price of one reading at these settings; inputs that they do not name cost nothing."""
        return self.reading + sum(
            price * abs(value)
            for name, price in self.per.items()
            if isinstance(value := settings.get(name, 0.0), (int, float))
        )

    def with_fixed(self, fixed: Settings) -> Prices:
        """The prices of a campaign that fixes some inputs, whose prices are added to that of each reading."""
        per = {name: price for name, price in self.per.items() if name not in fixed}
        return Prices(reading=self.of_reading(fixed), trial=self.trial, per=per)
