"""The command that reproduces the paper."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.display.progress import is_visible
from sdl.cli.options import RUNS, Json, Quiet, Runs, emit
from sdl.cli.terminal import say
from sdl.errors import ConfigError

if TYPE_CHECKING:
    from sdl.paper.pairs import Pairs
    from sdl.paper.work import Findings


def paper(
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="LOG", help="A run, a record or a Claude-Light log; without it the twin."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = Path(
        "paper.html"
    ),
    png: Annotated[
        Path | None, typer.Option("--png", metavar="DIR", help="Also write every figure as a PNG into this folder.")
    ] = None,
    state: Annotated[
        str, typer.Option("--state", metavar="STATE", help="Which twin: a state, or the path of a .toml file.")
    ] = "paper-2025-03",
    rows: Annotated[
        int, typer.Option("--rows", min=20, max=1000, help="Of a longer log the last so many rows are taken.")
    ] = 100,
    small: Annotated[
        bool, typer.Option("--quick", help="A forest far smaller than the paper's: half a minute instead of two.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Reproduce the paper that the solvers are from.

    \b
    sdl paper                              on the twin of the paper's day: paper.html
    sdl paper --data rgb.jsonl -o mine.html --png figures

    Figures 2 to 11, Table 1 and the goals out of reach (10.1039/D5DD00137D), our numbers beside the paper's, and what
    our own solvers make of the same rows. Needs the extra `report`.
    """
    from sdl.paper import pairs
    from sdl.paper.page import plain, reproduce, save_figures
    from sdl.paper.work import steps
    from sdl.report.page import write

    if data is not None and state != "paper-2025-03":
        raise ConfigError("--state is which twin; with --data there is none")
    _writable(output)

    def take() -> Pairs:
        from sdl.store.resolve import source

        return pairs.from_twin(state, seed) if data is None else pairs.from_log(source(data, Path(), runs), rows)

    with _progress(steps(small), quiet=quiet or json) as tell:
        tell("the readings")
        told = reproduce(take(), seed=seed, quick=small, tell=tell, command=_command(data, state, rows, small, seed))
    write(output, told.html)
    written = save_figures(told.drawn, png) if png is not None else []
    if json:
        emit(plain(told.found) | {"output": str(output), "figures": [str(path) for path in written]})
        return
    if not quiet:
        _print(told.found)
        print()
    print(f"written: {output}" + (f" and {len(written)} figures in {png}" if written else ""))


def _writable(output: Path) -> None:
    """A place that cannot be written to, or has something else in it, is told before the work."""
    from sdl.report.page import check

    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")
    if output.is_dir():
        raise ConfigError(f"--output {output}: is a folder")
    check(output)


def _command(data: str | None, state: str, rows: int, small: bool, seed: int) -> str:
    """What the page was made with, so that it can be made again; without folders, which are nobody's business."""
    parts = ["sdl paper"]
    if data is not None:
        parts += [f"--data {shlex.quote(Path(data).name)}", f"--rows {rows}"]
    elif state != "paper-2025-03":
        parts.append(f"--state {shlex.quote(Path(state).name)}")
    return " ".join([*parts, *(["--quick"] if small else []), f"--seed {seed}"])


def _print(found: Findings) -> None:
    from sdl.paper.published import METHODS
    from sdl.paper.tables import three

    say(found.pairs.source)
    print()
    told: list[tuple[str, ...]] = [("", "paper: R, G, B", "here: R, G, B", "miss")]
    for one, method in zip(found.paper, METHODS, strict=True):
        told.append((method.name, three(method.answer, 2), *_answer(one)))
    told += [(f"our {one.name}", "", *_answer(one)) for one in found.ours]
    widths = [max(map(len, column)) for column in zip(*told, strict=True)]
    for row in told:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if found.pairs.plant:
        print()
        say("miss: of the worst channel, without noise, in per cent of 16384 counts")


def _answer(one: Any) -> tuple[str, str]:
    from sdl.paper.tables import three

    if one.goal is None:
        return (one.error, "")
    miss = one.goal.miss
    return (three(one.goal.answer.raw.values()), "" if miss is None else f"{miss:.2f} %")


@contextlib.contextmanager
def _progress(plan: Mapping[str, float], *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Tells what is under way and about how long the rest takes, on a terminal; silent elsewhere."""
    if not is_visible(quiet=quiet):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
    from rich.text import Text

    left = _Left(plan)

    class Remaining(ProgressColumn):
        """Asked again and again while a long step runs."""

        max_refresh = None

        def render(self, _: object) -> Text:
            return Text(left.said(time.monotonic()))

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), Remaining())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=sum(plan.values()))

        def tell(name: str) -> None:
            left.begin(name, time.monotonic())
            bar.update(task, description=name, completed=left.done)

        yield tell


class _Left:
    """How long the rest takes: the plan, stretched by how much slower or faster than planned it went so far."""

    def __init__(self, plan: Mapping[str, float]) -> None:
        self._plan, self._order = plan, list(plan)
        self._began = self._step = 0.0
        self._now = 0
        self.done = 0.0

    def begin(self, name: str, at: float) -> None:
        self._now = self._order.index(name)
        self.done = sum(self._plan[step] for step in self._order[: self._now])
        self._step = at
        if not self._began:
            self._began = at

    def seconds(self, at: float) -> float:
        """Left at a time. Ten seconds of plan are taken as kept, so that the first step does not decide alone."""
        stretch = (self._step - self._began + 10.0) / (self.done + 10.0)
        rest = sum(self._plan[step] for step in self._order[self._now + 1 :])
        this = self._plan[self._order[self._now]] * stretch - (at - self._step)
        return max(this, 0.0) + rest * stretch

    def said(self, at: float) -> str:
        minutes, seconds = divmod(round(self.seconds(at)), 60)
        return f"about {minutes} min {seconds:02d} s left" if minutes else f"about {seconds} s left"
