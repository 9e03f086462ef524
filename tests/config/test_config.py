"""The campaign file: what is right is read, and whatever is wrong is told with file, line and path; nothing starts."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import processes
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import model_validator

from sdl import config, registry, yamlfile
from sdl.config import CampaignFile
from sdl.config.mistakes import PATTERNS
from sdl.errors import ConfigError, Problem
from sdl.types import Frozen

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [file for file in sorted((ROOT / "configs").glob("*.yaml")) if not file.name.startswith("lab-")]

GOOD = """\
# A campaign with every kind of key in it.
name: fuzz
description: "words: many"
instrument: {kind: twin, state: night-2025-10, latency: 0.5}
goal:
  445nm: 16384
  515nm: {target: 16384, tolerance: 300}
  630nm: 20000.5
tolerance: 2%
confirm: 2
average: 1
design:
  kind: axis
  low: 0.1
  high: 0.9
solver:
  kind: gmm
  components: 1
stop:
  trials: 40
  minutes: 30
  stagnation: {trials: 10, by: .05}
retry: {times: 3, wait: 1, longest: 60}
prior: []
seed: 0
"""
SHORT = "name: short\ninstrument: {kind: twin}\ngoal: {445nm: 16384}\n"


def refused(text: str | bytes, tmp_path: Path, *changes: str, collect: bool = False) -> tuple[Problem, ...]:
    """The mistakes that `load` finds in a file; it must find some."""
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        config.load(file, changes, collect=collect)
    assert {p.file for p in caught.value.problems if not changes} <= {str(file)}
    return caught.value.problems


def places(problems: tuple[Problem, ...]) -> list[tuple[int | None, str]]:
    return [(p.line, p.path) for p in problems]


# --- what is right ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_a_shipped_file_is_valid_and_its_resolved_form_means_the_same(file: Path) -> None:
    result = config.load(file, collect=True)
    assert config.parse(result.plain(), collect=True) == result
    assert config.parse(yamlfile.parse(yamlfile.dump(result.plain())).value, collect=True) == result


def test_the_resolved_form_has_every_key_and_needs_no_default(tmp_path: Path) -> None:
    plain = config.parse(yamlfile.parse(SHORT).value).plain()
    assert tuple(k for k in config.KEYS if k in CampaignFile.model_fields) == config.KEYS
    assert tuple(plain) == tuple(k for k in config.KEYS if k != "notify"), "recipients stand there only if given"
    assert plain["tolerance"] == "2.0%"
    assert plain["solver"]["kind"] == "auto"
    assert plain["instrument"]["seed"] == 0
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_kind_may_be_given_as_a_word() -> None:
    tree = yamlfile.parse(SHORT.replace("{kind: twin}", "twin") + "solver: pls\n").value
    assert config.parse(tree).plain()["solver"]["kind"] == "pls"


def test_a_model_goes_through_parse_unchanged() -> None:
    result = config.parse(yamlfile.parse(GOOD).value)
    assert config.parse(result) == result


def test_the_twin_s_noise_is_that_of_the_campaign_s_seed_unless_it_has_its_own() -> None:
    tree = yamlfile.parse(SHORT + "seed: 7\n").value
    assert config.parse(tree).instrument.seed == 7
    assert config.parse(config.override(tree, "instrument.seed=3")).instrument.seed == 3


def test_bands_come_from_each_channel_s_own_tolerance_or_the_common_one() -> None:
    goal = config.parse(yamlfile.parse(GOOD).value).goals()
    assert goal is not None
    assert goal.bands["445nm"].high == pytest.approx(16384 * 1.02)
    assert goal.bands["515nm"].low == 16384 - 300


def test_a_prior_s_path_starts_at_the_file_and_is_kept_joined(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "c.yaml").write_text(SHORT + "prior: [./log.jsonl]\n", encoding="utf-8")
    assert [Path(p.source) for p in config.load(tmp_path / "c.yaml").prior] == [tmp_path / "log.jsonl"]


def test_without_a_goal_the_trials_are_those_of_the_design() -> None:
    tree = {"name": "c", "instrument": "twin", "design": {"kind": "latin-hypercube", "trials": 17}}
    assert config.parse(tree, collect=True).stop.trials == 17


def test_the_cost_counts_confirmations_and_is_cut_by_the_minutes() -> None:
    tree = yamlfile.parse(SHORT + "average: 2\nconfirm: 3\nstop: {trials: 10}\n").value
    cost = config.cost(config.parse(tree))
    assert (cost.trials, cost.readings) == (10, 10 * 2 * 4)
    assert cost.seconds == pytest.approx(80 * 0.78)
    assert config.cost(config.parse(config.override(tree, "stop.minutes=.5"))).seconds == 30


def test_the_cost_with_every_retry_counts_the_time_outs_and_the_waits() -> None:
    text = SHORT.replace("{kind: twin}", "{kind: claude-light, connect_timeout: 5, read_timeout: 65}")
    tree = yamlfile.parse(text + "confirm: 0\nstop: {trials: 10}\nretry: {times: 3, wait: 10, longest: 15}\n").value
    campaign = config.parse(tree)
    cost, usual = config.cost(campaign), campaign.instrument.reading_seconds
    assert (cost.readings, cost.tries) == (10, 40)
    assert cost.seconds == pytest.approx(10 * usual)
    assert cost.longest == pytest.approx(10 * (usual + 3 * campaign.instrument.timeout_seconds + 10 + 15 + 15))
    assert campaign.instrument.timeout_seconds >= 70
    without = config.cost(config.parse(config.override(tree, "retry.times=0")))
    assert without.longest == without.seconds == cost.seconds
    assert config.cost(config.parse(config.override(tree, "stop.minutes=2"))).longest == 120


@pytest.mark.parametrize("solver", ["{kind: bayes, knows: twin}", "{kind: auto, knows: twin}"])
def test_a_solver_that_knows_another_instrument_is_refused_before_anything_is_measured(solver: str) -> None:
    tree = config.override(yamlfile.parse(SHORT).value, f"solver={solver}")
    config.parse(tree)
    with pytest.raises(
        ConfigError, match=r"solver: .*state night-2025-10 is of another .* has the inputs R, G, B, W and"
    ):
        config.parse(config.override(tree, "instrument.variant=rgbw"))


def test_a_design_that_an_instrument_does_not_allow_is_one_mistake_whatever_the_solver_needs() -> None:
    tree = yamlfile.parse(SHORT).value
    for change in ("solver.kind=auto", "design.kind=box-behnken", "instrument.variant=green", "goal={515nm: 20000}"):
        tree = config.override(tree, change)
    with pytest.raises(ConfigError) as caught:
        config.parse(tree)
    assert [problem.path for problem in caught.value.problems] == ["design.kind"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["stop.trials=4"], "stop.trials: 4 leaves no trial for the solver auto: the design axis takes 4; give 5"),
        (["stop.trials=5"], ""),
        (["stop.trials=1", "solver={kind: bayes, knows: twin}"], ""),
        (["design.kind=latin-hypercube", "solver={kind: bayes, knows: twin}"], "design: not used, because the solver"),
        (["design.kind=latin-hypercube", "solver.kind=bayes"], ""),
    ],
)
def test_what_is_valid_but_hardly_meant_is_said(changes: list[str], words: str) -> None:
    tree = yamlfile.parse(SHORT).value
    for change in changes:
        tree = config.override(tree, change)
    sentence = config.cautions(config.parse(tree))
    assert len(sentence) == bool(words)
    assert words in "".join(sentence)


# --- --set --------------------------------------------------------------------------------------------------------


def test_a_change_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(GOOD, encoding="utf-8")
    result = config.load(tmp_path / "c.yaml", ["stop.trials=80", "tolerance=300", "goal.515nm=5000", "seed = 4"])
    assert (result.stop.trials, result.tolerance.amount, result.seed) == (80, 300, 4)
    assert result.goal is not None
    assert result.goal["515nm"].target == 5000


def test_another_kind_drops_the_options_of_the_old_one_and_the_same_kind_keeps_them() -> None:
    tree = {"solver": {"kind": "gmm", "components": 2}}
    assert config.override(tree, "solver.kind=pls") == {"solver": {"kind": "pls"}}
    assert config.override(tree, "solver.kind=gmm") == tree
    assert config.override({"solver": "gmm"}, "solver.components=3") == {"solver": {"kind": "gmm", "components": 3}}


def test_a_change_leaves_the_tree_it_was_given_alone() -> None:
    tree = {"stop": {"trials": 1}}
    config.override(tree, "stop.trials=2")
    assert tree == {"stop": {"trials": 1}}


@pytest.mark.parametrize("change", ["stop.trials", "=3", "a..b=1", ".=1", "seed=[", "seed=&a 1", "seed=\t- 1"])
def test_a_change_that_is_none_is_told(change: str, tmp_path: Path) -> None:
    assert "--set" in str(refused(SHORT, tmp_path, change)[0])


def test_a_mistake_in_a_change_is_told_as_one_of_the_change(tmp_path: Path) -> None:
    result = refused(SHORT, tmp_path, "stop.trials=0", "solver.kind=gm", "goal.445nm=-")
    assert [p.path for p in result] == ["--set solver.kind", "--set goal.445nm", "--set stop.trials"]


# --- what is wrong ------------------------------------------------------------------------------------------------


def test_every_mistake_of_a_file_is_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
name: "a b"
instrument: {kind: twinn}
goal:
  446nm: 16384
  445nm: 70000
  515nm: {target: 100, tolerance: 0}
tolerance: 2%
tolerance: 3%
design: {kind: axis, low: 2}
solver: {kind: gmm, componets: 2}
stop:
  trials: 0
  minuts: 3
prior: [nowhere.jsonl]
seed: -1
avrage: 3
"""
    result = refused(text, tmp_path)
    assert places(result) == [
        (1, "name"),
        (2, "instrument.kind"),
        (6, "goal.515nm.tolerance"),
        (8, "tolerance"),
        (9, "design.low"),
        (10, "solver.componets"),
        (12, "stop.trials"),
        (13, "stop.minuts"),
        (14, "prior.0"),
        (15, "seed"),
        (16, "avrage"),
    ]
    sentence = {p.path: p.message for p in result}
    assert "did you mean 'twin'?" in sentence["instrument.kind"]
    assert "claude-light" in sentence["instrument.kind"]
    assert "did you mean 'minutes'?" in sentence["stop.minuts"]
    assert "did you mean 'average'?" in sentence["avrage"]
    # What needs the instrument cannot be judged while that one is wrong; once it is right, it is.
    assert places(refused(text.replace("twinn", "twin"), tmp_path))[1:3] == [(4, "goal.446nm"), (5, "goal.445nm")]


