"""Prepares a release: the changelog's section, and the version in CITATION.cff and codemeta.json.

    python tools/release.py 0.2.0

The version of the package itself is the tag. The tool writes files and prints the commands that remain for a person:
commit, tag, push. It refuses a version that is no version, is not newer than the last one, or has nothing to say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNRELEASED = "## [Unreleased]\n"
SECTION = re.compile(r"^## \[(\d+\.\d+\.\d+)\]", re.MULTILINE)


def number(version: str) -> tuple[int, ...]:
    """The version as numbers, to compare it.

    Raises:
        ValueError: it is not of the form 1.2.3.
    """
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise ValueError(f"{version!r} is no version; write it as 1.2.3")
    return tuple(map(int, version.split(".")))


def changelog(text: str, version: str, day: str) -> str:
    """The changelog with its unreleased lines as the section of a version, and an empty section above it.

    Raises:
        ValueError: the version is not newer than the last one, or nothing is unreleased.
    """
    before, mark, after = text.partition(UNRELEASED)
    if not mark:
        raise ValueError("CHANGELOG.md has no line '## [Unreleased]'")
    released = SECTION.search(after)
    if released and number(version) <= number(released[1]):
        raise ValueError(f"{version} is not newer than {released[1]}, the last version in CHANGELOG.md")
    if not after[: released.start() if released else None].strip():
        raise ValueError("CHANGELOG.md has nothing under '## [Unreleased]'")
    return f"{before}{mark}\n## [{version}] - {day}\n{after}"


def citation(text: str, version: str, day: str) -> str:
    """CITATION.cff with version and date of the release."""
    lines = [line for line in text.splitlines() if not line.startswith(("version:", "date-released:"))]
    lines.insert(lines.index("type: software") + 1, f"version: {version}\ndate-released: {day}")
    return "\n".join(lines) + "\n"


def codemeta(text: str, version: str, day: str) -> str:
    """codemeta.json with version and date of the release."""
    return (
        json.dumps({**json.loads(text), "version": version, "dateModified": day}, indent=2, ensure_ascii=False) + "\n"
    )


def main() -> int:
    """Write the files; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="the next version, such as 0.2.0")
    version, day = parser.parse_args().version, datetime.now(UTC).date().isoformat()
    edits = {"CHANGELOG.md": changelog, "CITATION.cff": citation, "codemeta.json": codemeta}
    try:
        number(version)
        written = {name: edit((ROOT / name).read_text("utf-8"), version, day) for name, edit in edits.items()}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for name, text in written.items():
        (ROOT / name).write_text(text, encoding="utf-8", newline="\n")
    print(f"{', '.join(written)} say {version}. What remains:\n")
    for step in (f"commit -am 'Release {version}'", f"tag -a v{version} -m {version}", "push --follow-tags"):
        print(f"  git {step}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
