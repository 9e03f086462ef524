"""Campaigns as tests: judging, and running over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stuck
from scipy.stats import binom, binomtest

from sdl import config, verify
from sdl.errors import ConfigError
from sdl.verify import Level, SeedResult
from sdl.verify.evaluate import RISK, binomial_tail, lower_confidence_bound

CAMPAIGN = """\
name: led
instrument: {kind: twin}
goal: {445nm: 16384, 515nm: 16384, 630nm: 16384}
solver: linear
"""


def expect(**given: Any) -> config.Expect:
    return config.Expect.model_validate(given)


def seen(seed: int = 0, trials: int = 5, outcome: str = "reached", error: float | None = 0.01) -> SeedResult:
    return SeedResult(seed, outcome, "why", trials, trials, error, True, "reachable")


def finding(given: config.Expect, those: list[SeedResult], claim: str) -> verify.Evaluation:
    return next(verified for verified in verify.evaluate(given, those) if verified.claim == claim)


# --- judging ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "n", "share"), [(5, 5, 0.5), (13, 20, 0.5), (59, 59, 0.95), (1, 9, 0.3), (0, 4, 0.5)])
def test_the_chance_is_that_of_the_exact_binomial_test(kept: int, n: int, share: float) -> None:
    assert binomial_tail(kept, n, share) == pytest.approx(binom.sf(kept - 1, n, share), rel=1e-9)
    low = binomtest(kept, n, alternative="greater").proportion_ci(0.95, "exact").low
    assert lower_confidence_bound(kept, n) == pytest.approx(low, abs=1e-9)


def test_a_median_of_five_seeds_is_no_proof_unless_all_keep_it() -> None:
    limit = expect(trials={"median": 6})
    some = [seen(i, trials) for i, trials in enumerate((5, 5, 6, 7, 8))]
    verified = finding(limit, some, "trials, median")
    assert (verified.seen, verified.within, verified.level) == ("6", 3, Level.UNSURE)
    assert verified.needed is not None
    share = verified.within / verified.of
    assert binomial_tail(int(share * verified.needed), verified.needed, 0.5) <= RISK
    assert finding(limit, [seen(i) for i in range(5)], "trials, median").level is Level.MET
    assert finding(limit, [seen(i) for i in range(4)], "trials, median").level is Level.UNSURE


def test_a_p95_takes_fifty_nine_seeds() -> None:
    limit = expect(trials={"p95": 6})
    few = finding(limit, [seen(i) for i in range(20)], "trials, p95")
    assert (few.level, few.needed) == (Level.UNSURE, 59)
    assert finding(limit, [seen(i) for i in range(59)], "trials, p95").level is Level.MET
    assert finding(limit, [seen(i) for i in range(58)], "trials, p95").level is Level.UNSURE


def test_where_exactly_as_many_keep_a_limit_as_must_no_number_of_seeds_would_tell() -> None:
    verified = finding(expect(trials={"median": 6}), [seen(i, 5 + 2 * (i % 2)) for i in range(10)], "trials, median")
    assert (verified.level, verified.needed, verified.seen) == (Level.UNSURE, None, "5")


def test_a_median_above_its_limit_is_not_met_and_the_worst_seed_is_named() -> None:
    verified = finding(expect(trials={"median": 6}), [seen(i, 5 + i) for i in range(5)], "trials, median")
    assert (verified.seen, verified.level, verified.within, verified.seed) == ("7", Level.NOT, 2, 4)


def test_a_campaign_that_ends_otherwise_counts_as_endless() -> None:
    some = [seen(0), seen(1, 3, "unreachable"), seen(2, 4, "spent")]
    verified = finding(expect(trials={"median": 6}), some, "trials, median")
    assert (verified.seen, verified.level) == ("ended otherwise", Level.NOT)
    outcome = finding(expect(trials=6), some, "outcome")
    assert (outcome.level, outcome.seen, outcome.seed) == (Level.NOT, "1 of 3", 2)


def test_one_seed_is_enough_against_what_every_seed_must_keep() -> None:
    some = [seen(i, error=0.01 + 0.02 * (i == 7)) for i in range(20)]
    verified = finding(expect(error="2%"), some, "error, most")
    assert (verified.level, verified.seed, verified.seen) == (Level.NOT, 7, "3 %")
    assert verify.broken_claims(expect(error="2%"), some[7]) == [("error, most", "at most 2 %", "3 %")]
    assert verify.broken_claims(expect(error="2%"), some[6]) == []


def test_a_limit_itself_is_kept_and_an_unknown_error_is_not() -> None:
    assert verify.broken_claims(expect(trials=5, error="1%"), seen(trials=5, error=0.01)) == []
    assert verify.broken_claims(expect(error="1%"), seen(error=None)) == [("error, most", "at most 1 %", "unknown")]


def test_a_verdict_is_expected_of_every_seed() -> None:
    assert verify.broken_claims(expect(verdict="unreachable"), seen()) == [("verdict", "unreachable", "reachable")]


# --- running ------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "led.yaml"
    path.write_text(CAMPAIGN + "expect: {trials: {median: 5, most: 9}, error: 3%, seeds: 3}\n", encoding="utf-8")
    return path


def test_the_error_is_that_without_noise_and_the_command_does_the_same_again(file: Path, tmp_path: Path) -> None:
    import sdl
    from sdl.config import load

    plan = verify.plan(file)
    assert plan is not None
    task = plan.tasks[2]
    assert task.command == f"sdl run {file} --set seed=2"
    verified = verify.run(task)
    again = sdl.run(file, runs=tmp_path, changes=["seed=2"])
    assert (verified.trials, verified.readings, verified.reason) == (again.trials, again.readings, again.reason)
    selected = load(file, ["seed=2"])
    plant = selected.instrument.open(None).plant
    goal = selected.goals()
    assert goal is not None
    assert verified.noise_free
    assert verified.error == pytest.approx(goal.error(plant.noise_free(again.applied)), rel=1e-12)
    assert verified.error != again.error


def test_two_processes_see_what_one_sees(file: Path) -> None:
    plan = verify.plan(file)
    assert plan is not None
    (one,), (two,) = (list(verify.verify([plan], jobs)) for jobs in (1, 2))
    assert one == two
    assert one.level is Level.MET or one.level is Level.UNSURE


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_solver_that_ends_its_process_is_a_campaign_not_as_expected_and_the_others_go_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    solver = stuck.install(tmp_path, monkeypatch, "end")
    plans = [verify.plan(file, [f"solver={solver}"], 1), verify.plan(file, (), 1)]
    bad, good = verify.verify([plan for plan in plans if plan is not None], jobs, limit=60)
    assert (bad.level, bad.seen[0].outcome) == (Level.NOT, "crashed")
    assert bad.seen[0].reason == "its process died 3 times, the last time by exit code 0"
    assert "sdl run" in verify.rerun_command(bad, bad.findings[0])
    assert good.seen[0].outcome == "reached"


def test_a_solver_that_hangs_is_killed_and_its_campaign_not_as_expected(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = verify.plan(file, [f"solver={stuck.install(tmp_path, monkeypatch, 'hang')}"], 1)
    assert plan is not None
    (verified,) = verify.verify([plan], limit=1)
    assert verified.level is Level.NOT
    assert verify.describe_end(verified.seen[0]) == (
        "out of time after 0 trials, verdict none: ran for more than 1 s: solver stuck"
    )


def test_a_real_instrument_is_never_driven(tmp_path: Path) -> None:
    path = tmp_path / "real.yaml"
    path.write_text(CAMPAIGN.replace("twin", "claude-light") + "expect: {trials: 9}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"real\.yaml: expect: claude-light is a real instrument"):
        verify.plan(path)
    elsewhere = "expect: {trials: 9, instrument: {kind: twin, background: each}, seeds: 1}\n"
    path.write_text(CAMPAIGN.replace("twin", "claude-light") + elsewhere, encoding="utf-8")
    plan = verify.plan(path)
    assert plan is not None
    assert plan.campaign.instrument.kind == "twin"
    assert '--set \'instrument={"kind": "twin", "background": "each"}\' --set seed=0' in plan.tasks[0].command
    assert verify.run(plan.tasks[0]).outcome == "reached"


def test_a_twin_that_really_waits_is_not_tested_so(file: Path) -> None:
    with pytest.raises(ConfigError, match="runs in real time"):
        verify.plan(file, ["instrument.realtime=true"])


def test_an_instrument_whose_seed_is_fixed_is_noted(file: Path) -> None:
    for changes, words in (["instrument.seed=7"], "the same noise"), ([], ""):
        plan = verify.plan(file, changes)
        assert plan is not None
        assert words in plan.note
        assert bool(plan.note) is bool(words)
