"""CPU time of the commands that should feel instant, beside an empty Python in the same run.

Byte code is kept in a folder of its own, as an installed package has it: with `PYTHONDONTWRITEBYTECODE` set, every
start would compile the project anew (0.1 CPU s).
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "sdl --help": ["-m", "sdl", "--help"],
    "sdl validate configs/quickstart.yaml": ["-m", "sdl", "validate", "configs/quickstart.yaml"],
}


def cpu(args: list[str], compiled: str) -> float:
    """User + system seconds of one start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
    subprocess.run([sys.executable, *args], check=True, stdout=subprocess.DEVNULL, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as compiled:
        for args in COMMANDS.values():
            cpu(args, compiled)  # the first start compiles
        for _ in range(9):
            for name, args in COMMANDS.items():
                took[name].append(cpu(args, compiled))
    print("| command | CPU s, median of 9 | least | most |\n|---|--:|--:|--:|")
    for name, values in took.items():
        print(f"| `{name}` | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
