"""A simulated SDL-Light device: behind a real MQTT broker it answers as the Pico W does.

It listens to `sdl-demo/picow/<device>/GPIO/#`, runs one experiment at a time (a reading with the light off, then one
with it on) and answers on `sdl-demo/picow/<device>/as7341/` to everybody who listens: the command under
`_input_message`, eight counts and their background; a mistake in the command comes back as the text of a traceback.
The behaviour is the real one's (github.com/sparks-baird/self-driving-lab-demo), the counts are those of a state.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sdl.errors import InstrumentError
from sdl.extras import missing
from sdl.twin.model import Plant
from sdl.twin.state import State, load

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

DEFAULT = {"atime": 100, "astep": 999, "gain": 128.0}
"""Sensor settings that a command may leave out; the state's gains are for these."""

FAULTS = {
    "silent": "the experiment is run, no answer is sent",
    "error": "the answer is the text of a traceback",
    "repeated": "the answer is sent twice",
    "foreign": "an answer to somebody else's command comes first",
    "garbled": "half an answer comes first, which is nobody's",
    "retained": "the broker keeps the answer for whoever subscribes later",
    "missing": "a channel is left out",
    "null": "a channel is null",
    "nan": "a channel is NaN",
    "negative": "a channel is below zero",
    "text": "a channel is a word",
    "huge": "a channel is beyond full scale",
    "clamp": "other settings are applied, and the answer repeats those",
    "no-echo": "the answer does not repeat the settings",
}
"""What can go wrong on this surface, by name."""


class SdlLightDevice:
    """A device that answers while the `with` block lasts.

    Args:
        host, port: the broker, without TLS: it is meant for the same machine.
        device: its id, a part of the topics.
        state: the twin's state; with eight channels named as the device names them.
        seed: which noise.
        latency: seconds an experiment takes; the state's own by default.
        fault: name of a fault (a key of FAULTS) for the n-th experiment, counted from 0, or None.

    Attributes:
        experiments: how many were run.
        lit: whether the light is on.
        applied: the settings of each experiment, in order.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 1883,
        *,
        device: str = "test",
        state: str = "sdl-light",
        seed: int = 0,
        latency: float | None = None,
        fault: Callable[[int], str | None] = lambda n: None,
    ) -> None:
        self.host, self.port, self.device = host, port, device
        self._state, self._seed, self._fault = load(state), seed, fault
        self._latency = self._state.latency if latency is None else latency
        self._topic = f"sdl-demo/picow/{device}"
        self._client: Client | None = None
        self._listens = threading.Event()
        self.experiments, self.lit = 0, False
        self.applied: list[tuple[int, int, int]] = []

    def __enter__(self) -> SdlLightDevice:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> SdlLightDevice:
        """Looks for the broker, now and whenever it is gone, in a thread of its own.

        Raises:
            InstrumentError: paho-mqtt is not installed.
        """
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError as error:
            raise InstrumentError(missing("SDL-Light twins", "mqtt", error)) from error
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, client_id=f"twin-{uuid4().hex[:16]}", protocol=MQTTv311)
        client.reconnect_delay_set(1, 5)
        client.on_connect = lambda c, *_: c.subscribe(f"{self._topic}/GPIO/#")
        client.on_subscribe = lambda *_: self._listens.set()
        client.on_disconnect = lambda *_: self._listens.clear()
        client.on_message = self._command
        client.connect_async(self.host, self.port)
        client.loop_start()
        self._client = client
        return self

    def close(self) -> None:
        """Leaves the broker."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def wait(self, seconds: float = 10.0) -> SdlLightDevice:
        """Until it listens for commands.

        Raises:
            TimeoutError: it does not.
        """
        if not self._listens.wait(seconds):
            raise TimeoutError(f"no broker at {self.host}:{self.port} within {seconds:g} s")
        return self

    def _command(self, client: Client, _user: Any, message: Any) -> None:
        """One experiment; the next command waits in the queue meanwhile, as on the device."""
        if message.topic != f"{self._topic}/GPIO/28":
            log.debug("not a command for the light: %s", message.topic)
            return
        text = message.payload.decode("utf-8", "replace")
        command: Any = text
        fault = self._fault(self.experiments)
        self.experiments += 1
        try:
            command = json.loads(text)
            reply = self._run(command, fault)
        except Exception:  # the device answers whatever happens with the text of what happened
            reply = {"error": traceback.format_exc(limit=1)}
        finally:
            self.lit = False
        reply = {"_input_message": command, **reply}
        if fault == "silent":
            return
        for payload, retain in _faulty(reply, fault):
            client.publish(f"{self._topic}/as7341/", payload, qos=0, retain=retain)

    def _run(self, command: Mapping[str, Any], fault: str | None) -> dict[str, Any]:
        settings = [command[name] for name in "RGB"]
        if not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 255 for v in settings):
            raise ValueError(f"R, G, B must be whole numbers from 0 to 255, not {settings}")
        sensor = {key: float(command.get(key, value)) for key, value in DEFAULT.items()}
        if not (0 <= sensor["atime"] <= 255 and 0 <= sensor["astep"] <= 65534 and 0.5 <= sensor["gain"] <= 512):
            raise ValueError(f"the sensor settings {sensor} are out of range")
        plant = self._plant(sensor)
        if fault == "clamp":
            settings = [min(v, 10) for v in settings]
        began = time.time()
        dark = plant.read(dict.fromkeys("RGB", 0.0), began)
        self.lit = any(settings)
        time.sleep(self._latency)
        lit = plant.read(
            {name: v / 255 for name, v in zip("RGB", settings, strict=True)}, max(time.time(), began + 1e-6)
        )
        self.applied.append((settings[0], settings[1], settings[2]))
        echo = {"_input_message": {**command, **dict(zip("RGB", settings, strict=True))}} if fault == "clamp" else {}
        moment = time.gmtime(began)
        return {
            "utc_time_str": f"{moment.tm_year}-{moment.tm_mon}-{moment.tm_mday} {time.strftime('%H:%M:%S', moment)}",
            "utc_timestamp": int(began),
            **lit.readings,
            "background": dict(dark.readings),
            "onboard_temperature_K": 307.2,
            "sd_card_ready": False,
            "logged_to_mongodb": False,
            "device_nickname": "a twin",
            "encrypted_device_id_truncated": self.device,
            **echo,
        }

    def _plant(self, sensor: Mapping[str, float]) -> Plant:
        scale = (sensor["atime"] + 1) * (sensor["astep"] + 1) * sensor["gain"]
        scale /= (DEFAULT["atime"] + 1) * (DEFAULT["astep"] + 1) * DEFAULT["gain"]
        full = min(self._state.full_scale, int((sensor["atime"] + 1) * (sensor["astep"] + 1)))
        return Plant(_scaled(self._state.model_dump_json(), scale, full), self._seed)


