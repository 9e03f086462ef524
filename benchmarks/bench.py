"""All tables of the solvers in one report, with peers in environments of their own: `make bench`.

    python benchmarks/bench.py --sets 30 --peers            everything; days on two cores
    python benchmarks/bench.py --only peers --sets 10       one section
    python benchmarks/bench.py --only peers --python BoTorch=/tmp/botorch/bin/python

Writes OUT/report.md and the figures beside it. Each section is a command of its own that keeps its cells in OUT: a run
that was broken off goes on where it was, and a section whose code and options are as before is not run again. With
`--peers` the environments of the peers are made in build/peers, some 6 GB each for those with torch; one that does not
install is left out, and the report says why.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from peer_worker import PEERS

import sdl
from sdl.extras import versions_of

ROOT = Path(__file__).resolve().parent
TITLES = {
    "peers": "Goals with a tolerance, beside peers",
    "solvers": "Trials to a goal, every solver",
    "one-shot": "One fit to given rows",
    "verdicts": "Impossible goals",
    "objective": "A channel to maximise",
    "overhead": "What the loop costs",
    "startup": "Time to start",
}


def command(section: str, sets: int, out: Path, pythons: dict[str, str]) -> list[str]:
    """The words of a section's command, after Python."""
    solvers = ["solvers.py", "--out", str(out), "--figure", str(out / f"{section}.png"), "--sets", str(sets)]
    peers = [f"{name}={python}" for name, python in pythons.items()]
    both = pythons.get("Ax", "")  # its environment has BoTorch, too
    return {
        "peers": ["peers.py", "--out", str(out), "--sets", str(sets), "--python", *peers],
        "solvers": solvers,
        "one-shot": [*solvers, "--one-shot"],
        "verdicts": [*solvers, "--verdicts"],
        "objective": ["objective.py", "--out", str(out), "--pairs", str(sets), *(["--peers", both] if both else [])],
        "overhead": ["overhead.py"],
        "startup": ["startup.py"],
    }[section]


def code() -> str:
    """Changes with the package and the benchmarks."""
    files = [*Path(sdl.__file__).parent.rglob("*.py"), *ROOT.glob("*.py")]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(files))).hexdigest()


def environments(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """A Python for each peer that installs, and the reason for each that does not."""
    pythons, reasons = {}, {}
    for name in PEERS:
        place = folder / name.lower()
        python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        needed = ROOT / f"requirements-{name.lower()}.txt"
        if not (place / "complete").exists():
            print(f"installing {name} into {place}", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(needed)]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                reasons[name] = (done.stderr.strip().splitlines() or ["pip failed"])[-1][:200]
                continue
            (place / "complete").touch()
        pythons[name] = str(python)
    return pythons, reasons


def section(name: str, words: Sequence[str], out: Path, key: str) -> str:
    """What the command of a section printed; from the last run if nothing has changed since.

    Raises:
        CalledProcessError: it failed.
    """
    file, mark = out / "sections" / f"{name}.md", f"<!-- {hashlib.sha256((key + repr(words)).encode()).hexdigest()} -->"
    if file.exists() and (kept := file.read_text(encoding="utf-8")).startswith(mark):
        return kept.removeprefix(mark).strip()
    print(f"{name}: python {' '.join(words)}", file=sys.stderr, flush=True)
    began = time.monotonic()
    printed = subprocess.run(
        [sys.executable, str(ROOT / words[0]), *words[1:]],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=True,
    ).stdout.strip()
    file.parent.mkdir(parents=True, exist_ok=True)
    text = f"{printed}\n\n*{datetime.now(UTC):%Y-%m-%d}, {time.monotonic() - began:.0f} s in the last run.*"
    file.write_text(f"{mark}\n{text}\n", encoding="utf-8")
    return text


def report(texts: dict[str, str], out: Path, reasons: dict[str, str]) -> str:
    """The report of all sections."""
    packages = ", ".join(f"{name} {text}" for name, text in versions_of("numpy", "scipy", "scikit-learn").items())
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    parts = ["# Benchmarks", f"{packages}; {machine}. Times are of a machine that may have had other work."]
    if reasons:
        parts.append("Not installed: " + "; ".join(f"{name}: {why}" for name, why in reasons.items()) + ".")
    for name, text in texts.items():
        figure = out / f"{name}.png"
        parts += [f"## {TITLES[name]}", *([f"![{TITLES[name]}]({figure.name})"] if figure.exists() else []), text]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES), help="sections; default: all")
    parser.add_argument("--sets", type=int, default=30, help="goals, each with its own noise")
    parser.add_argument("--peers", action="store_true", help="make environments for the peers in build/peers")
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=PYTHON", help="environments that exist")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="default: runs/benchmarks")
    given = parser.parse_args()
    pythons, reasons = environments(ROOT.parent / "build" / "peers") if given.peers else ({}, {})
    pythons |= dict(item.split("=", 1) for item in given.python)
    key, texts = code(), {}
    for name in given.only:
        words = command(name, given.sets, given.out, pythons)
        try:
            texts[name] = section(name, words, given.out, key)
        except subprocess.CalledProcessError as error:
            print(
                f"{name} failed with exit code {error.returncode}; the same command goes on from here", file=sys.stderr
            )
            return 1
        (given.out / "report.md").write_text(report(texts, given.out, reasons), encoding="utf-8")
    print(given.out / "report.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
