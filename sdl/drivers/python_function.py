"""A Python function as the instrument: from a file beside the campaign, or handed to `sdl.run`.

    def measure(settings):                 # {"red": 30.0, "yellow": 5.0}
        return {"R": 120.0, "pH": 7.1}     # or {"readings": {…}, "applied": {…}}

The file is loaded by its path; nothing is put on `sys.path`.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver
from sdl.drivers.declared.config import Declared
from sdl.errors import ConfigError, Problem
from sdl.types import Power, Reading, SafeState, Settings

Measure = Callable[[dict[str, Any]], Any]  # from settings to readings
PLACE = r"^[^:]+\.py:[A-Za-z_]\w*$"


class PythonFunction(Declared):
    """A function that takes the settings and returns the readings."""

    may_repeat: ClassVar[bool] = True  # a function may have no noise

    kind: Literal["python"] = "python"
    function: str | None = Field(
        None,
        pattern=PLACE,
        description="file and function, `my_rig.py:measure`; the file lies beside this one. From Python instead: "
        "`sdl.run(campaign, measure=…)`",
    )
    off_function: str | None = Field(
        None,
        pattern=PLACE,
        description="file and function that switches it off, called with the settings `off`; by default `function`",
    )
    _measure: Measure | None = PrivateAttr(None)
    _off: Measure | None = PrivateAttr(None)

    def with_functions(self, measure: Measure | None, off: Measure | None) -> Self:
        """The instrument with these functions in place of those that it names."""
        copy = self.model_copy()
        copy._measure, copy._off = measure or self._measure, off or self._off
        return copy

    @property
    def address(self) -> str:
        return f"{self.place.absolute()} {self.function or 'a function of the caller'}"

    def ready(self) -> None:
        """Look for the files; nothing is run.

        Raises:
            ConfigError: one is missing, or no function is known.
        """
        if self._measure is None and self.function is None:
            how = (
                "give `function: my_rig.py:measure`, or hand one over: sdl.run(…, measure=…), sdl.resume(…, measure=…)"
            )
            raise ConfigError(Problem(f"missing; {how}", "instrument.function"))
        for key, given, place in (
            ("function", self._measure, self.function),
            ("off_function", self._off, self.off_function),
        ):
            if given is None and place is not None and not self._file(place).is_file():
                raise ConfigError(Problem(f"there is no file {self._file(place)}", f"instrument.{key}"))

    def connect(self, clock: Clock) -> FunctionDriver:
        """Load the functions.

        Raises:
            ConfigError: a file cannot be loaded, or has no such function.
        """
        self.ready()
        modules: dict[Path, Any] = {}
        measure = self._measure or self._load(str(self.function), modules)
        off = self._off or (self._load(self.off_function, modules) if self.off_function is not None else measure)
        return FunctionDriver(self, measure, off)

    def _file(self, place: str) -> Path:
        return (self.place / place.rpartition(":")[0]).absolute()

    def _load(self, place: str, modules: dict[Path, Any]) -> Measure:
        file, name = self._file(place), place.rpartition(":")[2]
        if file not in modules:
            modules[file] = _module(file)
        function = getattr(modules[file], name, None)
        if not callable(function):
            raise ConfigError(f"{file}: there is no function {name}")
        return function  # type: ignore[no-any-return]


class FunctionDriver(OpenDriver):
    """Calls the functions; their exceptions are passed on."""

    def __init__(self, instrument: PythonFunction, measure: Measure, off: Measure) -> None:
        self._instrument, self._measure, self._off = instrument, measure, off

    def measure(self, settings: Settings) -> Reading:
        self.require_open()
        answer = self._measure(dict(settings))
        if isinstance(answer, Reading):
            return answer
        if not isinstance(answer, Mapping):
            raise TypeError(f"the function must return the readings as a dict, it gave {str(answer)[:60]!r}")
        if "readings" in answer and "readings" not in self._instrument.declared_channels:
            return Reading(answer.get("applied", dict(settings)), answer["readings"])
        return Reading(dict(settings), dict(answer))

    def safe(self) -> SafeState:
        """Call the function that switches off; the applied settings are those it returns, else those requested."""
        off = dict(self._instrument.off or {})
        answer = self._off(off)
        if self._off is not self._measure and isinstance(answer, Mapping):
            return SafeState(Power.OFF, dict(answer.get("applied", answer)))
        applied = answer.get("applied", off) if isinstance(answer, Mapping) else off
        return SafeState(Power.OFF, dict(applied))


def _module(file: Path) -> Any:
    """A module from its file.

    Raises:
        ConfigError: running it failed.
    """
    name = f"_sdl_rig_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file}: cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of it look for themselves there
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f"{file}:{lines[-1]}" if lines else str(file)
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error
    return module
