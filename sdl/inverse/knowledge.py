"""What a solver may know of its instrument before any reading, put into the data that it is fitted to."""

from __future__ import annotations

from dataclasses import replace

from sdl.errors import ConfigError
from sdl.models.data import Knowledge
from sdl.solvers.base import Data, Fitted, Solver
from sdl.space import Space
from sdl.twin.knowledge import linear_response
from sdl.twin.state import known_state


def fit(solver: Solver, data: Data) -> Fitted:
    """Fit a solver to data, with what it asks to know of the instrument.

    Raises:
        NotEnoughData, Degenerate: the rows cannot carry the solver.
        ConfigError: what it asks to know is of another instrument.
    """
    return solver.fit(with_knowledge(solver, data))


def with_knowledge(solver: Solver, data: Data) -> Data:
    """The data, with knowledge of the instrument where the option `knows` of a solver asks for it.

    Raises:
        ConfigError: there is none, or it is of another instrument.
    """
    if getattr(solver, "knows", "nothing") != "twin":
        return data
    space, channels = Space(data.inputs), [channel.name for channel in data.channels]
    try:
        state = known_state(getattr(solver, "state", None), space.names, channels)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return replace(data, knowledge=Knowledge(*linear_response(state, space.names, channels, space.low, space.high)))
