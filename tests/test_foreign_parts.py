"""What a foreign driver, solver or design may do wrong: one clear end, a readable record, the instrument off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from asyncio import CancelledError
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scripted import GAIN, answer, campaign, proposals, register, script_of, with_answers, with_script
from waiting import TIMEOUT

import sdl
from sdl import registry
from sdl.errors import SolverError
from sdl.solvers.base import Proposals
from sdl.store import record
from sdl.types import Frozen, Outcome, Reading


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def odd(**changes: Any) -> Proposals:
    plain = proposals([0.5, 0.2, 0.5])
    return Proposals(**{**vars(plain), **changes})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (odd(verdict=("fine",)), "'fine' is not a valid Verdict"),
        (odd(settings=np.array([[np.nan, 0.5, 0.5]])), "no number for R"),
        (SystemExit(3), "SystemExit"),
        (GeneratorExit(), "GeneratorExit"),
        (CancelledError(), "CancelledError"),
    ],
    ids=["verdict", "nan", "exit", "generator", "cancelled"],
)
def test_a_solver_that_breaks_its_contract_ends_the_campaign_and_the_record_stays_readable(
    given: Any, words: str, tmp_path: Path
) -> None:
    instrument = with_script()
    result = sdl.run(campaign(instrument, solver=with_answers(given)), runs=tmp_path)
    assert result.outcome is Outcome.FAILED
    assert words in result.reason
    assert not script_of(instrument).lit
    assert record.check(Path(result.run)).finished


def test_a_sentence_that_is_no_text_is_written_as_text(tmp_path: Path) -> None:
    result = sdl.run(campaign(with_script(), solver=with_answers(odd(why=(Path("x"),)))), runs=tmp_path)
    assert record.check(Path(result.run)).finished


@pytest.mark.parametrize("given", [odd(why=("x" * 10**6,)), ValueError("x" * 10**6)], ids=["sentence", "error"])
def test_a_megabyte_of_words_is_cut_before_it_is_written(given: Any, tmp_path: Path) -> None:
    result = sdl.run(campaign(with_script(), solver=with_answers(given)), runs=tmp_path)
    folder = Path(result.run)
    assert "x" * 1000 in (folder / record.FILE).read_text()
    assert max(map(len, (folder / record.FILE).read_text().splitlines())) < 20_000
    assert record.check(folder).finished


@pytest.mark.parametrize("fault", [7, object(), ["word"]])
def test_a_fault_that_is_no_word_is_a_mistake_of_the_driver(fault: Any, tmp_path: Path) -> None:
    def measure(driver: object, settings: Mapping[str, float]) -> Reading:
        return answer(settings, fault=fault)

    result = sdl.run(campaign(with_script(measure)), runs=tmp_path)
    assert result.outcome is Outcome.FAILED
    assert "the fault of a reading must be a word or None" in result.reason
    assert record.check(Path(result.run)).finished


def test_a_driver_that_ends_the_process_ends_only_its_reading(tmp_path: Path) -> None:
    result = sdl.run(campaign(with_script(SystemExit(9))), runs=tmp_path)
    assert result.outcome is Outcome.REACHED
    assert result.failed == 1


@pytest.mark.parametrize("error", [GeneratorExit(), CancelledError()])
def test_a_driver_that_lets_through_what_is_no_ordinary_exception_ends_the_campaign_and_says_where(
    error: BaseException, tmp_path: Path
) -> None:
    instrument = with_script(error)
    result = sdl.run(campaign(instrument), runs=tmp_path)
    assert (result.outcome, result.failed, result.by) == (Outcome.FAILED, 1, "driver")
    assert type(error).__name__ in result.reason
    assert not script_of(instrument).lit
    assert record.check(Path(result.run)).finished


def test_an_instrument_that_reads_its_settings_back_can_reach_its_goal(tmp_path: Path) -> None:
    count = 0

    def measure(driver: object, settings: Mapping[str, float]) -> Reading:
        nonlocal count
        count += 1
        return answer(settings, applied={name: value + 1e-9 * count for name, value in settings.items()})

    result = sdl.run(campaign(with_script(*[measure] * 30)), runs=tmp_path)
    assert (result.outcome, result.trials) == (Outcome.REACHED, 5)


@pytest.mark.parametrize("answers", [[GeneratorExit()], [[0.2, 0.2, 0.2], GeneratorExit()]], ids=["first", "others"])
def test_one_answer_from_a_data_set_says_which_solver_failed_whatever_that_raised(answers: list[Any]) -> None:
    solver = with_answers(*answers)
    with pytest.raises(SolverError, match=r"scripted failed on 3 rows: GeneratorExit\(\)"):
        sdl.solve(np.eye(3), GAIN.T, GAIN.T[0], solver, all_solutions=True)


class NoNumber(Frozen):
    """A design that gives NaN."""

    kind: Literal["no-number"] = "no-number"

    def size(self, inputs: Any) -> int:
        return 4

    def point(self, trial: int, taken: Any, inputs: Any, random: Any) -> Any:
        return np.array([np.nan, 0.1, 0.1])


def test_a_design_that_gives_no_number_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.OURS["designs"], "no-number", f"{__name__}:NoNumber")
    result = sdl.run(campaign(with_script(), design={"kind": "no-number"}), runs=tmp_path)
    assert result.outcome is Outcome.FAILED
    assert "the design no-number failed" in result.reason
    assert "no number for R" in result.reason
    assert record.check(Path(result.run)).finished


def test_unreachable_is_not_hidden_by_saturation_and_ends_the_campaign(tmp_path: Path) -> None:
    goal = {"515nm": 50000, "clear": {"at least": 1000}, "630nm": 60000}
    tree = {"name": "full", "instrument": {"kind": "twin"}, "goal": goal, "solver": "linear", "stop": {"trials": 15}}
    result = sdl.run(tree, runs=tmp_path)
    assert (result.outcome, result.trials < 12) == (Outcome.UNREACHABLE, True)


@pytest.mark.skipif(os.name != "posix", reason="signals of another system")
def test_a_driver_that_hangs_while_it_is_made_safe_can_be_broken_off(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(
        textwrap.dedent(
            """
            import time
            from sdl import registry
            from sdl.drivers.twin.config import Twin
            from sdl.drivers.twin.driver import TwinDriver, plant_of
            import sdl

            class Driver(TwinDriver):
                def safe(self):
                    print("hangs", flush=True)
                    time.sleep(60)

            class Hangs(Twin):
                kind: str = "hangs"
                def open(self, clock):
                    return Driver(self, plant_of(self), clock)

            registry.OURS["drivers"]["hangs"] = "__main__:Hangs"
            tree = {"name": "x", "instrument": {"kind": "hangs"}, "goal": {"515nm": 9000}, "stop": {"trials": 2}}
            found = sdl.run(tree, runs=None)
            print(found.outcome, flush=True)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, "hangs.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(sdl.__file__).parent.parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    for _ in range(3):
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert "check it yourself; gave up after" in err
    assert out == "spent\n"
