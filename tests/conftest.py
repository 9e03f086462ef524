"""What all tests share."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# One thread a worker: pytest-xdist already fills the cores, and thread pools on top of it only slow it down.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# Begun in the background of a script we ignore SIGINT, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What a shell or a terminal asks for is not what is tested: widths, colours, proxies, certificates.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SHELL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "SDL_LOG", "SSLKEYLOGFILE", *PROXIES, *map(str.lower, PROXIES))
for name in SHELL:
    os.environ.pop(name, None)

# A shared machine stalls for seconds: hypothesis' deadline would fail tests at random. pytest-timeout ends real hangs.
settings.register_profile("sdl", deadline=None)
settings.load_profile("sdl")

# Leases of this worker's own: two workers may well drive twins of the same name at one time.
os.environ["SDL_LEASES"] = tempfile.mkdtemp(prefix="sdl-leases-")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_readings() -> Path:
    """The log of real Claude-Light readings, which is not part of the project."""
    path = ROOT.parent / "shared" / "data" / "claude_light.jsonl"
    if not path.exists():
        pytest.skip("no real readings beside the project (../shared/data/claude_light.jsonl)")
    return path


@pytest.fixture
def scripted_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of instruments and solvers of `scripted`, in the registry during a test."""
    import scripted  # loads numpy, which must see the number of threads set above

    scripted.register(monkeypatch)
