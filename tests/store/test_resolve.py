"""From what a person types to the directory of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdl.config import parse
from sdl.errors import ConfigError
from sdl.store import resolve

OLD, NEW, DIM = "20260101T000000Z-aaa111", "20260102T000000.5Z-bbb222", "20260103T000000Z-ccc333"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of `led` and one of `dim`, empty."""
    monkeypatch.chdir(tmp_path)
    for name in (f"led/{OLD}", f"led/{NEW}", f"dim/{DIM}"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "record.jsonl").touch()
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("latest", DIM),
        ("led", NEW),
        ("led/latest", NEW),
        ("dim", DIM),
        ("bbb222", NEW),
        ("bbb", NEW),
        ("led/20260101", OLD),
        (OLD, OLD),
        (f"led/{OLD}", OLD),
        (f"runs/led/{OLD}", OLD),
        (f"runs/led/{OLD}/", OLD),
        (f"runs/led/{OLD}/record.jsonl", OLD),
        ("runs/led/20260101", OLD),
        ("runs/led", NEW),
        ("./runs/led/", NEW),
        ("runs", DIM),
    ],
)
def test_a_run_is_found_by(name: str, found: str, runs: Path) -> None:
    assert resolve.find(name, Path("runs")).name == found
    if not name.startswith((".", "runs")):
        assert resolve.find(name, runs).name == found


def test_the_runs_are_told_oldest_first(runs: Path) -> None:
    assert [folder.name for folder in resolve.folders(runs)] == [OLD, NEW, DIM]


def test_the_latest_run_is_that_which_started_last_whatever_its_directory_is_called(runs: Path) -> None:
    renamed, exact = runs / "led" / "the-good-one", runs / "led" / "20260104T000000Z-ddd444"
    for folder in (renamed, exact):
        folder.mkdir()
    (renamed / "record.jsonl").write_text('{"at": 1767312000.0}\n')  # 2026-01-02 00:00:00 UTC
    (exact / "record.jsonl").touch()
    assert [folder.name for folder in resolve.folders(runs)] == [OLD, renamed.name, NEW, DIM, exact.name]
    assert resolve.find("latest", runs) == exact


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("led/20", "fits 2 runs: led/20260102.*led/20260101"),
        ("", "is no run"),
        ("x", "is no run.*campaigns with runs: dim, led"),
        ("lde", "did you mean led"),
        ("lates", "did you mean latest"),
        ("led/20270101T000000Z-aaa111", f"did you mean led/{OLD}"),
        ("a" * 5000, "^…a{300} is no run"),
        ("/" + "a/" * 99 + "log.jsonl", "^/a/a/.*/log.jsonl is no run"),
        ("a\0b", "is no run"),
        ("led.yaml", "is a file, not a run"),
    ],
)
def test_a_name_that_fits_several_or_none_is_told(name: str, words: str, runs: Path) -> None:
    Path("led.yaml").touch()
    with pytest.raises(ConfigError, match=words):
        resolve.find(name, runs)


@pytest.mark.parametrize("name", ["latest", "led"])
def test_without_any_run_that_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run below"):
        resolve.find(name, tmp_path / "nowhere")


# --- data sets ----------------------------------------------------------------------------------------------------


def test_a_data_set_is_a_file_beside_the_campaign_or_else_a_run(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "log.jsonl").touch()
    base = Path("configs")
    assert resolve.source("log.jsonl", base) == base / "log.jsonl"
    assert resolve.source("latest", base).name == DIM
    assert resolve.source("../runs/led", base).name == NEW
    (tmp_path / "configs" / "latest").touch()
    assert resolve.source("latest", base) == base / "latest"
    with pytest.raises(ConfigError, match=r"no such file or directory: lg\.jsonl is no run"):
        resolve.source("lg.jsonl", base)


def test_a_prior_may_be_the_name_of_a_run_and_the_run_that_was_found_is_kept(runs: Path) -> None:
    tree = {"name": "led", "instrument": "twin", "goal": {"445nm": 9000}, "prior": ["led/latest", "dim"]}
    chosen = parse(tree)
    assert [Path(prior.source).name for prior in chosen.prior] == [NEW, DIM]
    assert parse(chosen.plain()) == chosen
    with pytest.raises(ConfigError, match=r"prior\.1: no such file or directory: dmi .*did you mean dim"):
        parse({**tree, "prior": ["latest", "dmi"]})
    assert parse({**tree, "prior": ["latest"]}, runs=runs).prior[0].source == str(runs / "dim" / DIM)
