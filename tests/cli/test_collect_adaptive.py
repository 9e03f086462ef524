"""`sdl collect --adaptive`: a data set whose points are chosen as they come."""

from __future__ import annotations

from pathlib import Path

from sdl.core.events import Proposed
from sdl.runs.runs import open_run

from .conftest import Sdl


def designed(folder: str) -> tuple[dict[str, object], list[Proposed]]:
    run = open_run(folder)
    return dict(run.config["design"]), [event for event in run.events if isinstance(event, Proposed)]


def test_it_chooses_for_the_channels_of_the_goal_whatever_design_the_file_has(sdl: Sdl, file: str) -> None:
    done = sdl("collect", file, "--adaptive", "--trials", 7, "--set", "design.solver=pls", "--json")
    assert done.code == 0
    assert (done.json["trials"], done.json["by"]) == (7, "design")
    design, proposed = designed(done.json["run"])
    assert design["kind"] == "adaptive"
    assert design["solver"] == "pls"
    assert list(design["channels"]) == ["445nm", "515nm", "630nm"]
    assert [event.by for event in proposed] == ["adaptive"] * 7
    assert "pls would propose these settings with an uncertainty of" in proposed[-1].why


def test_channels_and_options_that_are_said_stay_as_they_are(sdl: Sdl, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        "name: own\ninstrument: {kind: twin}\ngoal: {445nm: 16384}\n"
        "design: {kind: adaptive, trials: 5, solver: linear, channels: [515nm], low: 0.2}\n"
    )
    done = sdl("collect", file, "--adaptive", "--json")
    design, proposed = designed(done.json["run"])
    assert (design["low"], design["solver"], list(design["channels"])) == (0.2, "linear", ["515nm"])
    assert len(proposed) == 5


def test_trials_alone_set_the_size_of_the_file_s_own_design(sdl: Sdl, file: str) -> None:
    done = sdl("collect", file, "--set", "design.kind=sobol", "--trials", 3, "--json")
    assert done.json["trials"] == 3
    refused = sdl("collect", file, "--set", "design.kind=axis", "--trials", 3)
    assert refused.code == 2
    assert "design.trials" in refused.err


def test_a_solver_that_is_none_is_refused_before_anything_is_measured(sdl: Sdl, file: str, tmp_path: Path) -> None:
    done = sdl("collect", file, "--adaptive", "--set", "design.solver=oracle")
    assert done.code == 2
    assert "unknown kind 'oracle'; allowed:" in done.err
    assert not (tmp_path / "runs").exists()


def test_a_file_that_says_what_its_campaign_should_come_to_can_be_collected_with(sdl: Sdl) -> None:
    quickstart = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    assert "expect:" in quickstart.read_text(encoding="utf-8")
    done = sdl("collect", quickstart, "--adaptive", "--trials", 5, "--set", "design.solver=linear", "--json")
    assert (done.code, done.json["outcome"], done.json["trials"]) == (0, "done", 5)
