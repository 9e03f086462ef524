"""When a campaign stops: the rules of the core, and those of installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from sdl import registry
from sdl.core.stopping import Rule, StopRules
from sdl.errors import ConfigError
from sdl.types import Frozen


def _installed_rule(given: Any) -> Rule:
    """The rule that `{kind: …}` names.

    Raises:
        ValueError: no installed package has it, or its options are wrong.
    """
    if isinstance(given, Rule) and isinstance(given, Frozen):
        return given
    tree = {"kind": given} if isinstance(given, str) else given
    if not isinstance(tree, Mapping):
        raise ValueError("must be {kind: …} with the options of the rule")
    try:
        rule = registry.find("rules", tree.get("kind")).model_validate(dict(tree))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ValueError(f"{tree['kind']}: {wrong}") from error
    if not isinstance(rule, Rule):
        raise ValueError(f"kind {tree['kind']!r} does not keep the contract Rule")
    return rule


class StopOptions(StopRules):
    """When a campaign ends without reaching its goal."""

    rules: tuple[Annotated[Any, BeforeValidator(_installed_rule)], ...] = Field(
        (),
        max_length=100,
        strict=False,
        description="rules of installed packages: `kind` and options (entry points `sdl.rules`)",
    )

    def active(self) -> tuple[Rule, ...]:
        """The rules of the core that are switched on, then those of installed packages."""
        return (*super().active(), *self.rules)
