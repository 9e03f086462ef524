"""A lab under attack: three instruments over HTTP, a campaign a minute on each, and something breaks every few seconds.

    python benchmarks/chaos.py --minutes 30            about 33 minutes: the starts, then the rest of what runs
    python benchmarks/chaos.py --minutes 20 --calm     the same without attacks: the jitter of the starts

Three twins are served over HTTP in processes of their own, 5 % of their requests with a fault, a reading in 0.15 s. The
lab is the real one (`sdl.lab.serve`), restarted one second after it ends, as systemd would. Every few seconds one of:
kill -9 of a campaign, of the lab, of the warm process, of a twin's server (started again after a few seconds); SIGSTOP
of a campaign; the lab's disk full for some seconds; the clock set forward or back in the lab's view. Seeded.

The disk is a tmpfs of its own where one can be mounted (as root), filled to the last byte; else the lab's processes are
forbidden to write files any longer (RLIMIT_FSIZE), which fails in the same place with another number.

What must hold afterwards is in chaos_checks.py. Exit code 1 where something does not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LATENCY = 0.15
FAULTS = {
    "busy": 4.0, "time-out": 6.0, "slow-drip": 1.0, "reset-before": None, "reset-after": None,
    "not-json": None, "truncated": None, "refused": None,
}  # fmt: skip
"""What goes wrong on the way, and for how many seconds; what makes a reading untrue is benchmarks/faults.py's."""
SHARE = 0.05
SETTLE = 180.0
"""Seconds that what still runs may need after the last start was due and the last attack made."""
MISSED = {"a": "late", "b": {"grace": "30s"}, "c": "skip"}
"""What the job of each instrument does with a start that cannot begin in time."""
WEIGHTS = {
    "kill campaign": 8, "stop campaign": 3, "kill lab": 3, "kill twin": 3, "kill warm": 1, "disk": 1.5, "clock": 1.5,
}  # fmt: skip


# The parts, each a process of its own ------------------------------------------------------------------------------
def twin(port: int, folder: Path, seed: int) -> None:
    """Serves a twin; writes every reading and whenever its light goes on or off."""
    from sdl.twin.faults import Fault
    from sdl.twin.led.model import Plant
    from sdl.twin.led.serve import TwinServer
    from sdl.twin.led.state import load

    faults = [
        Fault.model_validate({"name": name, "probability": SHARE / len(FAULTS)} | ({"seconds": s} if s else {}))
        for name, s in FAULTS.items()
    ]
    with (
        TwinServer(
            Plant(load("night-2025-10"), seed * 1000 + int(time.time()) % 1000),  # other faults after each restart
            port=port,
            start=time.time(),
            latency=LATENCY,
            faults=faults,
            log=folder / f"{port}.readings.jsonl",
        ) as server,
        (folder / f"{port}.light.jsonl").open("a", buffering=1) as light,
    ):
        was: bool | None = None
        while True:
            if (lit := server.world.lit) != was:
                light.write(json.dumps({"at": time.time(), "lit": lit}) + "\n")
                was = lit
            time.sleep(0.01)


def lab(file: Path, shift: Path) -> None:
    """Runs the lab with a clock that shows as many seconds more as a file says."""
    from sdl.clock import RealClock
    from sdl.lab.config.file import load
    from sdl.lab.serve import serve

    class Shifted(RealClock):
        def now(self) -> float:
            with contextlib.suppress(OSError, ValueError):
                return super().now() + float(shift.read_text())
            return super().now()

    serve(load(file), clock=Shifted())


