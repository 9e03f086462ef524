"""A lab that cannot run: who is told, how often, and that it ends as documented all the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdl.cli.commands import make_app
from sdl.errors import Full
from sdl.lab.rules import dispatch
from sdl.lab.rules.dispatch import REPEAT_SECONDS, RETRY_SECONDS, report_startup_failure
from sdl.notify.sender import NotSent
from tests.processes import sdl

NOW = 1_780_000_000.0
LAB = """\
name: bench
instruments: {led: {instrument: {kind: twin}}}
jobs: {}
notify:
  digest: nonsense
  to:
    me: {url: {env: TO_ME}}
    quiet: {url: {env: TO_ME}, quiet: "00:00-23:59"}
    wrong: {url: json://secret}
    other: {url: {env: TO_ME}, tell: [digest]}
    unset: {url: {env: NOT_SET}}
"""


class Post:
    def __init__(self) -> None:
        self.went: list[tuple[str, str, str]] = []
        self.open = True

    def __call__(self, url: str, title: str, body: str) -> None:
        if not self.open:
            raise NotSent("json://…: refused")
        self.went.append((url, title, body))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TO_ME", "json://127.0.0.1:9/hook")
    monkeypatch.setattr(dispatch, "_folders", lambda: [tmp_path / "no" / "room", tmp_path / "marks"])
    (tmp_path / "no").write_text("a file where a folder should be")
    (tmp_path / "lab.yaml").write_text(LAB)
    return tmp_path / "lab.yaml"


def test_valid_recipients_are_notified_once_in_six_hours_however_often_the_lab_is_started(lab: Path) -> None:
    post = Post()
    for n in range(1, 50):
        error, now = Full(f"no room: {n} bytes left"), NOW + 5 * n
        notified = report_startup_failure(lab, error, deliver=post, clock=lambda now=now: now)  # type: ignore[misc]
        assert notified == (["me"] if n == 1 else [])
    [(url, title, body)] = post.went
    assert (url, title) == ("json://127.0.0.1:9/hook", "bench: the lab cannot start")
    assert "no room: 1 bytes left" in body
    assert report_startup_failure(
        lab, Full("no room: 0 bytes left"), deliver=post, clock=lambda: NOW + REPEAT_SECONDS + 6
    ) == ["me"]
    assert report_startup_failure(lab, ValueError("another"), deliver=post, clock=lambda: NOW + 6) == ["me"]


def test_what_could_not_be_sent_is_tried_again_after_five_minutes(lab: Path) -> None:
    post, error = Post(), Full("no room")
    post.open = False
    assert report_startup_failure(lab, error, deliver=post, clock=lambda: NOW) == []
    post.open = True
    assert report_startup_failure(lab, error, deliver=post, clock=lambda: NOW + RETRY_SECONDS - 1) == []
    assert report_startup_failure(lab, error, deliver=post, clock=lambda: NOW + RETRY_SECONDS + 1) == ["me"]


def test_where_nothing_can_be_written_down_nothing_is_sent(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post()
    monkeypatch.setattr(dispatch, "_folders", lambda: [lab.parent / "no" / "room"])
    assert report_startup_failure(lab, Full("no room"), deliver=post, clock=lambda: NOW) == []
    assert post.went == []


def test_a_file_that_cannot_be_read_at_all_is_no_further_error(tmp_path: Path) -> None:
    post = Post()
    for text in ("[", "- 1", "notify: {to: 3}", "notify: []"):
        (tmp_path / "x.yaml").write_text(text)
        assert report_startup_failure(tmp_path / "x.yaml", ValueError("so"), deliver=post) == []
    assert report_startup_failure(tmp_path / "none.yaml", ValueError("so"), deliver=post) == []


@pytest.mark.slow
def test_the_command_tells_and_ends_with_its_documented_code(tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    pytest.importorskip("aiosmtpd")
    from .receivers import Hook, ids

    (tmp_path / "lab.yaml").write_text(LAB)
    with Hook() as hook:
        for _ in range(2):
            done = sdl("lab", "run", "lab.yaml", cwd=tmp_path, TO_ME=hook.url, XDG_STATE_HOME=str(tmp_path / "state"))
            assert done.returncode == 2
            assert "notify.digest" in done.stderr
            assert "Traceback" not in done.stderr
    [one] = ids(hook.got)
    assert one.startswith("failed-lab-")
    assert len(list((tmp_path / "state" / "sdl" / "labs").iterdir())) == 1


def test_without_the_extra_it_is_not_said_first_that_the_lab_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = "{campaign: {name: c, goal: {515nm: 9000}}, instrument: led, when: {asked: true}}"
    sound = LAB[: LAB.index("jobs")] + f"jobs: {{j: {job}}}"
    (tmp_path / "lab.yaml").write_text(sound)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as where it is not installed
    done = CliRunner().invoke(make_app(), ["lab", "run", str(tmp_path / "lab.yaml")])
    assert "need prometheus_client, which is not installed; the extra `lab`" in str(done.exception)
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()
