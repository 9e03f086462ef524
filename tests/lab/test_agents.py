"""What an agent may submit: limits, rehearsals, review by a person; the journal; what holds while campaigns run."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sdl
from sdl import config
from sdl.config.inputs import CampaignInput
from sdl.core.events import Measured
from sdl.errors import ConfigError
from sdl.lab import journal
from sdl.lab.config.agents import bound_inputs
from sdl.lab.config.file import load, parse
from sdl.lab.core.agents import MAX_WAITING, reason_to_pause, violations
from sdl.lab.core.events import Asked, CallRefused, Due, Rehearsed, Reviewed, Started, Submitted
from sdl.lab.core.state import fold
from sdl.lab.http.submissions import TooManyCalls
from sdl.runs.runs import open_run

from . import agent_kit
from .agent_kit import CAMPAIGN, HOUR, LIMITS, MORNING, AgentLab, agent, agent_lab, changed
from .lab_kit import Bench


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[AgentLab]:
    made = AgentLab(agent_lab(tmp_path))
    made.tick()
    yield made
    made.close()


def limits(**keys: Any) -> dict[str, Any]:
    return {**LIMITS, **keys}


# The lab file ------------------------------------------------------------------------------------------------------
def test_limits_are_read_back_from_the_journal_unchanged(tmp_path: Path) -> None:
    lab = agent_lab(tmp_path).lab
    assert parse(json.loads(json.dumps(lab.plain()))) == lab
    assert lab.agents["claude"].instruments["rig"]["red"].high == 200
    assert (lab.agents["reader"].tier, lab.agents["reader"].approve) == ("read", "always")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tier": "root"}, "agents.claude.tier: must be read, rehearse or submit|agents.claude.tier"),
        ({"instruments": {"rack": {}}}, "agents.claude.instruments.rack: unknown 'rack'; allowed: rig, other"),
        ({"instruments": {"rig": {"blue": {"high": 2}}}}, r"agents.claude.instruments.rig.blue: unknown input"),
        ({"instruments": {"rig": {"red": {"high": 300}}}}, r"instruments.rig.red: must lie inside 0 … 255"),
        ({"instruments": {"rig": {"dye": {"choices": ["z"]}}}}, r"instruments.rig.dye: unknown choice 'z'"),
        ({"instruments": {}}, "agents.claude.instruments"),
        ({"instruments": {"other": {}}}, "agents.claude.cost_per_day: none of its instruments names prices"),
        ({"hours": "18:00"}, "agents.claude.hours"),
        ({"solvers": ["linnear"]}, "agents.claude.solvers.0: unknown 'linnear'; allowed: "),
        ({"approve": "never"}, "agents.claude.approve"),
        ({"readings_per_day": 0}, "agents.claude.readings_per_day"),
        ({"limit": 5}, "agents.claude.limit"),
    ],
)
def test_a_mistake_in_the_limits_says_where_it_is(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        agent_lab(tmp_path, {"claude": limits(**keys)})


# Submissions -------------------------------------------------------------------------------------------------------
def test_a_rehearsed_campaign_runs_within_the_bounds_of_the_agent_and_under_its_name(lab: AgentLab) -> None:
    answer = lab.submit(rehearsal=lab.rehearse())
    assert answer == {"submission": 1, "decision": "accepted", "reasons": []}
    lab.tick()
    (order,) = lab.bench.processes.orders
    assert order.campaign["inputs"] == {"dye": "a", "red": {"high": 200.0}, "yellow": {"low": 5.0, "high": 100.0}}
    assert [event.by for event in lab.journal(Due)] == ["claude"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"red": 201}, "inputs.red: 201 lies outside the bounds of the agent; allowed: 0 … 200"),
        ({"red": {"high": 201}}, "inputs.red: 201 lies outside"),
        ({"yellow": {"low": 4.9}}, "inputs.yellow: 4.9 lies outside the bounds of the agent; allowed: 5 … 100"),
        ({"yellow": {"low": -5, "high": 50}}, "must lie inside|outside"),
        ({"dye": "c"}, "inputs.dye: 'c' lies outside the bounds of the agent; allowed: a, b"),
        ({"dye": {"choices": ["a", "c"]}}, "inputs.dye: 'c' is not allowed"),
        ({"red": float("nan")}, "inputs.red"),
        ({"blue": 3}, "unknown input"),
        ({"red": "200; rm -rf"}, "must be a number"),
    ],
)
def test_a_campaign_that_leaves_the_bounds_is_refused(lab: AgentLab, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lab.submit(changed(inputs=inputs))
    assert [type(event) for event in lab.journal()] == [CallRefused]
    assert lab.journal()[0].agent == "claude"


def test_what_a_campaign_narrows_further_stays_narrow(lab: AgentLab) -> None:
    inputs = {"red": {"low": 20, "high": 50}, "yellow": 7, "dye": "b"}
    lab.submit(changed(inputs=inputs), rehearsal=lab.rehearse(changed(inputs=inputs)))
    lab.tick()
    assert lab.bench.processes.orders[0].campaign["inputs"] == inputs


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"solver": "random"}, "solver random is not allowed; allowed: auto, linear, gp"),
        ({"retry": {"times": 4}}, "retry.times 4 is not allowed; allowed: 0 … 3"),
        ({"stop": {"trials": 101}}, "up to 202 readings, and 0 of 200"),
        ({"stop": {"trials": 90}, "confirm": 0, "average": 1}, "costs up to .*, and 0 of 100"),
    ],
)
def test_a_campaign_beyond_a_limit_is_refused_rehearsed_or_not(
    lab: AgentLab, keys: dict[str, Any], message: str
) -> None:
    answer = lab.submit(changed(**keys))
    assert answer["decision"] == "refused"
    assert any(re.search(message, reason) for reason in answer["reasons"]), answer
    lab.tick()
    assert lab.bench.processes.orders == []


def test_a_campaign_does_not_write_into_the_directory_of_a_lab(lab: AgentLab) -> None:
    with pytest.raises(ConfigError, match=r"name: must not end in \.lab"):
        lab.submit(changed(name="agents.lab"))


def test_other_instruments_and_unknown_agents_get_nothing(lab: AgentLab) -> None:
    campaign = {"name": "x", "goal": {"445nm": 16384}, "solver": "linear"}
    with pytest.raises(ConfigError, match="instrument other is not allowed to claude; allowed: rig"):
        lab.submit(campaign, "other")
    with pytest.raises(ConfigError, match="eve is no agent of this lab"):
        lab.submit(by="eve")
    assert lab.submit(by="reader")["reasons"][0] == "reader is of tier read and may not submit"
    with pytest.raises(ConfigError, match="reader is of tier read; this needs rehearse or submit"):
        lab.rehearse(by="reader")
    assert lab.rehearsed == 0


def test_outside_the_hours_nothing_is_accepted_and_nothing_measures(tmp_path: Path) -> None:
    lab = AgentLab(agent_lab(tmp_path), now=MORNING + 8.5 * HOUR, seconds=3 * HOUR)
    lab.tick()
    assert lab.submit(rehearsal=lab.rehearse())["decision"] == "accepted"
    lab.tick()
    lab.tick(HOUR)  # 18:30
    pauses = [command[2] for command in lab.bench.processes.commands if command[0] == "pause"]
    assert pauses == ["outside the hours of claude: 08:00-18:00"]
    assert lab.submit(rehearsal=lab.rehearse())["reasons"] == ["outside the hours of claude: 08:00-18:00"]
    lab.close()


# Rehearsals --------------------------------------------------------------------------------------------------------
def test_a_rehearsal_counts_once_for_an_hour_for_its_campaign_and_its_agent(tmp_path: Path) -> None:
    lab = AgentLab(agent_lab(tmp_path, {"other": limits()}))
    lab.tick()
    name = lab.rehearse()
    for why, how in {
        "not rehearsed": {},
        "no such rehearsal": {"rehearsal": "0" * 32},
        "of another campaign": {"rehearsal": name, "campaign": changed(seed=1)},
    }.items():
        answer = lab.submit(**how)
        assert (answer["decision"], why in answer["reasons"][0]) == ("waits", True), answer
    assert "no such rehearsal" in lab.submit(rehearsal=name, by="other")["reasons"][0]
    assert lab.submit(rehearsal=name)["decision"] == "accepted"
    assert "was used by an earlier submission" in lab.submit(rehearsal=name)["reasons"][0]
    late = lab.rehearse()
    lab.tick(HOUR + 1)
    answer = lab.submit(rehearsal=late)
    assert answer["decision"] == "waits"
    assert "older than an hour" in answer["reasons"][0]
    lab.close()


@pytest.mark.parametrize(
    ("outcome", "mismatch", "why"),
    [
        ("unreachable", "", "the rehearsal ended as unreachable"),
        ("spent", "", "the rehearsal ended as spent"),
        ("reached", "the instrument no longer matches its twin in R", "no longer matches its twin in R"),
    ],
)
def test_a_rehearsal_that_shows_trouble_does_not_count(lab: AgentLab, outcome: str, mismatch: str, why: str) -> None:
    lab.outcome, lab.mismatch = outcome, mismatch
    answer = lab.submit(rehearsal=lab.rehearse())
    assert answer["decision"] == "waits"
    assert why in answer["reasons"][0]


def test_where_a_person_approves_always_a_rehearsal_is_not_enough(tmp_path: Path) -> None:
    lab = AgentLab(agent_lab(tmp_path, {"claude": limits(approve="always")}))
    lab.tick()
    answer = lab.submit(rehearsal=lab.rehearse())
    assert answer["decision"] == "waits"
    assert answer["reasons"] == ["a person approves every submission of this agent"]
    lab.close()


# Review ------------------------------------------------------------------------------------------------------------
def test_an_approved_submission_runs_once_with_the_name_of_the_person_in_the_journal(lab: AgentLab) -> None:
    lab.submit()
    lab.tick()
    assert lab.bench.processes.orders == []
    assert lab.asks.review(1, True, "looks right", "ada") == "Approved submission 1 (dye of claude)."
    lab.tick()
    assert len(lab.bench.processes.orders) == 1
    with pytest.raises(ConfigError, match="submission 1 does not wait for a person; waiting: none"):
        lab.asks.review(1, True, "again", "ada")
    lab.tick(HOUR)
    assert len(lab.bench.processes.orders) == 1
    assert [(e.by, e.approved, e.reason) for e in lab.journal(Reviewed)] == [("ada", True, "looks right")]
    (row,) = lab.asks.all()
    assert (row["decision"], row["by"], row["why"]) == ("approved", "ada", "looks right")


def test_a_rehearsal_does_not_count_again_after_an_approval(tmp_path: Path) -> None:
    lab = AgentLab(agent_lab(tmp_path, {"claude": limits(approve="always")}))
    lab.tick()
    name = lab.rehearse()
    lab.submit(rehearsal=name)
    lab.asks.review(1, True, "", "ada")
    assert "the rehearsal was used by an earlier submission" in lab.submit(rehearsal=name)["reasons"]
    lab.close()


def test_an_instrument_that_the_lab_file_changed_runs_nothing_that_was_submitted_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign keeps the description of its instrument, and would keep to the bounds of before."""
    first = AgentLab(agent_lab(tmp_path))
    first.tick()
    first.submit(rehearsal=first.rehearse())
    first.submit(changed(name="waits"))
    first.tick()
    (start,), (waiting,) = first.bench.lab.starts.values(), first.bench.lab.submissions.values()
    first.close()
    text = "rig has been changed in the lab file since the campaign was submitted: inputs.red.high 255 → 220"
    for high, pause, violation in [(255, "", []), (220, text, [f"{text}; submit the campaign again"])]:
        monkeypatch.setitem(agent_kit.RIG, "inputs", {**agent_kit.RIG["inputs"], "red": {"low": 0, "high": high}})
        later = AgentLab(agent_lab(tmp_path))
        assert reason_to_pause(later.bench.lab, start, MORNING, 0) == pause
        assert list(violations(later.bench.lab, waiting, MORNING)) == violation
        later.bench.lab.submissions[waiting.number] = waiting
        assert [row["changed"] for row in later.desk.status()["submissions"]] == [pause]
        later.close()


