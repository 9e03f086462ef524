"""Builds wheel and sdist into dist/, installs the wheel into an empty environment and reaches a goal with it.

    python tools/dist.py [--no-install]

The wheel is built from the sdist, so that both are known to be whole. Printed: files with sizes, seconds of the
install, megabytes of the environment, the result of the quickstart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


def build(folder: Path) -> tuple[Path, Path]:
    """Make the sdist, and the wheel from it; returns wheel and sdist.

    Raises:
        CalledProcessError: either failed; its output has been printed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, text=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel with the tested dependencies into a new environment; returns the environment's commands."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(commands / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return commands


def quickstart(commands: Path, folder: Path) -> str:
    """Write a campaign, run it on the twin, report it; returns what `sdl run` printed.

    Raises:
        CalledProcessError: a command failed, or the goal was not reached (exit code 1).
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def sdl(*words: str) -> str:
        return subprocess.run(
            [str(commands / "sdl"), *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
        ).stdout

    sdl("init", "first.yaml")
    printed = sdl("run", "first.yaml")
    sdl("check", "latest")
    sdl("report", "latest", "-o", "first.html")
    return printed


def megabytes(folder: Path) -> float:
    """Size of all files below a folder, in 10⁶ bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> int:
    """Build and try the distributions; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-install", action="store_true", help="only build")
    parser.add_argument("--out", type=Path, default=DIST, help="folder for wheel and sdist, which is emptied first")
    given = parser.parse_args()
    files = build(given.out)
    for file in files:
        print(f"{file.name}: {file.stat().st_size / 1e6:.2f} MB")
    if given.no_install:
        return 0
    with tempfile.TemporaryDirectory(prefix="sdl-dist-") as name:
        folder = Path(name)
        began = time.monotonic()
        commands = install(files[0], folder / "environment")
        print(f"installed in {time.monotonic() - began:.0f} s, {megabytes(folder / 'environment'):.0f} MB")
        began = time.monotonic()
        print(quickstart(commands, folder).partition("\nreached")[2].join(["reached", ""]))
        print(f"quickstart, check and report in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        print(error, error.stdout or "", error.stderr or "", sep="\n", file=sys.stderr)
        sys.exit(1)
