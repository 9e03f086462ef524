"""The ends of a channel, and their older name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sdl.types import Channel


@pytest.mark.parametrize("key", ["high", "saturation"])
def test_the_high_end_is_read_by_its_older_name_too(key: str) -> None:
    channel = Channel.model_validate({"name": "red", key: 65535.0})
    assert channel == Channel(name="red", high=65535.0) == Channel(**{"name": "red", key: 65535.0})
    assert channel.model_dump()["high"] == 65535.0
    assert "saturation" not in channel.model_dump()
    assert Channel.model_validate(channel.model_dump()) == channel


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(ValidationError, match="saturation"):
        Channel.model_validate({"name": "red", "high": 1.0, "saturation": 2.0})


def test_ends_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"low \(5\) must be below high \(1\)"):
        Channel(name="red", low=5.0, high=1.0)


def test_the_older_name_still_answers_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="use Channel.high"):
        assert Channel(name="red", high=9.0).saturation == 9.0