def test_what_is_wrong_across_keys_is_told_together_with_what_is_wrong_in_one(tmp_path: Path) -> None:
    text = SHORT.replace("445nm: 16384", "445nm: 65500, 446nm: 5, 515nm: no") + "seed: x\n"
    assert [p.path for p in refused(text, tmp_path)] == ["goal.515nm", "goal.445nm", "goal.446nm", "seed"]


def test_a_goal_that_is_missing_is_told_beside_other_mistakes(tmp_path: Path) -> None:
    result = refused("name: salvaged\ninstrument: {kind: twinn}\nseed: -1\n", tmp_path)
    assert [p.path for p in result] == ["goal", "instrument.kind", "seed"]


BAD: dict[str, tuple[str | bytes, str, int | None]] = {
    "empty": ("", "empty", 1),
    "only comments": ("# nothing\n\n", "empty", 1),
    "a list": ("- name: a\n", "must be a mapping", 1),
    "a word": ("campaign\n", "must be a mapping", 1),
    "an unknown key": (SHORT + "speed: 3\n", "unknown key; allowed: name, description", 4),
    "a mistyped key": (SHORT + "tolerence: 3\n", "did you mean 'tolerance'", 4),
    "a mistyped nested key": (SHORT + "retry:\n  tmes: 3\n", "did you mean 'times'", 5),
    "a duplicate key": (SHORT + "goal: {515nm: 5}\n", "duplicate key 'goal', first in line 3", 4),
    "no name": (SHORT.replace("name: short\n", ""), "name: missing", 1),
    "no instrument": ("name: a\ngoal: {445nm: 16384}\n", "must be {kind: …} with one of the kinds", 1),
    "no goal": ("name: a\ninstrument: {kind: twin}\n", "goal: missing", 1),
    "no goal, by the name of salvaged": ("name: salvaged\ninstrument: {kind: twin}\n", "goal: missing", 1),
    "null as goal": (SHORT.replace("{445nm: 16384}", "null"), "goal: missing", 3),
    "an empty goal": (SHORT.replace("{445nm: 16384}", "{}"), "empty; give a target", 3),
    "a goal that is a number": (SHORT.replace("{445nm: 16384}", "16384"), "goal", 3),
    "a goal that is a list": (SHORT.replace("{445nm: 16384}", "[445nm]"), "goal", 3),
    "an unknown channel": (SHORT.replace("445nm", "446nm"), "the instrument has: 415nm, 445nm", 3),
    "a goal above saturation": (SHORT.replace("16384", "70000"), "saturates at 65535", 3),
    "a band that reaches saturation": (SHORT.replace("16384", "65000"), "reaches saturation", 3),
    "a goal of nan": (SHORT.replace("16384", ".nan"), "finite number", 3),
    "a goal of inf": (SHORT.replace("16384", ".inf"), "finite number", 3),
    "a goal of 1e999": (SHORT.replace("16384", "1e999"), "finite number", 3),
    "a goal of a thousand digits": (SHORT.replace("16384", "1" * 9000), "must be 16384, {target", 3),
    "a goal of true": (SHORT.replace("16384", "true"), "must be 16384, {target", 3),
    "a goal in words": (SHORT.replace("16384", "bright"), "must be 16384, {target", 3),
    "a tolerance of nothing": (SHORT + "tolerance: 0\n", "above 0", 4),
    "a tolerance of no per cent": (SHORT + "tolerance: 0%\n", "above 0", 4),
    "a tolerance below 0": (SHORT + "tolerance: -2%\n", "above 0", 4),
    "a tolerance in words": (SHORT + "tolerance: two\n", "must be 2%", 4),
    "a tolerance of a per cent of 0": (SHORT.replace("16384", "0"), "give it in the unit of the channel", 3),
    "a number as text": (SHORT + "seed: '1'\n", "must be a whole number", 4),
    "a number with a fraction": (SHORT + "seed: 1.0\n", "must be a whole number", 4),
    "a time": (SHORT + "stop: {minutes: 20:00}\n", "number", 4),
    "too large a seed": (SHORT + "seed: 0x7fffffffffffffffffff\n", "must be a whole number", 4),
    "no kind": (SHORT.replace("{kind: twin}", "{}"), "kind is missing; allowed: twin, claude-light", 2),
    "a kind that is a mapping": (SHORT + "solver: {kind: {a: 1}}\n", "unknown kind", 4),
    "an option of another kind": (SHORT + "solver: {kind: pls, n_t: 3}\n", "unknown key; allowed: kind", 4),
    "a design point outside": (
        SHORT + "design:\n  kind: points\n  points: [{R: .5, G: .5, B: .5},\n    {R: 2, G: 0, B: 0}]\n",
        "outside the bounds",
        7,
    ),
    "a design point that lacks an input": (SHORT + "design: {kind: points, points: [{R: .5}]}\n", "every input", 4),
    "a prior that is not there": (SHORT + "prior: [nowhere]\n", "no such file", 4),
    "a prior with a name too long": (SHORT + f"prior: [{'a' * 400}]\n", "no such file", 4),
    "a prior with a zero in its name": (SHORT + 'prior: ["a\\0b"]\n', "no such file", 4),
    "a state with a name too long": (SHORT.replace("kind: twin", f"kind: twin, state: {'a' * 4000}.toml"), "twin", 2),
    "a tab": (SHORT + "stop:\n\ttrials: 3\n", "a tab", 5),
    "an anchor": (SHORT + "solver: &s {kind: gmm}\n", "anchors", 4),
    "a bomb of aliases": ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "anchors", 1),
    "a tag": (SHORT + "seed: !!python/object/apply:os.getpid []\n", "tags", 4),
    "a second document": (SHORT + "---\n" + SHORT, "second document", 4),
    "deep nesting": (SHORT + "solver: " + "{a: " * 200 + "}" * 200, "nested deeper", 4),
    "cut off": (SHORT + "stop: {trials: ", "not YAML", 4),
    "a superscript as key": (SHORT + "\u00b2: 1\n", "unknown key", 4),
    "half a character as key": (SHORT + '"\\ud800": 1\n', "half a character", 4),
    "a mapping as key": (SHORT + "{a: b}: 1\n", "a key must be a word", 4),
    "a list as key of the goal": (SHORT + "stop:\n  [1]: 1\n", "a key must be a word", 5),
    "bytes that are no text": (b"name: \xff\xfe\n", "not UTF-8", 1),
    "zeros": (b"\0" * 2000, "does not allow", 1),
    "utf-16": (SHORT.encode("utf-16"), "not UTF-8", 1),
    "too large": ("#" * 300_000, "larger than 256 kB", None),
}


