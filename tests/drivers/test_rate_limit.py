"""Manners: pauses, a number a day, and leaving alone what fails again and again."""

from __future__ import annotations

import pytest

from sdl.clock import VirtualClock
from sdl.drivers.rate_limit import RateLimiter
from sdl.errors import InstrumentError, Rejected, Unreachable


def ask(limiter: RateLimiter, clock: VirtualClock, error: Exception | None = None, takes: float = 1.0) -> None:
    with limiter.request():
        clock.sleep(takes)
        if error is not None:
            raise error


def fail(limiter: RateLimiter, clock: VirtualClock, error: Exception) -> None:
    with pytest.raises(type(error)):
        ask(limiter, clock, error)


def test_the_pause_is_from_the_end_of_one_request_to_the_next() -> None:
    clock = VirtualClock(100.0)
    limiter = RateLimiter(clock, 2.0)
    ask(limiter, clock)
    assert clock.now() == 101.0, "the first request does not wait"
    ask(limiter, clock)
    assert clock.now() == 104.0
    clock.sleep(10)
    ask(limiter, clock)
    assert clock.now() == 115.0, "what has passed anyway counts"


def test_a_clock_that_was_set_back_makes_no_pause_longer() -> None:
    clock = VirtualClock(1e6)
    limiter = RateLimiter(clock, 2.0, 100, 1, 60.0)
    ask(limiter, clock)
    clock._now -= 5000
    ask(limiter, clock)
    assert clock.now() == 1e6 + 1 - 5000 + 3


def test_the_requests_of_a_day_are_counted_over_24_hours() -> None:
    clock = VirtualClock(0.0)
    limiter = RateLimiter(clock, 0.0, a_day=3)
    for _ in range(3):
        ask(limiter, clock, takes=3600.0)
    with pytest.raises(InstrumentError, match=r"3 requests in 24 hours are used up \(requests_a_day\)") as caught:
        ask(limiter, clock)
    assert not caught.value.retryable
    assert not caught.value.maybe_measured
    assert "the next in 75600 s" in str(caught.value)
    clock.sleep(75600)
    ask(limiter, clock)
    with pytest.raises(InstrumentError):
        ask(limiter, clock)


def test_after_so_many_failures_in_a_row_nothing_is_asked_for_a_while() -> None:
    clock = VirtualClock(0.0)
    limiter = RateLimiter(clock, 0.0, failures=3, rest=60.0)
    for _ in range(3):
        fail(limiter, clock, Unreachable("no answer"))
    with pytest.raises(InstrumentError, match="3 requests in a row failed") as caught:
        ask(limiter, clock)
    assert caught.value.retryable, "the campaign's `retry` says for how long it is asked again"
    assert not caught.value.maybe_measured
    assert "no answer" in str(caught.value)
    clock.sleep(60)
    fail(limiter, clock, Unreachable("still no answer"))
    with pytest.raises(InstrumentError, match="4 requests in a row failed"):
        ask(limiter, clock)
    clock.sleep(60)
    ask(limiter, clock)
    fail(limiter, clock, Unreachable("once"))
    ask(limiter, clock)


def test_a_success_between_them_begins_the_count_anew() -> None:
    clock = VirtualClock(0.0)
    limiter = RateLimiter(clock, 0.0, failures=2, rest=60.0)
    for _ in range(3):
        fail(limiter, clock, Unreachable("sometimes"))
        ask(limiter, clock)


def test_a_refused_setting_says_nothing_against_the_instrument() -> None:
    clock = VirtualClock(0.0)
    limiter = RateLimiter(clock, 0.0, failures=1, rest=60.0)
    fail(limiter, clock, Rejected("too bright"))
    ask(limiter, clock)
