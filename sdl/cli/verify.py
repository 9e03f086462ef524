"""The command `sdl verify`: test campaigns against their `expect:` block."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.options import LIMIT, Json, Limit, Set, emit, limit_of
from sdl.cli.terminal import aligned, raw, say
from sdl.errors import ConfigError, RecordError
from sdl.formatting import count

if TYPE_CHECKING:
    from sdl.verify import Evaluation, Verified, VerifyPlan


def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Campaign files with an `expect:` block.")],
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of seeds, instead of those in the file.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes on this machine.")] = 1,
    sure: Annotated[bool, typer.Option("--sure", help="Exit 1 also if there are too few seeds to tell.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Also write a JUnit XML file.")] = None,
    limit: Limit = LIMIT,
    changes: Set = None,
    json: Json = False,
) -> None:
    """Test campaigns against their `expect:` block, over many seeds.

    \b
    sdl verify configs/*.yaml
    sdl verify fast.yaml --seeds 60 --jobs 2 --junit verify.xml

    Files without `expect:` are named and skipped. Exit code 1 if an expectation is not met, 2 for a mistake in a
    file. A median or p95 that holds for too few seeds to be sure is reported and counts as met.
    A campaign whose solver hangs or ends its process does not meet its expectation; the others continue.
    """
    from sdl import verify as verifying

    plans, without = _plans(files, changes or [], seeds)
    if not json:
        for file in without:
            say(f"{file}: no `expect:` block, skipped")
    results = []
    for verified in verifying.verify(plans, jobs, _progress, limit_of(limit)):
        results.append(verified)
        if not json:
            _tell(verified)
    if junit is not None:
        _write_junit(junit, results)
    failed = [v for v in results if v.level is verifying.Level.NOT or (sure and v.level is not verifying.Level.MET)]
    if json:
        emit({"met": not failed, "without": [str(f) for f in without], "files": [verifying.plain(v) for v in results]})
    elif failed:
        print(
            f"{len(failed)} of {count(len(results), 'file')} not as expected: " + ", ".join(v.plan.file for v in failed)
        )
    else:
        print(f"all as expected: {count(len(results), 'file')}, {count(sum(len(v.seen) for v in results), 'campaign')}")
    if failed:
        raise typer.Exit(1)


def _plans(files: list[Path], changes: list[str], seeds: int | None) -> tuple[list[VerifyPlan], list[Path]]:
    """The plans, and the files without `expect:`; the mistakes of all files are reported together."""
    from sdl import verify as verifying

    plans: list[VerifyPlan] = []
    without: list[Path] = []
    wrong: list[ConfigError] = []
    for file in files:
        try:
            plan = verifying.plan(file, changes, seeds)
        except ConfigError as error:
            wrong.append(error)
            continue
        if plan is None:
            without.append(file)
        else:
            plans.append(plan)
    if wrong:
        raise ConfigError(*(problem for error in wrong for problem in error.problems))
    if not plans:
        raise ConfigError("no file has an `expect:` block; write one, such as: expect: {outcome: reached, trials: 9}")
    return plans, without


def _progress(done: int, of: int) -> None:
    """A progress line on a terminal, overwritten each time."""
    if sys.stderr.isatty():
        text = f"\r{done} of {of} campaigns" if done < of else "\r" + " " * 40 + "\r"
        print(text, end="", file=raw(sys.stderr), flush=True)


def _tell(verified: Verified) -> None:
    """Print the table of one file, and details of each claim that is not met."""
    from sdl.verify import Level

    seeds = [seen.seed for seen in verified.seen]
    run = f"{seeds[0]} … {seeds[-1]}" if seeds == list(range(seeds[0], seeds[0] + len(seeds))) else str(seeds)[1:-1]
    say(f"{verified.plan.file}: " + (f"{count(len(seeds), 'seed')} ({run})" if len(seeds) > 1 else f"seed {run}"))
    if verified.plan.note:
        say(f"  note: {verified.plan.note}", 4)
    for line in aligned(
        [(f.claim, f.expected, _short(f), f"{f.level}{_sureness(f)}") for f in verified.findings], range(4)
    ):
        say(f"  {line}", 4)
    for finding in verified.findings:
        if finding.level is Level.NOT:
            print(f"  {finding.claim} is not met:")
            for name, text in _why(verified, finding).items():
                print(f"    {name:<9} {text}") if name == "again" else say(f"    {name:<9} {text}", 14)


def _short(finding: Evaluation) -> str:
    return finding.seen if len(finding.seen) <= 40 else finding.seen[:39] + "…"


def _sureness(finding: Evaluation) -> str:
    """What these seeds prove about all others."""
    from sdl.verify import Level, describe_certainty

    certainty = describe_certainty(finding)
    return f": {certainty}" if finding.level is Level.UNSURE else f" ({certainty})" if certainty else ""


def _why(verified: Verified, finding: Evaluation) -> dict[str, str]:
    """The facts about a claim that is not met."""
    from sdl.verify import describe_end, describe_kept, rerun_command

    facts = {"expected": finding.expected, "seen": f"{finding.seen}; {describe_kept(finding)}"}
    if finding.seed is not None:
        seen = next(seen for seen in verified.seen if seen.seed == finding.seed)
        facts["worst"] = f"seed {finding.seed}: {describe_end(seen)}"
    return (
        facts
        | {"goal": verified.plan.goal}
        | ({"again": command} if (command := rerun_command(verified, finding)) else {})
    )


def _write_junit(file: Path, results: list[Verified]) -> None:
    """Write JUnit XML: one suite per file, one case per claim.

    Raises:
        RecordError: it cannot be written.
    """
    from xml.etree import ElementTree

    from sdl.verify import Level

    top = ElementTree.Element("testsuites", name="sdl verify")
    for verified in results:
        failures = sum(f.level is Level.NOT for f in verified.findings)
        attributes: dict[str, Any] = {"name": verified.plan.file, "tests": len(verified.findings), "failures": failures}
        suite = ElementTree.SubElement(
            top, "testsuite", {key: str(value) for key, value in attributes.items()} | {"errors": "0"}
        )
        for finding in verified.findings:
            case = ElementTree.SubElement(suite, "testcase", classname=verified.plan.file, name=finding.claim)
            if finding.level is Level.NOT:
                facts = _why(verified, finding)
                short = f"expected {facts['expected']}, seen {facts['seen']}"
                failure = ElementTree.SubElement(case, "failure", message=_printable(short))
                failure.text = _printable("".join(f"{name}: {text}\n" for name, text in facts.items()))
            ElementTree.SubElement(case, "system-out").text = _printable(
                f"{finding.seen}: {finding.level}{_sureness(finding)}"
            )
    ElementTree.indent(top)
    try:
        ElementTree.ElementTree(top).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise RecordError(f"{file}: cannot be written: {error.strerror}") from error


def _printable(text: str) -> str:
    """Text without control characters, which XML cannot hold."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text)
