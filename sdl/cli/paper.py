"""The command `sdl paper`: the paper's results beside ours."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sdl.cli.display.progress import working
from sdl.cli.options import RUNS, Json, Quiet, Runs, emit, option
from sdl.cli.terminal import say
from sdl.errors import ConfigError
from sdl.formatting import aligned
from sdl.paper.published import METHODS, STATE
from sdl.store.resolve import source

if TYPE_CHECKING:
    from sdl.paper.answers import Findings, SolverAnswers


def paper(
    data: Annotated[
        str | None, option("--data LOG", "A run, a record or a Claude-Light log; default: the twin.")
    ] = None,
    output: Annotated[Path, option("--output -o FILE", "The page to write.")] = Path("paper.html"),
    png: Annotated[Path | None, option("--png DIR", "Also write every figure as a PNG into this folder.")] = None,
    state: Annotated[str, option("--state STATE", "State of the twin: a name, or a .toml file.")] = STATE,
    rows: Annotated[
        int, option("--rows", "Maximum number of rows: the last ones of a longer log.", min=20, max=1000)
    ] = 100,
    small: Annotated[
        bool, option("--quick", "Use a far smaller forest than the paper's: half a minute instead of two.")
    ] = False,
    seed: Annotated[int, option("--seed", "Seed of all random numbers.", min=0)] = 0,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Reproduce the paper that the solvers are from.

    \b
    sdl paper                              on the twin, in its state on the paper's day
    sdl paper --data rgb.jsonl -o mine.html --png figures

    The page has figures 2 to 11, Table 1 and the goals out of reach (10.1039/D5DD00137D), our numbers beside the
    paper's, and the answers of our own solvers. Needs the extra `report`.
    """
    from sdl.paper import pairs
    from sdl.paper.answers import steps
    from sdl.paper.page import plain, reproduce, save_figures
    from sdl.report.page import check, write

    if data is not None and state != STATE:
        raise ConfigError("--state selects a state of the twin, which --data replaces; leave one of them out")
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")
    if output.is_dir():
        raise ConfigError(f"--output {output}: is a folder")
    check(output)  # before the work
    durations = steps(small)
    with working("", quiet=quiet or json) as show:

        def begin(step: str) -> None:
            seconds = list(durations.values())[: list(durations).index(step)]
            show(sum(seconds), sum(durations.values()), step)

        begin("the readings")
        rows_of = pairs.from_twin(state, seed) if data is None else pairs.from_log(source(data, Path(), runs), rows)
        command = _command(data, state, rows, small, seed)
        made = reproduce(rows_of, seed=seed, quick=small, tell=begin, command=command)
    write(output, made.html)
    written = save_figures(made.drawn, png) if png is not None else []
    if json:
        emit(plain(made.findings) | {"output": str(output), "figures": [str(path) for path in written]})
        return
    if not quiet:
        _print(made.findings)
    print(f"written: {output}" + (f" and {len(written)} figures in {png}" if written else ""))


def _command(data: str | None, state: str, rows: int, small: bool, seed: int) -> str:
    """The command that makes the page, without folders, since the page may be passed on."""
    parts = ["sdl paper"]
    if data is not None:
        parts += [f"--data {shlex.quote(Path(data).name)}", f"--rows {rows}"]
    elif state != STATE:
        parts.append(f"--state {shlex.quote(Path(state).name)}")
    return " ".join([*parts, *(["--quick"] if small else []), f"--seed {seed}"])


def _print(findings: Findings) -> None:
    from sdl.paper.facts import three

    def answer(one: SolverAnswers) -> tuple[str, str]:
        if not one.answers:
            return (one.error, "")
        return (three(one.goal.raw), "" if one.goal.miss is None else f"{one.goal.miss:.2f} %")

    say(findings.pairs.source)
    rows: list[tuple[str, ...]] = [("", "paper: R, G, B", "here: R, G, B", "error")]
    rows += [(m.name, three(m.answer, 2), *answer(one)) for one, m in zip(findings.paper, METHODS, strict=True)]
    rows += [(f"our {one.name}", "", *answer(one)) for one in findings.ours]
    print("\n".join(["", *aligned(rows, range(4)), ""]))
    if findings.pairs.plant:
        say("error: noise-free error of the worst channel, in % of 16384 counts")
        print()
