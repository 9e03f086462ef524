"""What every declared instrument does, over a raw driver in virtual time."""

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import PrivateAttr, ValidationError

from sdl import yamlfile
from sdl.clock import VirtualClock
from sdl.config import parse_kind
from sdl.config.mistakes import problems_of
from sdl.drivers.base import off_settings
from sdl.drivers.declared.config import Declared
from sdl.drivers.declared.ramp import Ramp
from sdl.errors import BadReply, InstrumentError, Interlock, Rejected
from sdl.grammar import parse_constraint
from sdl.types import Input, Power, Reading, SafeState

RIG = """
kind: cell
inputs: {red: {high: 300, step: 5, unit: uL}, yellow: {high: 300, unit: uL}}
channels: {R: {low: 0, high: 255, resolution: 1}, pH: {}}
constraints: ["red + yellow <= 300"]
derived: {ratio: "R / pH", absorbance: "-log10(R / 240)"}
off: {red: 0, yellow: 0}
"""


class Cell(Declared):
    """A declared instrument over a function of the settings and the time."""

    kind: Literal["cell"] = "cell"
    _raw: Any = PrivateAttr(None)

    @property
    def address(self):
        return "cell"

    def connect(self, clock):
        self._raw.clock = clock
        return self._raw


class Raw:
    """Answers with `response(settings, seconds since they were set)`."""

    def __init__(self, response: Callable[..., dict[str, float]], seconds=0.0, applied=lambda settings: settings):
        self.response, self.seconds, self.applied = response, seconds, applied
        self.sent: list[tuple[float, Any]] = []
        self.off = SafeState(Power.OFF, {"red": 0, "yellow": 0})
        self.closed = False
        self._set_at, self._set = 0.0, None

    def measure(self, settings):
        self.sent.append((self.clock.monotonic(), dict(settings)))
        if settings != self._set:
            self._set, self._set_at = dict(settings), self.clock.monotonic()
        self.clock.sleep(self.seconds)
        answer = self.response(settings, self.clock.monotonic() - self._set_at)
        if isinstance(answer, Exception):
            raise answer
        return Reading(self.applied(settings), answer)

    def safe(self):
        self.sent.append((self.clock.monotonic(), "off"))
        self._set = None
        return self.off

    def close(self):
        self.closed = True


def cell(text=RIG, raw=None, **more):
    made = Cell.model_validate(tuples(yamlfile.parse(text).value | more))
    made._raw = raw or Raw(lambda settings, _: {"R": 120.0, "pH": 7.0})
    return made


def tuples(value):
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def opened(text=RIG, raw=None, **more):
    made, clock = cell(text, raw, **more), VirtualClock()
    return made.open(clock), made._raw, clock


def problems(text, **more):
    tree = tuples(yamlfile.parse(text).value | more)
    try:
        Cell.model_validate(tree)
    except ValidationError as error:
        return {problem.path: problem.message for problem in problems_of(error, Cell, tree)}
    return {}


def test_the_keys_give_inputs_channels_and_derived_channels_in_order():
    made = cell()
    assert [item.name for item in made.inputs] == ["red", "yellow"]
    assert [channel.name for channel in made.channels] == ["R", "pH", "ratio", "absorbance"]
    assert [channel.name for channel in made.raw_channels] == ["R", "pH"]
    assert made.constraints[0].coefficients == {"red": 1.0, "yellow": 1.0}
    assert off_settings(made) == {"red": 0.0, "yellow": 0.0}


def test_the_written_form_reads_back_to_an_equal_instrument():
    made = cell(settle={"until": "R", "within": 2, "for": "10 s", "at most": "5 min"}, ramp={"red": "50 per min"})
    again = Cell.model_validate(tuples(made.model_dump(mode="json")))
    again._raw = made._raw
    assert again == made


def test_every_mistake_is_said_at_once_with_its_place():
    found = problems(
        RIG,
        derived={"x": "q + 1", "R": "pH"},
        off={"red": "x", "yelow": 0},
        ramp={"q": "5 per s"},
        limits={"q": {"at most": 3}},
        constraints=["redd <= 3"],
        settle={"until": "ratio", "within": 1, "for": 10, "at most": 10},
        cost={"per": {"q": 1}},
    )
    assert set(found) == {
        "derived.x", "derived.R", "off", "off.red", "off.yelow", "ramp.q", "limits.q", "constraints.0", "settle.until",
        "settle.at most", "cost.per.q",
    }  # fmt: skip
    assert "did you mean 'red'?" in found["constraints.0"]


