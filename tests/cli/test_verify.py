"""`sdl verify`: what it prints, for people and for programs, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import stuck

from .conftest import CAMPAIGN, Sdl


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign with expectations that are met."""
    path = tmp_path / "led.yaml"
    path.write_text(CAMPAIGN + "expect: {trials: {median: 5, most: 9}, error: 3%, seeds: 3}\n", encoding="utf-8")
    return path


def test_verify_prints_a_table_and_ends_with_0_where_all_is_as_expected(sdl: Sdl, file: Path) -> None:
    done = sdl("verify", file)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == f"{file}: 3 seeds (0 … 2)"
    assert " ".join(lines[1].split()) == "outcome reached 3 of 3 met (by at least 37 % of all seeds)"
    assert "too few to tell: 3 of 3 seeds within the limit, 50 % required; needed to be sure: 5 seeds" in done.out
    assert lines[-1] == "all as expected: 1 file, 3 campaigns"
    assert sdl("verify", file, "--sure").code == 1
    assert sdl("verify", file, "--sure", "--seeds", "5").code == 0


def test_other_files_beside_the_campaigns_are_passed_over(sdl: Sdl, file: Path, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("name: lab\njobs: {a: {campaign: led.yaml}}\n", encoding="utf-8")
    done = sdl("verify", file, "lab.yaml", "--seeds", "1")
    assert (done.code, done.out.splitlines()[0]) == (0, "lab.yaml: no `expect:` block, skipped")


def test_a_solver_that_ends_its_process_does_not_end_the_command(
    sdl: Sdl, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solver = stuck.install(tmp_path, monkeypatch, "end")
    done = sdl("verify", file, "--set", f"solver={solver}", "--seeds", "1")
    assert done.code == 1
    assert "crashed after 0 trials, verdict none: its process died 3 times, the last time by exit code 0" in done.out
    assert done.out.splitlines()[-1] == f"1 of 1 file not as expected: {file}"


def test_what_is_not_met_is_told_with_goal_seed_and_command(sdl: Sdl, file: Path, tmp_path: Path) -> None:
    junit = tmp_path / "verify.xml"
    changed = ["--set", "expect.error=0.0001%"]
    done = sdl("verify", file, *changed, "--junit", str(junit), "--json")
    assert done.code == 1
    printed = json.loads(done.out)
    (of_file,) = printed["files"]
    (bad,) = [verified for verified in of_file["findings"] if verified["level"] == "not met"]
    assert (printed["met"], of_file["level"], bad["claim"], bad["expected"]) == (
        False, "not met", "error, most", "at most 0.0001 %",
    )  # fmt: skip
    assert bad["again"] == f"sdl run {file} --set expect.error=0.0001% --set seed={bad['seed']}"
    assert sdl(*bad["again"].split()[1:], "--runs", str(tmp_path / "runs")).code == 0
    (case,) = ElementTree.parse(junit).getroot().findall("./testsuite/testcase[failure]")
    failure = case.find("failure")
    assert failure is not None
    assert (case.get("name"), str(failure.get("message"))[:30]) == ("error, most", "expected at most 0.0001 %, see")
    text = sdl("verify", file, *changed).out
    for words in (
        "error, most is not met:",
        "goal      445nm 16384 ± 327.68",
        f"again     {bad['again']}",
        "noise-free",
    ):
        assert words in text


def test_files_without_expectations_are_passed_over_unless_none_has_any(sdl: Sdl, file: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text(CAMPAIGN, encoding="utf-8")
    assert f"{plain}: no `expect:` block, skipped" in sdl("verify", str(plain), file).out
    done = sdl("verify", str(plain))
    assert done.code == 2
    assert "expect: {outcome: reached, trials: 9}" in done.err


def test_mistakes_in_several_files_are_told_at_once_and_nothing_is_run(sdl: Sdl, file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(CAMPAIGN + "expect: {trails: 9}\n", encoding="utf-8")
    done = sdl("verify", str(tmp_path / "a.yaml"), file, str(tmp_path / "b.yaml"))
    assert done.code == 2
    assert done.err.count("yaml:5: expect.trails: unknown key") == 2
    assert done.out == ""


def test_a_campaign_without_a_goal_is_collected(sdl: Sdl, tmp_path: Path) -> None:
    path = tmp_path / "collect.yaml"
    path.write_text(
        "name: all\ninstrument: twin\ndesign: {kind: sobol, trials: 8}\nexpect: {outcome: done, trials: 7, seeds: 1}\n",
        encoding="utf-8",
    )
    done = sdl("verify", str(path))
    assert done.code == 1
    assert f"again     sdl collect {path} --set seed=0" in done.out


def test_a_campaign_that_never_reaches_its_goal_is_valid_json_too(sdl: Sdl, file: Path) -> None:
    printed = sdl("verify", file, "--json", "--set", "stop.trials=2").json
    assert printed["files"][0]["findings"][0]["seen"] == "0 of 3"
    assert printed["files"][0]["findings"][1]["seen"] == "ended otherwise"


def test_a_page_has_a_table_for_each_file_and_names_what_is_not_met(sdl: Sdl, file: Path, tmp_path: Path) -> None:
    assert sdl("verify", file, "--report", "good.html").code == 0
    good = Path("good.html").read_text(encoding="utf-8")
    assert '<p class="card outcome good">All as expected: 1 file, 3 campaigns.' in good
    assert "prefers-color-scheme:dark" in good
    worse = tmp_path / "worse.yaml"
    worse.write_text(CAMPAIGN + "expect: {trials: 1, seeds: 1}\n# <b>\n", encoding="utf-8")
    assert sdl("verify", file, worse, "--report", "bad.html").code == 1
    bad = Path("bad.html").read_text(encoding="utf-8")
    assert "1 of 2 files not as expected" in bad
    assert "trials, most is not met" in bad
    assert "<dt>again</dt>" in bad
    Path("mine.html").write_text("mine", encoding="utf-8")
    for name, said in (("x.pdf", "must end in .html"), ("mine.html", "was not made by sdl")):
        done = sdl("verify", file, "--report", name)
        assert done.code == 2
        assert said in done.err
