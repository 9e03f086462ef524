"""A simulated SDL-Light device, which answers behind a real MQTT broker as the Pico W does.

It accepts a command on every topic that begins with `sdl-demo/picow/<device>/GPIO/`, runs one experiment at a time (a
reading with the light off, then one with it on) and publishes the answer on `sdl-demo/picow/<device>/as7341/`: the
command under `_input_message`, eight counts and their background, and data of the device; for an invalid command, the
text of a traceback instead of the counts. The behaviour is that of the published firmware
(github.com/sparks-baird/self-driving-lab-demo, commit 4bcf7de); the counts are those of a twin's state.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

from sdl.errors import InstrumentError
from sdl.extras import missing
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState, load

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger(__name__)

# Sensor settings that a command may leave out; the state's gains are for these.
DEFAULT = {"atime": 100, "astep": 999, "gain": 128.0}
# The checks of the firmware, in their order.
BOUNDS = {"R": (0, 255), "G": (0, 255), "B": (0, 255), "atime": (0, 255), "astep": (0, 65536), "gain": (0.5, 512)}
LONGEST = 65534  # longest `astep` of the sensor; it ignores a longer one
TRIED = '  File "/lib/sdl_demo_utils.py", line {}, in try_experiment\n'
RAN = '  File "main.py", line {}, in run_experiment\n'

# The faults of this interface, by name.
FAULTS = {
    "silent": "the experiment is run, no answer is sent",
    "error": "the answer is the text of a traceback",
    "repeated": "the answer is sent twice",
    "foreign": "an answer to another user's command comes first",
    "garbled": "half an answer comes first",
    "retained": "the broker keeps the answer for later subscribers",
    "missing": "a channel is left out",
    "null": "a channel is null",
    "nan": "a channel is NaN",
    "negative": "a channel is below zero",
    "text": "a channel is a word",
    "huge": "a channel is beyond full scale",
    "clamp": "other settings are applied, and the answer repeats those",
    "no-echo": "the answer does not repeat the settings",
}


class SdlLightDevice:
    """A device that answers inside a `with` block.

    Args:
        host, port: address of the broker, without TLS, for use on the same machine.
        device: its id, a part of the topics.
        state: state of the twin, with the eight channels of the device.
        seed: seed of the noise.
        latency: seconds per experiment; by default that of the state.
        fault: name of a fault (a key of FAULTS) for the n-th experiment, counted from 0, or None.

    Attributes:
        experiments: number of experiments so far.
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
        self._astep = DEFAULT["astep"]
        self._listens = threading.Event()
        self.experiments, self.lit = 0, False
        self.applied: list[tuple[int, int, int]] = []

    def __enter__(self) -> SdlLightDevice:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> SdlLightDevice:
        """Connect to the broker, and reconnect whenever the connection is lost, in a thread.

        Raises:
            InstrumentError: paho-mqtt is not installed.
        """
        try:
            from paho.mqtt.client import Client, MQTTv311
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise InstrumentError(missing("SDL-Light twins", "mqtt", error)) from error

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
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def wait(self, seconds: float = 10.0) -> SdlLightDevice:
        """Wait until the device accepts commands.

        Raises:
            TimeoutError: it did not within `seconds`.
        """
        if not self._listens.wait(seconds):
            raise TimeoutError(f"no broker at {self.host}:{self.port} within {seconds:g} s")
        return self

    def _command(self, client: Client, _user: Any, message: Any) -> None:
        """Run one experiment; the next command waits in the queue, as on the device."""
        if not message.topic.startswith(f"{self._topic}/GPIO/"):  # `#` also matches the topic without the slash
            log.debug("not a command: %s", message.topic)
            return
        text = message.payload.decode("utf-8", "replace")
        fault = self._fault(self.experiments)
        self.experiments += 1
        reply = self._answer(text, fault)
        if fault == "silent":
            return
        for payload, retain in _faulty(reply, fault):
            client.publish(f"{self._topic}/as7341/", payload, qos=0, retain=retain)

    def _answer(self, text: str, fault: str | None) -> dict[str, Any]:
        """The reply to a command, including the error of one that cannot be run."""
        command: Any = text
        reply: dict[str, Any]
        try:
            command = _parsed(text)
        except ValueError:
            # The firmware reads the command again to switch off, and its fallback lacks an argument.
            reply = {
                "error": _traceback("ValueError: syntax error in JSON", TRIED.format(169)),
                "emergency_error": _traceback(
                    "TypeError: function missing required positional argument #1", TRIED.format(201)
                ),
            }
        else:
            try:
                reply = self._run(command, fault)
            except (AssertionError, KeyError, TypeError) as error:
                what = f"{type(error).__name__}: {error.args[0]}"
                reply = {"error": _traceback(what, TRIED.format(176), RAN.format(163))}
            finally:
                self.lit = False
        now = time.time()
        moment = time.gmtime(now)
        return {
            "_input_message": command,
            **reply,
            "onboard_temperature_K": 307.2,
            "sd_card_ready": False,
            "utc_timestamp": int(now),
            "utc_time_str": f"{moment.tm_year}-{moment.tm_mon}-{moment.tm_mday} {time.strftime('%H:%M:%S', moment)}",
            "device_nickname": "a twin",
            "encrypted_device_id_truncated": self.device[:10],
            "logged_to_mongodb": isinstance(command, dict) and command.get("mongodb") is True,
        }

    def _run(self, command: Any, fault: str | None) -> dict[str, Any]:
        """Return the counts of one experiment.

        Raises:
            KeyError, TypeError, AssertionError: as in the firmware, with its text.
        """
        if isinstance(command, list | str):
            raise TypeError(f"{type(command).__name__} indices must be integers, not str")
        if not isinstance(command, dict):
            raise TypeError(f"'{type(command).__name__}' object isn't subscriptable")
        values = {name: command[name] for name in "RGB"} | {key: command.get(key, v) for key, v in DEFAULT.items()}
        for name, (low, high) in BOUNDS.items():
            if not isinstance(value := values[name], int | float):
                raise TypeError(f"unsupported types for __le__: '{type(low).__name__}', '{type(value).__name__}'")
            if not low <= value <= high:
                raise AssertionError(f"Invalid {name}: {value} (must be between {low} and {high})")
        if isinstance(values["atime"], float) or (isinstance(values["astep"], float) and values["astep"] <= LONGEST):
            raise TypeError("unsupported types for __and__: 'float', 'int'")
        if values["astep"] <= LONGEST:
            self._astep = values["astep"]
        plant = self._plant(values["atime"], self._astep, 2.0 ** (round(1.4427 * math.log(2 * values["gain"])) - 1))
        began = time.time()
        dark = plant.read(dict.fromkeys("RGB", 0.0), began)
        if any(isinstance(values[name], float) for name in "RGB"):
            raise TypeError("can't convert float to int")
        settings = {name: int(values[name]) for name in "RGB"}
        echo = {}
        if fault == "clamp":
            settings = {name: min(value, 10) for name, value in settings.items()}
            echo = {"_input_message": {**command, **settings}}
        self.lit = any(settings.values())
        time.sleep(self._latency)
        lit = plant.read({name: value / 255 for name, value in settings.items()}, max(time.time(), began + 1e-6))
        self.applied.append((settings["R"], settings["G"], settings["B"]))
        return {**lit.readings, "background": dict(dark.readings), **echo}

    def _plant(self, atime: float, astep: float, gain: float) -> Plant:
        scale = (atime + 1) * (astep + 1) * gain
        scale /= (DEFAULT["atime"] + 1) * (DEFAULT["astep"] + 1) * DEFAULT["gain"]
        full = min(self._state.full_scale, int((atime + 1) * (astep + 1)))
        return Plant(_scaled(self._state, scale, full), self._seed)


