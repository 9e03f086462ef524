"""CPU time of the commands that should feel instant, beside an empty Python in the same run."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "sdl --help": ["-m", "sdl.cli", "--help"],
    "sdl validate configs/quickstart.yaml": ["-m", "sdl.cli", "validate", "configs/quickstart.yaml"],
}


def cpu(args: list[str]) -> float:
    """User + system seconds of one start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    for args in COMMANDS.values():
        cpu(args)  # the first start compiles
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(9):
        for name, args in COMMANDS.items():
            took[name].append(cpu(args))
    print("| command | CPU s, median of 9 | least | most |\n|---|--:|--:|--:|")
    for name, values in took.items():
        print(f"| `{name}` | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