def test_off_is_declared_and_never_guessed():
    assert "missing" in problems(RIG.replace("off: {red: 0, yellow: 0}", ""))["off"]
    assert cell(RIG.replace("{red: 0, yellow: 0}", "nothing")).off is None
    driver, raw, _ = opened(RIG.replace("{red: 0, yellow: 0}", "nothing"))
    driver.measure({"red": 5, "yellow": 5})
    assert driver.safe().state is Power.NOT_NEEDED
    assert len(raw.sent) == 1


def test_derived_channels_stand_beside_the_readings():
    driver, _, _ = opened()
    reading = driver.measure({"red": 5, "yellow": 5})
    assert reading.readings == {"R": 120.0, "pH": 7.0, "ratio": 120 / 7, "absorbance": -math.log10(0.5)}


def test_a_derived_channel_may_use_an_earlier_one():
    driver, _, _ = opened(derived={"A": "-log10(R / 240)", "slope": "A / (red + 1)"})
    assert driver.measure({"red": 5, "yellow": 5}).readings["slope"] == pytest.approx(-math.log10(0.5) / 6)


def test_an_undefined_derived_channel_is_an_error_of_the_reading():
    driver, _, _ = opened(raw=Raw(lambda *_: {"R": 0.0, "pH": 7.0}))
    with pytest.raises(BadReply, match=r"absorbance: -log10\(R / 240\) is undefined at R = 0") as caught:
        driver.measure({"red": 5, "yellow": 5})
    assert caught.value.retryable


def test_a_reading_at_the_end_of_a_range_is_a_bound_and_so_is_what_grows_with_it():
    raw = Raw(lambda *_: {"R": 255.0, "pH": 7.0})
    driver, _, _ = opened(raw=raw, derived={"ratio": "R / pH", "twice": "2 * ratio", "acid": "7 - pH"})
    assert driver.measure({"red": 5, "yellow": 5}).saturated == ("R", "ratio", "twice")


def test_an_upper_bound_of_a_derived_channel_is_no_reading():
    driver, _, _ = opened(raw=Raw(lambda *_: {"R": 255.0, "pH": 7.0}))
    with pytest.raises(BadReply, match=r"absorbance: .* is known only to be at most -0.0263.*: R is at the end"):
        driver.measure({"red": 5, "yellow": 5})


def test_a_reading_outside_its_range_is_refused():
    driver, _, _ = opened(raw=Raw(lambda *_: {"R": 256.0, "pH": 7.0}))
    with pytest.raises(BadReply, match=r"R = 256 lies outside its range 0 … 255"):
        driver.measure({"red": 5, "yellow": 5})


@pytest.mark.parametrize("settings", [{"red": 200, "yellow": 101}, {"red": 301, "yellow": 0}, {"red": 5}])
def test_settings_outside_bounds_or_constraints_are_never_sent(settings):
    driver, raw, _ = opened()
    with pytest.raises(Rejected):
        driver.measure(settings)
    assert raw.sent == []


def test_off_may_lie_outside_the_bounds():
    driver, raw, _ = opened(inputs={"red": {"low": 10, "high": 300}, "yellow": {"high": 300}})
    driver.measure({"red": 0, "yellow": 0})
    assert raw.sent == [(0.0, {"red": 0, "yellow": 0})]


def test_after_new_settings_the_reading_is_taken_when_the_time_to_settle_is_over():
    driver, _raw, clock = opened(settle="30 s", raw=Raw(lambda _, age: {"R": age, "pH": 7.0}, seconds=2), derived={})
    assert driver.measure({"red": 5, "yellow": 5}).readings["R"] == 34
    began = clock.monotonic()
    assert driver.measure({"red": 5, "yellow": 5}).readings["R"] == 36
    assert clock.monotonic() - began == 2