@pytest.mark.parametrize(("text", "words", "line"), BAD.values(), ids=list(BAD))
def test_a_mistake_is_told_with_its_line(text: str | bytes, words: str, line: int | None, tmp_path: Path) -> None:
    result = refused(text, tmp_path)
    assert any(words in str(problem) and problem.line == line for problem in result), result


WORDS = """\
name: led 1                       | name: must be 1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or a digit, not 'led 1'
name: 12                          | name: must be text, in quotes where it looks like a number: "12", not 12
name: [a]                         | name: must be text, in quotes where it looks like a number: "12", not ['a']
stop: 40                          | stop: must be a mapping with the keys trials, minutes, cost, failures, stagnation, unreachable, improvement, rules, not 40
stop: null                        | stop: must be a mapping with the keys trials, minutes, cost, failures, stagnation, unreachable, improvement, rules, not null
stop: {trials: 40.0}              | stop.trials: must be a whole number from 1 to 1000000, not 40.0
stop: {trials: '40'}              | stop.trials: must be a whole number from 1 to 1000000, not '40'
stop: {trials: 0}                 | stop.trials: must be a whole number from 1 to 1000000, not 0
stop: {minutes: 20:00}            | stop.minutes: must be a number above 0, not '20:00'
stop: {minutes: 0}                | stop.minutes: must be a number above 0, not 0
stop: {stagnation: 10}            | stop.stagnation: must be a mapping with the keys trials, by, not 10
stop: {stagnation: {by: .1}}      | stop.stagnation.trials: missing; number of trials to look back
stop: {trails: 9}                 | stop.trails: unknown key; allowed: trials, minutes, cost, failures, stagnation, unreachable, improvement, rules; did you mean 'trials'?
goal: text                        | goal: must be a mapping such as {'R': 140}, not 'text'
goal: 445nm=16384                 | goal: must be a mapping such as {'R': 140}, not '445nm=16384'
goal: [445nm]                     | goal: must be a mapping such as {'R': 140}, not ['445nm']
goal: {445nm: {target: bright}}   | goal.445nm.target: must be a number, not 'bright'
goal: {445nm: .inf}               | goal.445nm: must be a finite number, not inf
goal: {445mm: 5}                  | goal.445mm: unknown channel; the instrument has: 415nm, 445nm, 480nm, 515nm, 555nm, 590nm, 630nm, 680nm, clear, nir; did you mean '445nm'?
tolerance: [2%]                   | tolerance: must be 2% (of the target) or 300 (in the unit of the channel), not ['2%']
tolerance: null                   | tolerance: must be 2% (of the target) or 300 (in the unit of the channel), not null
tolerance: 2 percent              | tolerance: 445nm is in counts, not in 'percent'
confirm: 2.0                      | confirm: must be a whole number from 0 to 1000, not 2.0
confirm: yes                      | confirm: must be a whole number from 0 to 1000, not 'yes'
confirm: true                     | confirm: must be a whole number from 0 to 1000, not true
average: null                     | average: must be a whole number from 1 to 1000, not null
average: 0                        | average: must be a whole number from 1 to 1000, not 0
average: [1]                      | average: must be a whole number from 1 to 1000, not [1]
retry: 3                          | retry: must be a mapping with the keys times, wait, longest, not 3
retry: {wait: soon}               | retry.wait: must be a number from 0 to 3600, not 'soon'
prior: log.jsonl                  | prior: must be a list such as ['night.jsonl'], not 'log.jsonl'
prior: [3]                        | prior.0: must be a path, the name of a run, or {source: …, inputs: {R: red}}; not 3
seed: -1                          | seed: must be a whole number of at least 0 and below 9223372036854775808, not -1
seed: 1.0                         | seed: must be a whole number of at least 0 and below 9223372036854775808, not 1.0
design: {kind: points}            | design.points: missing; settings, each with every input: [{R: .5, G: .2, B: .1}, …]
design: {kind: points, points: {R: 1}}                 | design.points: must be a list, [ …, … ], not {'R': 1}
solver: {kind: gmm, channels: 445nm}                   | solver.channels: must be a list, [ …, … ], not '445nm'
design: {kind: points, points: []}                     | design.points: must be a list of at least 1, not []
design: {kind: points, points: [[.1, .2, .3]]}         | design.points.0: must be a mapping, { name: value }, not [0.1, 0.2, 0.3]
design: {kind: points, points: [{R: .1, G: .1, B: x}]} | design.points.0.B: must be a number, not 'x'
design: {kind: points, points: [{R: .1, g: .1, B: .1}]} | design.points.0: must give every input (R, G, B) and no other; lacks G; unknown: g
solver: {kind: gmm, components: 0}        | solver.components: must be a whole number of at least 1 or 'bic', not 0
solver: {kind: gmm, components: many}     | solver.components: must be a whole number of at least 1 or 'bic', not 'many'
solver: {kind: linear, intercept: 'no'}   | solver.intercept: must be true or false, not 'no'
solver: {kind: bayes, knows: all}         | solver.knows: must be 'nothing' or 'twin', not 'all'
instrument: {kind: claude-light, url: 5}  | instrument.url: must be text, in quotes where it looks like a number: "12", not 5
instrument: {kind: claude-light, latency: 2} | instrument.latency: unknown key; allowed: kind, url<*>; it belongs to kind twin<*>: take it out
"""  # noqa: E501 - one mistake a line


