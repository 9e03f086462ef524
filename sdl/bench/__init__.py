"""Which solver for my instrument: the same goals and noise for every solver, on a twin; and settings of days left out.

campaigns   each solver to each goal on the twin, as `sdl run` would
days        settings of readings that a solver has not seen, whole days of a log left out
tell        tables, the recommendation with its evidence, the figure and the page
"""

from sdl.bench.campaigns import BenchCampaign, BenchGoals, campaigns, solver_of
from sdl.bench.days import DaysScore, days_left_out
from sdl.bench.report import Recommendation, SolverSummary, markdown, quantile, recommend, summarise

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
