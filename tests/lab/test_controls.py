"""Every control under every set of pauses: it acts on what it names, and on nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import processes
import pytest

from sdl.errors import ConfigError
from sdl.lab.config.file import ResolvedLab
from sdl.lab.core.events import Asked, Due, Held, Released, Started
from sdl.lab.http.control import Controller
from sdl.lab.workers.base import WorkerUpdate
from sdl.web import render
from tests.lab.lab_kit import Asking, job, lab_file

PAUSES = {"lab": "lab", "instrument": "instrument a", "job": "job j", "run": "start 1"}
"""By its name in the documentation what can pause start 1, of job j on instrument a, the widest first."""
SETS = list(chain.from_iterable(combinations(PAUSES, n) for n in range(len(PAUSES) + 1)))
ELSEWHERE = ["instrument b", "job k", "start 2"]
"""What runs beside it, on another instrument."""
BUTTON = re.compile(r'<button[^>]* data-verb="([^"]+)" data-target="([^"]+)"[^>]* aria-label="([^"]+)"(?:[^>]*)>')


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> ResolvedLab:
    on_request = {"asked": True}
    return lab_file(tmp_path_factory.mktemp("lab"), {"j": job(when=on_request), "k": job("b", when=on_request)})


@pytest.fixture(params=SETS, ids=lambda names: "+".join(names) or "none")
def paused(request: pytest.FixtureRequest, loaded: ResolvedLab) -> tuple[Asking, list[str]]:
    """Start 1 runs on a, 2 on b, 3 waits for a; and what of it is paused, by ada."""
    return under(loaded, request.param)


def under(loaded: ResolvedLab, names: Sequence[str]) -> tuple[Asking, list[str]]:
    asking = Asking(loaded)
    for name in ("j", "k", "j"):
        asking("run_now", name, "ada")
    assert [start.number for start in asking.bench.lab.running()] == [1, 2]
    targets = [PAUSES[name] for name in names]
    for target in targets:
        asking("pause", target, f"why of {target}", "ada")
    asking.bench.tick()  # what is paused says so
    asking.bench.processes.commands.clear()
    return asking, targets


def holds(asking: Asking) -> list[str]:
    return [target for target in (*PAUSES.values(), *ELSEWHERE) if target in asking.bench.lab.pauses]


def reason(asking: Asking, start: int) -> str:
    """Why a start is paused, as its process was told; empty where it goes on."""
    return asking.bench.loop.live[start].pause_sent


def check(asking: Asking, held: Sequence[str]) -> None:
    """These are the pauses, and each campaign is under the widest that covers it."""
    assert holds(asking) == list(held)
    covering = {1: list(PAUSES.values()), 2: ["lab", *ELSEWHERE]}
    for start in asking.bench.lab.running():
        over = [target for target in covering[start.number] if target in held]
        assert bool(reason(asking, start.number)) == bool(over)
        if over:
            assert reason(asking, start.number).startswith(f"{over[0].replace('lab', 'the whole lab')} is paused")


def proceeded(asking: Asking) -> set[int]:
    return {command[1] for command in asking.bench.processes.commands if command[0] in ("proceed", "resume")}


@pytest.mark.parametrize("target", [*PAUSES.values(), *ELSEWHERE])
def test_a_resume_ends_the_pause_of_that_name_and_no_other(paused: tuple[Asking, list[str]], target: str) -> None:
    asking, held = paused
    before = len(asking.bench.events)
    if target in held:
        answer = asking("resume", target, "bob")
        assert f"by ada: why of {target}" in answer
        remaining = [other for other in held if other != target]
        assert all(f"sdl lab resume {other}" in answer for other in remaining)
    else:
        with pytest.raises(ConfigError) as refused:
            asking("resume", target, "bob")
        remaining = held
        covers = {"start 2": [t for t in held if t == "lab"]}.get(target, held)
        assert all(f"by ada: why of {other} (sdl lab resume {other})" in str(refused.value) for other in covers)
        assert len(asking.bench.events) == before
    check(asking, remaining)
    goes_on = {1: bool(held) and not remaining, 2: "lab" in held and "lab" not in remaining}
    assert proceeded(asking) == {start for start, free in goes_on.items() if free}


@pytest.mark.parametrize("target", [*PAUSES.values(), *ELSEWHERE, "start 3"])
def test_a_pause_adds_the_one_of_that_name_whatever_else_is_paused(
    paused: tuple[Asking, list[str]], target: str
) -> None:
    asking, held = paused
    if target in held:
        with pytest.raises(ConfigError, match=f"is already paused by ada: why of {target}"):
            asking("pause", target, "again", "bob")
        check(asking, held)
    else:
        asking("pause", target, "why", "bob")
        assert set(asking.bench.lab.pauses) == {*held, target}
    assert proceeded(asking) == set()


@pytest.mark.parametrize(
    ("target", "aborted"),
    [
        ("lab", {1, 2, 3}),
        ("instrument a", {1, 3}),
        ("job j", {1, 3}),
        ("start 1", {1}),
        ("start 3", {3}),
        ("job k", {2}),
    ],
)
def test_an_abort_ends_the_starts_of_its_target_alone_and_leaves_the_other_pauses(
    paused: tuple[Asking, list[str]], target: str, aborted: set[int]
) -> None:
    asking, held = paused
    answer = asking("abort", target, "enough", "bob")
    asking.bench.tick()
    assert answer == "Aborted " + ", ".join(f"start {number}" for number in sorted(aborted)) + "."
    assert {past["start"] for past in asking.bench.lab.past} == aborted
    assert holds(asking) == [other for other in held if other != "start 1" or 1 not in aborted]
    began = {event.start for event in asking.bench.of(Started)}
    assert (3 in began) == (1 in aborted and 3 not in aborted and not set(held) & {"lab", "instrument a", "job j"})
    assert proceeded(asking) == set()


@pytest.mark.parametrize("target", ["start 3", "job j"])
def test_a_skip_leaves_out_one_start_and_no_pause(paused: tuple[Asking, list[str]], target: str) -> None:
    asking, held = paused
    assert asking("skip", target, "visitors", "bob") == "Skipped start 3."
    check(asking, held)
    assert [past["start"] for past in asking.bench.lab.past] == [3]
    assert proceeded(asking) == set()


@pytest.mark.parametrize(("verb", "instrument"), [("run_now", "a"), ("run_now", "b"), ("start", "a"), ("start", "b")])
def test_a_start_that_is_asked_for_names_itself_and_what_it_waits_for(
    paused: tuple[Asking, list[str]], loaded: ResolvedLab, verb: str, instrument: str
) -> None:
    asking, held = paused
    text = "name: by-hand\ngoal: {445nm: 16384}\nsolver: linear\n"
    given = (text, instrument) if verb == "start" else ({"a": "j", "b": "k"}[instrument],)
    answer = asking(verb, *given, "bob")
    assert " as start 4." in answer
    over = {"lab", "instrument a", "job j"} if instrument == "a" else {"lab"}
    over -= {"job j"} if verb == "start" else set()
    result = [target for target in held if target in over]
    assert ("It waits: " in answer) == bool(result)
    if result:
        assert f"is paused: why of {result[0]}" in answer
    check(asking, held)
    assert proceeded(asking) == set()


def buttons(asking: Asking, start: int) -> dict[tuple[str, str], str]:
    """The controls of a run's page, as (verb, target), with their labels."""
    row = next(row for row in asking("status")["running"] if row["start"] == start)
    live = {"state": {"word": "paused", "text": "", "good": False}, "opened": False, "ended": False, "times": {}}
    drawn = render.text("live/state.html.j2", live=live, start=row, zone="UTC")
    return {(verb, target): label for verb, target, label in BUTTON.findall(drawn)}


