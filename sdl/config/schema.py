"""The JSON Schema of the campaign file, for completion and checks in editors."""

from __future__ import annotations

from typing import Any

from sdl import registry
from sdl.config.goals import OBJECTIVES, QUANTITY_SCHEMA
from sdl.config.model import GROUPS, CampaignFile
from sdl.drivers.trust import USE
from sdl.errors import ConfigError


def schema() -> dict[str, Any]:
    """The JSON Schema of the campaign file, including every kind that can be loaded."""
    document = CampaignFile.model_json_schema()
    definitions = document.setdefault("$defs", {})
    for key, (group, _) in GROUPS.items():
        options: list[dict[str, Any]] = []
        words = []  # kinds without required options: `solver: gmm`
        for kind in registry.kinds(group):
            try:
                model = registry.find(group, kind).model_json_schema(ref_template="#/$defs/{model}")
            except ConfigError:
                continue  # a broken plug-in is reported where it is asked for
            definitions.update(model.pop("$defs", {}))
            model["properties"]["kind"] = {"const": kind}
            model["required"] = ["kind", *(r for r in model.get("required", []) if r != "kind")]
            words += [kind] if model["required"] == ["kind"] else []
            definitions[model["title"]] = model
            options.append({"$ref": f"#/$defs/{model['title']}"})
        if key == "instrument":
            file = {"type": "string", "description": "a file with the instrument, relative to this one"}
            options.append({"type": "object", "properties": {USE: file}, "required": [USE]})
        field = CampaignFile.model_fields[key]
        document["properties"][key] = {"description": field.description, "oneOf": [*options, {"enum": words}]}
    target = definitions["Target"]
    definitions["Target"] = {
        "anyOf": [
            {"type": "number", "description": "the target, a raw reading"},
            QUANTITY_SCHEMA | {"description": "the target with the unit of its channel: 3 mS/cm"},
            {"enum": list(OBJECTIVES), "description": "the channel is to be as large or as small as possible"},
            target,
        ]
    }
    definitions["Prior"] = {"anyOf": [{"type": "string", "description": "the source"}, definitions["Prior"]]}
    for name, value in (("TrialLimits", {"type": "number"}), ("ErrorLimits", {"type": "string"})):
        definitions[name] = {"anyOf": [{**value, "description": "the limit for every seed"}, definitions[name]]}
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "sdl campaign"
    return document