DECLARED = """\
inputs: {a: 3}                       | inputs.a: must be a mapping with the keys low, high, step, unit, choices, not 3
inputs: {}                           | inputs: must be a mapping of at least 1, not {}
inputs: {a: {low: -1e308, high: 1e308}} | inputs.a: low (-1e+308) and high (1e+308) must lie within ± 1e+15 and differ by more than 1e-09 of their size
inputs: {a: {low: 1e9, high: 1000000000.1}} | inputs.a: low (1e+09) and high (1e+09) must lie within ± 1e+15 and differ by more than 1e-09 of their size
inputs: {a: {high: 10, step: 20}}    | inputs.a: the step (20) must be at most the range (10) and more than 1e-09 of it
inputs: {a: {high: 10, step: 1e-320}} | inputs.a: the step (9.99989e-321) must be at most the range (10) and more than 1e-09 of it
channels: {y: 3}                     | channels.y: must be a mapping with the keys unit, low, high, resolution, not 3
limits: {y: 3}                       | limits.y: must be a mapping with the keys at least, at most, not 3
function: rig.py                     | function: must be a file and a function in it, such as my_rig.py:measure, not 'rig.py'
"""  # noqa: E501 - one mistake a line


@pytest.mark.parametrize("line", DECLARED.splitlines(), ids=lambda line: line.partition("|")[0].strip())
def test_a_mistake_in_a_declared_instrument_is_told_with_what_would_be_right(line: str) -> None:
    wrong, _, message = (part.strip() for part in line.partition(" | "))
    given = yamlfile.parse(wrong).value
    instrument = {"kind": "python", "inputs": {"a": {"low": 0}}, "channels": {"y": {}}, "off": "nothing"}
    with pytest.raises(ConfigError) as caught:
        config.parse({"name": "x", "goal": {"y": 1}, "instrument": instrument | given})
    assert str(caught.value) == f"instrument.{message}"