def test_stable_means_over_the_whole_window_and_not_merely_touched():
    # A swing that turns at 12 s: two readings about there are nearly equal, and nothing has settled.
    def swing(_, age):
        return {"R": 100 + 50 * math.cos(math.pi * age / 12) * math.exp(-age / 30), "pH": 7.0}

    settle = {"until": "R", "within": 2, "for": "10 s", "at most": "5 min"}
    driver, _, _ = opened(settle=settle, raw=Raw(swing), derived={})
    assert driver.measure({"red": 5, "yellow": 5}).readings["R"] == pytest.approx(100, abs=2)


def test_what_does_not_settle_in_time_is_no_reading():
    settle = {"until": "R", "within": 2, "for": "10 s", "at most": "1 min"}
    driver, _, clock = opened(settle=settle, raw=Raw(lambda _, age: {"R": age, "pH": 7.0}), derived={})
    with pytest.raises(InstrumentError, match=r"R did not settle within 1 min: it moved by 10 in the last 10 s") as e:
        driver.measure({"red": 5, "yellow": 5})
    assert e.value.retryable
    assert clock.monotonic() == pytest.approx(60, abs=3)


def test_a_wait_that_is_interrupted_gives_no_reading():
    driver, raw, clock = opened(settle="30 s")
    clock.sleep = lambda seconds: None
    with pytest.raises(InstrumentError, match="interrupted while it settled"):
        driver.measure({"red": 5, "yellow": 5})
    assert len(raw.sent) == 1


def test_beyond_a_limit_it_is_made_safe_at_once():
    raw = Raw(lambda settings, _: {"R": 1.0, "pH": 7.0 + settings["red"] / 100})
    driver, _, _ = opened(limits={"pH": {"at most": 9}}, raw=raw)
    driver.measure({"red": 200, "yellow": 0})
    with pytest.raises(Interlock, match=r"pH = 9.5 is above its limit 9; it was switched off") as caught:
        driver.measure({"red": 250, "yellow": 0})
    assert not caught.value.retryable
    assert [what for _, what in raw.sent][-1] == "off"


def test_a_limit_of_a_derived_channel_counts_and_comes_before_the_range():
    raw = Raw(lambda *_: {"R": 300.0, "pH": 1.0})
    driver, _, _ = opened(limits={"ratio": {"at most": 200}}, raw=raw)
    with pytest.raises(Interlock, match="ratio = 300"):
        driver.measure({"red": 250, "yellow": 0})


def test_an_interlock_says_so_where_off_is_not_proven():
    raw = Raw(lambda *_: {"R": 1.0, "pH": 10.0})
    raw.off = SafeState(Power.OFF, {"red": 250, "yellow": 0})
    driver, _, _ = opened(limits={"pH": {"at most": 9}}, raw=raw)
    with pytest.raises(Interlock, match="it may still be on: told to switch off, it says red = 250"):
        driver.measure({"red": 250, "yellow": 0})


@pytest.mark.parametrize(
    ("applied", "state"),
    [
        ({"red": 0, "yellow": 0}, Power.OFF),
        ({"red": 5, "yellow": 0}, Power.ON),
        ({"red": 0}, Power.UNKNOWN),
        (None, Power.UNKNOWN),
    ],
)
def test_off_is_proven_only_by_an_answer_that_gives_the_settings(applied, state):
    driver, raw, _ = opened()
    driver.measure({"red": 5, "yellow": 5})
    raw.off = SafeState(Power.OFF, applied)
    assert driver.safe().state is state


def test_off_is_sent_only_after_a_request_and_not_again_once_it_is_proven():
    driver, raw, _ = opened()
    assert driver.safe().state is Power.NOT_NEEDED
    driver.measure({"red": 5, "yellow": 5})
    assert driver.safe().state is Power.OFF
    assert driver.safe().state is Power.NOT_NEEDED
    assert [what for _, what in raw.sent].count("off") == 1
    driver.assume_on()
    assert driver.safe().state is Power.OFF


def test_closing_closes_the_raw_driver():
    driver, raw, _ = opened()
    driver.close()
    assert raw.closed
    with pytest.raises(InstrumentError, match="closed"):
        driver.measure({"red": 5, "yellow": 5})