def _parsed(text: str) -> Any:
    """Parse JSON; refuse NaN and Infinity, as the device does."""

    def refuse(word: str) -> NoReturn:
        raise ValueError(word)

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError(text) from error


def _traceback(what: str, *frames: str) -> str:
    return f"Traceback (most recent call last):\n{''.join(frames)}{what}\n"


def _scaled(state: TwinState, scale: float, full: int) -> TwinState:
    """The state at other sensor settings: all counts times `scale`."""
    channels = {}
    for name, channel in state.channels.items():
        gain = {input_: counts * scale for input_, counts in channel.gain.items()}
        channels[name] = channel.model_copy(update={"ambient": channel.ambient * scale, "gain": gain})
    return state.model_copy(update={"channels": channels, "full_scale": full})


def _faulty(reply: dict[str, Any], fault: str | None) -> list[tuple[str, bool]]:
    """The payloads to send under a fault, each with whether the broker retains it."""
    command = reply["_input_message"]
    odd = {"null": None, "nan": float("nan"), "negative": -7, "text": "bright", "huge": 10**9}
    if fault in odd:
        reply = {**reply, "ch510": odd[fault]}
    elif fault == "missing":
        reply = {key: value for key, value in reply.items() if key != "ch510"}
    elif fault == "no-echo" and isinstance(command, dict):
        reply = {**reply, "_input_message": {k: v for k, v in command.items() if k not in "RGB"}}
    elif fault == "error":
        rest = {key: value for key, value in reply.items() if not key.startswith("ch") and key != "background"}
        reply = {**rest, "error": _traceback("OSError: [Errno 5] EIO", TRIED.format(176), RAN.format(182))}
    payload = json.dumps(reply)
    before = []
    if fault == "foreign":
        other = {**command, "_session_id": "other", "_experiment_id": "else"} if isinstance(command, dict) else {}
        before = [(json.dumps({**reply, "_input_message": other, "ch510": 1}), False), ("{}", False)]
    elif fault == "garbled":
        before = [(payload[: len(payload) // 2], False), ("\x00not json", False)]
    elif fault == "repeated":
        before = [(payload, False)]
    return [*before, (payload, fault == "retained")]
