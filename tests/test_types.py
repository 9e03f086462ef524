"""The ends of a channel, and their older name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sdl.types import Channel, Input


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


def test_an_input_of_choices_has_no_bounds_and_survives_being_written_down() -> None:
    solvent = Input.model_validate({"name": "solvent", "choices": ["water", "ethanol"]})
    assert not solvent.numeric
    assert solvent.model_dump(mode="json") == {"name": "solvent", "unit": "", "choices": ["water", "ethanol"]}
    assert Input.model_validate(solvent.model_dump(mode="json")) == solvent
    assert Input.model_validate_json(solvent.model_dump_json()) == solvent


def test_a_numeric_input_is_written_as_before_there_were_choices() -> None:
    assert Input(name="R", step=0.5).numeric
    assert list(Input(name="R").model_dump()) == ["name", "low", "high", "unit", "step"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"choices": ["water"]}, "2 to 50 choices are possible, not 1"),
        ({"choices": [f"s{i}" for i in range(51)]}, "not 51"),
        ({"choices": ["water", "water"]}, "given twice: water"),
        ({"choices": ["water", ""]}, "not ''"),
        ({"choices": ["water", " ethanol"]}, "not ' ethanol'"),
        ({"choices": ["water", 7]}, "valid string"),
        ({"choices": ["a", "b"], "low": 0.0, "step": 1.0}, "an input with choices has no low or step"),
    ],
)
def test_choices_that_cannot_be_told_apart_are_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Input.model_validate({"name": "solvent"} | keys)
