"""A run as an RO-Crate: its record, readings, figures, report and provenance, as a directory or an `.eln` file.

    ro-crate-metadata.json          who, when, with what, settings and readings with units, a hash of every file
    RUN/record/                     the run's directory as it is: record, seal, campaign, prior, files beside trials
    RUN/readings.csv                one row per reading, units in the header
    RUN/report.html, RUN/figures/   as `sdl report` makes them

An `.eln` file is the same in a ZIP archive, inside one directory. Sources: the RO-Crate specifications 1.1 and 1.2, and
the file format of The ELN Consortium.
"""

from __future__ import annotations

import html
import mimetypes
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdl.drivers.trust import IMPORTED
from sdl.errors import ConfigError, translated_os_errors
from sdl.export import csv_lines
from sdl.export.people import ORCID_URL, Person
from sdl.extras import DISTRIBUTION, missing, versions_of
from sdl.runs.runs import Run
from sdl.store.record import file_sha

METADATA = "ro-crate-metadata.json"
RECORD = "record"  # directory in the crate with the files of the run
PUBLISHER, ACTION, SOFTWARE, INSTRUMENT, NO_LICENCE = "#publisher", "#campaign", "#sdl", "#instrument", "#licence"
SHA256 = "https://schema.org/sha256"
SPDX = "https://spdx.org/licenses/"
ENCODINGS = {".jsonl": "application/jsonl", ".yaml": "application/yaml", ".seal": "application/json"}
FILES = "files of the run as sdl keeps them; `sdl import` restores them, `sdl check` verifies the record"
DESCRIPTIONS = {
    "record.jsonl": "record of the campaign: one event per line, in a hash chain",
    "record.seal": "number and hash of the last line of the record",
    "campaign.yaml": "the campaign: instrument, goal, design, solver and stopping rules",
    "prior.jsonl": "earlier readings that the campaign started with",
}


def write_crate(run: Run, output: Path, people: Sequence[Person] = (), licence: str = "") -> int:
    """Write a run as an RO-Crate 1.2 into a new directory.

    Returns:
        The number of files.

    Raises:
        ConfigError: it exists or cannot be written, or rocrate is not installed.
    """
    if output.exists():
        raise ConfigError(f"{output} exists already; name another directory")
    with translated_os_errors(output), tempfile.TemporaryDirectory(prefix=".crate-", dir=output.parent) as place:
        folder = Path(place) / "crate"
        count = _build(run, folder, "1.2", people, licence)
        folder.rename(output)
    return count


def write_eln(run: Run, output: Path, people: Sequence[Person] = (), licence: str = "") -> int:
    """Write a run as a new `.eln` file: an RO-Crate 1.1 in a ZIP archive.

    Returns:
        The number of files.

    Raises:
        ConfigError: it exists or cannot be written, or rocrate is not installed.
    """
    if output.exists():
        raise ConfigError(f"{output} exists already; name another file")
    with translated_os_errors(output), tempfile.TemporaryDirectory(prefix=".eln-", dir=output.parent) as place:
        folder, archive = Path(place) / "crate", Path(place) / "archive"
        count = _build(run, folder, "1.1", people, licence)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    stream.write(path, f"{output.stem}/{path.relative_to(folder).as_posix()}")
        archive.chmod(0o644)
        archive.rename(output)
    return count


@dataclass(frozen=True)
class _Part:
    """A file of the crate, with its place in the crate."""

    path: Path
    place: str
    description: str


def _build(run: Run, folder: Path, version: str, people: Sequence[Person], licence: str) -> int:
    """Write the crate; the number of its data files."""
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise ConfigError(missing("RO-Crates and .eln files", "eln", error)) from error
    with tempfile.TemporaryDirectory(prefix="sdl-crate-") as place:
        parts = [*_recorded(run), *_derived(run, Path(place))]
        crate = ROCrate(version=version)
        if version == "1.1":
            crate.metadata.extra_terms["sha256"] = SHA256  # RO-Crate has it since 1.2
        _describe(crate, run, parts, people, licence)
        crate.write(folder)
    return len(parts)


