"""The command `sdl mcp`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sdl.cli.options import option
from sdl.cli.terminal import say
from sdl.errors import ConfigError


def mcp(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A lab file (YAML).")] = None,
    url: Annotated[str, option("--url URL", "Address of a running lab, http://127.0.0.1:PORT.")] = "",
    token: Annotated[
        Path | None, option("--token FILE", "File with a named token for that lab, readable by its owner only.")
    ] = None,
    runs: Annotated[
        Path | None, option("--runs DIR", "Directory of the runs; by default that of the lab file, or runs.")
    ] = None,
    http: Annotated[
        int | None,
        option("--http PORT", "Serve HTTP on 127.0.0.1, to clients with tokens, not stdio.", min=1, max=65535),
    ] = None,
) -> None:
    """Serve a language model by the Model Context Protocol.

    \b
    sdl mcp lab.yaml                                           read and rehearse; started by the client, over stdio
    sdl mcp --url http://127.0.0.1:8321 --token agent.token    also submit: under an account other than the lab's
    sdl mcp lab.yaml --http 8400                               the same for clients with tokens, beside a running lab

    The limits of each agent are in the lab file (`agents`), its token is made by `sdl lab token new`.
    docs/how-to/language-models.md describes the set-up.
    """
    from sdl.extras import require

    require("the server for language models", "mcp", "mcp")
    from sdl.lab.config.file import load
    from sdl.lab.http.app import listen
    from sdl.lab.http.client import Client
    from sdl.lab.http.token import read
    from sdl.mcp.access import LabFileAccess, TokenAccess, can_read_token
    from sdl.mcp.server import run_http, run_stdio, token_verifier

    loaded = load(file) if file is not None else None
    place = runs or (loaded.runs if loaded is not None else Path("runs"))
    lab = str(file or "")
    if http is not None:
        if token is not None:
            raise ConfigError("--token: leave it out with --http, where every client sends its own")
        running = Client(lab, url)  # or no lab runs
        listen(http).close()  # or the port is taken

        def access(secret: str) -> TokenAccess:
            return TokenAccess(Client(lab, url, secret), place)

        say(f"http://127.0.0.1:{http}/mcp serves {running.home} until Ctrl-C")
        sys.stdout.flush()
        run_http(access, token_verifier(access), http)
    elif token is not None:
        private = TokenAccess(Client(lab, url, read(token, folder=False)), place)
        run_stdio(private, submits=not can_read_token(private.who()))
    elif loaded is not None:
        run_stdio(LabFileAccess(loaded, place), submits=False)
    else:
        raise ConfigError("name a lab file, or --url and --token of a running lab")
