"""The SDL-Light driver against a twin of the device, through a real broker."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import TIMEOUT, until

import sdl
from sdl.clock import RealClock
from sdl.drivers.sdl_light.config import NAMES, SdlLight
from sdl.errors import BadReply, ConfigError, InstrumentError, NotApplied, Rejected, Unreachable
from sdl.store.record import read
from sdl.testing import InstrumentContract
from sdl.twin.led.sdl_light import FAULTS, SdlLightDevice
from tests.drivers.broker import MqttBroker, free_port

SETTINGS = {"R": 10.0, "G": 55.0, "B": 3.0}
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MqttBroker]:
    with MqttBroker(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def device(broker: MqttBroker, request: pytest.FixtureRequest) -> Iterator[SdlLightDevice]:
    name = f"pico-{abs(hash(request.node.nodeid))}"
    with SdlLightDevice(port=broker.port, device=name, latency=0.01) as running:
        yield running.wait(TIMEOUT)


def light(device: SdlLightDevice, **options: object) -> SdlLight:
    plain = {"host": "127.0.0.1", "port": device.port, "tls": False, "device": device.device, "reply_timeout": 30.0}
    return SdlLight(**{**plain, **options})


def faulty(fault: str) -> Callable[[int], str | None]:
    return lambda n: fault if n == 0 else None


class TestContract(InstrumentContract):
    @pytest.fixture
    def instrument(self, device: SdlLightDevice) -> SdlLight:
        return light(device)


def test_a_reading_has_eight_counts_and_their_background(device: SdlLightDevice) -> None:
    driver = light(device).open(RealClock())
    reading = driver.measure(SETTINGS)
    driver.close()
    assert tuple(reading.readings) == NAMES
    assert reading.applied == SETTINGS
    assert reading.background is not None
    assert reading.readings["ch510"] - reading.background["ch510"] > 5000
    assert reading.fault is None
    assert device.applied == [(10, 55, 3)]


def test_a_setting_that_is_not_whole_is_refused_before_anything_is_sent(device: SdlLightDevice) -> None:
    driver = light(device).open(RealClock())
    with pytest.raises(Rejected, match="not a whole number"):
        driver.measure({**SETTINGS, "R": 10.5})
    with pytest.raises(Rejected, match="outside 0 … 89"):
        driver.measure({**SETTINGS, "R": 90})
    assert device.experiments == 0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("error", BadReply, "the device reports an error: OSError"),
        ("missing", BadReply, "channel ch510 is missing"),
        ("null", BadReply, "ch510 = 'None'"),
        ("nan", BadReply, "ch510 = 'nan'"),
        ("negative", BadReply, "ch510 = '-7'"),
        ("text", BadReply, "ch510 = 'bright'"),
        ("huge", BadReply, "ch510 = '1000000000'"),
        ("no-echo", NotApplied, "does not repeat the settings"),
        ("silent", Unreachable, "the broker took the command, but no answer came"),
    ],
)
def test_what_cannot_be_a_reading_is_an_error_that_says_why(
    broker: MqttBroker, fault: str, error: type[InstrumentError], words: str
) -> None:
    with SdlLightDevice(port=broker.port, device=f"bad-{fault}", latency=0.01, fault=faulty(fault)) as device:
        driver = light(device.wait(TIMEOUT), reply_timeout=1.0 if fault == "silent" else 30.0).open(RealClock())
        with pytest.raises(error, match=words) as caught:
            driver.measure(SETTINGS)
        assert caught.value.maybe_measured
        if fault == "silent":  # its answers may need longer on a slow machine
            driver.close()
            driver = light(device).open(RealClock())
        assert driver.measure(SETTINGS).applied == SETTINGS, "the next one is taken as if nothing had been"
        driver.close()


@pytest.mark.parametrize("fault", ["repeated", "foreign", "garbled", "retained"])
def test_messages_that_are_not_the_answer_are_left_aside(broker: MqttBroker, fault: str) -> None:
    with SdlLightDevice(port=broker.port, device=f"odd-{fault}", latency=0.01, fault=faulty(fault)) as device:
        device.wait()
        for _ in range(2):  # a second driver meets what the broker kept
            driver = light(device).open(RealClock())
            for green in (55.0, 7.0):
                reading = driver.measure({**SETTINGS, "G": green})
                assert reading.applied["G"] == green
                assert 100 * green < reading.readings["ch510"] < 300 * green
            driver.close()


def test_other_settings_than_asked_are_named_on_the_reading(broker: MqttBroker) -> None:
    with SdlLightDevice(port=broker.port, device="clamp", latency=0.01, fault=faulty("clamp")) as device:
        reading = light(device.wait()).open(RealClock()).measure(SETTINGS)
    assert reading.fault == "not-applied"
    assert reading.applied == {"R": 10.0, "G": 10.0, "B": 3.0}


def test_every_fault_of_the_device_has_a_test() -> None:
    here = Path(__file__).read_text()
    assert [name for name in FAULTS if f'"{name}"' not in here] == []


def test_without_a_broker_it_says_so_and_nothing_was_measured() -> None:
    driver = SdlLight(host="127.0.0.1", port=free_port(), tls=False, connect_timeout=10.0).open(RealClock())
    with pytest.raises(Unreachable, match="nothing listens there") as caught:
        driver.measure(SETTINGS)
    assert not caught.value.maybe_measured


@pytest.mark.slow
def test_a_command_is_never_kept_for_later(broker: MqttBroker, tmp_path: Path) -> None:
    """A command that could not be sent must not light the LED when the broker is back."""
    with MqttBroker(tmp_path) as own, SdlLightDevice(port=own.port, device="later", latency=0.01) as device:
        driver = light(device.wait()).open(RealClock())
        driver.measure(SETTINGS)
        own.kill()
        for _ in range(3):
            with pytest.raises(Unreachable):
                driver.measure(SETTINGS)
        own.start()
        device.wait(TIMEOUT)
        time.sleep(1.5)
        assert device.experiments == 1
        assert driver.measure(SETTINGS).applied == SETTINGS
        driver.close()


def test_a_broker_that_wants_a_password_refuses_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MqttBroker(tmp_path, anonymous=False) as strict:
        plain = {"host": "127.0.0.1", "port": strict.port, "tls": False}
        with pytest.raises(Rejected, match="refuses access"):
            SdlLight(**plain).open(RealClock()).measure(SETTINGS)
        monkeypatch.delenv("LIGHT_PASSWORD", raising=False)
        with pytest.raises(ConfigError, match="LIGHT_PASSWORD, which the campaign names, is not set"):
            SdlLight(**plain, password_env="LIGHT_PASSWORD").open(RealClock())


# paho leaves the socket of a failed TLS greeting to the garbage collector.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_does_not_speak_tls_is_told_from_one_that_is_silent(broker: MqttBroker) -> None:
    driver = SdlLight(host="127.0.0.1", port=broker.port, connect_timeout=5.0).open(RealClock())
    with pytest.raises(Unreachable, match="TLS"):
        driver.measure(SETTINGS)
    gc.collect()


def test_the_light_is_switched_off_after_an_answer_that_never_came(broker: MqttBroker) -> None:
    with SdlLightDevice(port=broker.port, device="dark", latency=0.01, fault=faulty("silent")) as device:
        driver = light(device.wait(), reply_timeout=0.5).open(RealClock())
        driver.safe()
        assert device.experiments == 0, "nothing was asked yet, so nothing can be lit"
        with pytest.raises(Unreachable):
            driver.measure(SETTINGS)
        driver.safe()
        driver.safe()
        assert device.applied == [(10, 55, 3), (0, 0, 0)]
        driver.close()


CAMPAIGN = {
    "name": "mqtt",
    "goal": {"ch440": 3000, "ch510": 8000, "ch620": 3000},
    "tolerance": "4%",
    "confirm": 1,
    "solver": {"kind": "linear"},
    "stop": {"trials": 20},
    "retry": {"times": 5, "wait": 0.5, "longest": 2.0},
}


def run(device: SdlLightDevice, folder: Path, name: str, watch: object = None) -> sdl.Result:
    instrument = light(device, reply_timeout=5.0, connect_timeout=10.0).model_dump()
    return sdl.run({**CAMPAIGN, "name": name, "instrument": instrument}, runs=folder, watch=watch)


def test_a_campaign_reaches_its_goal_through_a_broker(device: SdlLightDevice, tmp_path: Path) -> None:
    result = run(device, tmp_path, "one")
    assert str(result.outcome) == "reached"
    assert all(value == round(value) for value in result.settings.values())


@pytest.mark.slow
def test_two_campaigns_share_a_device_while_the_broker_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As from two machines: on one the lease would refuse the second.
    monkeypatch.setattr("sdl.runner.start.instrument_lease", lambda *_: contextlib.nullcontext())
    with MqttBroker(tmp_path) as own, SdlLightDevice(port=own.port, device="shared", latency=0.1) as device:
        device.wait()
        results: dict[str, sdl.Result] = {}
        killed = threading.Event()

        def campaign(name: str) -> None:
            def watch(event: object, campaign: object) -> None:
                if type(event).__name__ == "Measured" and event.trial == 2 and not killed.is_set():  # type: ignore[attr-defined]
                    killed.set()
                    own.kill()
                    threading.Timer(1.0, own.start).start()

            results[name] = run(device, tmp_path, name, watch)

        threads = [threading.Thread(target=campaign, args=(name,)) for name in ("first", "second")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
        assert killed.is_set()
        assert {name: str(result.outcome) for name, result in results.items()} == {
            "first": "reached",
            "second": "reached",
        }
        failures = 0
        for result in results.values():
            for event in read(Path(result.run) / "record.jsonl"):
                if type(event).__name__ == "Failed":
                    failures += 1
                if type(event).__name__ == "Measured":
                    key = tuple(int(event.applied[name]) for name in "RGB")
                    assert key in device.applied
        assert failures > 0, "the broker's absence must have been noticed"
        assert not device.lit


def answers(broker: MqttBroker, device: SdlLightDevice, commands: list[tuple[str, str]], many: int) -> list[Answer]:
    """What the device answers to commands, each a topic and a text."""
    from paho.mqtt.client import CallbackAPIVersion, Client

    found: list[Answer] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda c, u, m: found.append(json.loads(m.payload))
    hears = threading.Event()
    client.on_subscribe = lambda *_: hears.set()
    client.connect("127.0.0.1", broker.port)
    client.subscribe(f"sdl-demo/picow/{device.device}/as7341/")
    client.loop_start()
    assert hears.wait(TIMEOUT)
    for topic, text in commands:
        client.publish(f"sdl-demo/picow/{device.device}/{topic}", text, qos=1).wait_for_publish(TIMEOUT)
    until(lambda: len(found) >= many)
    client.disconnect()
    client.loop_stop()
    assert len(found) == many
    return found


BAD = {
    "not json": "ValueError: syntax error in JSON",
    '{"R": NaN, "G": 1, "B": 1}': "ValueError: syntax error in JSON",
    '{"R": 300, "G": 0, "B": 0}': "AssertionError: Invalid R: 300 (must be between 0 and 255)",
    '{"R": 1, "G": -1, "B": 0}': "AssertionError: Invalid G: -1 (must be between 0 and 255)",
    '{"R": 1, "G": 1, "B": 0, "astep": 65537}': "AssertionError: Invalid astep: 65537 (must be between 0 and 65536)",
    '{"R": 1, "G": 1, "B": 0, "gain": 0.25}': "AssertionError: Invalid gain: 0.25 (must be between 0.5 and 512)",
    '{"R": 1}': "KeyError: G",
    '{"R": null, "G": 1, "B": 1}': "TypeError: unsupported types for __le__: 'int', 'NoneType'",
    '{"R": 1.0, "G": 1, "B": 1}': "TypeError: can't convert float to int",
    "[]": "TypeError: list indices must be integers, not str",
    "7": "TypeError: 'int' object isn't subscriptable",
}
"""Commands that the firmware fails at, and the last line of its traceback."""
ALWAYS = {
    *("_input_message", "onboard_temperature_K", "sd_card_ready", "utc_timestamp", "utc_time_str"),
    *("device_nickname", "encrypted_device_id_truncated", "logged_to_mongodb"),
}
"""Keys of every answer, whether it holds counts or an error."""


def test_the_device_answers_bad_commands_as_the_firmware_does(broker: MqttBroker, device: SdlLightDevice) -> None:
    found = answers(broker, device, [("GPIO/28", text) for text in BAD], len(BAD))
    for text, answer in zip(BAD, found, strict=True):
        said = str(answer["error"]).splitlines()
        assert (said[0], said[-1]) == ("Traceback (most recent call last):", BAD[text])
        no_json = "JSON" in BAD[text]
        assert set(answer) == {*ALWAYS, "error", *(["emergency_error"] if no_json else [])}, text
        assert answer["_input_message"] == (text if no_json else json.loads(text))
    assert device.applied == []
    assert not device.lit


def test_the_device_measures_what_the_firmware_measures(broker: MqttBroker, device: SdlLightDevice) -> None:
    odd = [
        {"R": True, "G": 0, "B": False},
        {"R": 0, "G": 9, "B": 0, "astep": 499, "mongodb": True},
        {"R": 0, "G": 9, "B": 0, "astep": 65536},  # more than the sensor takes: it stays as it was
        {"R": 0, "G": 9, "B": 0, "gain": 100, "mongodb": 1},  # the nearest power of two is 128
        {"R": 0, "G": 9, "B": 0},
    ]
    found = answers(broker, device, [("GPIO/28", json.dumps(command)) for command in odd], len(odd))
    assert all(set(answer) == {*ALWAYS, *NAMES, "background"} for answer in found)
    assert device.applied == [(1, 0, 0), *[(0, 9, 0)] * 4]
    assert [answer["logged_to_mongodb"] for answer in found] == [False, True, False, False, False]
    counts = [answer["ch510"] for answer in found[1:]]
    assert counts[0] == pytest.approx(counts[3] / 2, rel=0.25)  # two readings differ by some 3 %, rarely by 12 %
    assert counts[1] == pytest.approx(counts[0], rel=0.25)
    assert counts[2] == pytest.approx(counts[3], rel=0.1)


def test_the_device_answers_on_every_topic_that_begins_with_gpio_and_a_slash(
    broker: MqttBroker, device: SdlLightDevice
) -> None:
    topics = ["GPIO", "GPIO/", "GPIO/7", "as7341", "GPIO/28/led", "gpio/28", "GPIO/28"]
    commands = [(topic, json.dumps({"R": n, "G": 0, "B": 0})) for n, topic in enumerate(topics)]
    found = answers(broker, device, commands, 4)
    assert [answer["_input_message"] for answer in found] == [{"R": n, "G": 0, "B": 0} for n in (1, 2, 4, 6)]


def test_a_fault_that_is_an_error_has_the_keys_of_every_answer(broker: MqttBroker) -> None:
    with SdlLightDevice(port=broker.port, device="keys", latency=0.01, fault=faulty("error")) as device:
        (answer,) = answers(broker, device.wait(30), [("GPIO/28", '{"R": 1, "G": 2, "B": 3}')], 1)
    assert set(answer) == {*ALWAYS, "error"}