def _recorded(run: Run) -> Iterator[_Part]:
    """The files of the run's directory, without locks and what a crash left."""
    for path in sorted(run.folder.rglob("*")):
        name = path.relative_to(run.folder).as_posix()
        if path.is_symlink() or not path.is_file() or path.suffix in (".lock", ".new") or name == IMPORTED:
            continue
        if path.name.startswith("record.torn-"):
            continue
        what = DESCRIPTIONS.get(name, "file of the run")
        yield _Part(path, f"{run.folder.name}/{RECORD}/{name}", what)


def _derived(run: Run, place: Path) -> Iterator[_Part]:
    """Readings, report and figures, made in a temporary directory."""
    from sdl.report import figures, page
    from sdl.report.table import TrialTable

    table, root = TrialTable(run), run.folder.name
    readings = place / "readings.csv"
    readings.write_text("".join(f"{line}\n" for line in csv_lines(run.rows(), _units(run))), encoding="utf-8")
    yield _Part(readings, f"{root}/readings.csv", "one row per reading, with units in the header")
    report = place / "report.html"
    page.write(report, page.run_page(table))
    yield _Part(report, f"{root}/report.html", "report of the run")
    kinds = figures.known()
    for path in page.figure_files(table, place / "figures", ["png"]):
        title, text = kinds[path.stem].caption(table)
        yield _Part(path, f"{root}/figures/{path.name}", f"{title}. {text}")


def _units(run: Run) -> dict[str, str]:
    """The unit of each column of the readings."""
    items = [*run.opened.instrument["inputs"], *run.opened.instrument["channels"]]
    units = {str(item["name"]): str(item.get("unit") or "") for item in items}
    return {
        **units,
        **{f"{name}_asked": unit for name, unit in units.items()},
        **{f"{name}_background": unit for name, unit in units.items()},
        **{"elapsed": "s", "at": "s since 1970-01-01 UTC"},
    }


def _describe(crate: Any, run: Run, parts: Sequence[_Part], people: Sequence[Person], licence: str) -> None:
    """Fill the graph of a crate."""
    from rocrate.model.contextentity import ContextEntity

    def add(identifier: str, kind: str, /, **properties: Any) -> Any:
        given = {key: value for key, value in properties.items() if value not in ("", None)}
        return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **given}))

    opened, result, root = run.opened, run.result, run.folder.name
    began, ended = _time(opened.at), _time(run.events[-1].at)
    authors = [
        add(f"{ORCID_URL}{person.orcid}" if person.orcid else f"#person-{n}", "Person", name=person.name)
        for n, person in enumerate(people or [Person(name=opened.user or "unknown")])
    ]
    rights = _licence(add, licence)
    name, summary = f"{opened.campaign}/{root}", _summary(run)
    files = [_file(crate, part) for part in parts]
    by_place = {part.place: file for part, file in zip(parts, files, strict=True)}
    inputs = [file for place, file in by_place.items() if place.endswith(("/campaign.yaml", "/prior.jsonl"))]
    record = [file for place, file in by_place.items() if place.startswith(f"{root}/{RECORD}/")]
    about = {"name": f"record of {name}", "description": FILES}
    inner = crate.add_dataset(dest_path=f"{root}/{RECORD}/", properties=about)
    inner["hasPart"] = record
    outer = crate.add_dataset(dest_path=f"{root}/", properties={"name": name, "identifier": name})
    outer["hasPart"] = [inner, *(file for file in files if file not in record)]
    software = add(
        SOFTWARE,
        "CreativeWork",
        name="sdl",
        description="orchestrator for self-driving labs",
        version=opened.versions.get("sdl"),
        softwareRequirements=[f"{package} {text}" for package, text in opened.versions.items() if package != "sdl"],
    )
    kind = str(opened.instrument.get("kind", ""))
    identity = str(opened.instrument.get("identity", ""))
    simulated = "simulated " if opened.simulated else ""
    instrument = add(INSTRUMENT, "IndividualProduct", name=f"{simulated}{kind}", identifier=identity)
    action = add(
        ACTION,
        "CreateAction",
        name=f"campaign {opened.campaign}",
        description=summary,
        startTime=began,
        endTime=ended,
        agent=authors[0],
        instrument=[software, instrument],
        object=_compact(inputs),
        result=_compact([file for file in files if file not in inputs]),
    )
    variables = [add(f"#value-{n}", "PropertyValue", **item) for n, item in enumerate(_values(run))]
    for key, value in {
        "author": authors[0],
        "contributor": _compact(authors[1:]),
        "description": summary,
        "text": _text(run),
        "dateCreated": began,
        "dateModified": ended,
        "genre": "experiment",
        "keywords": "self-driving lab, closed-loop experiment",
        "creativeWorkStatus": str(result.outcome or "unfinished"),
        "variableMeasured": _compact(variables),
        "mentions": action,
    }.items():
        if value:
            outer[key] = value
    publisher = add(PUBLISHER, "Organization", name=DISTRIBUTION, description="the software that wrote this file")
    now = _time(datetime.now(UTC).timestamp())
    for key, value in {"sdPublisher": publisher, "dateCreated": now, "version": versions_of().get("sdl", "0")}.items():
        crate.metadata[key] = value
    top = crate.root_dataset
    for key, value in {
        "name": name,
        "description": summary,
        "datePublished": now,
        "license": rights,
        "author": authors[0],
        "mentions": action,
        "hasPart": [outer],
    }.items():
        top[key] = value


