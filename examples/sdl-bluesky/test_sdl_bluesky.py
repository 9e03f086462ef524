"""A campaign as a Bluesky plan: its documents, its record, failures and interruptions."""

from collections import Counter
from pathlib import Path

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from event_model import DocumentNames, schema_validators
from ophyd_async.core import AsyncStatus, init_devices
from sdl_bluesky import campaign_plan
from twin_devices import Led, Sensor, arguments

import sdl
from sdl.errors import ConfigError
from sdl.store import record

CAMPAIGN = str(Path(__file__).parent / "campaign.yaml")


@pytest.fixture
def engine():
    return RunEngine(call_returns_result=True)


@pytest.fixture
def devices(engine):
    with init_devices():
        led = Led()
        sensor = Sensor(led)
    return led, sensor


@pytest.fixture
def documents(engine):
    collected = []
    engine.subscribe(lambda name, document: collected.append((name, document)))
    return collected


def test_the_goal_is_reached_and_the_documents_are_complete(engine, devices, documents, tmp_path):
    done = engine(campaign_plan(CAMPAIGN, **arguments(*devices), runs=str(tmp_path), md={"sample": "air"}))
    result = done.plan_result
    assert result.outcome == "reached"
    for name, document in documents:
        schema_validators[DocumentNames[name]].validate(document)
    count = Counter(name for name, _ in documents)
    assert count == {"start": 1, "descriptor": 1, "event": result.readings, "stop": 1}
    start, stop = documents[0][1], documents[-1][1]
    run = sdl.open_run(result.run)
    assert (start["sample"], start["sdl"]["run"]) == ("air", run.folder.name)
    assert start["sdl"]["goal"]["515nm"]["target"] == 16384
    assert (stop["exit_status"], stop["num_events"]) == ("success", {"primary": result.readings})
    assert stop["reason"].startswith("reached: ")
    assert record.check(run.folder).finished
    events = [document["data"] for name, document in documents if name == "event"]
    for told, event in zip(run.measured(), events, strict=True):
        assert (told.trial, told.repeat) == (event["sdl_trial"], event["sdl_repeat"])
        assert told.readings["515nm"] == event["sensor-green"]
        assert told.applied["G"] == event["led-green"]


def test_a_device_that_fails_ends_one_trial(engine, devices, tmp_path):
    led, _ = devices

    class Failing(Sensor):
        failures = 1

        @AsyncStatus.wrap
        async def trigger(self):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("shutter stuck")
            await super().trigger()

    with init_devices():
        failing = Failing(led, "sensor")
    result = engine(campaign_plan(CAMPAIGN, **arguments(led, failing), runs=str(tmp_path))).plan_result
    assert (result.outcome, result.failed) == ("reached", 1)
    assert "shutter stuck" in sdl.open_run(result.run).failed()[0].error


def test_a_plan_that_was_aborted_goes_on_where_it_was(engine, devices, documents, tmp_path):
    def interrupted(plan):
        """Abort at the third event."""
        sent, answer = 0, None
        while True:
            message = plan.send(answer)
            sent += message.command == "save"
            if sent == 3:
                raise RuntimeError("power cut")
            answer = yield message

    plan = campaign_plan(CAMPAIGN, **arguments(*devices), runs=str(tmp_path))
    with pytest.raises(RuntimeError, match="power cut"):
        engine(interrupted(plan))
    plan.close()
    assert documents[-1][1]["exit_status"] != "success"
    (folder,) = (file.parent for file in tmp_path.glob("*/*/record.jsonl"))
    asked = sdl.open_campaign(str(folder)).ask()
    assert (asked.trial, len(sdl.open_run(folder).measured())) == (2, 2)
    result = engine(campaign_plan(CAMPAIGN, **arguments(*devices), runs=str(tmp_path))).plan_result
    assert (result.outcome, Path(result.run)) == ("reached", folder)


def test_missing_devices_and_keys_are_named(engine, devices, tmp_path):
    given = {**arguments(*devices), "runs": str(tmp_path)}
    with pytest.raises(ConfigError, match="inputs: B is missing"):
        engine(campaign_plan(CAMPAIGN, **{**given, "inputs": {"R": devices[0].red, "G": devices[0].green}}))
    wrong = {**given, "channels": {**given["channels"], "515nm": "sensor-grün"}}
    with pytest.raises(ConfigError, match=r"no device reads sensor-grün; read are .*sensor-green"):
        engine(campaign_plan(CAMPAIGN, **wrong))


def test_a_plan_may_contain_it(engine, devices, tmp_path):
    def night():
        yield from bps.sleep(0)
        result = yield from campaign_plan(CAMPAIGN, **arguments(*devices), runs=str(tmp_path))
        return result.trials

    assert engine(night()).plan_result >= 5
