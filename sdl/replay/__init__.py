"""Does today's code, with today's libraries, decide what it decided then?

Feeds a record's events back, in order, and at each repeats what the campaign asked: the solver (or the design)
for the settings, with the same random numbers; the campaign itself for what is due; and, where the instrument is a
twin in virtual time, the twin for its readings. What was recorded goes on either way, so that after the first
difference every later proposal is still compared on the readings that were really there.

Nothing is measured on a real instrument and nothing is written.
"""

from sdl.replay.differences import FIGURE_TOLERANCE, STEP, Difference, Replayed, Shift, plain
from sdl.replay.engine import replay

__all__ = ["FIGURE_TOLERANCE", "STEP", "Difference", "Replayed", "Shift", "plain", "replay"]