def test_a_refused_submission_never_runs(lab: AgentLab) -> None:
    lab.submit()
    assert lab.asks.review(1, False, "not today", "ada") == "Refused submission 1 (dye of claude)."
    lab.tick(HOUR)
    assert lab.bench.processes.orders == []
    with pytest.raises(ConfigError, match="does not wait"):
        lab.asks.review(1, True, "", "ada")


def test_an_approval_does_not_lift_a_limit(lab: AgentLab) -> None:
    big = changed(stop={"trials": 40}, name="big")
    assert [lab.submit(big)["decision"] for _ in range(3)] == ["waits"] * 3
    lab.asks.review(1, True, "", "ada")
    with pytest.raises(ConfigError, match=r"submission 2 cannot be approved now: (up to|costs)"):
        lab.asks.review(2, True, "", "ada")
    lab.tick(10 * HOUR)  # 19:00
    with pytest.raises(ConfigError, match="cannot be approved now: outside the hours"):
        lab.asks.review(3, True, "", "ada")


# Journal, floods, restarts -----------------------------------------------------------------------------------------
def test_everything_that_an_agent_asks_is_in_the_journal(lab: AgentLab) -> None:
    name = lab.rehearse()
    lab.submit(rehearsal=name)
    lab.submit(changed(solver="random"))
    with pytest.raises(ConfigError):
        lab.submit({"name": "x"})
    lab.tick()
    lab.asks.stop("start 1", "enough", agent())
    with pytest.raises(ConfigError):
        lab.asks.stop("start 99", "", agent())
    kinds = [(type(e), getattr(e, "agent", None) or e.by) for e in lab.journal()]
    assert kinds == [(Rehearsed, "claude"), (Submitted, "claude"), (Submitted, "claude")] + 2 * [
        (CallRefused, "claude")
    ]
    assert [(e.verb, e.target, e.by, e.reason) for e in lab.journal(Asked)] == [
        ("abort", "start 1", "claude", "enough")
    ]