def test_every_pattern_of_a_key_is_told_as_a_phrase() -> None:
    def patterns(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("pattern"), str):
                yield part["pattern"]
            part = list(part.values())
        for one in part if isinstance(part, list) else ():
            yield from patterns(one)

    numbers = {pattern for pattern in patterns(config.schema()) if "[0-9.]+" in pattern or "%" in pattern}
    assert set(patterns(config.schema())) - numbers <= set(PATTERNS)  # numbers with a unit have messages of their own


@pytest.mark.parametrize("line", WORDS.splitlines(), ids=lambda line: line.partition("|")[0].strip())
def test_a_mistake_is_told_in_our_words_with_what_would_be_right(line: str) -> None:
    wrong, _, message = (part.strip() for part in line.partition(" | "))
    key = wrong.partition(":")[0]
    kept = [given for given in SHORT.splitlines() if not given.startswith(f"{key}:")]
    with pytest.raises(ConfigError) as caught:
        config.parse(yamlfile.parse("\n".join([*kept, wrong])).value)
    (problem,) = caught.value.problems
    assert re.fullmatch(re.escape(message).replace(re.escape("<*>"), ".*"), str(problem)), problem
    assert not re.search("input should|tuple|dictionary|instance of|literal|None", str(caught.value))


OPTIONS = [
    (key, kind, name)
    for key, (group, _) in config.GROUPS.items()
    for kind in registry.OURS[group]
    for name in config.mistakes.allowed_keys(registry.find(group, kind), ())
    if name != "kind"
]
OTHERWISE = (None, True, 5, -1, 2.5, 1e12, float("nan"), "x", "", "a" * 5000, (), (1,), ("a", "b", "c"), {}, {"a": 1})


@pytest.mark.parametrize(("key", "kind", "name"), OPTIONS, ids=".".join)
def test_no_option_answers_a_wrong_value_in_the_words_of_a_library(key: str, kind: str, name: str) -> None:
    sentence = []
    for value in OTHERWISE:
        try:
            config.parse_kind(key, {"kind": kind, name: value})
        except ConfigError as error:
            sentence.append(str(error))
    assert sentence
    foreign = re.compile("[Ii]nput should|something else|tuple|dictionary|instance of|\\bNone\\b|\\bTrue\\b")
    assert [message for message in sentence if foreign.search(message)] == []


ABSURD = {
    "brackets": "[" * 262_000,
    "a flow list": "a: [" + "1," * 120_000 + "]",
    "thousands of keys": "".join(f"k{i}: {i}\n" for i in range(20_000)),
    "a key again and again": "a: 1\n" * 50_000,
    "a flow mapping": "{" + "a: 1, " * 40_000 + "}",
    "questions": "? a\n" * 60_000,
    "dashes": "-\n" * 120_000,
    "points": SHORT + "design: {kind: points, points: [" + "{R: 1}," * 30_000 + "]}",
    "unknown options": SHORT + "solver: {kind: gmm, " + ", ".join(f"k{i}: 1" for i in range(18_000)) + "}",
}


@pytest.mark.timeout(60)  # each takes about half a second; work that grows with the square of the size takes minutes
@pytest.mark.parametrize("text", ABSURD.values(), ids=list(ABSURD))
def test_an_absurd_file_is_refused_at_once(text: str, tmp_path: Path) -> None:
    assert len(text) < yamlfile.MAX_BYTES
    assert len(refused(text, tmp_path)) == 1


@pytest.mark.parametrize("points", [1, 1400])
def test_a_file_of_some_thousand_numbers_is_read(points: int, tmp_path: Path) -> None:
    rows = "".join(f"    - {{R: {i / 1400:.4f}, G: .5, B: .5}}\n" for i in range(points))
    file = tmp_path / "c.yaml"
    file.write_text(SHORT + "design:\n  kind: points\n  points:\n" + rows, encoding="utf-8")
    assert len(config.load(file).design.points) == points