def of_page(asking: Asking, held: Sequence[str]) -> dict[tuple[str, str], str]:
    """What the page of start 1 must offer under these pauses."""
    own = {("resume", "start 1"): "Resume this campaign"} if "start 1" in held else {}
    own = own or ({} if held else {("pause", "start 1"): "Pause this campaign"})
    wider = {
        ("resume", target): f"End the pause of {target.replace('lab', 'the whole lab')}…"
        for target in held
        if target != "start 1"
    }
    return own | wider | {("abort", "start 1"): "Abort this campaign"}


def test_each_button_of_a_runs_page_does_what_its_label_says(
    paused: tuple[Asking, list[str]], loaded: ResolvedLab
) -> None:
    asking, held = paused
    shown = buttons(asking, 1)
    assert shown == of_page(asking, held)
    names = [name for name, target in PAUSES.items() if target in held]
    for verb, target in shown:
        asking, _ = under(loaded, names)
        asking(verb, target, *(["", "bob"] if verb != "resume" else ["bob"]))
        expected = {"resume": [t for t in held if t != target], "pause": [*held, target]}.get(verb)
        if expected is not None:
            check(asking, expected)


def test_the_page_of_the_lab_has_one_control_for_each_pause_and_it_names_it(
    paused: tuple[Asking, list[str]],
) -> None:
    asking, held = paused
    status = {**asking("status"), "queue": list(asking("queue")), "past": []}
    drawn = render.text("home/now.html.j2", status=status, doing={}, live=[], latest=[], reading=None, zone="UTC")
    shown = BUTTON.findall(drawn)
    resumes = [(target, label) for verb, target, label in shown if verb == "resume"]
    assert {target for target, _ in resumes} == set(held)
    for target, label in resumes:
        assert target.replace("lab", "the whole lab", 1) in label or label.startswith("Resume start 1")
    assert all(target == "start 1" or "data-quote" in drawn for target, _ in resumes)
    for target in held:
        assert f"by ada: why of {target}" in drawn
    assert (("pause", "lab", "Pause the whole lab") in shown) == ("lab" not in held)


