"""The command `sdl verify`: test campaigns against their `expect:` block."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from sdl import verify as verifying
from sdl.cli.display.progress import working
from sdl.cli.options import LIMIT, Json, Limit, OnTwin, Set, argument, check_page, emit, option
from sdl.cli.terminal import say
from sdl.errors import ConfigError, RecordError, translated_os_errors
from sdl.formatting import aligned, count, truncate
from sdl.verify import Evaluation, Level, Verified, VerifyPlan, describe_certainty, describe_end, describe_kept


def verify(
    files: Annotated[list[Path], argument("FILE…", "Campaign files with an `expect:` block.")],
    seeds: Annotated[int | None, option("--seeds", "Number of seeds, instead of those in the file.", min=1)] = None,
    jobs: Annotated[int, option("--jobs -j", "Processes on this machine.", min=1)] = 1,
    sure: Annotated[bool, option("--sure", "Exit 1 also if there are too few seeds to tell.")] = False,
    junit: Annotated[Path | None, option("--junit FILE", "Also write a JUnit XML file.")] = None,
    report: Annotated[Path | None, option("--report FILE.html", "Also write a page.")] = None,
    limit: Limit = LIMIT,
    changes: Set = None,
    on_twin: OnTwin = False,
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
    if report is not None:
        check_page(report)
    plans, without = _plans(files, changes or [], seeds, on_twin=on_twin)
    if not json:
        for file in without:
            say(f"{file}: no `expect:` block, skipped")
    results = []
    with working("campaigns", quiet=False) as progress:
        for verified in verifying.verify(plans, jobs, progress, limit):
            results.append(verified)
            if not json:
                _print(verified)
    if junit is not None:
        _write_junit(junit, results)
    failed = [v for v in results if v.level is Level.NOT or (sure and v.level is not Level.MET)]
    if report is not None:
        _write_page(report, results, without, failed)
    if json:
        emit({"met": not failed, "without": [str(f) for f in without], "files": [verifying.plain(v) for v in results]})
    else:
        print(_conclusion(results, failed))
    if failed:
        raise typer.Exit(1)


def _conclusion(results: list[Verified], failed: list[Verified]) -> str:
    if failed:
        names = ", ".join(v.plan.file for v in failed)
        return f"{len(failed)} of {count(len(results), 'file')} not as expected: {names}"
    return f"all as expected: {count(len(results), 'file')}, {count(sum(len(v.seen) for v in results), 'campaign')}"


def _write_page(file: Path, results: list[Verified], without: list[Path], failed: list[Verified]) -> None:
    """Write a page with a table of claims for each file."""
    from sdl.report import page
    from sdl.report.tables_page import TableSection, tables_page

    head = ("claim", "expected", "seen", "result")
    sections = []
    for verified in results:
        rows = [(f.claim, f.expected, f.seen, f"{f.level}{_certainty(f)}") for f in verified.findings]
        missed = [(n, finding) for n, finding in enumerate(verified.findings) if finding.level is Level.NOT]
        facts = {f"{f.claim} is not met": list(_facts(verified, f).items()) for _, f in missed}
        note = f"{count(len(verified.seen), 'seed')}. {verified.plan.note}".strip()
        sections.append(TableSection(verified.plan.file, head, rows, 4, note, facts, frozenset(n for n, _ in missed)))
    conclusion = _conclusion(results, failed)
    skipped = f" Without `expect:` and skipped: {', '.join(map(str, without))}." if without else ""
    text = f"{conclusion[0].upper()}{conclusion[1:]}.{skipped}"
    page.write(file, tables_page("Campaigns tested against their expectations", text, sections, good=not failed))


def _plans(
    files: list[Path], changes: list[str], seeds: int | None, *, on_twin: bool
) -> tuple[list[VerifyPlan], list[Path]]:
    """The plans, and the files without `expect:`; the mistakes of all files are reported together."""
    plans: list[VerifyPlan] = []
    without: list[Path] = []
    wrong: list[ConfigError] = []
    for file in files:
        try:
            plan = verifying.plan(file, changes, seeds, on_twin=on_twin)
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


def _print(verified: Verified) -> None:
    """Print the table of one file, and details of each claim that is not met."""
    seeds = [seen.seed for seen in verified.seen]
    run = f"{seeds[0]} … {seeds[-1]}" if seeds == list(range(seeds[0], seeds[0] + len(seeds))) else str(seeds)[1:-1]
    say(f"{verified.plan.file}: " + (f"{count(len(seeds), 'seed')} ({run})" if len(seeds) > 1 else f"seed {run}"))
    if verified.plan.note:
        say(f"  note: {verified.plan.note}", 4)
    rows = [(f.claim, f.expected, truncate(f.seen, 40), f"{f.level}{_certainty(f)}") for f in verified.findings]
    for line in aligned(rows, range(4)):
        say(f"  {line}", 4)
    for finding in verified.findings:
        if finding.level is Level.NOT:
            print(f"  {finding.claim} is not met:")
            for name, text in _facts(verified, finding).items():
                print(f"    {name:<9} {text}") if name == "again" else say(f"    {name:<9} {text}", 14)


def _certainty(finding: Evaluation) -> str:
    """What these seeds prove about all others."""
    certainty = describe_certainty(finding)
    return f": {certainty}" if finding.level is Level.UNSURE else f" ({certainty})" if certainty else ""


def _facts(verified: Verified, finding: Evaluation) -> dict[str, str]:
    """The facts about a claim that is not met."""
    facts = {"expected": finding.expected, "seen": f"{finding.seen}; {describe_kept(finding)}"}
    if finding.seed is not None:
        seen = next(seen for seen in verified.seen if seen.seed == finding.seed)
        facts["worst"] = f"seed {finding.seed}: {describe_end(seen)}"
    again = verifying.rerun_command(verified, finding)
    return facts | {"goal": verified.plan.goal} | ({"again": again} if again else {})


def _write_junit(file: Path, results: list[Verified]) -> None:
    """Write JUnit XML: one suite per file, one case per claim.

    Raises:
        RecordError: it cannot be written.
    """
    top = ElementTree.Element("testsuites", name="sdl verify")
    for verified in results:
        name, findings = verified.plan.file, verified.findings
        numbers = {"tests": len(findings), "failures": sum(f.level is Level.NOT for f in findings), "errors": 0}
        suite = ElementTree.SubElement(top, "testsuite", {"name": name} | {key: str(n) for key, n in numbers.items()})
        for finding in findings:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=finding.claim)
            if finding.level is Level.NOT:
                facts = _facts(verified, finding)
                short = f"expected {facts['expected']}, seen {facts['seen']}"
                failure = ElementTree.SubElement(case, "failure", message=_printable(short))
                failure.text = _printable("".join(f"{name}: {text}\n" for name, text in facts.items()))
            text = f"{finding.seen}: {finding.level}{_certainty(finding)}"
            ElementTree.SubElement(case, "system-out").text = _printable(text)
    ElementTree.indent(top)
    with translated_os_errors(file, kind=RecordError):
        ElementTree.ElementTree(top).write(file, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """Text without control characters, which XML cannot hold."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "?" for sign in text)
