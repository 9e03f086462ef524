"""Many campaigns at once: how quick, what it costs beyond the campaigns, and whether a loss changes a bit.

    python benchmarks/sweep.py [--campaigns 1000] [--parts local cluster rows]

`local`    the same campaigns bare (one after the other by `runner.run`, in one process), by a sweep in one process and
           in two; campaigns a second, CPU beyond the bare loop, memory at 70 % and at the end.
`cluster`  the same by a Dask scheduler and two workers, each a process of its own; then once more with a worker and
           then the client killed with -9: is the data set the same, bit for bit?
`rows`     a data set of 100,000 rows: settling the journal, the summary, and the most memory.

Every measurement is a process of its own. Wall times are of little worth where others use the machine: its load is
printed, and what a campaign costs is told in CPU seconds too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
LATE = 70
"""Per cent of the campaigns after which every worker has loaded what every solver needs: steady from here on."""
SWEEP = """\
name: benchmark
campaign:
  name: benchmark
  instrument: {{kind: twin}}
  goal: {{445nm: 16384, 515nm: 16384, 630nm: 16384}}
  tolerance: 1%
  stop: {{trials: 40}}
grid: {{solver.kind: [linear, pls, gmm]}}
random:
  draws: 10
  keys:
    goal.445nm: {{low: 8000, high: 24000}}
    goal.515nm: {{low: 8000, high: 32000}}
    goal.630nm: {{low: 8000, high: 24000}}
