"""What all commands share: help, exit codes, and output that nobody reads or that cannot be escaped."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import processes
import pytest
import stuck
from waiting import PATIENCE
from warm_command import Warm

from sdl.cli.commands import make_app
from sdl.cli.terminal import escaped
from sdl.errors import OutOfTurn
from sdl.store import record

from .conftest import CAMPAIGN, Sdl

COMMANDS = [
    "run",
    "resume",
    "collect",
    "measure",
    "archive",
    "validate",
    "forecast",
    "schema",
    "init",
    "list",
    "show",
    "explain",
    "check",
    "export",
    "import",
    "replay",
    "verify",
    "solve",
    "watch",
    "report",
    "compare",
    "paper",
    "sweep",
    "bench",
    "web",
    "mcp",
    "ask",
    "tell",
    "attach",
    "skip",
    "correct",
]


def test_these_are_the_commands() -> None:
    names = [c.name or c.callback.__name__ for c in make_app().registered_commands if c.callback]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("group", [[], *([group.name] for group in make_app().registered_groups)], ids=" ".join)
def test_the_list_of_commands_cuts_no_summary_short(group: list[str], sdl: Sdl) -> None:
    commands = sdl(*group, "--help").out.partition("Commands:")[2]
    assert len(commands.splitlines()) > 1
    assert "..." not in commands


@pytest.mark.parametrize(
    "command",
    [f"{group.name} {result.name or result.callback.__name__.replace('_', '-')}" for group
     in make_app().registered_groups if group.typer_instance for result in group.typer_instance.registered_commands
     if result.callback and not result.hidden],
)  # fmt: skip
def test_every_command_of_a_group_explains_itself_with_an_example(command: str, sdl: Sdl) -> None:
    done = sdl(*command.split(), "--help")
    assert f"sdl {command}" in done.out.partition("Usage:")[2].partition("\n")[2], "no example"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str, sdl: Sdl) -> None:
    done = sdl(command, "--help")
    assert done.code == 0
    assert f"sdl {command}" in done.out.partition("Usage:")[2].partition("\n")[2], "no example"


def test_help_tells_the_exit_codes(sdl: Sdl) -> None:
    done = sdl("--help")
    assert done.code == 0
    assert "130, 143 interrupted" in done.out
    assert sdl("-h").out == done.out


def test_the_version_is_told(sdl: Sdl) -> None:
    done = sdl("--version")
    assert (done.code, done.out.split()[0].rstrip(",")) == (0, "sdl")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "a", "b"],
        ["run", "a.yaml", "--sped"],
        ["measure", "led.yaml", "R=.1", "-n", "0"],
        ["measure", "led.yaml", "R=.1", "-n", "many"],
        ["solve", "x.jsonl"],
        ["export", "latest"],
        ["export", "latest", "--to", "xls"],
        ["explain", "latest", "four"],
    ],
    ids=" ".join,
)
def test_a_mistaken_command_line_is_exit_2_and_no_traceback(args: list[str], sdl: Sdl) -> None:
    done = sdl(*args)
    assert done.code == 2
    assert not done.out
    assert "Usage: " in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["fly"], 2),
        (["run"], 2),
        (["run", "nowhere.yaml"], 2),
        (["run", "led.yaml", "--sped"], 2),
        (["show", "nowhere"], 2),
        (["list", "--runs"], 2),
        (["measure", "led.yaml", "Q=1"], 2),
        (["solve", "nowhere", "--goal", "445nm=1"], 2),
        (["validate", "nowhere.yaml"], 2),
        (["explain", "damaged"], 5),
        (["check", "damaged"], 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_with_json_an_error_is_one_object_too(args: list[str], code: int, sdl: Sdl, file: str) -> None:
    damaged = Path("runs/led/20260101T000000Z-damaged")
    damaged.mkdir(parents=True)
    (damaged / "record.jsonl").write_text("broken\n", encoding="utf-8")
    done = sdl(args[0], "--json", *args[1:])
    assert done.code == code
    if args[0] != "validate":
        assert done.json["exit_code"] == code
        assert done.json["reason"]
    assert done.json
    assert done.err


def test_a_bug_is_told_as_one_with_exit_70(sdl: Sdl, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("sdl.config.load", broken)
    done = sdl("validate", file)
    assert done.code == 70
    assert "ZeroDivisionError: ours" in done.err
    assert "bug in sdl" in done.err
    monkeypatch.setattr("sdl.config.load", lambda *_, **__: (_ for _ in ()).throw(OutOfTurn("Measured in state new")))
    done = sdl("validate", file)
    assert (done.code, "report it" in done.err, "Traceback" in done.err) == (70, True, False)


def test_ctrl_c_outside_a_campaign_is_exit_130(sdl: Sdl, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sdl.config.load", pressed)
    done = sdl("validate", file)
    assert done.code == 130
    assert "Traceback" not in done.err


# --- in processes of their own ------------------------------------------------------------------------------------


def piped(tmp_path: Path, *args: str, reader: str) -> tuple[int, str, str]:
    """The exit code of the command, not of the reader of its output; and what was read and what was complained."""
    process = processes.start(*args, cwd=tmp_path)
    read = subprocess.run(reader, stdin=process.stdout, capture_output=True, text=True, shell=True, check=False)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    complaints = process.stderr.read()
    process.stderr.close()
    return process.wait(PATIENCE), read.stdout, complaints


@pytest.mark.parametrize(("stop", "code"), [("40", 0), ("2", 1)])
def test_a_reader_that_leaves_early_harms_neither_the_campaign_nor_its_exit_code(
    stop: str, code: int, tmp_path: Path
) -> None:
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    result, read, complaints = piped(tmp_path, "run", "led.yaml", "--set", f"stop.trials={stop}", reader="head -1")
    assert result == code
    assert read.startswith("led on twin:")
    assert "Traceback" not in complaints
    assert "Exception ignored" not in complaints
    (folder,) = (tmp_path / "runs").glob("*/*")
    checked = record.check(folder)
    assert (checked.finished, checked.sealed) == (True, True)


def test_a_reader_that_never_came_harms_nothing_either(tmp_path: Path) -> None:
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    result, _, complaints = piped(tmp_path, "run", "led.yaml", reader="true")
    assert result == 0
    assert "Traceback" not in complaints
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert record.check(folder).finished


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("args", [["list"], ["list", "--json"], ["show", "latest"], ["run", "led.yaml"]], ids=" ".join)
def test_a_stdout_without_room_is_exit_5_in_one_sentence(args: list[str], with_run: Path, warm: Warm) -> None:
    errors = with_run / "errors.txt"
    errors.touch()
    process = warm.start(*args, cwd=with_run, out="/dev/full", err=str(errors))
    process.communicate(PATIENCE)
    complaints = errors.read_text(encoding="utf-8")
    assert process.returncode == 5
    assert complaints.endswith("error: the output cannot be written: No space left on device\n")
    assert "Traceback" not in complaints
    assert "Exception ignored" not in complaints


@pytest.mark.skipif(os.name != "posix", reason="closing a stream from outside is a thing of POSIX shells")
@pytest.mark.parametrize("args", ["list", "show latest", "run led.yaml --json"])
def test_a_closed_stdout_is_no_reason_to_complain(args: str, with_run: Path) -> None:
    done = subprocess.run(
        f"{' '.join(processes.COMMAND)} {args} >&-", shell=True, cwd=with_run, env=processes.environment(),
        stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", ["run f.yaml", "verify f.yaml"])
def test_with_json_what_a_plug_in_prints_is_kept_apart(
    args: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = stuck.install(tmp_path, monkeypatch, "talk")
    expect = "expect: {outcome: reached}\n"
    (tmp_path / "f.yaml").write_text(CAMPAIGN.replace("kind: linear", solver[1:-1]) + expect, encoding="utf-8")
    done = processes.sdl(*args.split(), "--json", cwd=tmp_path)
    assert "nothing to be had" in str(json.loads(done.stdout))
    assert "a library says hello\n" in done.stderr
    assert "and so does a program\n" in done.stderr


def test_the_package_can_be_run_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sdl", "--version"], cwd=tmp_path, env=processes.environment(),
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()[0].rstrip(",")) == (0, "sdl")


def test_a_stream_that_cannot_spell_everything_is_no_reason_to_end_a_campaign(tmp_path: Path) -> None:
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    done = processes.sdl("run", "led.yaml", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "reached" in done.stdout


def test_the_runs_directory_that_cannot_be_made_is_exit_5(sdl: Sdl, file: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    done = sdl("run", file, "--runs", "taken")
    assert done.code == 5
    assert "cannot be created" in done.err


HOSTILE = "20260101T000000Z-\x1b[31mred\x07\x9b2J\u202eevil\x7f"
STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    "command",
    ["show", "check", "resume", "explain", "list", "export --to jsonl", "compare", "replay", "report -o r.html"],
)
def test_no_name_of_a_directory_steers_the_terminal(command: str, tmp_path: Path, file: str, sdl: Sdl) -> None:
    assert sdl("run", file, "--quiet").code == 0
    (run,) = (tmp_path / "runs" / "led").iterdir()
    try:
        run.rename(run.with_name(HOSTILE))
    except OSError:
        pytest.skip("this file system does not take such names")
    name, *rest = command.split()
    done = sdl(name, *([f"runs/led/{HOSTILE}"] if name != "list" else []), *rest)
    assert not STEERS.search(done.out + done.err), repr(done)
    assert done.code == 0, done
    if name in ("show", "check", "resume"):
        assert "\\x1b[31mred\\x07\\x9b2J\\u202eevil\\x7f" in done.out, "and it is still told from others"


def test_no_log_and_no_error_steers_the_terminal(tmp_path: Path, file: str, sdl: Sdl) -> None:
    sdl("run", file, "--quiet", "--set", "stop.trials=2")
    (run,) = (tmp_path / "runs" / "led").iterdir()
    (run / record.SEAL).unlink()
    with (run / record.FILE).open("ab") as stream:
        stream.write(b"torn")
    run = run.rename(run.with_name("run-\x1b[31m"))
    logged = processes.sdl("resume", run, "--quiet", cwd=tmp_path)
    assert "WARNING: " in logged.stderr
    (run / record.SEAL).write_text("{}")
    refused = processes.sdl("check", run, cwd=tmp_path)
    assert "damaged" in refused.stderr
    for done in (logged, refused):
        assert "\\x1b[31m" in done.stderr
        assert not STEERS.search(done.stdout + done.stderr)


def test_what_draws_on_a_terminal_still_steers_it_and_what_is_printed_beside_it_does_not() -> None:
    from rich.console import Console
    from rich.text import Text

    behind = io.StringIO()
    stream = escaped(behind)
    Console(file=stream, force_terminal=True, color_system="standard").print(Text("drawn", style="red"))
    print("printed \x1b[31m", file=stream)
    assert escaped(stream) is stream
    assert behind.getvalue() == "\x1b[31mdrawn\x1b[0m\nprinted \\x1b[31m\n"