@pytest.mark.parametrize(
    "tree",
    [
        {1: 2},
        [],
        None,
        {**yamlfile.parse(SHORT).value, "tolerance": 10**400},
        {**yamlfile.parse(SHORT).value, "seed": 10**5000},
        {**yamlfile.parse(SHORT).value, "average": 10**5000},
        {**yamlfile.parse(SHORT).value, "goal": {1: 5}},
        {**yamlfile.parse(SHORT).value, "goal": {"445nm": 10**5000}},
        {**yamlfile.parse(SHORT).value, "instrument": {"kind": "twin", 3: 4}},
        {**yamlfile.parse(SHORT).value, "stop": {1: 1}},
        {**yamlfile.parse(SHORT).value, "solver": {"kind": ["gmm"]}},
    ],
    ids=lambda tree: str(tree)[:40] if len(getattr(tree, "keys", list)()) < 3 else None,
)
def test_what_only_python_can_write_is_refused_too(tree: Any) -> None:
    with pytest.raises(ConfigError):
        config.parse(tree)


class Broken(Frozen):
    """A plug-in whose own check fails."""

    kind: Literal["broken"] = "broken"

    @model_validator(mode="after")
    def _check(self) -> Broken:
        raise ZeroDivisionError("by the author")


class NoSolver(Frozen):
    """A plug-in that cannot do what its group is for."""

    kind: Literal["idle"] = "idle"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (f"{__name__}:Broken", "ZeroDivisionError"),
        (f"{__name__}:NoSolver", "does not implement the protocol Solver"),
        ("nowhere.at.all:Nothing", "cannot be loaded"),
        ("sdl.types:Nothing", "cannot be loaded"),
        ("sdl.registry:find", "not a class"),
    ],
)
def test_a_broken_plug_in_is_reported_where_it_is_asked_for(
    place: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = "idle" if "NoSolver" in place else "broken"
    monkeypatch.setitem(registry.OURS["solvers"], kind, place)
    result = refused(SHORT + f"solver: {kind}\n", tmp_path)
    assert words in result[0].message
    assert result[0].line == 4
    config.parse(yamlfile.parse(SHORT).value)  # nobody else is harmed


# --- whatever is wrong --------------------------------------------------------------------------------------------

SLOTS = {
    "name": ["a b", "", "/", ".x", "a" * 65, "true", "5", "null", "[a]", "{a: 1}"],
    "description": ["5", "true", "[a]", "{a: b}", "null"],
    "instrument": [
        "5",
        "null",
        "[]",
        "{}",
        "laser",
        "{kind: laser}",
        "{kind: twin, stat: x}",
        "{kind: twin, state: x}",
    ],
    "goal": ["5", "word", "[]", "{}", "null", "true", "{445: 1}", "{445nm: {target: x}}", "{445nm: {tolerance: 3}}"],
    "tolerance": [
        "0",
        "-1",
        "0%",
        "101%",
        "x%",
        "%",
        "word",
        "null",
        "true",
        ".nan",
        ".inf",
        "1e999",
        "[2%]",
        "{a: 1}",
    ],
    "confirm": ["-1", "1001", "1.0", "'1'", "word", "null", "true", ".nan", "[1]", "{a: 1}", "9" * 400],
    "average": ["0", "-1", "1001", "1.5", "'1'", "word", "null", "true", ".inf", "[1]", "{a: 1}", "0x" + "f" * 99],
    "design": ["5", "null", "[]", "{}", "word", "{kind: axs}", "{kind: axis, low: .9, high: .1}", "{kind: points}"],
    "solver": ["5", "null", "[]", "{}", "word", "{kind: gnm}", "{kind: gmm, components: -1}", "{kind: gmm, x: 1}"],
    "stop": ["5", "null", "[]", "word", "{trials: 0}", "{minutes: 0}", "{trial: 5}", "{stagnation: {trials: 1}}"],
    "retry": ["5", "null", "[]", "word", "{times: -1}", "{wait: .inf}", "{wait: -1}", "{time: 1}", "{times: 1.0}"],
    "prior": ["5", "word", "{a: 1}", "null", "[5]", "[nowhere.jsonl]", "[[]]", "[{a: 1}]"],
    "seed": ["-1", "1.0", "'1'", "word", "null", "true", ".nan", "[1]", "{a: 1}", str(2**63), "-" + "9" * 50],
}
"""Wrong values of every key."""
NESTED = ["state: ", "latency: ", "target: ", "low: ", "components: ", "trials: ", "minutes: ", "by: ", "wait: "]
BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))

_lines = GOOD.splitlines(keepends=True)
_key_lines = [i for i, line in enumerate(_lines) if re.match(r"\s*[a-z0-9]+:", line)]
_top = {line.partition(":")[0]: i for i, line in enumerate(_lines) if re.match(r"[a-z]+:", line)}


def _without(key: str) -> str:
    """GOOD without a key and all that hangs below it."""
    kept, inside = [], False
    for line in _lines:
        if not line.startswith((" ", "#")):
            inside = line.startswith(f"{key}:")
        kept += [] if inside else [line]
    return "".join(kept)


_slots = st.sampled_from([(key, value) for key, values in SLOTS.items() for value in values])