def _file(crate: Any, part: _Part) -> Any:
    """Add a file with its size, hash and type."""
    kind = ENCODINGS.get(part.path.suffix) or mimetypes.guess_type(part.path.name)[0] or "application/octet-stream"
    properties = {
        "name": Path(part.place).name,
        "description": part.description,
        "encodingFormat": kind,
        "contentSize": str(part.path.stat().st_size),
        "sha256": file_sha(part.path),
    }
    return crate.add_file(part.path, part.place, properties=properties)


def _licence(add: Any, licence: str) -> Any:
    """The licence: an SPDX identifier, an address, or none."""
    if not licence:
        text = "No licence was given. All rights are reserved; ask the authors."
        return add(NO_LICENCE, "CreativeWork", name="no licence", description=text)
    if licence.startswith(("https://", "http://")):
        return add(licence, "CreativeWork", name=licence, description="licence of the data")
    return add(f"{SPDX}{licence}", "CreativeWork", name=licence, identifier=licence, description="licence of the data")


def _compact(values: Sequence[Any]) -> Any:
    """The only one of the values, as RO-Crate writes it; otherwise all."""
    return values[0] if len(values) == 1 else values


def _summary(run: Run) -> str:
    """One sentence: the outcome, with the numbers of trials and readings."""
    result = run.result
    return f"{result.outcome or 'unfinished'}: {result.reason} {result.trials} trials, {result.readings} readings."


def _text(run: Run) -> str:
    """The result as HTML for an electronic lab notebook: a sentence and a table."""
    items = [*_values(run)]
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(item.get(key, '')))}</td>" for key in ("name", "value", "unitText"))
        + "</tr>"
        for item in items
    )  # fmt: skip
    head = "<tr><th>quantity</th><th>value</th><th>unit</th></tr>"
    return f"<p>{html.escape(_summary(run))}</p><table>{head}{rows}</table>"


def _values(run: Run) -> Iterator[Mapping[str, Any]]:
    """The goal, and settings and readings of the best trial, as property values with units."""
    result, instrument = run.result, run.opened.instrument
    goal = run.campaign.plan.goal
    for label, items, values in (
        ("settings", instrument["inputs"], result.applied or result.settings),
        ("measured", instrument["channels"], result.measured),
        ("goal", instrument["channels"], {} if goal is None else {k: str(band) for k, band in goal.bands.items()}),
    ):
        for item in items:
            name = str(item["name"])
            if name in values:
                yield {
                    "propertyID": f"{label}.{name}",
                    "name": f"{name}, {label}",
                    "value": values[name],
                    "unitText": str(item.get("unit") or ""),
                }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
