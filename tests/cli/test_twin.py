"""twin fit, check, faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdl import runner
from sdl.twin.faults import NAMES

from .conftest import Sdl


def collect(folder: Path, **instrument: object) -> Path:
    """A run of 40 random points on a twin."""
    tree = {
        "name": "set",
        "instrument": {"kind": "twin", **instrument},
        "design": {"kind": "latin-hypercube", "trials": 40},
    }
    return Path(runner.run(tree, runs=folder, collect=True).run)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect(tmp_path_factory.mktemp("other"), variant="other-unit", seed=3)


def test_a_twin_that_fits_ends_with_0_and_a_table(night: Path, sdl: Sdl) -> None:
    done = sdl("twin", "check", night)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"{night}: 40 readings"
    assert lines[2] == "40 readings compared, 0 not; ambient: 1 session by a fitted offset"
    assert lines[3].split() == ["channel", "n", "rmse", "noise", "ratio", "mean", "z", "sd", "z", "68", "%", "typical"]
    assert [line.split()[0] for line in lines[4:8]] == ["415nm", "445nm", "480nm", "515nm"]
    assert lines[-1] == "the instrument matches its twin"


def test_a_divergent_instrument_ends_with_1_and_says_how(other: Path, sdl: Sdl) -> None:
    done = sdl("twin", "check", other, "--json")
    assert done.code == 1
    assert done.json["divergent"]
    assert "no longer matches its twin" in done.json["verdict"]
    assert {light["input"] for light in done.json["lights"]} == {"R", "G", "B"}


def test_a_fitted_twin_is_written_told_drawn_and_usable(other: Path, sdl: Sdl, tmp_path: Path) -> None:
    done = sdl("twin", "fit", other, "-o", "twin.toml", "--plot", "fit.png")
    assert done.code == 0
    assert "channels.515nm.gain.G" in done.out
    assert done.out.splitlines()[-1] == "written: twin.toml   instrument: {kind: twin, state: ./twin.toml}"
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    assert "Fitted by `sdl twin fit`, starting from night-2025-10" in (tmp_path / "twin.toml").read_text()
    assert sdl("twin", "check", other, "--twin", "twin.toml").code == 0
    (tmp_path / "led.yaml").write_text(
        "name: led\ninstrument: {kind: twin, state: ./twin.toml}\ngoal: {515nm: 16384}\nsolver: {kind: linear}\n"
    )
    assert sdl("run", "led.yaml", "--quiet").code == 0


def test_a_fit_as_json(other: Path, sdl: Sdl) -> None:
    printed = sdl("twin", "fit", other, "-o", "twin.toml", "--json").json
    assert printed["output"] == "twin.toml"
    assert printed["state"]["channels"]["515nm"]["gain"].keys() == {"R", "G", "B"}
    named = {parameter["name"]: parameter for parameter in printed["parameters"]}
    assert named["jitter.A"]["told"]
    assert not named["drift.daily"]["told"]
    assert not printed["check"]["divergent"]


def test_only_some_days_or_dark_sessions(night: Path, sdl: Sdl, tmp_path: Path) -> None:
    assert sdl("twin", "check", night, "--dark", "--day", "2025-10-28").code == 0
    done = sdl("twin", "check", night, "--day", "2025-10-27")
    assert done.code == 2
    assert "no readings of 2025-10-27" in done.err
    bright = collect(tmp_path / "bright", ambient="day", start="2025-10-28T11:00:00-04:00")
    done = sdl("twin", "check", bright, "--dark")
    assert done.code == 2
    assert "no session was in a dark room" in done.err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["check", "nowhere.jsonl"], "nowhere.jsonl"),
        (["check", "{night}", "--twin", "nigth"], "unknown state 'nigth'; allowed: night-2024-09"),
        (["fit", "{night}", "-o", "twin.yaml"], "must end in .toml"),
        (["fit", "{night}", "-o", "no/such/twin.toml"], "cannot be written"),
        (["fit", "short.jsonl", "-o", "twin.toml"], "1 readings are too few to fit a twin to; 20 are needed"),
    ],
)
def test_a_mistake_ends_with_2_and_names_it(night: Path, sdl: Sdl, tmp_path: Path, args: list[str], says: str) -> None:
    (tmp_path / "short.jsonl").write_text(json.dumps({"in": [0.1, 0.2, 0.3], "out": {"515nm": 12000}, "time": 1.7e9}))
    done = sdl("twin", *(arg.format(night=night) for arg in args))
    assert done.code == 2
    assert says in done.err


def test_a_table_with_other_names_a_bad_line_and_a_setting_beyond_its_bound_by_rounding_is_checked(
    night: Path, sdl: Sdl
) -> None:
    assert sdl("export", night, "--to", "claude-light", "-o", "night.jsonl").code == 0
    log = [json.loads(line) for line in Path("night.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [[row["time"], *row["in"], *row["out"].values()] for row in log]
    rows[3][2] = 1.0000000000000002
    head = f"time;red;G;B;{';'.join(log[0]['out'])}"
    text = "\n".join([head, "busy", *(";".join(map(str, row)) for row in rows)])
    Path("night.csv").write_text(text.replace(".", ","), encoding="utf-8")
    done = sdl("twin", "check", "night.csv", "--input", "R=red")
    assert f"night.csv: {len(rows)} readings; 1 left out: fewer cells than the header has names (line 2)" in done.out
    assert "DLASCL" not in done.out + done.err
    assert sdl("twin", "check", "night.csv").code == 2


def test_the_table_of_faults(sdl: Sdl) -> None:
    done = sdl("twin", "faults")
    assert [line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")] == list(NAMES)
    assert sdl("twin", "faults", "--json").json["busy"]["does"] == "another user has it for `seconds`"


def test_a_run_is_checked_by_name_and_one_of_another_instrument_is_left_out(
    night: Path, sdl: Sdl, tmp_path: Path
) -> None:
    shutil.copytree(night, tmp_path / "runs" / "set" / night.name)
    for name in ("latest", "set", night.name[-6:], "runs/set/latest"):
        assert sdl("twin", "check", name).code == 0, name
    green = collect(tmp_path / "runs", variant="green")
    done = sdl("twin", "check", night, green)
    assert done.code == 0
    assert f"{green}: left out, it has the inputs G" in done.out.splitlines()
    assert sdl("twin", "fit", night, green, "-o", "twin.toml").code == 0
    done = sdl("twin", "check", green)
    assert (done.code, "has the inputs G; the twin night-2025-10 has R, G, B" in done.err) == (2, True)
