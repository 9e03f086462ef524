"""Conformance tests for solvers and instruments, for use in other packages.

    from sdl.testing import SolverContract

    class TestMine(SolverContract):
        @pytest.fixture
        def solver(self):
            return Mine()

They need pytest in addition to the requirements of `sdl`.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["InstrumentContract", "SolverContract"]

# Property of a passed test item of the plugin whose seeds are too few for its claim.
UNSURE = "sdl: too few to tell"

_PLACES = {
    "InstrumentContract": "sdl.testing.instrument_contract",
    "SolverContract": "sdl.testing.solver_contract",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)