def test_the_journal_of_agents_is_read_back_from_the_disk_to_the_same_state(lab: AgentLab, tmp_path: Path) -> None:
    lab.submit(rehearsal=lab.rehearse())
    lab.submit(changed(name="b"))
    lab.submit(changed(name="c", solver="random"))
    lab.asks.review(2, True, "", "ada")
    lab.submit(changed(name="d"))
    lab.tick(700.0)
    lab.tick(700.0)
    record = journal.open_journal(tmp_path / "copy.lab")
    for event in lab.bench.events:
        record.append(event)
    record.close()
    state = fold(journal.read(tmp_path / "copy.lab"))
    assert state.submissions.keys() == {4}
    assert state == fold(lab.bench.events)
    now = lab.bench.clock.now()
    assert state.committed("claude", now) == lab.bench.lab.committed("claude", now) != (0, 0.0)


def test_a_flood_is_refused_and_does_not_fill_the_journal(lab: AgentLab) -> None:
    answers = []
    for n in range(200):
        try:
            answers.append(lab.submit(changed(name=f"n{n}"))["decision"])
        except TooManyCalls:
            answers.append("too many")
    assert answers == MAX_WAITING * ["waits"] + (60 - MAX_WAITING) * ["refused"] + 140 * ["too many"]
    assert len(lab.journal()) == 60
    lab.tick(61.0)
    assert lab.submit()["decision"] == "refused"


