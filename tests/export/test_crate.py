"""A run as an RO-Crate or an .eln file: what it holds, and that an import gives the same run."""

from __future__ import annotations

import csv
import filecmp
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import sdl
from export.terms import TERMS
from sdl.errors import ConfigError
from sdl.export import crate
from sdl.export.crate import write_crate, write_eln
from sdl.export.importing import import_runs
from sdl.export.people import Person
from sdl.replay import replay
from sdl.report import figures, page
from sdl.store import record

pytest.importorskip("rocrate")

ADA = Person(name="Ada Lovelace", orcid="0000-0002-1825-0097")
LED: dict[str, Any] = {
    "name": "led",
    "instrument": {"kind": "twin"},
    "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
    "solver": "linear",
}


@pytest.fixture(autouse=True)
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them would take seconds."""
    few = {name: figures.KINDS[name] for name in ("error", "timeline")}
    monkeypatch.setattr(page, "known", lambda: few)


@pytest.fixture
def run(tmp_path: Path) -> sdl.Run:
    return sdl.open_run(sdl.run(LED, runs=tmp_path / "runs").run)


def metadata(eln: Path) -> dict[str, Any]:
    """The entities of the crate by their identifier."""
    with zipfile.ZipFile(eln) as archive:
        tree = json.loads(archive.read(f"{eln.stem}/ro-crate-metadata.json"))
    return {item["@id"]: item for item in tree["@graph"]}


def files_of(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("form", [write_eln, write_crate])
def test_what_is_exported_is_imported_as_the_same_run(form: Any, run: sdl.Run, tmp_path: Path) -> None:
    form(run, tmp_path / "out.eln", [ADA], "CC-BY-4.0")
    (imported,) = import_runs(tmp_path / "out.eln", tmp_path / "others")
    assert imported.new
    assert imported.folder == tmp_path / "others" / "led" / run.folder.name
    kept = [name for name in files_of(run.folder) if not name.endswith(".lock")]
    assert files_of(imported.folder) == sorted([*kept, "imported.json"])
    assert filecmp.cmpfiles(run.folder, imported.folder, kept, shallow=False)[0] == kept
    assert record.check(imported.folder) == record.check(run.folder)
    assert replay(imported.folder).decided == replay(run.folder).decided == ()
    assert sdl.open_run(imported.folder).rows() == run.rows()
    assert list((tmp_path / "others").glob(".import-*")) == []


def test_an_import_again_changes_nothing_and_another_run_of_that_name_is_kept(run: sdl.Run, tmp_path: Path) -> None:
    eln = tmp_path / "led.eln"
    write_eln(run, eln)
    (there,) = import_runs(eln, tmp_path / "runs")
    assert (there.folder, there.new) == (run.folder, False)
    assert not (run.folder / "imported.json").exists()
    other = sdl.open_run(sdl.run({**LED, "seed": 1}, runs=tmp_path / "others").run)
    other.folder.rename(other.folder.parent / run.folder.name)
    with pytest.raises(ConfigError, match="is another run"):
        import_runs(eln, tmp_path / "others")


def test_every_file_lies_in_one_directory_and_is_described_with_its_hash(run: sdl.Run, tmp_path: Path) -> None:
    eln = tmp_path / "led.eln"
    count = write_eln(run, eln)
    entities = metadata(eln)
    with zipfile.ZipFile(eln) as archive:
        names = archive.namelist()
        assert {name.partition("/")[0] for name in names} == {"led"}
        places = {name.removeprefix("led/") for name in names} - {"ro-crate-metadata.json"}
        assert len(places) == count
        for place in places:
            content, entity = archive.read(f"led/{place}"), entities[place]
            assert entity["@type"] == "File"
            assert entity["sha256"] == hashlib.sha256(content).hexdigest()
            assert entity["contentSize"] == str(len(content))
            assert entity["encodingFormat"]
            assert entity["description"]
    root = run.folder.name
    wanted = {"readings.csv", "report.html", "figures/error.png", "record/record.jsonl", "record/record.seal"}
    assert {f"{root}/{name}" for name in (*wanted, "record/campaign.yaml")} <= places
    parts = [part["@id"] for part in entities["./"]["hasPart"]]
    assert parts == [f"{root}/"]  # what other notebooks import as one experiment
    below = {part["@id"] for part in entities[f"{root}/"]["hasPart"] + entities[f"{root}/record/"]["hasPart"]}
    assert below == places | {f"{root}/record/"}


def test_every_term_is_one_of_the_context_or_is_added_to_it(run: sdl.Run, tmp_path: Path) -> None:
    write_eln(run, tmp_path / "led.eln", [ADA])
    with zipfile.ZipFile(tmp_path / "led.eln") as archive:
        tree = json.loads(archive.read("led/ro-crate-metadata.json"))
    address, added = tree["@context"]
    assert (address, list(added)) == ("https://w3id.org/ro/crate/1.1/context", ["sha256"])
    used = {key for item in tree["@graph"] for key in item if not key.startswith("@")}
    used |= {item["@type"] for item in tree["@graph"]}
    assert used - set(TERMS) == {"sha256"}


def test_people_licence_software_and_results_are_named(run: sdl.Run, tmp_path: Path) -> None:
    eln = tmp_path / "led.eln"
    write_eln(run, eln, [ADA, Person(name="Bo Ek")], "CC-BY-4.0")
    entities = metadata(eln)
    top, outer, action = entities["./"], entities[f"{run.folder.name}/"], entities["#campaign"]
    assert top["license"]["@id"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert outer["author"]["@id"] == action["agent"]["@id"] == "https://orcid.org/0000-0002-1825-0097"
    assert entities[outer["contributor"]["@id"]]["name"] == "Bo Ek"
    assert entities[entities["ro-crate-metadata.json"]["sdPublisher"]["@id"]]["name"] == "sdl-orchestrator"
    assert f"numpy {run.opened.versions['numpy']}" in entities["#sdl"]["softwareRequirements"]
    assert (outer["creativeWorkStatus"], outer["genre"]) == ("reached", "experiment")
    values = {entities[ref["@id"]]["propertyID"]: entities[ref["@id"]] for ref in outer["variableMeasured"]}
    assert values["measured.515nm"]["value"] == run.result.measured["515nm"]
    assert values["measured.515nm"]["unitText"] == "counts"
    assert values["settings.G"]["value"] == run.result.applied["G"]
    assert values["goal.515nm"]["value"].startswith("16384 ± ")


def test_without_people_the_user_is_named_and_without_a_licence_that_is_said(run: sdl.Run, tmp_path: Path) -> None:
    write_eln(run, tmp_path / "led.eln")
    entities = metadata(tmp_path / "led.eln")
    assert entities["#person-0"]["name"] == run.opened.user
    assert "No licence was given" in entities[entities["./"]["license"]["@id"]]["description"]


def test_readings_have_units_in_their_header(tmp_path: Path) -> None:
    opened = sdl.open_campaign(
        {
            "name": "rig",
            "instrument": {
                "kind": "external",
                "inputs": {"red": {"low": 0, "high": 300, "unit": "uL"}},
                "channels": {"R": {"unit": "counts"}, "pH": {"unit": ""}},
            },
            "goal": {"R": 140},
        },
        runs=tmp_path,
    )
    request = opened.ask()
    assert request is not None
    opened.tell(request, {"R": 12.5, "pH": 7.0}, note="cloudy, <b>")
    run = sdl.open_run(opened.folder)
    write_crate(run, tmp_path / "crate")
    text = (tmp_path / "crate" / run.folder.name / "readings.csv").read_text(encoding="utf-8")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["red [uL]"], row["R [counts]"], row["pH"]) == ("30.0", "12.5", "7.0")
    graph = json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    outer = next(item for item in graph if item["@id"] == f"{run.folder.name}/")
    assert (outer["creativeWorkStatus"], "unfinished" in outer["text"]) == ("unfinished", True)


def test_a_run_that_has_no_reading_yet_is_exported_and_imported(tmp_path: Path) -> None:
    instrument = {"kind": "external", "inputs": {"x": {"low": 0, "high": 1}}, "channels": {"y": {}}}
    opened = sdl.open_campaign({"name": "new", "instrument": instrument, "goal": {"y": 1}}, runs=tmp_path / "runs")
    write_eln(sdl.open_run(opened.folder), tmp_path / "new.eln")
    (imported,) = import_runs(tmp_path / "new.eln", tmp_path / "others")
    assert sdl.open_campaign(imported.folder).ask() is not None


def test_files_beside_the_record_come_along_and_links_do_not(run: sdl.Run, tmp_path: Path) -> None:
    name = "trial 3/photo of célls #1 & <2>.txt"
    (run.folder / "trial 3").mkdir()
    (run.folder / name).write_text("turbid\n", encoding="utf-8")
    (run.folder / "link").symlink_to("/etc/hostname")
    write_eln(run, tmp_path / "led.eln")
    (imported,) = import_runs(tmp_path / "led.eln", tmp_path / "others")
    assert (imported.folder / name).read_text(encoding="utf-8") == "turbid\n"
    assert not (imported.folder / "link").exists()


def test_what_is_there_is_not_overwritten_and_a_failure_leaves_nothing(
    run: sdl.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "led.eln").write_text("mine")
    for form in (write_eln, write_crate):
        with pytest.raises(ConfigError, match="exists already"):
            form(run, here / "led.eln")

    def fails(*given: Any) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(crate, "_describe", fails)
    for form in (write_eln, write_crate):
        with pytest.raises(ConfigError, match="no space left"):
            form(run, here / "new.eln")
    assert [(file.name, file.read_text()) for file in here.iterdir()] == [("led.eln", "mine")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada, 0000-0002-1825-0098", "no ORCID iD"),
        ("Ada, 0000-0002-1825", "no ORCID iD"),
        (", 0000-0002-1825-0097", "at least 1 character"),
    ],
)
def test_a_mistyped_author_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Person.parse(text)


def test_an_orcid_is_taken_as_address_or_identifier() -> None:
    assert Person.parse("A B, https://orcid.org/0000-0001-5109-3700").orcid == "0000-0001-5109-3700"
    assert Person.parse("A B, 0000-0002-1694-233X").orcid == "0000-0002-1694-233X"  # its check digit is X
    assert Person.parse(" Ada Lovelace ") == Person(name="Ada Lovelace")
