"""The contract kit judges an instrument with choices on its own settings."""

from __future__ import annotations

import pytest
import space_kit

from sdl.clock import VirtualClock
from sdl.testing import InstrumentContract


class TestSolvents(InstrumentContract):
    @pytest.fixture
    def instrument(self) -> space_kit.Solvents:
        return space_kit.Solvents()

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(0.0)