seeds: {seeds}
"""


def planned(folder: Path, campaigns: int) -> Any:
    """A sweep of so many campaigns, rounded up to a multiple of 30."""
    from sdl.sweep import load

    file = folder / "sweep.yaml"
    file.write_text(SWEEP.format(seeds=-(-campaigns // 30)))
    return load(file)


# In a process of its own ---------------------------------------------------------------------------------------------
def warm() -> None:
    """Imports, so that they are not counted with the campaigns."""
    from sdl import runner

    goal = {"445nm": 16384, "515nm": 16384, "630nm": 16384}
    for kind in ("linear", "pls", "gmm"):
        tree = {"name": "w", "instrument": {"kind": "twin"}, "goal": goal, "solver": {"kind": kind}}
        runner.run(tree, runs=None)


def cpu() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def spent_by(pid: str) -> float:
    """CPU seconds of a process so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def family(pid: int | str) -> list[str]:
    """A process and all that descend from it: workers may be children of a server that is."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [str(pid), *(one for child in children for one in family(child))]


def megabytes(pid: int | str, what: str = "VmRSS") -> float:
    """Memory of a process now; VmHWM: the most so far (ru_maxrss would count the process that started it)."""
    found = re.search(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def bare(folder: Path, campaigns: int) -> dict[str, Any]:
    from sdl import runner

    plan = planned(folder, campaigns)
    warm()
    trees = [plan.task(number, None).tree for number in range(len(plan))]
    late = len(trees) * LATE // 100
    marks = [(time.perf_counter(), cpu())]
    trials = [runner.run(tree, runs=None).trials for tree in trees[:late]]
    marks.append((time.perf_counter(), cpu()))
    trials += [runner.run(tree, runs=None).trials for tree in trees[late:]]
    marks.append((time.perf_counter(), cpu()))
    (began, spent), (then, by_then), (ended, all_of_it) = marks
    n = len(trees)
    return {
        "n": n, "wall": ended - began, "cpu": all_of_it - spent, "trials": sum(trials) / n,
        "rate": (n - late) / (ended - then), "each": (all_of_it - by_then) / (n - late),
    }  # fmt: skip


def swept(folder: Path, campaigns: int, jobs: int) -> dict[str, Any]:
    """A sweep by processes, warm before it is timed where there is but one."""
    from sdl.sweep import run

    began, spent = time.perf_counter(), cpu()
    plan = planned(folder, campaigns)
    parsed = cpu() - spent
    if jobs == 1:
        warm()
        began, spent = time.perf_counter(), cpu()
    marks: dict[int, tuple[float, float, list[float]]] = {}
    n = len(plan)
    late = n * LATE // 100

    def progress(done: int, of: int) -> None:
        if done in (late, n):
            every = family(os.getpid())
            marks[done] = time.perf_counter(), sum(map(spent_by, every)), [round(megabytes(pid)) for pid in every]

    told = run(plan, folder / f"jobs{jobs}", jobs=jobs, progress=progress)
    ended = time.perf_counter()
    return {
        "n": n, "wall": ended - began, "cpu": max(cpu(), marks[n][1]) - spent, "parsed": parsed,
        "rate": (n - late) / (marks[n][0] - marks[late][0]), "each": (marks[n][1] - marks[late][1]) / (n - late),
        "mb": [marks[late][2], marks[n][2]],
        "sha": hashlib.sha256(told.data.read_bytes()).hexdigest()[:16],
    }  # fmt: skip


def paired(folder: Path, campaigns: int) -> dict[str, Any]:
    """Each campaign bare and as a worker and the sweep do it, in turns, so that a busy machine slows both alike."""
    from sdl import runner
    from sdl.sweep.results import Results
    from sdl.sweep.work import run_task

    began = time.process_time()
    plan = planned(folder, campaigns)
    planning = time.process_time() - began
    warm()
    results = Results(folder / "paired", plan, {})
    alone_, whole = 0.0, 0.0
    for number in range(len(plan)):
        for path in (0, 1) if number % 2 else (1, 0):
            began = time.process_time()
            if path:
                task = pickle.loads(pickle.dumps(plan.task(number, None)))
                results.append([pickle.loads(pickle.dumps(run_task(task)))])
                whole += time.process_time() - began
            else:
                runner.run({**plan.place(number)[0].tree, "seed": plan.place(number)[1]}, runs=None)
                alone_ += time.process_time() - began
    began = time.process_time()
    results.settle()
    results.close()
    ends = planning + time.process_time() - began
    return {"n": len(plan), "bare": alone_, "more": whole - alone_, "ends": ends}


def rows(folder: Path, n: int) -> dict[str, Any]:
    """A data set of n rows, settled and summed up."""
    from sdl.sweep.results import DATA, Results
    from sdl.sweep.work import run_task

    plan = planned(folder, n)
    one = run_task(plan.task(0, None))
    results = Results(folder / "rows", plan, {})
    chunk = []
    for number, name in enumerate(plan.ids()):
        chunk.append({**one, "id": name, "trials": 5 + number * 7919 % 11, "error": number % 1000 / 1e5})
        if len(chunk) == 1000:
            results.append(chunk)
            chunk = []
    results.append(chunk)
    began = time.process_time()
    results.settle()
    settled = time.process_time() - began
    results.close()
    return {"n": len(plan), "settled": settled, **summed(folder / "rows" / DATA)} | {
        "most": megabytes("self", "VmHWM"),
        "file": (folder / "rows" / DATA).stat().st_size / 1e6,
    }


def summed(data: Path) -> dict[str, Any]:
    """The summary by itself in a fresh interpreter, imports included: seconds and most memory."""
    code = (
        "import re, sys, time; began = time.perf_counter()\n"
        "from pathlib import Path\nfrom sdl.sweep.summary import groups, table\n"
        "table(groups(Path(sys.argv[1]), ['solver.kind']), ['solver.kind'])\n"
        "most = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())\n"
        "print(time.perf_counter() - began, time.process_time(), int(most[1]) / 1024)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(data)], env=ENVIRONMENT, capture_output=True, check=True)
    seconds, spent, most = map(float, said.stdout.split())
    return {"summary": seconds, "summary_cpu": spent, "summary_mb": most}


ALONE = {"bare": bare, "paired": paired, "swept": swept, "rows": rows}


def alone(name: str, *given: object) -> dict[str, Any]:
    """One of the measurements above in a process of its own."""
    words = [sys.executable, str(Path(__file__).resolve()), "--alone", name, *map(str, given)]
    done = subprocess.run(words, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# A cluster -----------------------------------------------------------------------------------------------------------
class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder, self.processes = folder, []
        log = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        until = time.monotonic() + 60
        while not (found := re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text())):
            if time.monotonic() > until:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        self.address = found[1]
        for _ in range(workers):
            self._start(
                "dask_worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1"
            )

    def _start(self, module: str, *words: str) -> Path:
        log = self._folder / f"{module}-{len(self.processes)}.txt"
        line = [sys.executable, "-m", f"distributed.cli.{module}", *words]
        with log.open("w") as stream:
            self.processes.append(
                subprocess.Popen(line, env=ENVIRONMENT, cwd=self._folder, stderr=stream, stdout=stream)
            )
        return log

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def command(folder: Path, out: str, address: str) -> list[str]:
    line = [sys.executable, "-m", "sdl", "sweep", str(folder / "sweep.yaml"), "--cluster", address]
    return [*line, "-o", str(folder / out), "--json"]


def clustered(folder: Path) -> dict[str, Any]:
    """The sweep by a cluster, undisturbed."""
    with Cluster(folder) as cluster:
        began = time.perf_counter()
        done = subprocess.run(
            command(folder, "dask", cluster.address), env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
        )
        told = json.loads(done.stdout)
        return {"n": told["campaigns"], "wall": time.perf_counter() - began, "sha": sha(folder / "dask")}


def disturbed(folder: Path, n: int) -> dict[str, Any]:
    """With a worker and then the client killed in the middle, then gone on with by the worker that is left."""
    out = folder / "killed"
    with Cluster(folder) as cluster:
        client = subprocess.Popen(
            command(folder, "killed", cluster.address), env=ENVIRONMENT, stdout=subprocess.DEVNULL
        )
        wait(out, n // 4)
        cluster.processes[1].send_signal(signal.SIGKILL)
        wait(out, n // 2)
        client.send_signal(signal.SIGKILL)
        client.wait()
        kept = lines(out)
        done = subprocess.run(
            command(folder, "killed", cluster.address), env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
        )
        told = json.loads(done.stdout)
    return {"kept": kept, "before": told["before"], "ran": told["ran"], "sha": sha(out)}


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / "results.parquet").read_bytes()).hexdigest()[:16]


def lines(folder: Path) -> int:
    journal = folder / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait(folder: Path, n: int) -> None:
    until = time.monotonic() + 600
    while lines(folder) < n:
        if time.monotonic() > until:
            raise RuntimeError(f"only {lines(folder)} campaigns were done")
        time.sleep(0.02)


# What is told --------------------------------------------------------------------------------------------------------
def load() -> str:
    one, five, _ = os.getloadavg()
    return f"load {one:.1f} (1 min), {five:.1f} (5 min) on {os.cpu_count()} cores"


def tell_local(folder: Path, n: int) -> str:
    print(load())
    plain = alone("bare", folder, n)
    one = alone("swept", folder, n, 1)
    two = alone("swept", folder, n, 2)
    n = plain["n"]
    each = 1000 / n
    print(f"{n} campaigns of {plain['trials']:.1f} trials; linear, pls, gmm; tolerance 1 %")
    print("| | wall s | campaigns/s | CPU ms/campaign | of it steady |\n|---|--:|--:|--:|--:|")
    for words, found in (("bare loop, 1 process", plain), ("sweep, 1 process", one), ("sweep, 2 processes", two)):
        ms = f"{found['cpu'] * each:.2f} | {found['each'] * 1000:.2f}"
        print(f"| {words} | {found['wall']:.1f} | {found['rate']:.1f} | {ms} |")
    print(f"steady: the last {100 - LATE} %, when every worker has all it loads; campaigns/s is of these")
    print(f"efficiency of two processes: {two['rate'] / one['rate'] / 2:.2f} of 2 × by the clock,", end=" ")
    print(f"{one['each'] / two['each']:.2f} by CPU (what it would be if nobody else used the cores)")
    pair = alone("paired", folder, max(n // 2, 30))
    print(
        f"overhead beyond the bare loop, {pair['n']} campaigns in turns: {pair['more'] / pair['bare']:+.1%} CPU each,",
        end=" ",
    )
    print(f"{(pair['more'] + pair['ends']) / pair['bare']:+.1%} with planning and the Parquet file")
    print(f"memory MB of the sweep and its workers at {LATE} % and at the end: {one['mb']}, {two['mb']}")
    print(f"the same bits: {one['sha'] == two['sha']} ({one['sha']})")
    print(load())
    return str(one["sha"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument(
        "--parts", nargs="+", choices=["local", "cluster", "rows"], default=["local", "cluster", "rows"]
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--alone", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.alone:
        name, folder, *numbers = given.alone
        print(json.dumps(ALONE[name](Path(folder), *map(int, numbers))))
        return
    with tempfile.TemporaryDirectory(prefix="sweep-") as made:
        folder = Path(made)
        n = len(planned(folder, given.campaigns))
        expected = tell_local(folder, n) if "local" in given.parts else ""
        if "cluster" in given.parts:
            (folder / "sweep.yaml").write_text(SWEEP.format(seeds=-(-n // 30)))
            print(load())
            whole = clustered(folder)
            print(f"Dask, 2 workers: {whole['n']} campaigns in {whole['wall']:.1f} s, starting and ending included")
            cut = disturbed(folder, n)
            print(
                f"a worker, then the client killed -9: {cut['kept']} kept, {cut['ran']} run by the next call", end="; "
            )
            same = cut["sha"] == whole["sha"] and expected in ("", whole["sha"])
            print(f"the same bits as without, and as here: {same} ({cut['sha']})")
        if "rows" in given.parts:
            found = alone("rows", folder, given.rows)
            print(
                f"{found['n']} rows ({found['file']:.1f} MB): journal settled in {found['settled']:.1f} s CPU", end="; "
            )
            print(f"summary {found['summary']:.2f} s ({found['summary_cpu']:.2f} s CPU), imports included,", end=" ")
            print(f"and {found['summary_mb']:.0f} MB; most memory of writing it: {found['most']:.0f} MB")


if __name__ == "__main__":
    main()