def beyond(sent, rate, start=0.0, name="red"):
    """The largest rate between two requests, over `rate`."""
    worst, value, at = 0.0, start, None
    for when, what in sent:
        if what == "off":
            value, at = start, when
            continue
        moved = abs(what[name] - value)
        if at is not None and moved:
            worst = max(worst, moved / max(when - at, 1e-9) / rate)
        elif moved:
            worst = max(worst, moved / (rate * 30) if moved > rate * 30 else 0.0)
        value, at = what[name], when
    return worst


def test_a_ramp_is_kept_by_steps_in_between():
    driver, raw, clock = opened(ramp={"red": "60 per min"})
    driver.measure({"red": 300, "yellow": 0})
    values = [what["red"] for _, what in raw.sent]
    assert values == sorted(values)
    assert values[0] <= 60
    assert beyond(raw.sent, 1.0) <= 1 + 1e-6
    assert 240 <= clock.monotonic() <= 330
    assert all(value % 5 == 0 for value in values)


def test_quick_readings_do_not_make_many_small_steps():
    driver, raw, clock = opened(ramp={"yellow": "60 per min"}, raw=Raw(lambda *_: {"R": 1.0, "pH": 7.0}, seconds=0.01))
    driver.measure({"red": 0, "yellow": 60})
    assert len(raw.sent) <= 65
    assert 50 <= clock.monotonic() <= 65


def test_after_an_hour_at_rest_an_input_does_not_jump():
    driver, raw, clock = opened(ramp={"red": "60 per min"})
    driver.measure({"red": 5, "yellow": 0})
    clock.sleep(3600)
    driver.measure({"red": 300, "yellow": 0})
    values = [what["red"] for _, what in raw.sent]
    assert max(b - a for a, b in itertools.pairwise(values)) <= 15


def test_a_failed_step_leaves_both_positions_possible():
    raw = Raw(lambda settings, _: InstrumentError("no") if settings["red"] == 150 else {"R": 1.0, "pH": 7.0})
    driver, _, _ = opened(ramp={"red": "60 per min"}, raw=raw)
    with pytest.raises(InstrumentError, match="no"):
        driver.measure({"red": 200, "yellow": 0})
    raw.response = lambda *_: {"R": 1.0, "pH": 7.0}
    driver.measure({"red": 200, "yellow": 0})
    assert beyond(raw.sent, 1.0) <= 1 + 1e-6


def test_where_the_inputs_are_is_unknown_a_ramp_begins_at_off():
    driver, raw, _ = opened(ramp={"red": "60 per min"})
    driver.assume_on()
    driver.measure({"red": 50, "yellow": 0})
    assert raw.sent[0][1] == "off"
    assert beyond(raw.sent, 1.0) <= 1 + 1e-6


def test_the_steps_of_a_ramp_keep_the_constraints():
    driver, raw, _ = opened(ramp={"red": "60 per min", "yellow": "60 per min"})
    driver.measure({"red": 300, "yellow": 0})
    driver.measure({"red": 0, "yellow": 300})
    assert raw.sent[-1][1] == {"red": 0, "yellow": 300}
    assert max(what["red"] + what["yellow"] for _, what in raw.sent) <= 300 + 1e-9
    assert beyond(raw.sent, 1.0) <= 1 + 1e-6
    assert beyond(raw.sent, 1.0, name="yellow") <= 1 + 1e-6


def test_a_ramp_over_two_stepped_inputs_on_an_equality_comes_to_its_end():
    inputs = (Input(name="a", high=10, step=1), Input(name="b", high=10, step=3))
    equality = parse_constraint("a + b = 10")
    ramp, now, settings = Ramp(inputs, {"a": 1.0}, [equality], 1.0, {"a": 10.0, "b": 0.0}), 0.0, None
    target = {"a": 1.0, "b": 9.0}
    for _ in range(200):
        step = ramp.next(target, now)
        if isinstance(step, float):
            now += max(step, 0.0)
            continue
        settings = step
        ramp.sent(step, now)
        ramp.at(step, now)
        if step == target:
            break
    assert settings == target


def test_kinds_that_nothing_installs_are_unknown():
    with pytest.raises(Exception, match="unknown kind 'cell'"):
        parse_kind("instrument", {"kind": "cell"})
