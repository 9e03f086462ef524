"""How a campaign's process ends: exit codes, and the interruption that can be resumed."""

from __future__ import annotations

from sdl.errors import InstrumentError, SolverError
from sdl.runs.runs import Result
from sdl.types import Outcome

INTERRUPTED = {"SIGINT": 130, "SIGTERM": 143}

EXIT_CODES = {
    Outcome.REACHED: 0,
    Outcome.DONE: 0,
    Outcome.SPENT: 1,
    Outcome.STALLED: 1,
    Outcome.UNREACHABLE: 1,
    Outcome.ABORTED: 1,
    Outcome.FAILED: 3,
}
"""What the command line ends with; a campaign that failed by its solver ends with 4, and one that would end with 0 ends
with 3 where nothing proves that its instrument is off (`exit_code`)."""


def exit_code(result: Result) -> int:
    """What the command line ends with."""
    if result.outcome is None:
        return 1
    if result.outcome is Outcome.DONE and result.failed:  # not everything that was to be measured
        return InstrumentError.exit_code
    if result.safe is not None and not result.safe.proven and EXIT_CODES[result.outcome] == 0:
        return InstrumentError.exit_code  # it came to what it should, and the instrument may still be on
    by_solver = result.outcome is Outcome.FAILED and result.by == "solver"
    return SolverError.exit_code if by_solver else EXIT_CODES[result.outcome]


class CampaignInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended the process's part of a campaign that can be resumed.

    Attributes:
        signal: SIGINT or SIGTERM.
        result: what there is so far.
    """

    def __init__(self, signal_name: str, so_far: Result) -> None:
        self.signal, self.result = signal_name, so_far
        super().__init__(signal_name)