# The attack --------------------------------------------------------------------------------------------------------
class Chaos:
    """Starts the parts, keeps them running, and attacks them."""

    def __init__(self, folder: Path, minutes: float, seed: int, calm: bool) -> None:
        self.folder, self.minutes, self.calm = folder, minutes, calm
        self.random = random.Random(seed)
        self.seed = seed
        self.ports = [_free_port() for _ in MISSED]
        self.runs = folder / "disk" / "runs"
        self.shift = folder / "shift"
        self.said = (folder / "attacks.jsonl").open("a", buffering=1)
        self.twins: dict[int, subprocess.Popen[bytes]] = {}
        self.lab: subprocess.Popen[bytes] | None = None
        self.over = threading.Event()
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "SDL_LEASES": str(folder / "leases"), "OMP_NUM_THREADS": "1"
        }  # fmt: skip
        self.tmpfs = _mount(folder / "disk")

    def say(self, what: str, **more: Any) -> None:
        self.said.write(json.dumps({"at": time.time(), "what": what, **more}) + "\n")

    def start_twin(self, port: int) -> None:
        self.twins[port] = self._run("--twin", str(port), str(self.folder), str(self.seed))
        self.say("twin up", port=port)

    def start_lab(self) -> None:
        self.lab = self._run("--lab", str(self.folder / "lab.yaml"), str(self.shift))
        self.say("lab up", pid=self.lab.pid)

    def _run(self, *args: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "output.log").open("ab")
        return subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), *args],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
        )  # fmt: skip

    def keep_up(self) -> None:
        """As systemd does: starts the lab a second after it ended."""
        while not self.over.is_set():
            if self.lab is None or self.lab.poll() is not None:
                if self.lab is not None:
                    self.say("lab ended", code=self.lab.returncode)
                    time.sleep(1.0)
                if not self.over.is_set():
                    self.start_lab()
            time.sleep(0.1)

    def run(self) -> None:
        """Starts everything, attacks for the minutes, and waits until all has ended."""
        begin = time.time() + 15.0
        times = [begin + 60.0 * n for n in range(max(1, round(self.minutes)))]
        (self.folder / "lab.yaml").write_text(_lab_file(self.ports, times, self.runs))
        self.shift.write_text("0")
        self.runs.mkdir()
        for port in self.ports:
            self.start_twin(port)
        keeper = threading.Thread(target=self.keep_up)
        keeper.start()
        try:
            time.sleep(max(begin - time.time(), 0.0))
            while time.time() < times[-1] + 30.0:
                time.sleep(self.random.uniform(2.0, 6.0))
                if not self.calm:
                    self.attack()
            self.shift.write_text("0")
            self.say("peace")
            ends = time.time() + SETTLE
            while time.time() < ends and self.left():
                time.sleep(1.0)
        finally:
            self.over.set()
            keeper.join()
            self._end()

    def left(self) -> int:
        """Starts that have not come to their end."""
        from sdl.lab import journal
        from sdl.lab.core.state import fold

        with contextlib.suppress(Exception):
            lab = fold(journal.read(journal.folder(self.runs, "chaos")))
            return (
                len(lab.starts) + len(lab.pending) + any(lab.next_due(job) < time.time() + 1e6 for job in lab.lab.jobs)
            )
        return 1

    def _end(self) -> None:
        if self.lab is not None and self.lab.poll() is None:
            self.lab.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.lab.wait(90)
            self.say("lab ended", code=self.lab.poll())
            if self.lab.poll() is None:
                self.lab.kill()
        for one in self.twins.values():
            one.kill()
            one.wait()

    def close(self) -> None:
        if self.tmpfs:
            subprocess.run(["umount", "-l", str(self.folder / "disk")], check=False)

    # One attack -----------------------------------------------------------------------------------------------------
    def attack(self) -> None:
        kind = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        warm = self.warm()
        campaigns = [pid for server in warm for pid in _children(server)]
        match kind:
            case "kill campaign" | "stop campaign" if campaigns:
                pid = self.random.choice(campaigns)
                self._signal(kind, pid, signal.SIGKILL if kind == "kill campaign" else signal.SIGSTOP)
            case "kill lab" if self.lab is not None and self.lab.poll() is None:
                self._signal(kind, self.lab.pid, signal.SIGKILL)
            case "kill warm" if warm:
                self._signal(kind, warm[0], signal.SIGKILL)
            case "kill twin":
                port = self.random.choice(self.ports)
                self.twins[port].kill()
                self.twins[port].wait()
                self.say(kind, port=port)
                time.sleep(self.random.uniform(0.0, 6.0))
                self.start_twin(port)
            case "disk":
                with self._full_disk():
                    time.sleep(self.random.uniform(3.0, 10.0))
            case "clock":
                by = self.random.choice([-130.0, -45.0, 45.0, 130.0])
                self.say(kind, by=by)
                self.shift.write_text(str(by))
                time.sleep(self.random.uniform(5.0, 15.0))
                self.shift.write_text("0")
                self.say("clock back")

    def warm(self) -> list[int]:
        """The warm process of the lab that runs."""
        if self.lab is None or self.lab.poll() is not None:
            return []
        return [pid for pid in _children(self.lab.pid) if "forkserver" in _command(pid)]

    def _signal(self, kind: str, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            self.say(kind, pid=pid)

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        self.say("disk full", by="tmpfs" if self.tmpfs else "RLIMIT_FSIZE")
        if self.tmpfs:
            ballast = self.folder / "disk" / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                for size in (1 << 20, 4096, 1):
                    with contextlib.suppress(OSError):
                        while file.write(b"x" * size) == size:
                            pass
            yield
            ballast.unlink()
        else:
            pids = [self.lab.pid, *self.warm(), *(p for w in self.warm() for p in _children(w))] if self.lab else []
            before = {pid: limit for pid in pids if (limit := _limit(pid, (1, resource.RLIM_INFINITY)))}
            yield
            for pid, limit in before.items():
                _limit(pid, limit)
        self.say("disk free")


def _limit(pid: int, limit: tuple[int, int]) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        return resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
    return None


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _mount(place: Path) -> bool:
    """A small disk of its own, where the system lets us."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "sdl-chaos", str(place)]
    return bool(shutil.which("mount")) and not subprocess.run(command, check=False, capture_output=True).returncode


def _lab_file(ports: list[int], times: list[float], runs: Path) -> str:
    """The lab: one job an instrument, due every minute."""
    campaign = {
        "name": "led", "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384}, "solver": {"kind": "linear"},
        "confirm": 4, "average": 3, "retry": {"times": 4, "wait": 0.5, "longest": 4.0},
        "stop": {"trials": 12, "failures": 12},
    }  # fmt: skip
    due = [datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds") for at in times]
    tree: dict[str, Any] = {
        "name": "chaos",
        "runs": str(runs),
        "instruments": {},
        "jobs": {},
        "supervise": {"hung": "12s", "restarts": 20, "backoff": "1s"},
        "suspend": {"away": "2s", "disk": "200kB", "good_for": "2s"},
    }
    for port, (name, missed) in zip(ports, MISSED.items(), strict=True):
        url = f"http://127.0.0.1:{port}/api"
        light = {"kind": "claude-light", "url": url, "read_timeout": 3.0, "background": "none"}
        tree["instruments"][name] = {"instrument": light}
        tree["jobs"][f"job-{name}"] = {
            "campaign": {**campaign, "name": f"led-{name}", "instrument": light},
            "instrument": name,
            "when": {"at": due},
            "missed": missed,
        }
    return json.dumps(tree, indent=1)  # YAML contains JSON


def main() -> int:
    if sys.argv[1:2] == ["--twin"]:
        twin(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    if sys.argv[1:2] == ["--lab"]:
        lab(Path(sys.argv[2]), Path(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="starts on each instrument, one a minute")
    parser.add_argument("--calm", action="store_true", help="without attacks")
    parser.add_argument("--seed", type=int, default=0, help="of the attacks")
    parser.add_argument("--keep", action="store_true", help="keep the folder where all is well")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="only look at what an earlier run left behind")
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    import chaos_checks

    if args.check is not None:
        return chaos_checks.report(args.check)
    folder = Path(tempfile.mkdtemp(prefix="sdl-chaos-"))
    print(f"in {folder}", flush=True)
    chaos = Chaos(folder, args.minutes, args.seed, args.calm)
    try:
        chaos.run()
        shutil.copytree(chaos.runs, folder / "runs")
    finally:
        chaos.close()
    code = chaos_checks.report(folder)
    if code == 0 and not args.keep:
        shutil.rmtree(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
