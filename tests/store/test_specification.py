"""The reader of docs/reference/record.md, which knows nothing of the package, against records of every schema."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_project import blocks
from waiting import TIMEOUT

import sdl
from sdl.core.events import Stopped

RECORDS = sorted(path.parent for path in (ROOT / "tests" / "golden").rglob("record.jsonl"))
SCRIPT = next(code for _, code in blocks(ROOT / "docs" / "reference" / "record.md", "python") if "read_record" in code)


def read(folder: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    (tmp_path / "read_record.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-I", str(tmp_path / "read_record.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)


@pytest.mark.parametrize("folder", RECORDS, ids=lambda path: path.name)
def test_another_program_reads_what_we_read(folder: Path, tmp_path: Path) -> None:
    done = read(folder, tmp_path)
    assert done.returncode == 0, done.stderr
    run = sdl.open_run(folder)
    stopped = [event for event in run.events if isinstance(event, Stopped)]
    assert json.loads(done.stdout) == {
        "events": len(run.events),
        "readings": [dict(event.readings) for event in run.measured()],
        "outcome": str(stopped[-1].outcome) if stopped else None,
    }


def test_it_refuses_a_changed_a_lost_and_a_moved_line_and_takes_no_torn_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(ROOT / "tests" / "golden" / "schema-5", folder)
    file = folder / "record.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    for changed in (
        [lines[0], lines[1].replace(b'"trial": 0', b'"trial": 1'), *lines[2:]],
        [lines[0], *lines[2:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
        lines[:-1],
    ):
        file.write_bytes(b"".join(changed))
        assert read(folder, tmp_path).returncode == 1
    (folder / "record.seal").unlink()
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:30])
    torn = read(folder, tmp_path)
    assert json.loads(torn.stdout)["events"] == len(lines) - 1
