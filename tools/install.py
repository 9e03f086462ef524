"""Makes `.venv` and installs the project into it; does nothing where that was done before.

    python tools/install.py [--dev] [--light]

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

# ForestDiffusion without the GPU half of xgboost: the same xgboost release, built by its authors for the CPU alone,
# under another name. pip cannot swap a dependency of a dependency, so ForestDiffusion's own list stands here.
# It exists for these machines only; elsewhere xgboost brings no GPU library (docs/decisions/0003-dependencies.md).
LIGHT = ["xgboost-cpu>=2.1", "lightgbm", "catboost", "pandas"]
LIGHT_MACHINES = {("Linux", "x86_64"), ("Windows", "AMD64")}


def main() -> int:
    """Brings `.venv` up to date; returns an exit code."""
    parser = argparse.ArgumentParser(description="Install sdl into .venv.")
    parser.add_argument("--dev", action="store_true", help="also what the tests and checks need")
    parser.add_argument("--light", action="store_true", help="without xgboost's GPU libraries")
    args = parser.parse_args()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    key = _key(project)
    done = _done()
    if done and done["key"] == key and (done["dev"] or not args.dev):
        if args.light and not done["light"]:
            print("The present .venv is a full install; `make clean` first for a light one.")
        return 0

    light = bool(done["light"]) if done else args.light  # once light, light until `make clean`
    dev = args.dev or bool(done and done["dev"])
    if light and (platform.system(), platform.machine()) not in LIGHT_MACHINES:
        print("No CPU-only xgboost is published for this machine: installing the usual one.")
        light = False
    if not done:
        _make_venv()
    DONE.unlink(missing_ok=True)

    print(f"Installing sdl into .venv ({'light, 0.9' if light else 'full, 1.6'} GB in all; log: .venv/install.log)")
    start = time.monotonic()
    for step in _steps(project, dev=dev, light=light):
        code = _pip(["install", "-c", "constraints.txt", *step])
        if code:
            print(f"The install failed; the end of {LOG.relative_to(ROOT)}:", file=sys.stderr)
            print("\n".join(LOG.read_text(encoding="utf-8").splitlines()[-15:]), file=sys.stderr)
            return code
    DONE.write_text(json.dumps({"key": key, "dev": dev, "light": light}), encoding="utf-8")
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


def _steps(project: dict, *, dev: bool, light: bool) -> list[list[str]]:
    """The arguments of `pip install`, call by call."""
    extras = ["dev"] if dev else []
    if not light:
        return [["-e", f".[{','.join(extras)}]" if extras else "."]]
    needs = project["project"]["dependencies"]
    forest = [n for n in needs if n.startswith("ForestDiffusion")]
    others = [n for n in needs if n not in forest]
    for extra in extras:
        others += project["project"]["optional-dependencies"][extra]
    return [others + LIGHT, ["--no-deps", "-e", ".", *forest]]


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