def row(loaded: ResolvedLab, names: Sequence[str]) -> str:
    """What `resume` of each target does under these pauses, found by doing it, and what the run's page offers."""
    cells = []
    for target in PAUSES.values():
        asking, _ = under(loaded, names)
        try:
            asking("resume", target, "bob")
        except ConfigError:
            cells.append("refused")
        else:
            remaining = [name for name, other in PAUSES.items() if other in asking.bench.lab.pauses]
            assert bool(remaining) == bool(reason(asking, 1))
            cells.append(f"paused: {', '.join(remaining)}" if remaining else "continues")
    shown = buttons(under(loaded, names)[0], 1).values()
    labels = [label.removesuffix(" this campaign").replace("End the pause of ", "End: ") for label in shown]
    return f"| {', '.join(names) or 'nothing'} | {' | '.join(cells)} | {' · '.join(labels)} |"


@pytest.mark.parametrize("names", SETS, ids=lambda names: "+".join(names) or "none")
def test_the_table_in_the_documentation_is_what_the_controls_do(loaded: ResolvedLab, names: Sequence[str]) -> None:
    page = (processes.ROOT / "docs" / "how-to" / "lab-control.md").read_text(encoding="utf-8")
    assert row(loaded, names) in page.splitlines()


# Pauses that nobody asked for -----------------------------------------------------------------------------------------
def bright(asking: Asking) -> None:
    """The campaign of start 1 pauses by itself."""
    asking.bench.processes.say(
        WorkerUpdate(1, "paused", "the background is too high (suspend)", at=asking.bench.clock.now())
    )
    asking.bench.tick(0.1)


def test_a_campaigns_own_pause_for_a_condition_is_ended_by_its_own_resume(loaded: ResolvedLab) -> None:
    asking, _ = under(loaded, [])
    bright(asking)
    assert buttons(asking, 1) == {
        ("resume", "start 1"): "Resume this campaign",
        ("abort", "start 1"): "Abort this campaign",
    }
    for target in ("lab", "instrument a", "job j"):
        with pytest.raises(ConfigError, match=r"start 1, paused: the background is too high .*sdl lab resume start 1"):
            asking("resume", target, "bob")
    assert proceeded(asking) == set()
    assert "unless the cause of its pause persists" in asking("resume", "start 1", "bob")
    assert [command for command in asking.bench.processes.commands if command[0] in ("proceed", "resume")] == [
        ("resume", 1, "bob")
    ]
    assert [event.verb for event in asking.bench.of(Asked)][-1] == "resume"


@pytest.mark.parametrize("target", ["lab", "instrument a", "job j", "start 1"])
def test_the_end_of_a_pause_that_was_asked_for_is_not_the_end_of_a_condition(loaded: ResolvedLab, target: str) -> None:
    asking, _ = under(loaded, [name for name, other in PAUSES.items() if other == target])
    bright(asking)
    asking("resume", target, "bob")
    assert ("resume", 1, "bob") not in asking.bench.processes.commands
    assert ("proceed", 1, "bob") in asking.bench.processes.commands


