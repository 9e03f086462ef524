"""The commands `sdl twin serve` and `sdl twin device`: the twin with the interface of a real instrument."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from sdl import config, yamlfile
from sdl.cli.options import argument, option
from sdl.cli.twin.fitted_serve import Interface, serve_fitted, signals
from sdl.drivers.twin.config import Twin
from sdl.errors import ConfigError, Unreachable, near
from sdl.twin.faults import NAMES
from sdl.twin.fitted.state import is_fitted
from sdl.types import is_number

State = Annotated[str, option("--state STATE", "State of the twin: a name, or a .toml file.")]


def serve(
    file: Annotated[
        Path | None, argument("[TWIN.toml]", "A twin that `sdl twin fit --instrument` wrote; else see --state.")
    ] = None,
    interface: Annotated[
        Interface | None, option("--as", "Interface of that twin: http (default), command or scpi.")
    ] = None,
    state: State = "night-2025-10",
    ambient: Annotated[
        str, option("--ambient ROOM", "Ambient light: constant, none, day, or a .toml file.")
    ] = "constant",
    host: Annotated[
        str, option("--host", "Address to listen at; the default is reachable from this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, option("--port", "Port; 0: any free one.", min=0, max=65535)] = 5000,
    speed: Annotated[
        float, option("--speed", "Factor by which its time is faster than real time.", min=0.001, max=1e6)
    ] = 1.0,
    start: Annotated[str | None, option("--start TIME", "Start of its time (ISO 8601 with a zone).")] = None,
    seed: Annotated[int, option("--seed", "Seed of noise, ambient light and faults.", min=0)] = 0,
    faults: Annotated[
        list[str] | None,
        option(
            "--faults WHAT",
            "NAME=PROBABILITY, all=PROBABILITY, or a YAML file with a list (docs/how-to/twin.md); repeatable.",
        ),
    ] = None,
    log: Annotated[
        Path | None, option("--log FILE", "Log every reading in this file, as the real server does.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        option(
            "--set KEY=VALUE", "A further key of `instrument: {kind: twin}`: --set variant=curved. May be repeated."
        ),
    ] = None,
) -> None:
    """Serve the twin over HTTP, or a fitted one also as command or SCPI.

    Clients of Claude-Light work with it unchanged. A fitted twin can be driven as a declared instrument of that kind
    (docs/how-to/twin.md).

    \b
    sdl twin serve --speed 100                                 one reading takes 8 ms
    sdl twin serve --ambient day --start 2025-10-28T09:00:00-04:00 --faults all=0.05
    sdl twin serve rig-twin.toml --as scpi --port 5025         a twin of any instrument, on a socket
    sdl twin serve --set variant=other-unit --set drift=true   further keys of `instrument: {kind: twin}`

    Ctrl-C or SIGTERM ends it, with exit code 0.
    """
    if file is not None:
        if not is_fitted(str(file)):
            raise ConfigError(
                f"{file}: not a twin that `sdl twin fit --instrument` wrote; others are served by --state"
            )
        fitted = {"kind": "twin", "state": str(file), "seed": seed, "start": start}
        twin = _twin(fitted | {"faults": list(_faults(faults or ()))}, changes or ())
        serve_fitted(twin, interface or Interface.HTTP, host, port, speed)
        return
    if interface is not None:
        raise ConfigError("--as is for a fitted twin; name its file: sdl twin serve rig-twin.toml --as http")
    from sdl.drivers.twin.driver import plant_of
    from sdl.twin.led.serve import TwinServer

    options: dict[str, Any] = {"kind": "twin", "state": state, "ambient": ambient, "seed": seed}
    options |= {"start": start, "faults": list(_faults(faults or ()))}
    instrument: Twin = _twin(options, changes or ())
    plant = plant_of(instrument)
    latency = instrument.latency if isinstance(instrument.latency, float) else None
    pace: dict[str, Any] = {"start": instrument.start_time, "speed": speed, "latency": latency}
    try:
        server = TwinServer(plant, host=host, port=port, faults=instrument.faults, log=log, **pace)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror}; try another --port") from error
    hint = f"sdl run FILE --set instrument.kind=claude-light --set instrument.url={server.url}"
    with server, signals() as wait:
        print(f"{instrument.identity} at {server.url}, {speed:g} × real time; Ctrl-C ends it\n{hint}", flush=True)
        wait()
    print(f"ended after {server.world.taken} readings")


def device(
    host: Annotated[str, option("--host", "Host of the MQTT broker, without TLS.")] = "127.0.0.1",
    port: Annotated[int, option("--port", "Port of the broker.", min=1, max=65535)] = 1883,
    name: Annotated[str, option("--device ID", "Id of the device, a part of its topics.")] = "test",
    state: State = "sdl-light",
    latency: Annotated[
        float | None, option("--latency", "Seconds per experiment; default: the state's.", min=0, max=3600)
    ] = None,
    seed: Annotated[int, option("--seed", "Seed of the noise.", min=0)] = 0,
) -> None:
    """Simulate an SDL-Light device behind an MQTT broker.

    Clients of SDL-Light (CLSLab:Light) work with it unchanged. It needs a broker, such as mosquitto.

    \b
    sdl twin device --latency 0.1          then: instrument: {kind: sdl-light, host: 127.0.0.1, port: 1883, tls: false}

    Ctrl-C or SIGTERM ends it, with exit code 0.
    """
    from sdl.twin.led.sdl_light import SdlLightDevice

    try:
        simulated = SdlLightDevice(host, port, device=name, state=state, seed=seed, latency=latency)
    except ValueError as error:
        raise ConfigError(f"--state: {error}") from error
    with contextlib.closing(simulated), signals() as wait:
        try:
            simulated.open().wait()
        except TimeoutError as error:
            raise Unreachable(f"{error}; start a broker, or give its --host and --port") from error
        print(f"SDL-Light {name} at the broker {host}:{port}, state {state}; Ctrl-C ends it", flush=True)
        wait()
    print(f"ended after {simulated.experiments} experiments")


def _twin(options: dict[str, Any], changes: Sequence[str]) -> Any:
    tree: dict[str, Any] = {"instrument": options}
    for change in changes:
        tree = config.override(tree, f"instrument.{change.removeprefix('instrument.')}")
    twin_instrument = config.parse_kind("instrument", tree["instrument"])
    if twin_instrument.kind != "twin":
        raise ConfigError("--set kind: must be twin")
    return twin_instrument


def _faults(given: Sequence[str]) -> Iterator[dict[str, Any]]:
    for text in given:
        if "=" not in text:
            plan = yamlfile.read(Path(text)).value
            if not isinstance(plan, tuple):
                raise ConfigError(f"{text}: must be a list of faults: [{{name: busy, at: [3]}}, …]")
            yield from plan
            continue
        name, chance = config.split(text)
        if name != "all" and name not in NAMES:
            raise ConfigError(f"--faults {text}: unknown fault {name!r}; {near(name, ['all', *NAMES])}")
        names = NAMES if name == "all" else (name,)
        if not is_number(chance):
            raise ConfigError(f"--faults {text}: must be NAME=PROBABILITY, such as busy=0.05")
        yield from ({"name": one, "probability": chance / len(names)} for one in names)
