"""The public door, pinned: a name is added or taken away on purpose or not at all."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import processes
import pytest

import sdl
from sdl.inverse import dataset


def test_the_public_names_are_these() -> None:
    assert sorted(sdl.__all__) == [
        "OpenCampaign",
        "Request",
        "Result",
        "Run",
        "SdlError",
        "Solution",
        "list_runs",
        "open_campaign",
        "open_run",
        "resume",
        "run",
        "solve",
    ]
    assert dir(sdl) == list(sdl.__all__)


@pytest.mark.parametrize("name", sdl.__all__)
def test_a_public_name_can_be_had_and_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(sdl, name))


def signature(function: object) -> str:
    return ", ".join(str(p).partition(":")[0] for p in inspect.signature(function).parameters.values())  # type: ignore[arg-type]


def test_the_public_functions_take_these_arguments() -> None:
    assert (
        signature(sdl.run) == "campaign, runs, changes, watch, collect, gate, folder, guarded, switch_off, measure, off"
    )
    assert (
        signature(sdl.resume) == "folder, changes, watch, gate, guarded, interrupted, switch_off, measure, off, trust"
    )
    assert signature(sdl.open_run) == "path, runs"
    assert signature(sdl.solve) == (
        "X, Y, target, solver, tolerance, prefer, average, all_solutions, low, high, saturation, seed"
    )


def test_a_result_and_a_solution_have_these_fields() -> None:
    fields = (
        "outcome reason trials readings failed settings applied measured error miss worst best by run safe objective"
    )
    assert list(sdl.Result.__dataclass_fields__) == fields.split()
    fields = "settings raw spread uncertainty expected verdict why shortfall solutions next estimate estimate_error "
    fields += "expected_improvement"
    assert list(sdl.Solution.__dataclass_fields__) == fields.split()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="list_runs, open_campaign, open_run, resume, run, solve"):
        sdl.simulate  # noqa: B018


def test_importing_sdl_loads_nothing_heavy() -> None:
    code = "import sys, sdl; print(sorted({'numpy', 'pydantic', 'yaml', 'typer'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=processes.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_example_in_the_docstring_of_solve_is_true() -> None:
    found = doctest.DocTestFinder().find(dataset.solve, "solve", globs={})
    assert doctest.DocTestRunner().run(found[0]) == doctest.TestResults(failed=0, attempted=4)
