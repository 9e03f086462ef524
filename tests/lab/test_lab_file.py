"""The lab file: what it may say, and every mistake in it at once."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sdl import yamlfile
from sdl.cli.commands import make_app
from sdl.errors import ConfigError
from sdl.lab.config.file import load, parse
from tests.lab.lab_kit import CAMPAIGN, job, lab_file
from tests.processes import ROOT, sdl

GOOD = """\
name: two
timezone: Europe/Berlin
instruments:
  north: {instrument: {kind: twin, background: each}, readings_a_day: 500}
  south: {instrument: {kind: twin, seed: 2}}
jobs:
  hourly:
    campaign: c.yaml
    instrument: north
    set: {stop.trials: 7}
    when: {cron: "0 * * * *"}
    missed: {grace: 10min}
  then:
    campaign: {name: inline, goal: {445nm: 12000}, solver: linear}
    instrument: south
    when: {after: hourly, outcome: [spent]}
    between: "20:00-06:00"
    missed: skip
blackouts:
  - {from: "2026-12-24 12:00", to: "2026-12-27", instruments: [south]}
suspend: {disk: 500MB}
"""


def written(folder: Path, text: str) -> Path:
    (folder / "c.yaml").write_text("name: mine\ninstrument: {kind: claude-light}\ngoal: {445nm: 16384}\n")
    (folder / "lab.yaml").write_text(text)
    return folder / "lab.yaml"


def mistakes(folder: Path, *changes: tuple[str, str]) -> list[str]:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_lab_file_is_resolved_with_its_campaigns_and_instruments_in_it(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, GOOD))
    assert loaded.runs == tmp_path / "runs"
    hourly = loaded.lab.jobs["hourly"].campaign
    assert not isinstance(hourly, str)
    assert (hourly["name"], hourly["stop"]["trials"], hourly["instrument"]["kind"]) == ("mine", 7, "twin")
    assert [hourly["instrument"]["seed"], loaded.lab.instruments["south"].instrument["seed"]] == [0, 2]
    assert loaded.lab.jobs["then"].missed.grace == 60
    assert loaded.lab.jobs["hourly"].missed.grace == 600


def test_the_resolved_form_is_read_back_to_the_same(tmp_path: Path) -> None:
    lab = load(written(tmp_path, GOOD)).lab
    assert parse(json.loads(json.dumps(lab.plain()))) == lab
    assert parse(lab.plain()).plain() == lab.plain()


def test_every_mistake_comes_at_once_with_its_line_and_what_would_be_right(tmp_path: Path) -> None:
    result = mistakes(
        tmp_path,
        ("Europe/Berlin", "Berlin"),
        ("kind: twin, seed: 2", "kind: twinn"),
        ("stop.trials: 7", "stop.trial: 7"),
        ('cron: "0 * * * *"', 'cron: "0 * * *"'),
        ("grace: 10min", "grace: 10"),
        ("after: hourly", "after: hurly"),
        ('"2026-12-27"', '"2026-12-23"'),
        ("disk: 500MB", "disk: lots"),
    )
    places = [text.split(": ")[0:2] for text in result]
    assert places == [
        ["lab.yaml:2", "timezone"],
        ["lab.yaml:5", "instruments.south.instrument.kind"],
        ["lab.yaml:11", "jobs.hourly.when.cron"],
        ["lab.yaml:16", "jobs.then.when.after"],
        ["lab.yaml:20", "blackouts.0"],
        ["lab.yaml:21", "suspend.disk"],
    ]
    assert "did you mean 'twin'" in result[1]
    assert "allowed: hourly, then" in result[3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("445nm: 12000", "44nm: 12000", "lab.yaml:14: jobs.then.campaign.goal.44nm: unknown channel"),
        ("stop.trials: 7", "stop.trial: 7", "lab.yaml:10: jobs.hourly.set.stop.trial: unknown key"),
        ("c.yaml", "d.yaml", "lab.yaml:8: jobs.hourly.campaign: d.yaml: cannot be read"),
        ("instrument: north", "instrument: nort", "lab.yaml:9: jobs.hourly.instrument: unknown 'nort'; allowed: north"),
        ("after: hourly", "after: then", "lab.yaml:16: jobs.then.when.after: the job would wait for itself"),
        ("after: hourly,", "asked: true, after: hourly,", "must be exactly one of cron, every, at, after, asked"),
        ("missed: skip", "missed: never", "must be late, skip or {grace: 10min}, not 'never'"),
        (
            "missed: {grace: 10min}",
            'between: "12:10-12:50"',
            "lab.yaml:12: jobs.hourly.between: no scheduled time of the job",
        ),
        ('"20:00-06:00"', "20:00", "two different times of the day"),
        ("kind: twin, seed: 2", "kind: twin", "the same instrument as north"),
        ("kind: twin, seed: 2", "kind: manual, background: each", "a person is asked for a background at a terminal"),
        (
            "kind: twin, seed: 2",
            "kind: external, inputs: {red: {}}, channels: {R: {}}",
            "kind external is driven by others (`sdl ask`); a lab runs unattended",
        ),
        ("instruments: [south]", "instruments: [west]", "lab.yaml:20: blackouts.0.instruments.0: unknown 'west'"),
        ("disk: 500MB", "ambient: {above: {clear: 9}}", "does not measure its background"),
        ("readings_a_day: 500", "readings_a_day: 0", "instruments.north.readings_a_day"),
        ("name: two", "name: two\nlease: 3", "lab.yaml:2: lease: unknown key; allowed: name, description"),
    ],
)
def test_a_mistake_says_where_it_is_and_what_is_allowed(tmp_path: Path, old: str, new: str, message: str) -> None:
    result = mistakes(tmp_path, (old, new))
    assert any(message in text for text in result), result


def test_one_instrument_under_two_spellings_is_named_without_asking_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = socket.getaddrinfo

    def known(*args: Any, flags: int = 0, **options: Any) -> Any:
        assert flags & socket.AI_NUMERICHOST
        return system(*args, flags=flags, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    north, south = ("{kind: twin, background: each}", "{kind: twin, seed: 2}")
    url = "{{kind: claude-light, url: 'http://{}:5000/api'}}"
    for one, other in (("localhost", "127.0.0.1"), ("[::1]", "LOCALHOST"), ("light.example", "Light.Example.")):
        result = mistakes(tmp_path, (south, url.format(other)), (north, url.format(one)))
        assert any("the same instrument as north" in text for text in result), (one, other, result)


def test_a_mistake_in_a_campaign_file_is_told_by_that_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    (tmp_path / "c.yaml").write_text("name: mine\ninstrument: {kind: twin}\ngoal: {445nm: 16384}\nstop: {trial: 3}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:4: stop\.trial: unknown key"):
        load(path)


def test_a_campaign_without_a_goal_collects(tmp_path: Path) -> None:
    campaign = {key: value for key, value in CAMPAIGN.items() if key != "goal"}
    assert lab_file(tmp_path, {"j": job(when={"asked": True}) | {"campaign": campaign}}).campaigns["j"].goal is None


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("lab-*.yaml")), ids=lambda file: file.name)
def test_a_shipped_lab_file_is_valid_and_its_resolved_form_means_the_same(file: Path) -> None:
    lab = load(file).lab
    assert parse(lab.plain()) == lab


def test_check_and_validate_say_what_a_lab_would_do(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    for command in (["lab", "check"], ["validate"]):
        done = CliRunner().invoke(make_app(), [*command, str(path)])
        assert done.exit_code == 0, done.stderr
        assert "2 jobs on 2 instruments" in done.stdout
        assert "hourly: mine on north (twin:night-2025-10:0), cron 0 * * * *; at most 10 min late" in done.stdout
        assert done.stdout.count("CET") == 5 or done.stdout.count("CEST") == 5
    answer = json.loads(CliRunner().invoke(make_app(), ["lab", "check", str(path), "--json"]).stdout)
    assert len(answer["jobs"]["hourly"]["next"]) == 5
    path.write_text(GOOD.replace("kind: twin, seed: 2", "kind: twinn"))
    wrong = sdl("lab", "check", path, cwd=tmp_path)
    assert wrong.returncode == 2
    assert "lab.yaml:5: instruments.south.instrument.kind" in wrong.stderr


def test_a_lab_file_and_a_campaign_are_told_apart_by_validate(tmp_path: Path) -> None:
    campaign = tmp_path / "one.yaml"
    campaign.write_text(yamlfile.dump(CAMPAIGN | {"instrument": "twin"}))
    done = CliRunner().invoke(make_app(), ["validate", str(campaign), str(written(tmp_path, GOOD)), "--json"])
    first, second = json.loads(done.stdout)["files"]
    assert "at_most" in first
    assert second["lab"]["lab"] == "two"


def test_check_says_which_secrets_are_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "name: n\ninstruments: {a: {instrument: {kind: twin}}}\n"
        "jobs: {j: {campaign: {name: c, goal: {445nm: 9000}, solver: linear}, instrument: a, when: {asked: true}}}\n"
        "notify: {to: {ada: {url: {env: NO_SUCH_MAIL}}}}\n"
    )
    monkeypatch.delenv("NO_SUCH_MAIL", raising=False)
    done = CliRunner().invoke(make_app(), ["lab", "check", str(path)])
    assert done.exit_code == 0
    assert "notify.to.ada: environment variable NO_SUCH_MAIL: not set" in done.stdout
    monkeypatch.setenv("NO_SUCH_MAIL", "json://127.0.0.1")
    assert "NO_SUCH_MAIL" not in CliRunner().invoke(make_app(), ["lab", "check", str(path)]).stdout


def test_an_instrument_in_a_file_of_its_own_is_that_file_s_with_paths_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rigs").mkdir()
    (tmp_path / "rigs" / "rig.yaml").write_text(
        "kind: command\ncommand: [python, rig.py]\ninputs: {a: {high: 9}}\nchannels: {R: {}}\noff: {a: 0}\n"
    )
    (tmp_path / "lab.yaml").write_text(
        "name: lab\ninstruments: {rig: {instrument: {use: rigs/rig.yaml}}}\n"
        "jobs: {night: {instrument: rig, campaign: {name: night, goal: {R: 3}, tolerance: 1}, when: {asked: true}}}\n"
    )
    campaign = load(tmp_path / "lab.yaml").campaigns["night"]
    assert campaign.instrument.kind == "command"
    assert campaign.instrument.folder == str(tmp_path / "rigs")
    (tmp_path / "rigs" / "rig.yaml").write_text("kind: command\ninputs: {a: {high: 9}}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "lab.yaml")
    assert "rigs/rig.yaml" in str(caught.value)
    assert "channels: missing" in str(caught.value)


def test_a_campaign_in_place_of_a_lab_file_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "led.yaml"
    file.write_text("name: led\ninstrument: {kind: twin}\ngoal: {515nm: 20000}\nsolver: auto\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == (
        f"{file}: this is a campaign, not a lab file with `instruments` and `jobs`; `sdl run {file}` runs it"
    )


def test_a_lab_file_in_place_of_a_campaign_is_told_in_one_line(tmp_path: Path) -> None:
    from sdl import config

    file = tmp_path / "lab.yaml"
    file.write_text("name: lab\ninstruments: {}\njobs: {}\n")
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert str(caught.value).startswith(f"{file}: this is a lab file, not a campaign; `sdl lab run {file}` runs it")
