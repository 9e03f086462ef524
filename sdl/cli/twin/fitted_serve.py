"""`sdl twin serve` for the twin of any instrument."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from sdl.drivers.base import off_settings
from sdl.errors import ConfigError

if TYPE_CHECKING:
    from sdl.drivers.twin.fitted import FittedTwin
    from sdl.twin.fitted.serve import ServedInstrument


class Interface(StrEnum):
    """The kind of declared instrument that can drive a served twin."""

    HTTP = "http"
    COMMAND = "command"
    SCPI = "scpi"


def serve_fitted(twin: FittedTwin, interface: Interface, host: str, port: int, speed: float) -> None:
    """Serve a fitted twin until Ctrl-C, SIGTERM or, as a command, the end of its input."""
    from sdl.twin.fitted import serve as serving

    if twin.latency is None:  # the client waits for settling, as it does with the instrument
        twin = twin.model_copy(update={"latency": twin.condition.takes})
    clock = serving.ScaledClock(twin.start_time, speed)
    driver = twin.open(clock)
    name = Path(twin.state).stem
    inputs, channels, off = twin.inputs, twin.channels, off_settings(twin)
    served = serving.ServedInstrument(name, inputs, channels, off, driver.measure, driver.safe)
    if interface is Interface.COMMAND:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        with contextlib.suppress(KeyboardInterrupt):
            serving.serve_lines(served, sys.stdin, sys.stdout)
        return
    listen: Callable[[ServedInstrument, str, int], serving.Server]
    listen = serving.http_server if interface is Interface.HTTP else serving.scpi_server
    try:
        server = listen(served, host, port)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror}; try another --port") from error
    at = f"{host}:{server.server_address[1]}"
    address = f"http://{at}/" if interface is Interface.HTTP else f"TCPIP::{host}::{at.rpartition(':')[2]}::SOCKET"
    with server, signals() as wait:
        thread = threading.Thread(target=server.serve_forever, name="sdl twin")
        thread.start()
        print(f"{twin.identity} at {address}, {speed:g} × real time; Ctrl-C ends it", flush=True)
        wait()
        server.shutdown()
        thread.join()
    print(f"ended after {served.taken} readings")


@contextlib.contextmanager
def signals() -> Iterator[Callable[[], None]]:
    """Yield a function that returns when Ctrl-C or SIGTERM has arrived since this context was entered.

    The handler raises nothing, so that a signal cannot be lost in a place that discards exceptions. What serves runs
    in other threads.
    """
    arrived: list[int] = []

    def wait() -> None:
        while not arrived:
            time.sleep(0.05)

    # a shell ignores Ctrl-C for what it starts in the background; that stays
    awaited = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in awaited}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
