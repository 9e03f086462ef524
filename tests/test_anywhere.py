"""The tests themselves hold wherever they run: in the background of a script, on another processor.

Which kernel of OpenBLAS computes depends on the processor, unless OPENBLAS_CORETYPE names one that it can run:
`OPENBLAS_CORETYPE=Prescott make test ARGS="-m numeric"` runs the numeric tests as on a processor of 2004.
"""

from __future__ import annotations

import os
import subprocess
import sys

import processes
import pytest
from conftest import ROOT
from waiting import TIMEOUT


def pytest_of(*words: str, before: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
    """Some of these tests in a process of its own, begun by a shell that does something `before`."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        ["sh", "-c", f'{before} exec "$@"', "sh", *command] if before else command,
        cwd=ROOT, env=processes.environment(**changes), capture_output=True, text=True, check=False,
        timeout=2 * TIMEOUT,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of another system")
def test_begun_in_the_background_of_a_script_what_tests_start_can_be_interrupted() -> None:
    done = pytest_of("tests/cli/test_serve.py", "-k", "faults_can_be_given_in_a_file", before="trap '' INT;")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


KERNELS = ("Prescott", "Haswell", "SkylakeX")
"""Kernels for processors that most machines of today can stand in for; the oldest differs from all the others."""


def kernels(**changes: str) -> set[str]:
    """What numpy and scipy compute linear algebra with, in a process with these variables."""
    code = (
        "import scipy.linalg, threadpoolctl\n"
        "print(*(one.get('architecture') for one in threadpoolctl.threadpool_info() if one['user_api'] == 'blas'))"
    )
    return set(processes.python("-c", code, **changes).stdout.split())


@pytest.mark.slow
def test_the_numeric_tests_pass_under_a_second_kernel() -> None:
    own = kernels()
    found = ((name, kernels(OPENBLAS_CORETYPE=name)) for name in KERNELS)
    name, other = next(((name, other) for name, other in found if not other & own), ("", own))
    if not name:
        pytest.skip(
            f"no other kernel can be asked for here: linear algebra is by {', '.join(own) or 'no known library'}"
        )
    done = pytest_of("-m", "numeric", "-k", NUMBERS, *NUMERIC, OPENBLAS_CORETYPE=name, SDL_TESTS_KERNEL=" ".join(other))
    assert done.returncode == 0, done.stdout


NUMERIC = ("tests/test_anywhere.py", "tests/replay/test_replay.py", "tests/designs/test_designs.py", "tests/solvers")
"""Where the numeric tests are: collecting all others would take longer than they do."""
NUMBERS = "test_anywhere or test_replay or test_designs or last_digits or affine_goal or mislead"
"""Of the solvers' contract only the tests that compare numbers; the others hold or fail with any kernel."""


@pytest.mark.numeric
def test_where_a_kernel_is_asked_for_it_is_the_one_that_computes() -> None:
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    if wanted := os.environ.get("SDL_TESTS_KERNEL"):
        assert {one["architecture"] for one in threadpool_info() if one["user_api"] == "blas"} == set(wanted.split())