@lru_cache(maxsize=16)
def _scaled(state: str, scale: float, full: int) -> State:
    """The state at other sensor settings: all counts times `scale`."""
    tree = json.loads(state)
    for channel in tree["channels"].values():
        channel["ambient"] *= scale
        channel["gain"] = {name: gain * scale for name, gain in channel["gain"].items()}
    return State.model_validate_json(json.dumps({**tree, "full_scale": full}))


def _faulty(reply: dict[str, Any], fault: str | None) -> list[tuple[str, bool]]:
    """What is sent instead: payloads, and whether the broker is to keep each."""
    command = reply["_input_message"]
    odd = {"null": None, "nan": float("nan"), "negative": -7, "text": "bright", "huge": 10**9}
    if fault in odd:
        reply = {**reply, "ch510": odd[fault]}
    elif fault == "missing":
        reply = {key: value for key, value in reply.items() if key != "ch510"}
    elif fault == "no-echo" and isinstance(command, dict):
        reply = {**reply, "_input_message": {k: v for k, v in command.items() if k not in "RGB"}}
    elif fault == "error":
        reply = {"_input_message": command, "error": "Traceback (most recent call last):\nOSError: [Errno 5] EIO"}
    payload = json.dumps(reply)
    before = []
    if fault == "foreign":
        other = {**command, "_session_id": "somebody", "_experiment_id": "else"} if isinstance(command, dict) else {}
        before = [(json.dumps({**reply, "_input_message": other, "ch510": 1}), False), ("{}", False)]
    elif fault == "garbled":
        before = [(payload[: len(payload) // 2], False), ("\x00not json", False)]
    elif fault == "repeated":
        before = [(payload, False)]
    return [*before, (payload, fault == "retained")]
