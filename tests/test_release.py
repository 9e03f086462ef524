"""What makes a release: version, changelog, distributions, workflows, the container's files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import ROOT
from test_notebooks import module_of
from waiting import TIMEOUT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOG = "# Changelog\n\n## [Unreleased]\n\n- A thing.\n\n## [0.2.0] - 2026-12-01\n\n- An older thing.\n"


@pytest.fixture
def release() -> ModuleType:
    return module_of("release")


def test_unreleased_lines_become_the_section_of_the_version(release: ModuleType) -> None:
    assert release.changelog(LOG, "0.3.0", "2027-01-02") == LOG.replace(
        "## [Unreleased]\n", "## [Unreleased]\n\n## [0.3.0] - 2027-01-02\n", 1
    )


@pytest.mark.parametrize(
    ("version", "log", "reason"),
    [
        ("0.2.0", LOG, "0.2.0 is not newer than 0.2.0"),
        ("0.1.9", LOG, "not newer"),
        ("0.3.0", LOG.replace("- A thing.\n", ""), "nothing under"),
        ("0.3.0", "# Changelog\n", "no line"),
        ("0.3", LOG, "is no version; write it as 1.2.3"),
        ("v0.3.0", LOG, "is no version"),
    ],
)
def test_a_release_that_cannot_be_is_refused_with_its_reason(
    version: str, log: str, reason: str, release: ModuleType
) -> None:
    with pytest.raises(ValueError, match=reason):
        release.changelog(log, version, "2027-01-02")


def test_citation_files_take_the_version_and_keep_the_rest(release: ModuleType) -> None:
    cff = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    once = release.citation(cff, "0.2.0", "2026-12-01")
    assert yaml.safe_load(once) == {
        **yaml.safe_load(cff),
        "version": "0.2.0",
        "date-released": yaml.safe_load("2026-12-01"),
    }
    assert release.citation(once, "0.2.0", "2026-12-01") == once
    meta = json.loads(release.codemeta((ROOT / "codemeta.json").read_text(encoding="utf-8"), "0.2.0", "2026-12-01"))
    assert (meta["version"], meta["dateModified"]) == ("0.2.0", "2026-12-01")


def test_files_about_the_project_agree() -> None:
    meta = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
    assert meta["identifier"] == PROJECT["project"]["name"]
    assert meta["license"].endswith("/" + PROJECT["project"]["license"])
    declared = {re.split(r"[><=\[]", need)[0] for need in PROJECT["project"]["dependencies"]}
    assert set(meta["softwareRequirements"]) <= declared


def test_workflows_test_every_python_that_is_declared() -> None:
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    named = [text.rpartition(" ")[2] for text in PROJECT["project"]["classifiers"] if "Python :: 3." in text]
    assert tests["jobs"]["tests"]["strategy"]["matrix"]["python"] == named
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = file.read_text(encoding="utf-8")
        assert "NEVER TRIED" in text.split("name:")[0], file.name
        assert set(re.findall(r"run: make ([a-z-]+)", text)) <= targets


def test_the_container_is_given_every_file_that_the_wheel_is_made_of() -> None:
    admitted = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE))
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {path.partition("/")[0] for path in [*wheel["packages"], *wheel["force-include"]]}
    needed |= {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert needed == admitted
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER (?!root)\w+$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text


@pytest.mark.slow
def test_the_wheel_is_built_from_the_sdist_and_has_the_package_and_its_pages_alone(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "dist.py"), "--no-install", "--out", str(tmp_path / "dist")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,), (sdist,) = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"sdl", "sdl_orchestrator"}
    for name in ("sdl/py.typed", "sdl/twin/led/states/night-2025-10.toml", "sdl/docs/reference/campaign.md"):
        assert name in names
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("tests/test_release.py", "examples/notebooks/paper.ipynb", "LICENSE", "CITATION.cff", "Makefile"):
        assert name in files
