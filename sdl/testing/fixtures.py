"""The fixtures of the pytest plugin, for tests of a lab's own; each imports what it needs when it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sdl.clock import VirtualClock
    from sdl.config import CampaignFile
    from sdl.drivers.twin.driver import TwinDriver
    from sdl.runs.runs import Run
    from sdl.twin.led.serve import TwinServer


@pytest.fixture
def sdl_clock() -> VirtualClock:
    """A clock that jumps over every wait; it begins at 0, and an `sdl_twin` moves it on to the twin's own day."""
    from sdl.clock import VirtualClock

    return VirtualClock()


@pytest.fixture
def sdl_twin(sdl_clock: VirtualClock) -> Iterator[Callable[..., TwinDriver]]:
    """`sdl_twin(noise=False, …)` opens a twin with these options of `instrument: {kind: twin}`, in `sdl_clock`'s time.

    Its light is switched off and it is closed at the end of the test.
    """
    from sdl.config import parse_kind

    with ExitStack() as stack:

        def opened(**options: Any) -> TwinDriver:
            twin = parse_kind("instrument", {"kind": "twin", "seed": 0, **options})
            sdl_clock.sleep(twin.start_time - sdl_clock.now())
            driver: TwinDriver = stack.enter_context(closing(twin.open(sdl_clock)))
            stack.callback(driver.safe)
            return driver

        yield opened


@pytest.fixture
def sdl_server() -> Iterator[Callable[..., TwinServer]]:
    """`sdl_server(faults=[{"name": "busy", "at": [2]}], speed=100)` serves a twin; `.url` is its address.

    Options are those of `instrument: {kind: twin}`, and `speed`, the ratio of its time to real time (1,000).
    """
    from sdl.config import parse_kind
    from sdl.drivers.twin.driver import plant_of
    from sdl.twin.led.serve import TwinServer

    with ExitStack() as stack:

        def served(*, speed: float = 1000.0, **options: Any) -> TwinServer:
            twin = parse_kind("instrument", {"kind": "twin", "seed": 0, **options})
            latency = None if twin.latency == "real" else twin.reading_seconds
            server = TwinServer(plant_of(twin), start=twin.start_time, speed=speed, latency=latency, faults=twin.faults)
            return stack.enter_context(server)

        yield served


@pytest.fixture
def sdl_runs(tmp_path: Path) -> Path:
    """An empty directory for runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def sdl_run(sdl_runs: Path) -> Callable[..., Run]:
    """`sdl_run("fast.yaml", "solver.kind=pls", seed=7)` runs a campaign to its end and gives the `Run`, with `.result`.

    The campaign is a file's path, a mapping or a model; then `a.b=value` as `--set` takes them. The record is in
    `sdl_runs`.
    """
    import sdl
    from sdl.config import load, parse

    def ran(campaign: str | Path | Mapping[str, Any] | CampaignFile, *changes: str, seed: int | None = None) -> Run:
        every = [*changes, *([f"seed={seed}"] if seed is not None else [])]
        loaded = (
            load(campaign, every, collect=True) if isinstance(campaign, (str, Path)) else parse(campaign, collect=True)
        )
        done = sdl.run(campaign, runs=sdl_runs, changes=every, collect=loaded.goal is None)
        return sdl.open_run(done.run)

    return ran
