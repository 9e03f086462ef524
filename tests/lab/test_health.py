"""Alive, ready, metrics: what a machine that watches a lab is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdl import config, runner
from sdl.lab.http.monitoring import Metrics, Readiness

from .surface_kit import ListLab

pytest.importorskip("prometheus_client")

CAMPAIGN = """\
name: led
instrument: {kind: twin, latency: 0.3}
goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
solver: linear
stop: {trials: 12}
"""


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lab(tmp_path: Path) -> ListLab:
    return ListLab(tmp_path / "runs")


def readiness(lab: ListLab, clock: Clock, least: float = 1.0) -> Readiness:
    return Readiness(lab, lab.runs / "bench.lab", lab.runs, least=least, clock=clock)


def test_a_lab_in_order_is_ready_and_leaves_nothing_behind_where_it_tried_to_write(lab: ListLab) -> None:
    assert readiness(lab, Clock())() == []
    assert not list((lab.runs / "bench.lab").iterdir())


def test_each_reason_against_it_is_named(lab: ListLab) -> None:
    lab.lost = "Unreachable: refused"
    assert readiness(lab, Clock())() == ["instrument led-1 does not answer: Unreachable: refused"]
    lab.lost = ""
    lab.pause("instrument led-1", "cleaning", "anna")
    assert readiness(lab, Clock())() == ["instrument led-1 is paused: cleaning"]
    lab.held.clear()
    lab.pause("instrument led-1", "", "anna")  # for no stated reason
    assert readiness(lab, Clock())() == ["instrument led-1 is paused"]
    lab.pause("lab", "holiday", "anna")
    assert readiness(lab, Clock())() == ["the whole lab is paused: holiday"]
    assert "MB free" in readiness(lab, Clock(), least=1e30)()[0]
    lab.stuck = True
    assert readiness(lab, Clock())() == ["the lab does not answer: no tick for 30 s"]


def test_a_folder_that_cannot_be_written_is_named(lab: ListLab, tmp_path: Path) -> None:
    lab.runs = tmp_path / "file"
    lab.runs.write_text("a file where the runs should go")
    assert "cannot be written" in readiness(lab, Clock())()[0]


def test_a_folder_that_was_moved_is_named_and_not_created_again(lab: ListLab) -> None:
    lab.runs.rename(lab.runs.with_name("moved"))
    result = readiness(lab, Clock())()
    assert [line.partition(": ")[2] for line in result] == ["cannot be written: No such file or directory"] * 2
    assert not lab.runs.exists()


def test_frequent_readiness_queries_do_not_write_to_the_disk_each_time(lab: ListLab) -> None:
    clock = Clock()
    ready = readiness(lab, clock)
    assert ready() == []
    lab.pause("lab", "holiday", "anna")
    clock.now += 1
    assert ready() == []
    clock.now += 5
    assert ready() == ["the whole lab is paused: holiday"]


def values(metrics: Metrics) -> dict[str, float]:
    from prometheus_client.parser import text_string_to_metric_families

    result: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            result[f"{sample.name}{{{labels}}}"] = sample.value
    return result


def test_what_the_records_say_is_counted_once_however_often_it_is_asked(lab: ListLab, tmp_path: Path) -> None:
    file = tmp_path / "led.yaml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    done = runner.run(config.load(file), runs=lab.runs)
    record = Path(done.run) / "record.jsonl"
    lines = record.read_bytes().splitlines(keepends=True)
    events = [json.loads(line) for line in lines]
    record.write_bytes(b"".join(lines[:4]) + lines[4][:20])  # as far as it was at an earlier query
    clock = Clock()
    metrics = Metrics(lab, lab.runs, waiting=lambda: 3, clock=clock)
    clock.now = 100.0
    lab.begin(7, run=str(Path(done.run).relative_to(lab.runs)))
    before = sum(event["event"] == "Measured" for event in events[:4])
    for _ in range(3):
        assert values(metrics)["sdl_readings_total{instrument=led-1}"] == before
    record.write_bytes(b"".join(lines))
    lab.end(7, at=99.0)
    for _ in range(3):
        result = values(metrics)
        assert result["sdl_readings_total{instrument=led-1}"] == done.readings
        assert result["sdl_trials_total{instrument=led-1}"] == done.trials
        assert result["sdl_lab_starts_total{fate=reached,job=night}"] == 1
        assert result["sdl_reading_seconds_count{instrument=led-1}"] == done.readings
    assert result["sdl_reading_seconds_sum{instrument=led-1}"] == pytest.approx(
        sum(event["elapsed"] for event in events if event["event"] == "Measured")
    )
    assert result["sdl_error_to_goal{instrument=led-1}"] < 0.05
    backgrounds = [event["background"] for event in events if event["event"] == "Measured" and event["background"]]
    if backgrounds:
        assert result["sdl_ambient{channel=445nm,instrument=led-1}"] == backgrounds[-1]["445nm"]
    assert result["sdl_lab_up{}"] == 1
    assert result["sdl_lab_outbox{}"] == 3
    assert result["sdl_lab_disk_free_bytes{}"] > 0
    assert result["sdl_failures_total{instrument=led-1}"] == 0


def test_a_run_that_an_earlier_process_began_is_counted_from_now_on(lab: ListLab, tmp_path: Path) -> None:
    file = tmp_path / "led.yaml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    done = runner.run(config.load(file), runs=lab.runs)
    metrics = Metrics(lab, lab.runs, clock=Clock())
    lab.begin(7, run=str(Path(done.run).relative_to(lab.runs)))
    lab.running[7]["attempt"] = 1
    result = values(metrics)
    assert result.get("sdl_readings_total{instrument=led-1}", 0) == 0
    assert result["sdl_lab_lease_seconds{instrument=led-1}"] == 0


def test_a_loop_that_does_not_answer_is_down_and_the_disk_is_told_all_the_same(lab: ListLab) -> None:
    lab.stuck = True
    result = values(Metrics(lab, lab.runs))
    assert result["sdl_lab_up{}"] == 0
    assert result["sdl_lab_disk_free_bytes{}"] > 0
