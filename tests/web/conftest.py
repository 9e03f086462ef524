"""Fixtures of the tests of the page."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sdl.core.events import Event
from tests.web.web_kit import real


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Event]:
    """The events of a run on the twin."""
    return real(tmp_path_factory.mktemp("real"))
