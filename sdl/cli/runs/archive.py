"""The command `sdl archive`: old runs packed, and restored."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from sdl.cli.display.progress import tracked
from sdl.cli.options import RUN_HELP, RUNS, Json, Quiet, Runs, argument, emit, option
from sdl.cli.runs.show import age_in_seconds
from sdl.errors import ConfigError, SdlError
from sdl.formatting import count
from sdl.runs.index import began_before
from sdl.store import archive
from sdl.store.archived import is_archived
from sdl.store.resolve import folders, locate


def archive_runs(
    names: Annotated[list[str] | None, argument("RUN…", RUN_HELP)] = None,
    older_than: Annotated[
        str | None, option("--older-than AGE", "All finished runs that began longer ago: 90d, 12h.")
    ] = None,
    restore: Annotated[bool, option("--restore", "Unpack archived runs in their old places.")] = False,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pack finished runs: RUN.zip in the place of its directory.

    \b
    sdl archive --older-than 90d
    sdl archive night/20260101T000000.000000Z-2d2bf8
    sdl archive --restore 2d2bf8

    Archived runs are listed, shown, compared and exported as before; to change one, restore it. A run that is in
    progress, or not finished and sealed, is left as it is, with a message. An archive is compared with the files before
    they are removed.
    """
    if bool(names) == bool(older_than):
        raise ConfigError("name runs, or give --older-than AGE")
    if restore and older_than:
        raise ConfigError("--restore: name the runs to restore")
    if older_than:
        before = began_before(age_in_seconds(older_than))
        chosen = [folder for folder in folders(runs) if folder.name < before]
    else:
        chosen = list(dict.fromkeys(locate(name, runs) for name in names or ()))
    done, left = [], []
    for folder in tracked(chosen, "runs", quiet=quiet or json):
        name = f"{folder.parent.name}/{folder.name}"
        try:
            done.append({"run": str(archive.restore(folder))} if restore else _packed(folder))
        except SdlError as error:
            if len(chosen) == 1 and not older_than:
                raise
            left.append({"run": name, "reason": str(error)})
            if not json:
                print(f"left as it is: {error}", file=sys.stderr)
    if json:
        emit({"restored" if restore else "archived": done, "left": left})
    else:
        _print(done, restore)
    if left and not older_than:
        raise ConfigError(f"{count(len(left), 'run')} left as before")


def _packed(folder: Path) -> dict[str, Any]:
    if is_archived(folder):
        raise ConfigError(f"{folder}: is archived already")
    packed = archive.pack(folder)
    return {"run": str(folder), "archive": str(packed.archive), "before": packed.before, "after": packed.after}


def _print(done: Sequence[dict[str, Any]], restore: bool) -> None:
    if restore:
        print("\n".join(f"{row['run']}: restored" for row in done) or "nothing was restored")
        return
    before, after = (sum(row[key] for row in done) for key in ("before", "after"))
    sizes = f": {before / 1e3:.0f} kB before, {after / 1e3:.0f} kB now" if done else ""
    print(f"{count(len(done), 'run')} archived{sizes}")
