"""Re-run the decisions of a record with the present code and libraries, and report differences.

The events are fed back in order. At each, the same is computed again: the settings, by the solver or the design with
the same random numbers; the action that is due, by the campaign; the reading, by a twin in virtual time. The recorded
events are folded in any case, so that every proposal is compared on the recorded readings, also after a difference.

Nothing is measured on a real instrument and nothing is written.
"""

from sdl.replay.differences import FIGURE_TOLERANCE, STEP, Difference, Replayed, Shift, plain
from sdl.replay.engine import replay

__all__ = ["FIGURE_TOLERANCE", "STEP", "Difference", "Replayed", "Shift", "plain", "replay"]
