"""Every solver of the registry keeps the contract that is shipped; a new one is tested as soon as it is listed."""

from __future__ import annotations

import pytest
from led import ORDERLESS, ask, night, stirred

from sdl.errors import ConfigError
from sdl.registry import OURS, find
from sdl.replay import FIGURE_TOLERANCE, STEP
from sdl.solvers.base import Solver, optimises, require_choices
from sdl.testing import SolverContract
from sdl.testing.small_instruments import SMALL
from sdl.types import Input

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("rows", [5, 12, 60])
@pytest.mark.parametrize("kind", OURS["solvers"])
def test_last_digits_of_readings_and_the_order_of_rows_change_no_answer(kind: str, rows: int) -> None:
    solver, plain = find("solvers", kind)(), night(rows)
    one, other = (ask(solver, data, [16384.0] * 3) for data in (plain, stirred(plain, shuffled=kind in ORDERLESS)))
    assert other.settings == pytest.approx(one.settings, abs=STEP)
    assert other.verdict == one.verdict
    for name in ("spread", "uncertainty", "expected") if kind != "random" else ():
        told, again = (getattr(answer, name) for answer in (one, other))
        assert again == pytest.approx(told, rel=FIGURE_TOLERANCE, nan_ok=True), name


def test_a_solver_that_says_nothing_of_objectives_or_choices_handles_none() -> None:
    class Silent:
        kind = "silent"

    choices = (Input(name="x"), *(Input(name=name, choices=("a", "b")) for name in ("dye", "cell", "pump")))
    require_choices(Silent(), choices[:1])
    with pytest.raises(ConfigError, match="silent cannot handle the choices of dye, cell and pump"):
        require_choices(Silent(), choices)
    with pytest.raises(ConfigError, match="the choices of dye and cell;"):
        require_choices(Silent(), choices[:3])
    with pytest.raises(ConfigError, match="the choices of dye;"):
        require_choices(Silent(), choices[:2])
    assert not optimises(Silent())
    handling = {kind for kind in OURS["solvers"] if getattr(find("solvers", kind)(), "takes_choices", False)}
    assert handling == {"auto", "gp", "linear", "quadratic", "random"}
    assert {kind for kind in OURS["solvers"] if optimises(find("solvers", kind)())} == handling - {"random"}


STRAIGHT = {"linear", "pls", "gmm", "forest", "bayes"}  # their model or its trend is a line over all rows


class TestSolvers(SolverContract):
    @pytest.fixture(params=sorted(set(OURS["solvers"]) - STRAIGHT - {"random"}))
    def solver(self, request: pytest.FixtureRequest) -> Solver:
        return find("solvers", request.param)()


class TestStraightSolvers(SolverContract):
    unsuited = frozenset({"turning curve"})  # a line through both sides of the maximum points nowhere

    @pytest.fixture(params=sorted(STRAIGHT))
    def solver(self, request: pytest.FixtureRequest) -> Solver:
        return find("solvers", request.param)()


class TestLinearAsInThePaper(SolverContract):
    hits = False  # a plane through the origin does not see the ambient light
    unsuited = frozenset({"Beer–Lambert", "turning curve", "drifting probe"})  # whose readings at 0 are not 0

    @pytest.fixture
    def solver(self) -> Solver:
        return find("solvers", "linear")(intercept=False, bounded=False, starts=1)


class TestForestAsInThePaper(SolverContract):
    hits = False  # trees on a dozen raw pairs miss by several percent
    unsuited = frozenset(SMALL)

    @pytest.fixture
    def solver(self) -> Solver:
        return find("solvers", "forest")(trend="none", n_t=5, duplicate_K=5, n_estimators=5, samples=5)


class TestGmmByBic(SolverContract):
    unsuited = frozenset({"Beer–Lambert", "turning curve"})  # no Gaussian of few rows has their shape

    @pytest.fixture
    def solver(self) -> Solver:
        return find("solvers", "gmm")(components="bic")


class TestRandom(SolverContract):
    hits = False  # it draws at random
    needs_data = False  # and looks at no row
    needs_readings = False
    unsuited = frozenset(SMALL)

    @pytest.fixture
    def solver(self) -> Solver:
        return find("solvers", "random")()
