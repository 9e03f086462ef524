"""Proxy and certificate variables that no request survives are named before the first trial; passwords are not."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import sdl
from sdl.cli.commands import make_app
from sdl.clock import RealClock
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.drivers.environment import check_variables, problems_of_requests, proxy_for
from sdl.drivers.sdl_light.config import SdlLight
from sdl.errors import ConfigError, Unreachable
from sdl.notify.sender import NotSent, send_by_apprise

HEEDED = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir", "sslkeylogfile")


@pytest.fixture(autouse=True)
def none_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower() in (*HEEDED, "requests_ca_bundle", "curl_ca_bundle")]:
        monkeypatch.delenv(name)


BROKEN = {
    "NO_PROXY": ("localhost,[::1]", "'[::1]' is not a host; write names and addresses with commas between"),
    "no_proxy": ("::1/128", "'::1/128' is not a host"),
    "ALL_PROXY": ("socks5://me:secret@proxy:1080", "a SOCKS proxy needs the module socksio"),
    "all_proxy": ("nonsense://me:secret@proxy", "the value is not the address of a proxy"),
    "HTTP_PROXY": ("http://me:secret@proxy:99999", "the value is not the address of a proxy"),
    "http_proxy": ("http://me:secret@[::1", "the value is not the address of a proxy"),
    "HTTPS_PROXY": ("http://", "the value is not the address of a proxy"),
    "https_proxy": ("ftp://me:secret@proxy", "the value is not the address of a proxy"),
    "SSL_CERT_FILE": ("/nonexistent", "/nonexistent cannot be read: No such file or directory"),
    "SSL_CERT_DIR": ("/nonexistent", "/nonexistent is not a directory"),
    "SSLKEYLOGFILE": ("/nonexistent/keys", "/nonexistent/keys cannot be written: No such file or directory"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variable_is_named_with_what_is_wrong_and_no_password(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, why = BROKEN[name]
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        ClaudeLight().ready()
    assert str(caught.value).startswith(f"the environment variable {name} breaks every request: {why}")
    assert str(caught.value).endswith(". Correct it or unset it")
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=name):
        ClaudeLight().open(RealClock())


def test_every_broken_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "SSL_CERT_FILE", "NO_PROXY"):
        monkeypatch.setenv(name, BROKEN[name][0])
    with pytest.raises(ConfigError) as caught:
        check_variables()
    named = [problem.message.split()[3] for problem in caught.value.problems]
    assert named == ["ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"]


def test_a_file_that_holds_no_certificate_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(ConfigError, match=r"empty\.pem holds no certificate in PEM form"):
        check_variables()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", "localhost, 127.0.0.1,::1,10.0.0.0/8,.example.org,*.example.org,http://host:1,host:80,"),
        ("HTTP_PROXY", "proxy"),
        ("https_proxy", "http://me:secret@proxy.example.org:3128/"),
        ("ALL_PROXY", ""),
        ("SSL_CERT_DIR", f"/nonexistent{os.pathsep}/"),
        ("SSL_CERT_FILE", ssl.get_default_verify_paths().cafile or ""),
    ],
)
def test_a_variable_that_httpx_can_use_is_let_through(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    check_variables()
    httpx.Client().close()


def test_a_star_among_the_hosts_without_proxy_switches_all_of_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", BROKEN["ALL_PROXY"][0])
    monkeypatch.setenv("NO_PROXY", "*,[::1]")
    check_variables()
    httpx.Client().close()
    assert proxy_for("http://example.org/api") == ""


def test_whatever_else_keeps_httpx_from_beginning_is_a_mistake_of_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sdl.drivers.http.check_variables", lambda **_: None)
    monkeypatch.setenv("ALL_PROXY", "nonsense://proxy")
    with pytest.raises(ConfigError, match="the proxy or certificate variables of this machine cannot be used"):
        ClaudeLight().open(RealClock())


def test_this_machine_is_asked_whatever_the_proxies_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, BROKEN[name][0])
    local = ClaudeLight(url="http://127.0.0.1:1/api")
    local.ready()
    local.open(RealClock()).close()


def test_a_failure_on_the_way_by_a_proxy_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", ".example.org")
    driver = ClaudeLight(url="http://example.com/api", background="none").open(RealClock())
    with pytest.raises(Unreachable, match=r"\(by the proxy in HTTP_PROXY\): the connection was refused") as caught:
        driver.measure(dict.fromkeys("RGB", 0.5))
    driver.close()
    assert "secret" not in str(caught.value)
    assert proxy_for("http://www.example.org/api") == ""
    assert proxy_for("https://example.com/api") == ""


COMMANDS = {
    "run": ["run", "FILE"],
    "collect": ["collect", "FILE"],
    "measure": ["measure", "FILE", "R=.1", "G=.1", "B=.1"],
    "check": ["instrument", "check", "FILE"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_with_2_before_its_first_trial_and_leaves_no_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALL_PROXY", BROKEN["ALL_PROXY"][0])
    Path("led.yaml").write_text("name: led\ninstrument: {kind: claude-light}\ngoal: {515nm: 20000}\nsolver: linear\n")
    done = CliRunner().invoke(make_app(), [word.replace("FILE", "led.yaml") for word in COMMANDS[command]])
    assert isinstance(done.exception, ConfigError), done.output
    assert done.exception.exit_code == 2
    assert "the environment variable ALL_PROXY" in str(done.exception)
    assert not Path("runs").exists()


def test_a_resume_ends_with_2_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {
        "name": "led",
        "instrument": {"kind": "claude-light", "url": "http://127.0.0.1:1/api"},
        "goal": {"515nm": 20000},
        "retry": {"times": 0},
    }
    folder = Path(sdl.run(tree, runs=tmp_path).run)
    before = (folder / "record.jsonl").read_bytes()
    monkeypatch.setenv("SSLKEYLOGFILE", BROKEN["SSLKEYLOGFILE"][0])
    with pytest.raises(ConfigError, match="SSLKEYLOGFILE"):
        sdl.resume(folder)
    assert (folder / "record.jsonl").read_bytes() == before


# The broker of an SDL-Light


def test_a_secret_that_is_not_set_and_certificates_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    for wrong, words in (
        ({"password_env": "NO_SUCH_SECRET"}, "the environment variable NO_SUCH_SECRET, which the campaign names"),
        ({"ca_file": str(tmp_path / "ca.pem")}, r"instrument\.ca_file: .*ca\.pem cannot be read"),
    ):
        light = SdlLight(host="broker.example.org", **wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=words):
            light.ready()
        with pytest.raises(ConfigError, match=words):
            sdl.run({"name": "x", "instrument": light.model_dump(), "goal": {"ch510": 5}}, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# Notifications


def test_a_message_that_was_not_sent_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@[::1")
    with pytest.raises(NotSent, match="the environment variable HTTP_PROXY breaks every request") as caught:
        send_by_apprise("json://127.0.0.1:1/", "title", "body")
    assert "secret" not in str(caught.value)


def test_bundles_of_certificates_that_are_not_there_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems_of_requests() == []
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert [problem.split()[3] for problem in problems_of_requests()] == ["REQUESTS_CA_BUNDLE"]
