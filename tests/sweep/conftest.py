"""A Dask cluster of processes of its own."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cluster(tmp_path):
    """Starts a scheduler and workers as processes of their own; ends them."""
    started = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:

        def start(*words):
            said = stack.enter_context((tmp_path / f"dask{len(started)}.txt").open("w+"))
            line = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
            process = subprocess.Popen(line, env=environment, cwd=tmp_path, stderr=said, start_new_session=True)
            started.append(process)
            return process, Path(said.name)

        def of(*workers):
            _, log = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
            address = until(lambda: re.search(r"Scheduler at:\s+(tcp://\S+)", log.read_text()))[1]
            options = ["--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1"]
            return address, [start("dask_worker", address, *options, *more)[0] for more in workers]

        try:
            yield of
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()
