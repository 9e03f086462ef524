"""Archives that an import must refuse: nothing is written outside the runs, and nothing is left in them."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sdl
from sdl.errors import ConfigError, Damaged, RecordError, SdlError
from sdl.export.importing import import_runs
from sdl.lab.http.named_tokens import NamedTokens
from sdl.replay import replay
from sdl.store import record, zipfiles

LED: dict[str, Any] = {"name": "led", "instrument": "twin", "goal": {"515nm": 16384}, "solver": "linear"}
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of an archive with one run, less report and figures."""
    run = sdl.open_run(sdl.run(LED, runs=tmp_path_factory.mktemp("runs")).run)
    names = ("record.jsonl", "record.seal", "campaign.yaml")
    return described({f"a/{run.folder.name}/record/{name}": (run.folder / name).read_bytes() for name in names})


def described(files: Files) -> Files:
    """With metadata that give the hash of every file."""
    rest = {name: text for name, text in files.items() if not name.endswith("ro-crate-metadata.json")}
    graph = [{"@id": name.partition("/")[2], "sha256": hashlib.sha256(text).hexdigest()} for name, text in rest.items()]
    return {**rest, "a/ro-crate-metadata.json": json.dumps({"@graph": graph}).encode()}


def packed(files: Files, target: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return target


@pytest.fixture
def eln(tmp_path: Path) -> Path:
    return tmp_path / "a.eln"


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path) -> Iterator[None]:
    """Whatever was refused has left no file, inside or outside the runs."""
    yield
    left = [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".eln" and "crate" not in path.parts
    ]
    assert [path for path in left if "kept" not in path.parts] == []


def record_of(content: Files) -> str:
    return next(name for name in content if name.endswith("record.jsonl"))


def test_the_archive_of_these_tests_is_imported(content: Files, eln: Path, tmp_path: Path) -> None:
    (imported,) = import_runs(packed(content, eln), tmp_path / "kept")
    assert imported.checked.sealed


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/tmp/evil", "a\\..\\evil", "C:/evil", "a/run/record/../../../evil", "."],
)
def test_a_name_that_leads_out_is_refused(name: str, content: Files, eln: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="points outside the archive"):
        import_runs(packed({**content, name: b"evil"}, eln), tmp_path / "runs")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_a_device_is_refused(kind: int, content: Files, eln: Path, tmp_path: Path) -> None:
    packed(content, eln)
    info = zipfile.ZipInfo(f"{Path(record_of(content)).parent}/link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(eln, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ConfigError, match="a link or not a regular file"):
        import_runs(eln, tmp_path / "runs")


def test_a_link_in_the_directory_of_a_crate_is_refused(content: Files, tmp_path: Path) -> None:
    folder = tmp_path / "crate" / "a"
    for name, text in content.items():
        (folder.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / name).write_bytes(text)
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="a link or not a regular file"):
        import_runs(folder, tmp_path / "runs")


def test_an_archive_that_unpacks_to_much_more_is_refused(content: Files, eln: Path, tmp_path: Path) -> None:
    bomb = {**content, "a/zeros": bytes(zipfiles.UNSUSPICIOUS + 1)}
    with pytest.raises(ConfigError, match=r"105 MB when unpacked; allowed are 10000 files and 105 MB"):
        import_runs(packed(bomb, eln), tmp_path / "runs")
    assert eln.stat().st_size < 1_000_000


def test_too_many_files_are_refused(content: Files, eln: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfiles, "MOST_FILES", len(content) - 1)
    with pytest.raises(ConfigError, match=r"4 files .* allowed are 3 files"):
        import_runs(packed(content, eln), tmp_path / "runs")


def test_a_file_that_is_larger_than_it_says_is_refused(content: Files, eln: Path, tmp_path: Path) -> None:
    """The sizes in both headers of the archive are changed."""
    packed(content, eln, zipfile.ZIP_STORED)
    size, raw = len(content[record_of(content)]), eln.read_bytes()
    wrong = raw.replace(size.to_bytes(4, "little"), (size - 100).to_bytes(4, "little"))
    eln.write_bytes(wrong)
    with pytest.raises((Damaged, ConfigError)):
        import_runs(eln, tmp_path / "runs")


