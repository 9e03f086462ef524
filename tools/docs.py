"""Writes the parts of the documentation that the code knows best: the schema, the tables of keys, the help texts.

`make docs` runs it; a test fails where what is committed differs. `--pictures` also makes docs/img (pictures.py).
"""

from __future__ import annotations

import argparse
import ast
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- made by `make docs`: {} -->", "<!-- end of {} -->"


def pages() -> dict[Path, str]:
    """Every page with a made part, as it should be."""
    from sdl import config

    schema = config.schema()
    made = {DOCS / "reference" / "campaign.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"}
    made[DOCS / "reference" / "campaign.md"] = _replace(DOCS / "reference" / "campaign.md", "keys", _keys(schema))
    made[DOCS / "how-to" / "lab.md"] = _replace(DOCS / "how-to" / "lab.md", "keys", _lab_keys())
    made[DOCS / "reference" / "cli.md"] = _replace(DOCS / "reference" / "cli.md", "commands", _commands())
    made[DOCS / "reference" / "constants.md"] = _replace(DOCS / "reference" / "constants.md", "constants", _constants())
    made[DOCS / "reference" / "record.md"] = _replace(DOCS / "reference" / "record.md", "events", _events())
    return made


def _events() -> str:
    """Each event with its fields, their types and the comments beside them."""
    source = (DOCS.parent / "sdl" / "core" / "events.py").read_text(encoding="utf-8")
    lines, parts = source.splitlines(), []
    for one in ast.parse(source).body:
        if not isinstance(one, ast.ClassDef) or one.name == "Propose":
            continue
        fields = [field for field in one.body if isinstance(field, ast.AnnAssign)]
        if one.name in ("Measure", "Stop"):  # actions, which are not recorded
            continue
        parts += [f"### `{one.name}`", "", f"{ast.get_docstring(one)}", "", "| field | type | |", "|---|---|---|"]
        for field in fields:
            name, kind = ast.unparse(field.target), ast.unparse(field.annotation).replace("|", "\\|")
            parts.append(f"| `{name}` | `{kind}` | {_comment(lines, field.lineno - 1, field.end_lineno or 0)} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def _comment(lines: list[str], first: int, after: int) -> str:
    """The comment at the end of a field, else the comment lines right above it."""
    _, mark, text = lines[after - 1].partition("  # ")
    if mark:
        return text.replace("|", "\\|")
    above: list[str] = []
    while lines[first - 1].strip().startswith("# "):
        first -= 1
        above.insert(0, lines[first].strip().removeprefix("# "))
    return " ".join(above).replace("|", "\\|")


def _constants() -> str:
    """A table of the constants of the statistics: module, names, values, the sentence below them."""
    rows = ["| module | constant | value | |", "|---|---|---|---|"]
    package = DOCS.parent / "sdl"
    models, inverse = package / "models", package / "inverse"
    for path in [*sorted(models.rglob("*.py")), *sorted(inverse.rglob("*.py"))]:
        lines = ast.parse(path.read_text(encoding="utf-8")).body
        for one, after in pairwise(lines):
            if not (
                isinstance(one, ast.Assign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            ):
                continue
            names, text = ast.unparse(one.targets[0]).strip("()"), " ".join(str(after.value.value).split())
            if names.replace(", ", "_").replace("_", "").isupper() or names == "DRIFTS":
                parts = one.value.elts if isinstance(one.value, ast.Tuple) else [one.value]
                value = ", ".join(ast.unparse(part) for part in parts)
                above = models if path.is_relative_to(models) else package
                module = ".".join(path.relative_to(above).with_suffix("").parts)
                rows.append(f"| {module} | `{names}` | `{value}` | {text} |")
    return "\n".join(rows)


def _replace(page: Path, name: str, text: str) -> str:
    old = page.read_text(encoding="utf-8")
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = old.partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"{page.name} lacks the marks {begin} … {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _keys(schema: dict[str, Any]) -> str:
    from sdl.config import GROUPS, KEYS
    from sdl.registry import OURS

    definitions = schema["$defs"]
    top = [(key, schema["properties"][key], key in schema["required"]) for key in KEYS]
    parts = ["### Top level", "", _table(top)]
    tables = {
        "prefer": "Prefer",
        "stop": "StopOptions",
        "stop.stagnation": "Stagnation",
        "retry": "Retry",
        "expect": "Expect",
    }
    for title, name in tables.items():
        parts += ["", f"### `{title}`", "", _table(_rows(definitions[name]))]
    for title, name in {"expect.trials": "TrialLimits", "expect.error": "ErrorLimits"}.items():
        limits = next(option for option in definitions[name]["anyOf"] if "properties" in option)
        parts += ["", f"### `{title}`", "", limits["description"], "", _table(_rows(limits))]
    target = next(option for option in definitions["Target"]["anyOf"] if "properties" in option)
    parts += [
        "",
        "### `goal.<channel>`",
        "",
        "A number in the unit of the channel, or one of these ([goals.md](../explanation/goals.md)):",
        "",
    ]
    parts.append(_table(_rows(target)))
    for key, (group, _) in GROUPS.items():
        for kind in OURS[group]:
            model = next(d for d in definitions.values() if d.get("properties", {}).get("kind") == {"const": kind})
            text = model.get("description", "").split("\n\n")[0].replace("\n", " ")
            rows = [row for row in _rows(model) if row[0] != "kind"]
            parts += ["", f"### `{key}: {{kind: {kind}}}`", "", text]
            parts += ["", _table(rows)] if rows else []
    return "\n".join(parts)


def _lab_keys() -> str:
    from sdl.lab.config.model import LabFile

    schema = LabFile.model_json_schema(by_alias=True)
    titles = {
        "LabInstrument": "instruments.<name>", "Job": "jobs.<name>", "When": "jobs.<name>.when",
        "Blackout": "blackouts[]", "Suspend": "suspend", "Ambient": "suspend.ambient",
        "Supervise": "supervise", "AgentLimits": "agents.<name>", "Notify": "notify",
        "Recipient": "notify.to.<name>", "Secret": "notify.to.<name>.url",
    }  # fmt: skip
    schema["$defs"]["Job"]["properties"]["missed"]["default"] = "late"
    for model in (schema, *schema["$defs"].values()):
        for value in model.get("properties", {}).values():
            value.setdefault("default", {})  # made anew each time; every part of it has defaults of its own
    parts = ["### Top level", "", _table(_rows(schema))]
    for name, title in titles.items():
        parts += ["", f"### `{title}`", "", _table(_rows(schema["$defs"][name]))]
    return "\n".join(parts)


def _rows(model: dict[str, Any]) -> list[tuple[str, dict[str, Any], bool]]:
    required = model.get("required", [])
    return [(key, value, key in required) for key, value in model["properties"].items()]


def _table(rows: list[tuple[str, dict[str, Any], bool]]) -> str:
    lines = ["| key | default | allowed | what it is |", "|---|---|---|---|"]
    for key, value, required in rows:
        default = "**required**" if required else f"`{_default(key, value)}`"
        text = value.get("description", "").replace("|", "\\|").replace("\n", " ")
        lines.append(f"| `{key}` | {default} | {_allowed(value)} | {text} |")
    return "\n".join(lines)


def _default(key: str, value: dict[str, Any]) -> str:
    from sdl.config import CampaignFile

    if "default" in value:
        return json.dumps(value["default"], ensure_ascii=False)
    field = CampaignFile.model_fields.get(key)
    made = field.get_default(call_default_factory=True) if field else None
    if hasattr(made, "model_dump"):
        return "{}"
    return json.dumps(made) if isinstance(made, dict) else str(made)


def _allowed(value: dict[str, Any]) -> str:
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{item}`" for item in value["enum"])
    options = value.get("anyOf") or value.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(_allowed(option) for option in options))
    if "$ref" in value:
        return "see below"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}
    words |= {"array": "list", "object": "mapping", "null": "null"}
    text = words.get(value.get("type", ""), "")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {value[name]:g}" for name, sign in signs.items() if name in value and value[name] < 2**62]
    return " ".join([text, ", ".join(limits)]).strip()


def _commands() -> str:
    import click
    import typer

    from sdl.cli.commands import make_app

    group = typer.main.get_command(make_app())
    with click.Context(group, info_name="sdl", max_content_width=100, terminal_width=100) as top:
        return "\n".join(_help(group, top)).rstrip()


def _help(group: Any, above: Any) -> list[str]:
    """The help text of every command below `group`, those of its groups included; old names are hidden."""
    import click

    parts: list[str] = []
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command.hidden:
            continue
        with click.Context(command, info_name=name, parent=above, terminal_width=100) as context:
            if hasattr(command, "list_commands"):
                parts += _help(command, context)
            else:
                text = command.get_help(context).strip()
                parts += [f"## {context.command_path}", "", "```text", text, "```", ""]
    return parts


def main() -> None:
    """Writes the pages, and on request the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", action="store_true", help="also draw docs/img")
    options = parser.parse_args()
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
        print(page.name)
    if options.pictures:
        from pictures import draw_all

        draw_all(DOCS / "img")


if __name__ == "__main__":
    main()
