"""`sdl bench` on a twin and on a log."""

from __future__ import annotations

from pathlib import Path

import pytest

QUICK = ("--goals", "2", "--seeds", "1", "--jobs", "1")


def test_it_ends_in_a_table_and_a_sentence(sdl):
    done = sdl("bench", "--solvers", "linear random", "--trials", "8", *QUICK)
    assert done.code == 0
    assert "on the twin: 2 goals of 445nm, 515nm, 630nm within 2%, 1 noise seed each" in done.out
    assert done.out.splitlines()[-1].startswith("Take `linear`: it reached 2 of 2 goals")


def test_the_sentence_is_there_for_machines_too(sdl):
    printed = sdl("bench", "--solvers", "linear", "--channels", "515nm", *QUICK, "--json").json
    assert printed["solver"] == "linear"
    assert printed["sentence"].startswith("Take `linear`")
    assert [line["solver"] for line in printed["solvers"]] == ["linear"]


def test_with_a_log_a_twin_is_fitted_to_it_first(sdl, tmp_path):
    collect = "name: c\ninstrument: {kind: twin}\ndesign: {kind: latin-hypercube, trials: 25}\n"
    (tmp_path / "c.yaml").write_text(collect)
    assert sdl("collect", "c.yaml", "-o", "night.jsonl", "-q").code == 0
    done = sdl("bench", "--data", "night.jsonl", "--solvers", "linear", *QUICK, "--report", "b.html")
    assert done.code == 0
    assert "night.jsonl: 25 readings" in done.out
    assert "a twin was fitted to these readings, starting from night-2025-10" in done.out
    page = Path("b.html").read_text()
    assert "Take <code>linear</code>" in page
    assert "data:image/svg+xml;base64," in page
    assert "http:" not in page
    assert "https:" not in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--solvers", "lin"], "--solvers lin: kind: unknown kind 'lin'"),
        (["--solvers", " "], "--solvers: name some of auto"),
        (["--twin", "gone.toml"], "gone.toml"),
        (["--channels", "1nm"], "unknown channel 1nm"),
        (["--tolerance", "-2%", "--solvers", "linear"], "tolerance"),
        (["--report", "b.pdf"], "must end in .png or .html"),
        (["--data", "gone.jsonl"], "gone.jsonl"),
    ],
)
def test_a_mistake_ends_with_2(sdl, options, message):
    done = sdl("bench", *options, *QUICK)
    assert done.code == 2
    assert message in done.err
