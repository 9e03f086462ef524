"""The lab's log: JSON lines, rotated, with start, run and trial."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdl.lab import logs

LOG = logging.getLogger("sdl.lab.test")


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[logs.LogFile]:
    result = logs.open_log(tmp_path)
    yield result
    logs.close_log(result)


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / logs.FILE).read_text(encoding="utf-8").splitlines()]


def test_each_line_is_json_with_what_it_is_about(tmp_path: Path, handler: logs.LogFile) -> None:
    with logs.log_context(start=12, job="night", run="led/x"):
        with logs.log_context(trial=3):
            LOG.warning("a line\nbreak %s", "and ±")
        LOG.info("next")
    LOG.info("alone", extra={"trial": 4})
    first, second, third = lines(tmp_path)
    assert first["message"] == "a line\nbreak and ±"
    assert (first["start"], first["job"], first["run"], first["trial"]) == (12, "night", "led/x", 3)
    assert first["level"] == "WARNING"
    assert str(first["at"]).endswith("+00:00")
    assert "trial" not in second
    assert (third["trial"], "start" in third) == (4, False)


def test_another_key_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="allowed: start, job"), logs.log_context(colour=1):
        pass


def test_an_error_keeps_its_traceback_in_its_line(tmp_path: Path, handler: logs.LogFile) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        LOG.exception("it broke")
    (line,) = lines(tmp_path)
    assert "ValueError: no" in str(line["error"])


def test_the_file_is_rotated_and_the_oldest_is_dropped(tmp_path: Path, handler: logs.LogFile) -> None:
    handler.maxBytes = 2000
    for n in range(400):
        LOG.info("line %d", n)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["lab.log", *(f"lab.log.{n}" for n in range(1, logs.KEPT + 1))]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert lines(tmp_path)[-1]["message"] == "line 399"


def test_a_full_disk_loses_lines_and_ends_nothing(
    tmp_path: Path, handler: logs.LogFile, capfd: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    LOG.info("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / logs.FILE).stat().st_size, hard))
        LOG.info("lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "Traceback" not in capfd.readouterr().err


def test_people_get_one_line_of_text() -> None:
    record = logging.LogRecord("sdl", logging.WARNING, "", 0, "not sent", (), None)
    with logs.log_context(start=12, job="night"):
        text = logs.TextFormatter().format(record)
    assert text.endswith("WARNING start 12 job night: not sent")


def test_what_the_http_server_says_is_in_it_too(tmp_path: Path, handler: logs.LogFile) -> None:
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert [line["where"] for line in lines(tmp_path)] == ["uvicorn.error"]


def test_a_log_that_was_deleted_or_replaced_is_created_again_and_never_written_through_a_link(tmp_path: Path) -> None:
    handler = logs.open_log(tmp_path)
    try:
        LOG.warning("one")
        (tmp_path / logs.FILE).unlink()
        LOG.warning("two")
        assert [line["message"] for line in lines(tmp_path)] == ["two"]
        (tmp_path / "precious").write_text("mine")
        (tmp_path / logs.FILE).unlink()
        (tmp_path / logs.FILE).symlink_to(tmp_path / "precious")
        LOG.warning("three")
    finally:
        logs.close_log(handler)
    assert (tmp_path / "precious").read_text() == "mine"
    with pytest.raises(OSError, match="it is a link"):
        logs.open_log(tmp_path)
