"""Prior knowledge of an instrument, added to the data for a solver that has the option `knows`."""

from __future__ import annotations

from dataclasses import replace

from sdl.errors import ConfigError
from sdl.models.data import Knowledge
from sdl.solvers.base import Data, Fitted, Solver
from sdl.twin.led.knowledge import linear_response
from sdl.twin.led.state import known_state


def fit(solver: Solver, data: Data) -> Fitted:
    """Fit a solver to data, with the prior knowledge that its option `knows` asks for.

    Raises:
        NotEnoughData, Degenerate: the rows do not suffice for the solver.
        ConfigError: the prior knowledge is about another instrument.
    """
    return solver.fit(with_knowledge(solver, data))


def with_knowledge(solver: Solver, data: Data) -> Data:
    """Add prior knowledge of the instrument to the data if the solver's option `knows` asks for it.

    Raises:
        ConfigError: there is no prior knowledge, or it is about another instrument.
    """
    if getattr(solver, "knows", "nothing") != "twin":
        return data
    space, channels = data.space, [channel.name for channel in data.channels]
    try:
        state = known_state(getattr(solver, "state", None), space.names, channels)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return replace(data, knowledge=Knowledge(*linear_response(state, space.names, channels, space.low, space.high)))