def test_another_compression_is_refused(content: Files, eln: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="compressed by a method"):
        import_runs(packed(content, eln, zipfile.ZIP_LZMA), tmp_path / "runs")


@pytest.mark.slow
def test_damage_anywhere_is_an_error_of_ours_or_none(content: Files, eln: Path, tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(0), packed(content, eln).read_bytes()
    refused = 0
    for number in range(400):
        raw = bytearray(whole)
        start = int(rng.integers(len(raw))) if number % 2 else len(raw) - 1 - int(rng.integers(400))
        for place in range(start, min(start + int(rng.integers(1, 6)), len(raw))):
            raw[place] = int(rng.integers(256))
        eln.write_bytes(raw[: len(raw) - (number % 5 == 0) * int(rng.integers(len(raw)))])
        try:
            import_runs(eln, tmp_path / "kept" / str(number))
        except SdlError:
            refused += 1
            assert files_below(tmp_path / "kept" / str(number)) == []
    assert refused > 200


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_name_that_occurs_twice_is_refused(content: Files, eln: Path, tmp_path: Path) -> None:
    packed(content, eln)
    with zipfile.ZipFile(eln, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(record_of(content), b"{}")
    with pytest.raises(ConfigError, match="occurs twice"):
        import_runs(eln, tmp_path / "runs")


def test_an_encrypted_file_is_refused(content: Files, eln: Path, tmp_path: Path) -> None:
    packed(content, eln)
    raw = bytearray(eln.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(mark) + offset] |= 1
    eln.write_bytes(raw)
    with pytest.raises(ConfigError, match="encrypted"):
        import_runs(eln, tmp_path / "runs")


def test_a_changed_file_is_found_by_its_hash(content: Files, eln: Path, tmp_path: Path) -> None:
    name = record_of(content)
    changed = {**content, name: content[name].replace(b"16384", b"16385")}
    with pytest.raises(Damaged, match="sha256"):
        import_runs(packed(changed, eln), tmp_path / "runs")
    with pytest.raises(Damaged, match="does not match its sha"):
        import_runs(packed(described(changed), eln), tmp_path / "runs")


def test_a_file_that_the_metadata_do_not_describe_is_refused(content: Files, eln: Path, tmp_path: Path) -> None:
    more = {**content, record_of(content).replace("record.jsonl", "more.txt"): b"more"}
    with pytest.raises(Damaged, match=r"more\.txt is not described"):
        import_runs(packed(more, eln), tmp_path / "runs")


@pytest.mark.parametrize("name", ["record.lock", "imported.json"])
def test_a_lock_or_a_mark_of_ours_is_refused(name: str, content: Files, eln: Path, tmp_path: Path) -> None:
    more = described({**content, record_of(content).replace("record.jsonl", name): b"{}"})
    with pytest.raises(ConfigError, match="cannot belong to a run"):
        import_runs(packed(more, eln), tmp_path / "runs")


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"@graph": 3}', b'{"@graph": [3]}', b"[" * 100_000], ids=len)
def test_unreadable_metadata_are_refused(broken: bytes, content: Files, eln: Path, tmp_path: Path) -> None:
    with pytest.raises(SdlError, match=r"ro-crate-metadata\.json"):
        import_runs(packed({**content, "a/ro-crate-metadata.json": broken}, eln), tmp_path / "runs")


def test_an_archive_without_a_run_and_what_is_no_archive_are_refused(eln: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run of sdl"):
        import_runs(packed({"b/ro-crate-metadata.json": b"{}"}, eln), tmp_path / "runs")
    eln.write_bytes(b"no archive")
    with pytest.raises(ConfigError, match="ZIP archive"):
        import_runs(eln, tmp_path / "runs")
    with pytest.raises(ConfigError, match="cannot be read"):
        import_runs(tmp_path / "missing.eln", tmp_path / "runs")


def renamed(content: Files, campaign: str) -> Files:
    """The same record with another name of the campaign, and hashes that fit."""
    name, sha, lines = record_of(content), record.START, b""
    for line in content[name].splitlines():
        event = json.loads(line)
        text = json.dumps({**{k: v for k, v in event.items() if k != "sha"}}, ensure_ascii=False)
        if event["event"] == "Opened":
            text = json.dumps({**event, "campaign": campaign} | {"sha": None}).replace(', "sha": null', "")
        body = text[:-1].encode()
        sha = record._sha(sha, body)
        lines += body + f', "sha": "{sha}"}}\n'.encode()
    rest = {key: value for key, value in content.items() if not key.endswith("record.seal")}
    return described({**rest, name: lines})


@pytest.mark.parametrize("campaign", ["..", "../x", "/tmp/x", "", "a/b", ".hidden"])
def test_a_campaign_or_a_run_whose_name_is_no_directory_is_refused(
    campaign: str, content: Files, eln: Path, tmp_path: Path
) -> None:
    with pytest.raises(SdlError, match="no name of a run or a campaign"):
        import_runs(packed(renamed(content, campaign), eln), tmp_path / "runs")
    moved = described(
        {name.replace(Path(name).parts[1], ".x"): text for name, text in content.items() if "record/" in name}
    )
    with pytest.raises(ConfigError, match=r"'\.x' is no name"):
        import_runs(packed(moved, eln), tmp_path / "runs")


@pytest.mark.slow
def test_an_imported_run_that_names_a_program_is_neither_replayed_nor_resumed_unseen(tmp_path: Path, eln: Path) -> None:
    program = tmp_path / "crate" / "evil.py"
    program.parent.mkdir()
    program.write_text("print(1)\n")
    instrument = {
        "kind": "command",
        "command": [sys.executable, str(program)],
        "off": "nothing",
        "inputs": {"x": {"low": 0, "high": 1}},
        "channels": {"y": {}},
    }
    result = sdl.run({"name": "led", "instrument": instrument, "goal": {"y": 3}}, runs=tmp_path / "kept")
    folder = Path(result.run)
    names = ("record.jsonl", "record.seal", "campaign.yaml")
    files = described({f"a/{folder.name}/record/{name}": (folder / name).read_bytes() for name in names})
    (imported,) = import_runs(packed(files, eln), tmp_path / "kept" / "others")
    replay(folder)
    actions: list[Callable[..., Any]] = [replay, sdl.resume]
    for action in actions:
        with pytest.raises(ConfigError, match="imported, and its instrument names a program"):
            action(imported.folder)
    assert replay(imported.folder, trust=True) == replace(replay(folder), run=str(imported.folder))


def test_a_full_disk_leaves_nothing(content: Files, eln: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfiles.os, "fsync", full)
    with pytest.raises(RecordError, match="No space left"):
        import_runs(packed(content, eln), tmp_path / "runs")


def test_nothing_is_imported_into_the_directory_of_a_lab(eln: Path, tmp_path: Path) -> None:
    """Where a file of the archive could be taken for an access token."""
    made = Path(sdl.run({**LED, "name": "our.lab"}, runs=tmp_path / "kept").run)
    files = {f"a/tokens/record/{name}": (made / name).read_bytes() for name in ("record.jsonl", "record.seal")}
    runs = tmp_path / "runs"
    stored = {"scopes": ["approve"], "sha256": hashlib.sha256(b"known").hexdigest(), "at": 0.0, "agent": False}
    files["a/tokens/record/eve.json"] = json.dumps(stored).encode()
    with pytest.raises(ConfigError, match="directories with this ending belong to labs"):
        import_runs(packed(described(files), eln), runs)
    assert NamedTokens(runs / "our.lab").identify("known") is None