def test_a_slow_flood_ends_after_two_thousand_calls_in_a_day(lab: AgentLab) -> None:
    for n in range(2000):
        lab.asks.note_refused("claude", "submit", f"{n}")
        lab.bench.clock.sleep(2.0)
    with pytest.raises(TooManyCalls, match="2000 calls in 1 d"):
        lab.submit()
    lab.asks.note_refused("claude", "submit", "one more")
    assert len(lab.journal()) == 2000
    lab.bench.clock.sleep(24 * HOUR)
    assert lab.submit()["decision"] == "waits"


def test_readings_of_the_last_day_and_the_most_of_what_is_queued_count(lab: AgentLab) -> None:
    big = changed(stop={"trials": 40}, name="big")  # 80 readings at most, 5 in the end
    assert lab.submit(big, rehearsal=lab.rehearse(big))["decision"] == "accepted"
    second = changed(stop={"trials": 39}, name="second")
    assert "80 of 200" in str(lab.submit(changed(stop={"trials": 61}), rehearsal="")["reasons"])
    assert "costs up to" in str(lab.submit(second)["reasons"])
    lab.tick()
    lab.tick(700.0)
    assert lab.bench.lab.committed("claude", lab.bench.clock.now())[0] == 5
    assert lab.submit(second)["decision"] == "waits"


def test_what_runs_pauses_where_the_lab_file_took_the_limits_back(tmp_path: Path) -> None:
    first = AgentLab(agent_lab(tmp_path), seconds=3 * HOUR)
    first.tick()
    first.submit(rehearsal=first.rehearse())
    first.tick()
    first.close()
    for keys, why in [
        ({"instruments": {"rig": {"red": {"high": 100}}}}, "input red is not kept within the bounds"),
        ({"instruments": {"other": {}}, "cost_per_day": None}, "instrument rig is not allowed"),
        ({"solvers": ["gp"]}, "solver auto is not allowed"),
        ({"tier": "read"}, "may no longer submit"),
        ({"hours": "10:00-11:00"}, "outside the hours"),
    ]:
        later = AgentLab(agent_lab(tmp_path, {"claude": limits(**keys)}))
        start = next(iter(first.bench.lab.starts.values()))
        assert why in reason_to_pause(later.bench.lab, start, MORNING, 0)
        later.close()
    path = tmp_path / "lab.yaml"
    path.write_text(path.read_text().split("agents:")[0])
    assert load(path).lab.agents == {}


