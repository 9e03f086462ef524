"""Run the campaign on simulated devices and print its documents: `python run.py`."""

from bluesky import RunEngine
from ophyd_async.core import init_devices
from sdl_bluesky import campaign_plan
from twin_devices import Led, Sensor, arguments


def show(name: str, document: dict) -> None:
    """Print one line per document."""
    data = document.get("data", {})
    print(name, {key: value for key, value in data.items() if key != "sdl_why"} or document["uid"])


engine = RunEngine(call_returns_result=True)
with init_devices():
    led = Led()
    sensor = Sensor(led)
result = engine(campaign_plan("campaign.yaml", **arguments(led, sensor)), show)
print(result.plan_result)
