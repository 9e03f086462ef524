"""Every kind in the table of drivers keeps the contract that is shipped for outsiders."""

from __future__ import annotations

import pytest

from sdl.drivers.base import Instrument
from sdl.registry import OURS, find
from sdl.testing.instrument_contract import InstrumentContract

from .server import Server


class TestDrivers(InstrumentContract):
    @pytest.fixture(params=list(OURS["drivers"]))
    def instrument(self, request: pytest.FixtureRequest, server: Server) -> Instrument:
        instrument = find("drivers", request.param)()
        if not instrument.simulated:  # what would go out into the world is given the server beside these tests
            instrument = find("drivers", request.param)(url=server.url)
        return instrument


class TestPaperTwin(InstrumentContract):
    @pytest.fixture
    def instrument(self) -> Instrument:
        return find("drivers", "twin")(state="paper-2025-03", seed=7, latency=0.0)


class TestRealtimeTwin(InstrumentContract):
    @pytest.fixture
    def instrument(self) -> Instrument:
        return find("drivers", "twin")(realtime=True, latency=0.001)