def test_what_the_lab_file_pauses_nobody_resumes(tmp_path: Path) -> None:
    dark = [{"from": "2026-11-24 00:02", "to": "2026-11-24 00:20", "why": "paint"}]
    asking = Asking(lab_file(tmp_path, {"j": job(when={"asked": True})}, blackouts=dark))
    asking("run_now", "j", "ada")
    asking.bench.go(130)
    with pytest.raises(
        ConfigError, match=r"start 1 is paused by the lab file: black-out until .*paint; it continues automatically"
    ):
        asking("resume", "start 1", "bob")
    assert proceeded(asking) == set()
    assert ("resume", "start 1") not in buttons(asking, 1)


def test_resuming_a_pause_that_was_replaced_meanwhile_is_refused(loaded: ResolvedLab) -> None:
    asking, _ = under(loaded, ["lab"])
    [shown] = asking("status")["held"]
    asking("resume", "lab", "ada", repr(shown["at"]))
    asking.bench.tick(5)
    asking("pause", "lab", "person in enclosure", "eve")
    with pytest.raises(ConfigError, match="paused again meanwhile; it is now paused by eve: person in enclosure"):
        asking("resume", "lab", "bob", repr(shown["at"]))
    assert holds(asking) == ["lab"]


def test_a_pause_of_a_job_that_has_left_the_lab_file_can_still_be_ended(loaded: ResolvedLab, tmp_path: Path) -> None:
    asking, _ = under(loaded, ["job"])
    asking.bench.loop.open(lab_file(tmp_path, {"k": job("b", when={"asked": True})}), 1, "ada")
    asking("resume", "job j", "bob")
    assert holds(asking) == []
    with pytest.raises(ConfigError, match="unknown 'job j'"):
        asking("pause", "job j", "", "bob")


def test_two_who_ask_for_a_job_at_once_are_told_different_starts(loaded: ResolvedLab) -> None:
    asking = Asking(loaded)
    answer: list[Any] = []
    for _ in range(2):
        answer.append(Controller.run_now.__wrapped__(asking.desk, "j", "ada"))  # in this thread, without a tick
    assert answer == ["Queued j on a as start 1.", "Queued j on a as start 2."]


def test_who_asks_at_the_moment_at_which_another_is_due_is_told_the_own_start(tmp_path: Path) -> None:
    each = job(when={"cron": "* * * * *"})
    asking = Asking(lab_file(tmp_path, {"j": each, "k": job("b", when={"asked": True})}))
    asking.bench.clock.sleep(60.0)  # a start of j is due, and not yet made
    answer = [Controller.run_now.__wrapped__(asking.desk, name, "ada") for name in ("k", "j")]
    asking.bench.tick()
    expected = [f"Queued {due.job} on {due.job.translate({106: 97, 107: 98})} as start {due.start}."
            for due in asking.bench.of(Due) if due.cause == "asked"]  # fmt: skip
    assert answer == expected


def test_every_pause_and_every_end_of_one_is_in_the_journal_under_its_own_name(loaded: ResolvedLab) -> None:
    asking, held = under(loaded, list(PAUSES))
    for target in reversed(held):
        asking("resume", target, "bob")
    assert [event.what for event in asking.bench.of(Held)] == held
    assert [event.what for event in asking.bench.of(Released)] == held[::-1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("instrument: {kind: command, command: [rm, -rf, /]}", "instrument: names a program"),
        ("instrument: {use: /etc/rig.yaml}", "instrument: names a file"),
        ("instrument: {kind: python, function: 'x.py:f'}", "instrument: names Python code"),
        ("expect: {instrument: {kind: http, url: 'http://10.0.0.1'}}", "expect.instrument: names an address"),
        ("watch: ../../secret.toml", "watch: a submitted campaign must not name a path"),
        ("prior: [FOLDER/elsewhere.csv]", "prior.0: must be a run of this lab"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "start"])
def test_a_campaign_that_came_in_names_no_program_code_address_or_path(
    loaded: ResolvedLab, verb: str, keys: str, message: str
) -> None:
    (loaded.path.parent / "elsewhere.csv").write_text("R,G,B,445nm\n0.5,0,0,10000\n0.6,0,0,12000\n")
    asking = Asking(loaded)
    text = f"name: x\ngoal: {{445nm: 12000}}\n{keys}\n".replace("FOLDER", str(loaded.path.parent))
    with pytest.raises(ConfigError, match=message):
        asking(verb, text, "a", *(["ada"] if verb == "start" else []))
