"""Many campaigns at once: a base campaign, what is varied, seeds; on this machine or on a Dask cluster.

model     what a sweep file may say, and `load`, which parses every campaign that follows from it
plan      the campaigns in their order, each with an id that says what it is
work      one campaign in whatever process: its row of the results
results   the rows on the disk: a journal while it runs, one Parquet file after
cluster   the same work by the workers of a Dask cluster
run       plan, work and results together
summary   the rows as a table and a figure
"""

from sdl.sweep.model import Draw, RandomDraws, Sweep
from sdl.sweep.plan import SweepPlan, load, plan
from sdl.sweep.run import Progress, SweepOutcome, run

__all__ = ["Draw", "Progress", "RandomDraws", "Sweep", "SweepOutcome", "SweepPlan", "load", "plan", "run"]