@st.composite
def _wrong(draw: st.DrawFn) -> bytes:
    """A file that is certainly wrong."""
    match draw(st.integers(0, 8)):
        case 0:  # one to three keys with wrong values
            text = GOOD
            selected = draw(st.lists(_slots, min_size=1, max_size=3, unique_by=lambda slot: slot[0]))
            for key, value in selected:
                text = re.sub(rf"(?m)^{key}:.*\n(?:[ ].*\n)*", lambda _, k=key, v=value: f"{k}: {v}\n", text)
            return text.encode()
        case 1:  # a mistyped key
            i = draw(st.sampled_from(_key_lines))
            key = _lines[i].partition(":")[0].strip()
            at = draw(st.integers(0, len(key) - 1))
            wrong = key[:at] + draw(st.sampled_from(["", key[at] * 2, "_", "\u00e9", "-x"])) + key[at + 1 :]
            if wrong in (*config.KEYS, ""):
                wrong = "q"
            return GOOD.replace(_lines[i], _lines[i].replace(key, wrong, 1), 1).encode()
        case 2:  # a key that nobody knows, anywhere
            i = draw(st.sampled_from(_key_lines))
            indent = _lines[i][: len(_lines[i]) - len(_lines[i].lstrip())]
            word = draw(st.text("abcdefghijklmnopqrstuvwxyz\u00b2\u0663\u4e2d0123456789", min_size=1, max_size=9)) + "q"
            return "".join([*_lines[:i], f"{indent}{word}: {draw(_leaves)}\n", *_lines[i:]]).encode()
        case 3:  # a duplicate key
            key = draw(st.sampled_from(sorted(_top)))
            return (GOOD + f"{key}: {draw(_leaves)}\n").encode()
        case 4:  # a key that is missing, or all that it is about
            return _without(draw(st.sampled_from(["name", "instrument", "goal"]))).encode()
        case 5:  # a tab for indentation
            i = draw(st.sampled_from([i for i in _key_lines if _lines[i].startswith("  ")]))
            return "".join([*_lines[:i], "\t" + _lines[i].lstrip(), *_lines[i + 1 :]]).encode()
        case 6:  # what YAML can do and a campaign must not
            trick = ["x: &a 1\n", "x: *a\n", BOMB, "x: !!set {a}\n", "---\n" + GOOD, "x: " + "[" * 60 + "]" * 60]
            return (GOOD + draw(st.sampled_from(trick))).encode()
        case 7:  # a wrong value deeper inside
            spot = draw(st.sampled_from(NESTED))
            value = draw(
                st.sampled_from(["-1", "wrong", "[1, 2]", "{a: 1}", "1e999", ".nan", "true", "'1'", "9" * 6000])
            )
            if (spot, value) == ("target: ", "-1"):  # a negative target is silly and not wrong
                value = "."
            return re.sub(rf"{spot}[^,}}\n]+", lambda _: spot + value, GOOD, count=1).encode()
        case _:  # nothing like a campaign
            return draw(
                st.sampled_from([b"", b"5", b"[]", b"- name: a\n", b"null", b"~", b"\0", b"name", b"\xff\xfe\0"])
            )


_leaves = st.sampled_from(["1", "word", "[1, 2]", "{a: 1}", ".nan", "true", "null", "2%", "''"])


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A file that may be wrong: bytes changed, lost, put in; lines swapped; the end cut off; or no such file at all."""
    raw = GOOD.encode()
    match draw(st.integers(0, 5)):
        case 0:
            at = draw(st.integers(0, len(raw)))
            return raw[:at]
        case 1:
            at = draw(st.integers(0, len(raw)))
            return raw[:at] + draw(st.binary(min_size=1, max_size=6)) + raw[at + draw(st.integers(0, 4)) :]
        case 2:
            at = draw(st.integers(0, len(GOOD)))
            return (
                GOOD[:at] + draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)) + GOOD[at:]
            ).encode()
        case 3:
            i, j = draw(st.sampled_from(_key_lines)), draw(st.sampled_from(_key_lines))
            lines = list(_lines)
            lines[i], lines[j] = lines[j], lines[i]
            return "".join(lines).encode()
        case 4:
            return draw(st.binary(max_size=200))
        case _:
            return draw(st.text(st.sampled_from("{}[]:,-&*!|>'\"%@`# \n\tab01.~?"), max_size=120)).encode()


@pytest.mark.slow
def test_of_seven_hundred_bad_files_each_is_refused_with_a_place_and_nothing_else_happens(tmp_path: Path) -> None:
    file, seen = tmp_path / "fuzz.yaml", Counter[str]()

    def check(raw: bytes, *, surely: bool) -> None:
        file.write_bytes(raw)
        try:
            config.load(file)
        except ConfigError as error:
            result = error.problems
        else:
            seen["valid"] += 1
            assert not surely, "taken for valid"
            return
        seen["refused"] += 1
        assert result
        for problem in result:
            assert problem.message
            assert problem.file == str(file)
            assert problem.line is not None
            assert 1 <= problem.line <= raw.count(b"\n") + raw.count(b"\r") + 2

    quick = settings(max_examples=600, database=None, suppress_health_check=list(HealthCheck))
    quick(given(_wrong())(lambda raw: check(raw, surely=True)))()
    settings(quick, max_examples=300)(given(_damaged())(lambda raw: check(raw, surely=False)))()
    assert seen["refused"] >= 700, seen
    assert [p.name for p in tmp_path.iterdir()] == ["fuzz.yaml"]


@pytest.mark.slow
def test_the_real_command_refuses_bad_files_with_exit_2_and_starts_nothing(tmp_path: Path) -> None:
    def attempt(case: tuple[int, tuple[str, tuple[str | bytes, str, int | None]]]) -> str:
        number, (name, (text, _, line)) = case
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        done = processes.sdl("run", "bad.yaml", cwd=folder)
        place = f"bad.yaml:{line}: " if line else "bad.yaml: "
        as_it_should = (
            done.returncode == 2
            and "Traceback" not in done.stderr
            and not done.stdout
            and place in done.stderr
            and [p.name for p in folder.iterdir()] == ["bad.yaml"]
        )
        return "" if as_it_should else f"{name}: {done.returncode} {done.stdout}{done.stderr}"

    some = list(enumerate(BAD.items()))[::14]  # each takes most of a second; above all are refused in this process
    with ThreadPoolExecutor(2) as pool:
        assert not [trouble for trouble in pool.map(attempt, some) if trouble]


def test_fifty_megabytes_are_refused_without_being_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as stream:
        stream.write(b"name: a\n")
        stream.truncate(50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match="larger than 256 kB"):
            config.load(file)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", ["", ".", "nowhere/at/all.yaml", "a" * 400, "a\0b"])
def test_a_file_that_cannot_be_read_is_a_mistake_like_any_other(what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / what)


# --- the schema ---------------------------------------------------------------------------------------------------


def fits(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether a value is valid: those words of JSON Schema that ours uses, and an error for any other."""
    known = {"$ref", "$defs", "$schema", "title", "description", "default", "examples"}
    for word, wanted in schema.items():
        match word:
            case "$ref":
                ok = fits(value, whole["$defs"][wanted.rpartition("/")[2]], whole)
            case "type":
                types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
                number = isinstance(value, int | float) and not isinstance(value, bool)
                ok = (
                    number
                    if wanted == "number"
                    else value is None
                    if wanted == "null"
                    else isinstance(value, types[wanted])
                )
                ok = ok and not (wanted == "integer" and isinstance(value, bool))
            case "const":
                ok = value == wanted
            case "enum":
                ok = value in wanted
            case "anyOf":
                ok = any(fits(value, one, whole) for one in wanted)
            case "oneOf":
                ok = sum(fits(value, one, whole) for one in wanted) == 1
            case "properties":
                ok = not isinstance(value, dict) or all(
                    fits(value[k], s, whole) for k, s in wanted.items() if k in value
                )
            case "required":
                ok = not isinstance(value, dict) or set(wanted) <= set(value)
            case "additionalProperties":
                rest = set(value) - set(schema.get("properties", {})) if isinstance(value, dict) else set()
                ok = not rest if wanted is False else wanted is True or all(fits(value[k], wanted, whole) for k in rest)
            case "items":
                ok = not isinstance(value, list) or all(fits(item, wanted, whole) for item in value)
            case "pattern":
                ok = not isinstance(value, str) or re.search(wanted, value) is not None
            case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
                sides = {"minimum": float.__ge__, "maximum": float.__le__}
                compare = sides.get(word, float.__gt__ if "Min" in word else float.__lt__)
                ok = not isinstance(value, int | float) or compare(float(value), float(wanted))
            case "minItems" | "maxItems" | "minLength" | "maxLength":
                sized = isinstance(value, list if "Items" in word else str)
                ok = not sized or (len(value) >= wanted if word.startswith("min") else len(value) <= wanted)
            case _:
                assert word in known, f"the schema uses {word}, which this test does not know"
                ok = True
        if not ok:
            return False
    return True


