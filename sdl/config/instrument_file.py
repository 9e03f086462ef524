"""An instrument in a file of its own: `instrument: {use: rig.yaml}`, with further keys that override the file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdl import yamlfile
from sdl.drivers.trust import USE
from sdl.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class InstrumentTree:
    """The plain values of an instrument.

    Attributes:
        value: the values as given, or those of the file, overridden by the keys beside `use`.
        folder: the folder that its paths are relative to.
        file: the file; None without one.
        own: keys that are not from the file.
    """

    value: Any
    folder: Path
    file: yamlfile.Tree | None = None
    own: frozenset[str] = frozenset()

    def located(self, problem: Problem) -> Problem:
        """A problem of the instrument, with its place in the instrument's own file if its key is from there."""
        if self.file is None or problem.path.split(".")[0] in self.own:
            return problem
        return Problem(problem.message, problem.path, self.file.file, self.file.line(problem.path))


def resolve(given: Any, base: Path) -> InstrumentTree:
    """Read the file that `use` names, if any.

    Args:
        given: the value of `instrument`.
        base: folder of the campaign file.

    Raises:
        ConfigError: the file cannot be read, or is no mapping.
    """
    if not isinstance(given, Mapping) or USE not in given:
        return InstrumentTree(given, base)
    if not isinstance(name := given[USE], str):
        raise ConfigError(Problem("must be the path of a file, relative to this one", USE))
    file = base / name
    tree = yamlfile.read(file)
    if tree.problems:
        raise ConfigError(*tree.problems)
    if not isinstance(tree.value, Mapping):
        raise ConfigError(Problem("must be a mapping with the keys of an instrument", file=tree.file))
    if USE in tree.value:
        raise ConfigError(
            Problem("the file of an instrument cannot name another file with `use`", USE, tree.file, tree.line(USE))
        )
    own = {key: value for key, value in given.items() if key != USE}
    return InstrumentTree({**tree.value, **own}, file.parent, tree, frozenset(map(str, own)))
