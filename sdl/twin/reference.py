"""The twin that an instrument is compared with while it is driven: `watch` of a campaign, `suspend` of a lab."""

from __future__ import annotations

from pathlib import Path

from sdl.twin.fitted import state as fitted
from sdl.twin.fitted.state import FittedState
from sdl.twin.led import state as led
from sdl.twin.led.state import TwinState

OWN = "twin"
"""Stands for the twin that the instrument itself names, and for the shipped state of one that names none."""
SHIPPED = "night-2025-10"


def reference_of(name: str, twin: str | None, folder: str | None) -> str:
    """The state or file that a name refers to.

    Args:
        name: `twin`, the name of a shipped state, or the path of a `.toml` file.
        twin: the file that the instrument names; None: none.
        folder: the folder that `twin` is relative to.
    """
    if name != OWN:
        return name
    return SHIPPED if twin is None else str((Path(folder or "") / Path(twin).expanduser()).absolute())


def load_reference(name: str) -> TwinState | FittedState:
    """The twin of a shipped state's name or a `.toml` file, of the LED or of any instrument.

    Raises:
        ValueError: the file cannot be found, read or understood.
    """
    return fitted.load(name) if fitted.is_fitted(name) else led.load(name)


def checked_reference(name: str | None) -> str | None:
    """The name of a reference as it is stored: `twin`, or a state or file that exists, its path made absolute.

    Raises:
        ValueError: it does not exist or is no twin.
    """
    if name is None or name == OWN:
        return name
    load_reference(name)
    return str(Path(name).expanduser().resolve()) if name.endswith(".toml") else name
