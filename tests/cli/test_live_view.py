"""What a campaign looks like while it runs."""

from __future__ import annotations

import io
import os
import re
import select
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from waiting import PATIENCE
from warm_command import Warm

from sdl import runner
from sdl.cli.display import live_view, table
from sdl.core.events import Opened

from .conftest import CAMPAIGN

pty = pytest.importorskip("pty", reason="terminals of another system")
Terminal = Callable[..., tuple[int, str]]


@pytest.fixture
def on_a_terminal(warm: Warm, tmp_path: Path) -> Terminal:
    """Runs a command on a terminal of its own; gives its exit code and everything that it wrote there."""
    import fcntl
    import termios

    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")

    def run(*args: str, rows: int = 40, columns: int = 160, **changes: str) -> tuple[int, str]:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        terminal = os.ttyname(slave)
        environment = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **changes}
        process = warm.start(*args, cwd=tmp_path, out=terminal, err=terminal, **environment)
        written, deadline = b"", time.monotonic() + PATIENCE
        while (ended := process.poll()) is None or select.select([master], [], [], 0)[0]:
            assert time.monotonic() < deadline, "no end in time"
            if select.select([master], [], [], 0.02)[0]:
                written += os.read(master, 65536)
        os.close(slave)
        os.close(master)
        return ended, written.decode()

    return run


def test_on_a_terminal_there_is_a_table_with_swatches_and_a_bar(on_a_terminal: Terminal) -> None:
    code, screen = on_a_terminal("run", "led.yaml")
    assert code == 0, screen
    assert "Traceback" not in screen
    assert "led on twin:night-2025-10:0 (simulated)" in screen
    assert "goal: 445nm 16384 ± 327.68, 515nm" in screen
    for word in ("trial", "by", "error", "R", "515nm", "linear", "of at most 40 trials", "best: trial 4", "reached"):
        assert word in screen, word
    assert "██" in screen
    assert "\x1b[38;2;" in screen  # in the colour of the setting
    code, screen = on_a_terminal("show", "latest")
    assert (code, "██" in screen, "Traceback" in screen) == (0, True, False)


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_nothing_is_broken_at_the_edge_of_the_terminal(columns: int, on_a_terminal: Terminal) -> None:
    """Cursor moves are taken out; what is left is printed line by line, and no line may be wider than the terminal."""
    for args in (["run", "led.yaml"], ["run", "led.yaml", "--set", "stop.trials=2"], ["show", "latest"], ["list"]):
        code, screen = on_a_terminal(*args, rows=24, columns=columns)
        lines = re.sub(r"\x1b\[[0-9;?]*m|\r", "", re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "\n", screen)).split("\n")
        assert code in (0, 1)
        assert max(map(len, lines)) <= columns, max(lines, key=len)
        assert any("0.1000 0.1000 0.1000" in text for text in lines) or args == ["list"]


def test_the_table_that_stays_is_whole_where_the_screen_was_too_low_for_it(on_a_terminal: Terminal) -> None:
    sets = [part for key in ("stop.trials=24", "tolerance=1", "solver=random") for part in ("--set", key)]
    code, screen = on_a_terminal("run", "led.yaml", *sets, rows=14, columns=80)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", screen)
    last = plain[plain.rindex("trial by") :]
    assert (code, re.findall(r"(?m)^ +(\d+) (?:axis|random)", last)) == (1, [str(n) for n in range(24)])
    assert "worst" in last.splitlines()[0]


def test_a_long_table_says_where_the_earlier_trials_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "MOST_ROWS", 4)
    (tmp_path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=40)
    with live_view.LiveTable(console) as table_of:
        done = runner.run(tmp_path / "led.yaml", runs=tmp_path, changes=["stop.trials=9"], watch=table_of)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", out.getvalue())
    assert f"{done.trials - 3} earlier: sdl show {done.run[-6:]}" in plain


def test_without_colour_or_a_moving_cursor_there_are_plain_lines(on_a_terminal: Terminal) -> None:
    code, screen = on_a_terminal("run", "led.yaml", columns=80, TERM="dumb")
    assert (code, "\x1b" in screen, "   4 linear " in screen) == (0, False, True)
    code, screen = on_a_terminal("show", "latest", columns=80, NO_COLOR="1")
    assert (code, "██" in screen, "\x1b[3" in screen) == (0, False, False)


def test_a_terminal_of_no_size_is_no_reason_to_fail(on_a_terminal: Terminal) -> None:
    code, screen = on_a_terminal("run", "led.yaml", "--set", "stop.trials=12", rows=3, columns=20)
    assert (code, "Traceback" in screen) == (0, False)


def test_the_bar_counts_to_what_a_resume_allows(on_a_terminal: Terminal) -> None:
    assert on_a_terminal("run", "led.yaml", "--set", "stop.trials=2")[0] == 1
    code, screen = on_a_terminal("resume", "latest", "--set", "stop.trials=17")
    assert (code, "5 of at most 17 trials" in screen) == (0, True)


def opened(**inputs: tuple[float, float]) -> Opened:
    description = {
        "inputs": [{"name": n, "low": low, "high": high} for n, (low, high) in inputs.items()],
        "channels": [],
    }
    return Opened(1, "r", "c", {}, (), description, "virtual", {}, True, "me", 0.0)


def test_the_swatch_has_the_colour_of_the_setting_within_its_bounds() -> None:
    rgb = opened(R=(0, 1), G=(0, 255), B=(0, 1))
    assert table.swatch({"R": 1.0, "G": 0.0, "B": 0.25}, rgb) == "rgb(255,0,128)"
    assert table.swatch({"R": 7.0, "G": 255.0, "B": -3.0}, rgb) == "rgb(255,255,0)"
    assert table.swatch({"flow": 1.0}, opened(flow=(0, 1))) == ""
