"""The commands `sdl lab token new`, `list` and `revoke`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sdl.cli.options import Json, LabPath, argument, emit, option
from sdl.cli.terminal import print_table, say
from sdl.errors import ConfigError
from sdl.formatting import local
from sdl.lab.config.file import ResolvedLab, load

token = typer.Typer(
    no_args_is_help=True, help="Make and revoke access tokens, one for each person or agent.", rich_markup_mode=None
)

TokenName = Annotated[str, argument("NAME", "Who acts with it; kept in journal and notes.")]


@token.command()
def new(
    file: LabPath,
    name: TokenName,
    scope: Annotated[
        list[str] | None, option("--scope SCOPE", "read, submit, operate or approve; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, option("--output -o FILE", "A new file for the token, readable by its owner, instead of stdout.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token and print it once; only its hash is kept.

    \b
    sdl lab token new lab.yaml ada --scope operate --scope approve
    sdl lab token new lab.yaml assistant --scope read --scope submit -o assistant.token

    \b
    read     validate campaigns
    submit   rehearse campaigns and submit them
    operate  pause, resume, abort, skip, run jobs; answer asked trials; edit notes
    approve  approve or refuse what agents submit

    Any token may stop a run. A name listed under `agents` in the lab file is an agent's: its token never has the scopes
    operate and approve. It is valid at once, also while the lab runs.
    """
    from sdl.runner import user

    if output is not None and output.exists():
        raise ConfigError(f"{output}: exists; name a new file")
    made = _tokens(load(file)).new(name, scope or (), time.time(), taken=(user(),))
    if output is not None:
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as stream:
            stream.write(made + "\n")
    if json:
        emit({"name": name, "scopes": scope, "token": None if output else made, "output": str(output or "")})
    elif output is None:
        print(made)
    else:
        say(f"token of {name}: {output}")


@token.command("list")
def list_tokens(file: LabPath, json: Json = False) -> None:
    """List the named tokens: name, scopes, when it was made.

    \b
    sdl lab token list lab.yaml
    """
    loaded = load(file)
    found = _tokens(loaded).all()
    if json:
        rows = [{"name": t.name, "scopes": list(t.scopes), "agent": t.agent, "at": t.at} for t in found]
        emit({"lab": loaded.lab.name, "tokens": rows})
    elif not found:
        say(f"lab {loaded.lab.name} has no named tokens")
    else:
        rows_of = [
            (t.name, "agent" if t.agent else "person", ", ".join(t.scopes), local(t.at, loaded.lab.zone)) for t in found
        ]
        print_table([("name", "", "scopes", "made"), *rows_of], range(4))


@token.command()
def revoke(file: LabPath, name: TokenName, json: Json = False) -> None:
    """Revoke a token at once, also while the lab runs.

    \b
    sdl lab token revoke lab.yaml assistant
    """
    _tokens(load(file)).revoke(name)
    if json:
        emit({"revoked": name})
    else:
        say(f"token {name} is revoked")


def _tokens(loaded: ResolvedLab) -> Any:
    from sdl.lab.http.named_tokens import NamedTokens
    from sdl.lab.journal import folder

    return NamedTokens(folder(loaded.runs, loaded.lab.name), loaded.lab.tiers)