def plain(value: Any) -> Any:
    """Lists where our YAML has tuples."""
    return json.loads(json.dumps(value))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config.schema()


def test_the_schema_knows_every_key_with_its_default_and_a_description(schema: dict[str, Any]) -> None:
    resolved = config.parse(yamlfile.parse(SHORT).value).plain()
    assert set(schema["properties"]) == set(config.KEYS)
    assert set(schema["required"]) == {"name", "instrument"}
    for key, description in schema["properties"].items():
        assert description["description"], key
        if "default" in description:
            assert description["default"] == plain(resolved.get(key)) or key == "goal", key


@pytest.mark.parametrize("key", config.GROUPS)
def test_the_schema_knows_every_kind_and_every_option_of_it(key: str, schema: dict[str, Any]) -> None:
    group = config.GROUPS[key][0]
    result = {}
    for option in schema["properties"][key]["oneOf"]:
        if "$ref" in option:
            description = schema["$defs"][option["$ref"].rpartition("/")[2]]
            result[description["properties"]["kind"]["const"]] = description
    assert set(result) == set(registry.kinds(group))
    for kind, description in result.items():
        model = registry.find(group, kind)
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        assert set(description["properties"]) == set(fields)
        assert description["additionalProperties"] is False
        for name, field in fields.items():
            if name != "kind":
                assert description["properties"][name].get("description"), f"{kind}.{name} says nothing"
                assert field.is_required() or "default" in description["properties"][name]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_a_shipped_file_and_its_resolved_form_fit_the_schema(file: Path, schema: dict[str, Any]) -> None:
    assert fits(plain(yamlfile.read(file).value), schema, schema)
    assert fits(plain(config.load(file, collect=True).plain()), schema, schema)


@pytest.mark.parametrize(
    "wrong",
    ["seed: -1", "speed: 3", "solver: {kind: gnm}", "solver: {kind: pls, n_t: 3}", "tolerance: 0", "stop: {trial: 1}"],
)
def test_an_editor_that_knows_the_schema_marks_mistakes(wrong: str, schema: dict[str, Any]) -> None:
    tree = yamlfile.parse(SHORT).value
    assert fits(plain(tree), schema, schema)
    assert not fits(plain({**tree, **yamlfile.parse(wrong).value}), schema, schema)


@pytest.mark.parametrize("right", ["solver: gmm", "tolerance: 300", "prior: []", "stop: {minutes: null}"])
def test_what_load_takes_the_schema_takes(right: str, schema: dict[str, Any]) -> None:
    tree = {**yamlfile.parse(SHORT).value, **yamlfile.parse(right).value}
    config.parse(tree)
    assert fits(plain(tree), schema, schema)


def test_the_schema_in_the_docs_is_that_of_the_code(schema: dict[str, Any]) -> None:
    kept = json.loads((ROOT / "docs" / "reference" / "campaign.schema.json").read_text(encoding="utf-8"))
    assert kept == plain(schema), "run: sdl schema > docs/reference/campaign.schema.json"


def test_the_schema_that_a_configuration_names_exists() -> None:
    named = {
        file.name: match[1]
        for file in (ROOT / "configs").glob("*.yaml")
        if (match := re.search(r"yaml-language-server: \$schema=(\S+)", file.read_text(encoding="utf-8")))
    }
    assert "quickstart.yaml" in named
    assert [name for name, path in named.items() if not (ROOT / "configs" / path).is_file()] == []
