"""`sdl twin fit` and `sdl twin check` for the twin of any instrument."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl import config, yamlfile
from sdl.cli.options import emit
from sdl.drivers.trust import USE
from sdl.drivers.twin.fitted import declaration
from sdl.errors import translated_os_errors, translated_value_errors
from sdl.formatting import aligned, count
from sdl.store import resolve
from sdl.store.datasets import ColumnNames
from sdl.twin.fitted.state import load

if TYPE_CHECKING:
    from sdl.twin.comparison import Check
    from sdl.twin.fitted.fit import Declaration, SurrogateFit
    from sdl.twin.fitted.rows import InstrumentRows


def fit(
    sources: Sequence[str],
    out: Path,
    file: Path,
    days: Sequence[str],
    columns: ColumnNames,
    runs: Path,
    *,
    json: bool,
) -> None:
    """Fit a twin of the instrument of a file and write it."""
    from sdl.twin.fitted.fit import fit as fitted
    from sdl.twin.fitted.write import toml

    declared = declared_in(file)
    instrument = declaration(declared)
    rows = _rows(sources, instrument, days, columns, runs)
    with translated_value_errors():
        result = fitted(rows.rows, instrument)
    lines = _table(result)
    comments = [f"A twin of {declared.identity}, fitted by `sdl twin fit` to", *rows.sources, "", *lines]
    with translated_os_errors(out):
        out.write_text(toml(result.state, comments), encoding="utf-8")
    if json:
        channels = [asdict(channel) for channel in result.channels]
        emit({"output": str(out), "readings": result.rows, "sessions": result.sessions, "channels": channels})
        return
    print("\n".join([*rows.sources, "", *lines]))
    name = Path(os.path.relpath(out, file.parent)).as_posix()
    print(f"\nwritten: {out}   in {file.name}: twin: {name}   or: instrument: {{kind: twin, state: {out}}}")


def check(sources: Sequence[str], state: str, days: Sequence[str], columns: ColumnNames, runs: Path) -> Check:
    """Compare the readings of sources with a twin."""
    from sdl.twin.fitted.check import check as checked
    from sdl.twin.fitted.fit import Declaration

    with translated_value_errors():
        loaded = load(state)
        options = Declaration(loaded.input_list(), loaded.channel_list(), session_gap=loaded.session_gap)
        rows = _rows(sources, options, days, columns, runs)
        return checked(rows.rows, loaded, rows.sources)


def declared_in(file: Path) -> Any:
    """The instrument of an instrument file or of a campaign file.

    Raises:
        ConfigError: a mistake in it.
    """
    tree = yamlfile.read(file).value
    if isinstance(tree, Mapping) and "instrument" in tree and "kind" not in tree:
        return config.parse_kind("instrument", tree["instrument"], file.parent)
    return config.parse_kind("instrument", {USE: file.name}, file.parent)


def _rows(
    sources: Sequence[str], instrument: Declaration, days: Sequence[str], columns: ColumnNames, runs: Path
) -> InstrumentRows:
    from sdl.twin.fitted.rows import collect

    paths = [resolve.source(source, Path(), runs) for source in sources]
    return collect(
        paths,
        instrument.inputs,
        instrument.channels,
        days=days,
        columns=columns,
        session_gap=instrument.session_gap,
    )


POOR = 5.0
"""An error of prediction of this many times the noise is warned of."""


def _table(fitted: SurrogateFit) -> list[str]:
    """The fit of each channel, as the lines of a table."""
    head = ("channel", "rmse", "noise", "ratio", "offset", "gain", "drift per h", "settling", "transform")
    rows = [
        (
            c.channel,
            f"{c.rmse:.4g}",
            f"{c.noise:.4g}",
            f"{c.rmse / c.noise:.2f}" if c.noise > 0 else "",
            f"{c.offset:.3g}" if fitted.sessions > 1 else "",
            f"{100 * c.gain:.2g} %" if fitted.sessions > 1 else "",
            f"{c.drift:+.3g} ± {c.drift_error:.1g}" if c.drift else "none",
            f"{c.settling:.3g} s" if c.settling else "none",
            c.transform,
        )
        for c in fitted.channels
    ]
    sentence = f"{count(fitted.rows, 'reading')} in {count(fitted.sessions, 'session')}; rmse: each from all others"
    poor = [
        f"{c.channel} is predicted to {c.rmse:.3g} only, {c.rmse / c.noise:.0f} times its noise: between "
        "these readings the twin may differ much from the instrument; add some there"
        for c in fitted.channels
        if c.rmse > POOR * c.noise > 0
    ]
    return [sentence, *aligned([head, *rows], range(1, 8)), *poor]