def test_what_an_agent_has_reserved_and_used_is_known_after_a_crash_of_the_lab(lab: AgentLab) -> None:
    lab.submit(rehearsal=lab.rehearse())
    lab.tick()
    lab.tick(700.0)
    lab.submit(rehearsal=lab.rehearse())
    lab.tick()
    before, now = lab.bench.lab.committed("claude", lab.bench.clock.now()), lab.bench.clock.now()
    again = Bench(lab.bench.loaded, now=now, before=lab.bench.events).open()
    assert [(s.agent, s.reserved[0]) for s in again.lab.starts.values()] == [("claude", 12)]
    assert again.lab.committed("claude", now) == before == (5 + 12, before[1])
    again.tick()
    again.tick(60.0)
    assert [order.start for order in again.processes.orders] == [2], "it is resumed"


# Stop --------------------------------------------------------------------------------------------------------------
def test_an_agent_of_any_tier_stops_what_runs_on_its_instruments_and_nothing_else(lab: AgentLab) -> None:
    lab.desk.run_now("night", "ada")
    lab.submit(rehearsal=lab.rehearse())
    lab.tick()
    running = {s.instrument: s.number for s in lab.bench.lab.running()}
    assert set(running) == {"rig", "other"}
    for target in (f"start {running['other']}", "instrument other"):
        with pytest.raises(ConfigError, match="not on an instrument that reader may use"):
            lab.asks.stop(target, "", agent("reader", "read"))
    with pytest.raises(ConfigError, match="name `start N` or `instrument NAME`"):
        lab.asks.stop("lab", "", agent("reader", "read"))
    assert lab.asks.stop("instrument rig", "smoke", agent("reader", "read")) == f"Aborted start {running['rig']}."
    assert ("abort", running["rig"], "smoke", "reader") in lab.bench.processes.commands


def test_calls_beyond_the_limit_do_not_keep_an_agent_from_stopping(lab: AgentLab) -> None:
    lab.submit(rehearsal=lab.rehearse())
    lab.tick()
    for _ in range(60):
        with contextlib.suppress(ConfigError):
            lab.submit({"name": "x"})
    with pytest.raises(TooManyCalls):
        lab.submit()
    assert lab.asks.stop("start 1", "", agent()) == "Aborted start 1."


def test_started_campaigns_are_those_that_were_accepted_or_approved(lab: AgentLab) -> None:
    lab.submit(CAMPAIGN)
    lab.tick(HOUR)
    assert lab.journal(Started) == []


@pytest.mark.parametrize("keys", [
    {"solver": "auto"}, {"solver": "random"}, {"solver": "broyden"}, {"solver": "gp", "design": {"kind": "sobol"}},
    {"solver": "linear", "design": {"kind": "factorial"}, "inputs": {"G": {"low": 0.1, "high": 0.2}, "B": 0.3}},
    {"solver": "gp", "goal": {"445nm": "maximise"}}, {"solver": "bayes", "design": {"kind": "farthest"}},
])  # fmt: skip
def test_every_setting_that_is_measured_lies_within_the_bounds_of_the_agent(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    bounds = {"R": CampaignInput(low=0.2, high=0.6), "B": CampaignInput(high=0.5)}
    tree = {
        "name": "far", "instrument": {"kind": "twin", "seed": 3}, "goal": {"445nm": 60000}, "confirm": 0,
        "stop": {"trials": 9}, **keys,
    }  # fmt: skip
    parsed = config.parse(tree)
    within, problems = bound_inputs(parsed.inputs, bounds, parsed.instrument.inputs)
    assert problems == []
    campaign = {**tree, "inputs": {name: one.model_dump() for name, one in within.items()}}
    run = open_run(sdl.run(campaign, runs=tmp_path).run)
    measured = [event.applied for event in run.events if isinstance(event, Measured)]
    assert len(measured) >= 5
    for applied in measured:
        assert 0.2 - 1e-9 <= applied["R"] <= 0.6 + 1e-9
        assert applied["B"] <= 0.5 + 1e-9
