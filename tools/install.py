"""Makes `.venv` and installs the project into it; does nothing where that was done before.

    python tools/install.py [--dev]

`make` calls it before every verb, so it must be quick when there is nothing to do and safe when it was cut off: what it
finished is written down last, and an install that never got there is begun again in an empty folder. Standard library
only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
DONE = VENV / "installed.json"
LOG = VENV / "install.log"

# ForestDiffusion with the build of xgboost for the CPU alone, by the same authors under another name: xgboost's own
# brings 0.7 GB of GPU libraries. pip cannot swap a dependency of a dependency, so ForestDiffusion's own list stands
# here. The build exists for these machines; elsewhere xgboost has no GPU part (docs/decisions/0003-dependencies.md).
FOREST = "ForestDiffusion"
FOREST_NEEDS = ["xgboost-cpu>=2.1", "lightgbm", "catboost", "pandas"]
CPU_MACHINES = {("Linux", "x86_64"), ("Windows", "AMD64")}


def main() -> int:
    """Brings `.venv` up to date; returns an exit code."""
    parser = argparse.ArgumentParser(description="Install sdl into .venv.")
    parser.add_argument("--dev", action="store_true", help="also what the tests and checks need")
    args = parser.parse_args()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    key = _key(project)
    done = _done()
    if done and done["key"] == key and (done["dev"] or not args.dev):
        return 0

    dev = args.dev or bool(done and done["dev"])
    if not done:
        _make_venv()
    elif _pip(["uninstall", "--yes", "sdl"]):  # what the distribution was called before
        return 1
    DONE.unlink(missing_ok=True)

    what = "with everything for its development, 1 GB" if dev else "0.4 GB"
    print(f"Installing sdl into .venv ({what}; log: .venv/install.log)")
    start = time.monotonic()
    for step in _steps(project, dev=dev):
        code = _pip(["install", "-c", "constraints.txt", *step])
        if code:
            print(f"The install failed; the end of {LOG.relative_to(ROOT)}:", file=sys.stderr)
            print("\n".join(LOG.read_text(encoding="utf-8").splitlines()[-15:]), file=sys.stderr)
            return code
    DONE.write_text(json.dumps({"key": key, "dev": dev}), encoding="utf-8")
    print(f"Installed in {time.monotonic() - start:.0f} s.")
    return 0


def _key(project: dict) -> str:
    """What an install depends on: the folder it points at and what was to be installed; not, say, the lint rules."""
    parts = [str(ROOT), project["project"], project["build-system"], (ROOT / "constraints.txt").read_text("utf-8")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _done() -> dict | None:
    """What the last install finished; None where there is none, or its Python is gone."""
    try:
        done = json.loads(DONE.read_text(encoding="utf-8"))
        subprocess.run([PYTHON, "-c", ""], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return done


def _make_venv() -> None:
    print(f"Making .venv with Python {platform.python_version()}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(
            f"{made.stdout}{made.stderr}\nCould not make {VENV}. Some systems ship Python without its venv part: "
            "on Debian and Ubuntu it is the package python3-venv."
        )


def _steps(project: dict, *, dev: bool) -> list[list[str]]:
    """The arguments of `pip install`, call by call."""
    if not dev:
        return [["-e", "."]]
    if (platform.system(), platform.machine()) not in CPU_MACHINES:
        return [["-e", ".[dev]"]]
    needs = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"]
    forest = [need for need in needs if need.startswith(FOREST)]
    return [[*(need for need in needs if need not in forest), *FOREST_NEEDS], ["--no-deps", "-e", ".", *forest]]


def _pip(arguments: list[str]) -> int:
    """Runs pip with everything in the log and only its long steps on the screen."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip,
    ):
        for line in pip.stdout or ():
            log.write(line)
            if (found := re.match(r"\s*Downloading (\S+?)-\d\S* \(([\d.]+) MB\)", line)) and float(found[2]) >= 10:
                print(f"  fetching {found[1]} ({float(found[2]):.0f} MB)", flush=True)
            elif line.startswith("Installing collected packages"):
                print(f"  unpacking {line.count(',') + 1} packages", flush=True)
    return pip.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nInterrupted; the same command starts it again.", file=sys.stderr)
        sys.exit(130)
