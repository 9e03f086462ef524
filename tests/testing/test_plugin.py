"""The pytest plugin: campaign files as tests, and its fixtures, each in a pytest of its own."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest
import stuck

import sdl
from sdl import runner
from sdl.parallel import pool

pytest_plugins = ["pytester"]

PLUGIN = "sdl" if any(e.name == "sdl" for e in entry_points(group="pytest11")) else "sdl.testing.plugin"
"""Its entry point where this Python has the package installed, else its module."""

CAMPAIGN = """
name: led
instrument: {kind: twin}
goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
solver: linear
"""


Pytest = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def _loaded() -> None:
    """An inner pytest forgets what it imported, and numpy cannot be imported twice in a process: it is here before."""
    for module in (
        "sdl.verify",
        "sdl.testing.items",
    ):  # what is sent to a worker must be the same object as before
        importlib.import_module(module)
    tree = {"name": "warm", "instrument": {"kind": "twin"}, "goal": {"445nm": 9000}}
    for solver in ("linear", "pls"):
        runner.run({**tree, "solver": solver}, runs=None)
    list(pool.each(str, [1], limit=60))  # the process that workers are copied from: one, not one for each inner pytest


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, _loaded: None) -> Pytest:
    """Runs pytest here, with the plugin."""
    surroundings(monkeypatch)
    return lambda *args: pytester.runpytest_inprocess("-p", PLUGIN, "-p", "no:cacheprovider", *args)


def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inner pytest finds what this one has found, from another directory, and prints the same wherever it runs."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(os.path.abspath(path) for path in sys.path if path))
    for name in ("PYTEST_ADDOPTS", "CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)


def write(pytester: pytest.Pytester, name: str, expect: str, campaign: str = CAMPAIGN) -> Path:
    path = pytester.path / name
    path.write_text(campaign + f"expect: {expect}\n", encoding="utf-8")
    return path


def test_a_file_is_an_item_a_seed_and_one_for_all_of_them(pytester: pytest.Pytester, run: Pytest) -> None:
    write(pytester, "led.yaml", "{trials: {median: 5, most: 9}, seeds: 3}")
    write(pytester, "one.yml", "{trials: 9, seeds: [4]}")
    done = run("--collect-only", "-q")
    listed = [line for line in done.outlines if "::" in line]
    assert listed == [
        "led.yaml::seed-0", "led.yaml::seed-1", "led.yaml::seed-2", "led.yaml::all-seeds", "one.yml::seed-4",
    ]  # fmt: skip
    run().assert_outcomes(passed=5)
    run("--sdl-seeds", "1", "led.yaml").assert_outcomes(passed=2)


def test_a_failure_says_the_goal_what_was_expected_and_seen_the_seed_and_the_commands(
    pytester: pytest.Pytester, run: Pytest
) -> None:
    write(pytester, "led.yaml", "{trials: {median: 4}, error: 0.5%, seeds: [0, 1]}")
    done = run()
    done.assert_outcomes(passed=1, failed=2)
    text = done.stdout.str()
    assert "led, error, most: expected at most 0.5 %, seen 0.621 %" in text
    assert "goal      445nm 16384 ± 327.68" in text
    assert re.search(r"ended     reached after 5 trials, noise-free error 0\.621 %, verdict ", text)
    assert "again     sdl run led.yaml --set seed=1\n            pytest led.yaml::seed-1\n" in text
    assert "led, trials, median: expected at most 4, seen 5, 0 of 2 seeds within the limit, 50 % required" in text
    assert "again     sdl verify led.yaml\n            pytest led.yaml::all-seeds\n" in text
    assert "Traceback" not in text
    run("led.yaml::seed-1").assert_outcomes(failed=1)
    run("led.yaml::seed-0").assert_outcomes(passed=1)


def test_a_mistake_in_a_file_is_told_with_its_place(pytester: pytest.Pytester, run: Pytest) -> None:
    write(pytester, "led.yaml", "{trails: 6}")
    write(pytester, "real.yaml", "{trials: 6}", CAMPAIGN.replace("twin", "claude-light"))
    write(pytester, "right.yaml", "{trials: 9, seeds: 1}")
    done = run()
    done.assert_outcomes(failed=2, passed=1)
    assert "(if this is no campaign: pytest --ignore led.yaml)" in done.stdout.str()
    assert re.search(r"led\.yaml:6: expect\.trails: unknown key; allowed: outcome, trials", done.stdout.str())
    assert "claude-light is a real instrument, which no test drives" in done.stdout.str()
    assert "Traceback" not in done.stdout.str()


def test_other_yaml_files_are_left_alone(pytester: pytest.Pytester, run: Pytest) -> None:
    write(pytester, "nothing.yaml", "null")
    (pytester.path / "plain.yaml").write_text(CAMPAIGN, encoding="utf-8")
    (pytester.path / "api.yaml").write_text("expect: {status: 200}\nrequest: {url: x}\n", encoding="utf-8")
    (pytester.path / "binary.yaml").write_bytes(b"\xff\xfe\x00expect:")
    (pytester.path / "large.yaml").write_text("expect: 1\ngoal: 2\n" + "# \n" * 100_000, encoding="utf-8")
    story = "name: a story\ngoal: a happy end\nexpect: {tears: 2}\nchapters: [1, 2]\n"
    (pytester.path / "story.yaml").write_text(story, encoding="utf-8")
    (pytester.path / "case.yml").write_text("expect: 1\ngoal: {a: 1}\n", encoding="utf-8")
    (pytester.path / "deep.json").write_text('{"a": {"expect": {}, "goal": {}}}', encoding="utf-8")
    (pytester.path / "list.json").write_text('[{"expect": {}, "goal": {}}]', encoding="utf-8")
    (pytester.path / "nowhere.yaml").symlink_to("nothing-there")
    done = run()
    done.assert_outcomes()
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_file_in_the_style_of_json_is_found_too(pytester: pytest.Pytester, run: Pytest) -> None:
    parts = ['"name": "led"', '"instrument": "twin"', '"goal": {"445nm": 16384}', '"expect": {"seeds": 1}']
    (pytester.path / "line.yaml").write_text("{" + ", ".join(parts) + "}\n", encoding="utf-8")
    (pytester.path / "quoted.yaml").write_text("\n".join(parts) + "\n", encoding="utf-8")
    pretty = json.dumps(json.loads("{" + ", ".join(parts) + "}"), indent=2)
    (pytester.path / "pretty.json").write_text(pretty, encoding="utf-8")
    (pytester.path / "pretty.yaml").write_text(pretty.replace('"seeds": 1', "seeds: 1"), encoding="utf-8")
    (pytester.path / "torn.json").write_text(pretty[:-3], encoding="utf-8")
    done = run("--collect-only", "-q")
    names = ("line.yaml", "pretty.json", "pretty.yaml", "quoted.yaml")
    assert [line for line in done.outlines if "::" in line] == [*(f"{n}::seed-0" for n in names), "torn.json::mistakes"]


def test_too_few_seeds_are_told_at_the_end_and_do_not_fail(pytester: pytest.Pytester, run: Pytest) -> None:
    write(pytester, "led.yaml", "{trials: {p95: 9}, seeds: 2}")
    done = run("--junitxml", "out.xml")
    done.assert_outcomes(passed=3)
    said = "led.yaml::all-seeds: trials, p95 at most 9, seen 5: 2 of 2 seeds within the limit, 95 % required; "
    said += "needed to be sure: 59 seeds"
    assert said in done.stdout.str()
    properties = ElementTree.parse(pytester.path / "out.xml").getroot().iter("property")
    assert said in [prop.get("value", "")[: len(said)] for prop in properties]


@pytest.mark.slow
def test_the_record_of_a_seed_that_fails_is_kept_where_it_is_asked_for(pytester: pytest.Pytester, run: Pytest) -> None:
    write(pytester, "led.yaml", "{error: 0.5%, seeds: [0, 1]}")
    done = run("--sdl-report", "out")
    done.assert_outcomes(passed=1, failed=1)
    (folder,) = (pytester.path / "out" / "runs" / "led").iterdir()
    assert f"record    {folder}" in done.stdout.str()
    kept = sdl.open_run(folder)
    assert kept.config["seed"] == 1
    assert kept.result.reached
    assert not list(pytester.path.glob("runs"))


def test_a_tests_own_campaign_run_ends_with_its_record_in_a_directory_of_its_own(
    pytester: pytest.Pytester, run: Pytest
) -> None:
    (pytester.path / "led.yaml").write_text(CAMPAIGN, encoding="utf-8")
    pytester.makepyfile(
        """
        def test_it(sdl_run, sdl_runs):
            one = sdl_run("led.yaml", "solver.kind=pls", seed=7)
            assert one.result.reached and one.config["seed"] == 7 and one.config["solver"]["kind"] == "pls"
            assert one.folder.parent.parent == sdl_runs
            tree = {"name": "a", "instrument": "twin", "goal": {"445nm": 9000}, "solver": "linear"}
            assert sdl_run(tree).result.reached
            assert sdl_run({"name": "b", "instrument": "twin", "design": "axis"}).result.outcome == "done"
            assert len(list(sdl_runs.glob("*/*"))) == 3
        """
    )
    run().assert_outcomes(passed=1)


def test_a_twin_lives_in_the_tests_own_time_and_is_dark_and_closed_afterwards(
    pytester: pytest.Pytester, run: Pytest
) -> None:
    pytester.makepyfile(
        """
        import pytest
        from sdl.errors import SdlError

        opened = []

        def test_it(sdl_twin, sdl_clock):
            assert sdl_clock.now() == 0
            twin = sdl_twin(noise=False)
            began = sdl_clock.now()
            assert began > 1.7e9
            first = twin.measure({"R": 0.5, "G": 0.5, "B": 0.5})
            assert sdl_clock.now() - began == pytest.approx(0.78)
            assert twin.measure({"R": 0.5, "G": 0.5, "B": 0.5}).readings == first.readings
            assert twin.lit
            assert "W" in sdl_twin(variant="rgbw").measure(dict.fromkeys("RGBW", 0.1)).applied
            opened.append(twin)

        def test_after():
            assert not opened[0].lit
            with pytest.raises(SdlError):
                opened[0].measure({"R": 0.5, "G": 0.5, "B": 0.5})
        """
    )
    run().assert_outcomes(passed=2)


def test_a_served_twin_has_its_faults_and_is_gone_afterwards(pytester: pytest.Pytester, run: Pytest) -> None:
    pytester.makepyfile(
        """
        import httpx
        import pytest

        urls = []

        def test_it(sdl_server):
            server = sdl_server(faults=[{"name": "html-500", "at": [1]}], noise=False)
            urls.append(server.url)
            answers = [httpx.get(server.url, params={"R": 0.2, "G": 0, "B": 0}) for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 500, 500, 200]
            assert answers[0].json()["out"] == answers[3].json()["out"]

        def test_after():
            with pytest.raises(httpx.ConnectError):
                httpx.get(urls[0])
        """
    )
    run().assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("what", "limit", "said"),
    [
        ("hang", "1", "out of time after 0 trials, verdict none: ran for more than 1 s"),
        ("end", "60", "crashed"),
    ],
)
def test_a_solver_that_hangs_or_ends_its_process_fails_its_items_and_no_other(
    pytester: pytest.Pytester, run: Pytest, monkeypatch: pytest.MonkeyPatch, what: str, limit: str, said: str
) -> None:
    solver = stuck.install(pytester.path, monkeypatch, what)
    write(pytester, "bad.yaml", "{seeds: 1}", CAMPAIGN.replace("linear", solver))
    write(pytester, "good.yaml", "{seeds: 1}")
    done = run("--sdl-report", "out", "--sdl-limit", limit, "bad.yaml")
    done.assert_outcomes(failed=1)
    assert f"ended     {said}" in done.stdout.str()
    assert "record    none of a campaign without an end" in done.stdout.str()
    run("--sdl-limit", "60", "good.yaml").assert_outcomes(passed=1)


def test_where_pytest_timeout_has_less_patience_the_campaign_ends_with_its_item(
    pytester: pytest.Pytester, run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytest_timeout")
    solver = stuck.install(pytester.path, monkeypatch, "hang")
    write(pytester, "bad.yaml", "{seeds: 1}", CAMPAIGN.replace("linear", solver))
    done = run("--timeout", "1")
    done.assert_outcomes(failed=1)
    assert "from pytest-timeout" in done.stdout.str()
    assert [child for child in multiprocessing.active_children() if child.is_alive()] == []


@pytest.mark.slow
def test_with_xdist_every_item_is_judged_as_without(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xdist")
    surroundings(monkeypatch)
    write(pytester, "led.yaml", "{trials: {median: 4}, error: 0.5%, seeds: [0, 1]}")
    done = pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", "--strict-markers", "-n", "2")
    done.assert_outcomes(passed=1, failed=2)
    assert done.stdout.str().count("again     sdl run led.yaml --set seed=1") == 1
    assert "seen 5, 0 of 2 seeds within the limit" in done.stdout.str()


LOADED = """
import json, sys
sys.argv = ["pytest", "-q", "-p", {plugin!r}, "-p", "no:cacheprovider", "."]
import pytest
before = set(sys.modules)
pytest.main(sys.argv[1:])
print(json.dumps(sorted({{name for name in sys.modules}} - before)))
"""


def test_loading_it_loads_nothing_of_ours_but_itself(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    surroundings(monkeypatch)
    pytester.makepyfile("def test_it(): pass")
    (pytester.path / "data.yaml").write_text("a: 1\n", encoding="utf-8")
    done = pytester.run(sys.executable, "-c", LOADED.format(plugin=PLUGIN))
    loaded = json.loads(done.outlines[-1])
    ours = [name for name in loaded if name == "sdl" or name.startswith("sdl.")]
    assert ours == ["sdl", "sdl.testing", "sdl.testing.fixtures", "sdl.testing.plugin"]
    assert not {"numpy", "scipy", "pydantic", "yaml"} & set(loaded)
