"""An instrument that others drive: a script, a robot, a person; `sdl` is asked for settings and told the readings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NoReturn

from pydantic import Field

from sdl.clock import Clock
from sdl.drivers.declared.config import Declared
from sdl.errors import ConfigError, Problem

# Keys of declared instruments that only a driver can keep, and their values here.
DRIVEN: dict[str, Any] = {"settle": None, "ramp": {}, "limits": {}}


class External(Declared):
    """An instrument that others drive: `sdl ask` gives the settings, `sdl tell` takes the readings."""

    may_repeat: ClassVar[bool] = True  # a script may round

    kind: Literal["external"] = "external"
    declared_off: Literal["nothing"] = Field(
        "nothing", alias="off", description="always `nothing`: the caller makes it safe"
    )

    @property
    def address(self) -> str:
        return ", ".join(self.declared_inputs)

    def ready(self) -> NoReturn:
        """Refuse to be driven.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            Problem(
                "kind external is driven by others: ask for settings with `sdl ask`, or from Python with "
                "sdl.open_campaign(…).ask()",
                "instrument",
            )
        )

    def connect(self, clock: Clock) -> NoReturn:
        """Refuse to be driven, as `ready` does."""
        self.ready()

    def _option_problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        given = self.model_dump(include=set(DRIVEN))
        if driven := [key for key, value in given.items() if value != DRIVEN[key]]:
            text = "kind external is driven by others, so this key has no effect; leave it out"
            yield from (((key,), text) for key in driven)
        else:
            yield from super()._option_problems()
