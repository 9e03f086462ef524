"""Compare solvers on an instrument: campaigns on its twin, and predicted settings of days left out of a log.

campaigns   each solver on each goal on the twin, as `sdl run` would
days        predicted settings of readings that a solver has not seen, whole days left out
report      tables, the recommendation with its evidence, the figure and the page
"""

from sdl.bench.campaigns import BenchCampaign, BenchGoals, campaigns, solver_of
from sdl.bench.days import DaysScore, days_left_out
from sdl.bench.report import Recommendation, SolverSummary, markdown, recommend, summarise
from sdl.sweep.summary import quantile

__all__ = [
    "BenchCampaign",
    "BenchGoals",
    "DaysScore",
    "Recommendation",
    "SolverSummary",
    "campaigns",
    "days_left_out",
    "markdown",
    "quantile",
    "recommend",
    "solver_of",
    "summarise",
]
