"""Many campaigns at once: a base campaign, varied keys, seeds; on this machine or on a Dask cluster.

model     the sweep file
plan      load: every campaign of a sweep, validated, in order, each with an id derived from its content
work      run one campaign and return its row of results
results   the rows on the disk: a journal during the sweep, one Parquet file afterwards
cluster   run campaigns on the workers of a Dask cluster
run       plan, work and results together
summary   the rows as a table and a figure
"""

from sdl.sweep.model import Draw, RandomDraws, Sweep
from sdl.sweep.plan import SweepPlan, load, plan
from sdl.sweep.run import Progress, SweepOutcome, run

__all__ = ["Draw", "Progress", "RandomDraws", "Sweep", "SweepOutcome", "SweepPlan", "load", "plan", "run"]
