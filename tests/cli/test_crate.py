"""export --to eln or crate and import, as they are typed."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from cli.conftest import Sdl
from sdl.report import figures, page


@pytest.fixture(autouse=True)
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "known", lambda: {"error": figures.KINDS["error"]})


def graph_of(eln: Path) -> dict[str, dict[str, object]]:
    with zipfile.ZipFile(eln) as archive:
        tree = json.loads(archive.read(f"{eln.stem}/ro-crate-metadata.json"))
    return {item["@id"]: item for item in tree["@graph"]}


def test_an_eln_file_is_written_under_the_name_of_the_run_and_imported(
    sdl: Sdl, finished: Path, tmp_path: Path
) -> None:
    pytest.importorskip("rocrate")
    done = sdl(
        "export", finished, "--to", "eln", "--author", "Ada Lovelace, 0000-0002-1825-0097", "--licence", "CC0-1.0"
    )
    name = f"led-{finished.name.rpartition('-')[2]}.eln"
    assert (done.code, done.out, done.err) == (0, f"{name}: 6 files written\n", "")
    graph = graph_of(tmp_path / name)
    assert graph["https://orcid.org/0000-0002-1825-0097"]["name"] == "Ada Lovelace"
    assert "https://spdx.org/licenses/CC0-1.0" in graph
    imported = sdl("import", name, "--runs", "others")
    assert imported.out == f"others/led/{finished.name}: 14 events imported\n"
    again = sdl("import", name, "--runs", "others", "--json")
    assert again.json == {"imported": [{"run": f"others/led/{finished.name}", "new": False, "lines": 14}]}
    checked = sdl("check", "latest", "--runs", "others")
    assert (checked.code, "sound" in checked.out) == (0, True)
    replayed = sdl("replay", "latest", "--runs", "others")
    assert (replayed.code, "identical" in replayed.out) == (0, True)


def test_people_and_licence_come_from_the_lab_file(sdl: Sdl, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("rocrate")
    Path("led.yaml").write_text("name: led\ninstrument: twin\ngoal: {515nm: 9000}\n", encoding="utf-8")
    lab = """\
name: lab
instruments: {light: {instrument: {kind: twin}}}
jobs: {hourly: {campaign: led.yaml, instrument: light, when: {every: 1h}}}
people: [{name: Ada Lovelace, orcid: 0000-0002-1825-0097}, {name: Bo Ek}]
licence: CC-BY-4.0
"""
    Path("lab.yaml").write_text(lab, encoding="utf-8")
    assert sdl("export", finished, "--to", "crate", "-o", "crate", "--lab", "lab.yaml").code == 0
    text = Path("crate/ro-crate-metadata.json").read_text(encoding="utf-8")
    assert all(word in text for word in ("0000-0002-1825-0097", "Bo Ek", "CC-BY-4.0"))
    Path("lab.yaml").write_text(lab.replace("0097", "0098"), encoding="utf-8")
    refused = sdl("export", finished, "--to", "crate", "-o", "other", "--lab", "lab.yaml")
    assert refused.code == 2
    assert "lab.yaml:4: people.0.orcid: '0000-0002-1825-0098' is no ORCID iD" in refused.err


def test_what_belongs_to_a_whole_run_is_refused_with_readings_alone(sdl: Sdl, finished: Path) -> None:
    done = sdl("export", finished, "--to", "csv", "--licence", "CC0-1.0")
    assert (done.code, "--to eln" in done.err) == (2, True)


def test_without_rocrate_the_extra_is_named(sdl: Sdl, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    done = sdl("export", finished, "--to", "eln")
    assert done.code == 2
    assert "RO-Crates and .eln files need rocrate" in done.err
    assert "the extra `eln` of sdl-orchestrator requires" in done.err
