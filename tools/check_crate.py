"""Validate exported runs with roc-validator, without a network: `.eln` files as RO-Crate 1.1, directories as 1.2.

    python tools/check_crate.py --contexts DIR led.eln led-crate

It needs roc-validator (in an environment of its own) and the JSON-LD contexts of RO-Crate, as DIR/1.1.json and
DIR/1.2.json. Exit code 1 if there is an error.
"""

from __future__ import annotations

import argparse
import email.message
import io
import re
import sys
import tempfile
import urllib.response
import zipfile
from pathlib import Path
from typing import Any

CONTEXT = re.compile(r"https?://w3id\.org/ro/crate/(\d\.\d)/context")
JSON_LD = {"Content-Type": "application/ld+json"}


def use_contexts(folder: Path) -> None:
    """Answer requests for the contexts from a folder, and refuse all others."""
    import rdflib.parser
    import requests.adapters
    import urllib3

    def content(url: str) -> bytes:
        match = CONTEXT.fullmatch(url)
        if match is None:
            raise OSError(f"no network here: {url}")
        return (folder / f"{match[1]}.json").read_bytes()

    def opened(request: Any) -> Any:
        url = getattr(request, "full_url", request)
        headers = email.message.Message()
        headers["Content-Type"] = JSON_LD["Content-Type"]
        return urllib.response.addinfourl(io.BytesIO(content(url)), headers, url, 200)

    def send(adapter: Any, request: Any, **options: Any) -> Any:
        raw = urllib3.HTTPResponse(
            io.BytesIO(content(request.url)), JSON_LD, 200, preload_content=False, request_url=request.url
        )
        return adapter.build_response(request, raw)

    rdflib.parser._urlopen = opened
    requests.adapters.HTTPAdapter.send = send


def errors(crate: Path, version: str) -> list[str]:
    """What roc-validator requires and a crate lacks."""
    from rocrate_validator import models, services

    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=f"ro-crate-{version}",
        requirement_severity=models.Severity.REQUIRED,
    )
    return [f"{issue.check.identifier}: {issue.message}" for issue in services.validate(settings).get_issues()]


def check(path: Path) -> list[str]:
    """Errors of one exported run."""
    if path.is_dir():
        return errors(path, "1.2")
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(path) as archive:
        archive.extractall(place)
        (root,) = Path(place).iterdir()
        return errors(root, "1.1")


def main() -> int:
    """Print the errors of each file and directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=Path, required=True, help="directory with 1.1.json and 1.2.json")
    parser.add_argument("paths", nargs="+", type=Path, help=".eln files and directories of crates")
    given = parser.parse_args()
    use_contexts(given.contexts)
    found = {path: check(path) for path in given.paths}
    for path, problems in found.items():
        print(f"{path}: {'no errors' if not problems else ''}", *problems, sep="\n  " if problems else "")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
