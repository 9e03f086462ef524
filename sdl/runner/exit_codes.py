"""Exit codes, and the interruption of a campaign that can be resumed."""

from __future__ import annotations

from sdl.errors import InstrumentError, SolverError
from sdl.runs.runs import Result
from sdl.types import Outcome

INTERRUPTED = {"SIGINT": 130, "SIGTERM": 143}

# Exit code for each outcome. `exit_code` returns 4 for a failed solver, and 3 instead of 0 if no reply confirms that
# the instrument is off.
EXIT_CODES = {
    Outcome.REACHED: 0,
    Outcome.DONE: 0,
    Outcome.SPENT: 1,
    Outcome.STALLED: 1,
    Outcome.UNREACHABLE: 1,
    Outcome.ABORTED: 1,
    Outcome.FAILED: 3,
}


def exit_code(result: Result) -> int:
    """The exit code for a result."""
    if result.outcome is None:
        return 1
    if result.outcome is Outcome.DONE and result.failed:  # some points could not be measured
        return InstrumentError.exit_code
    if result.safe is not None and not result.safe.proven and EXIT_CODES[result.outcome] == 0:
        return InstrumentError.exit_code  # the campaign succeeded, but the instrument may still be on
    by_solver = result.outcome is Outcome.FAILED and result.by == "solver"
    return SolverError.exit_code if by_solver else EXIT_CODES[result.outcome]


class CampaignInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM interrupted a campaign, which can be resumed.

    Attributes:
        signal: SIGINT or SIGTERM.
        result: the result so far.
    """

    def __init__(self, signal_name: str, so_far: Result) -> None:
        self.signal, self.result = signal_name, so_far
        super().__init__(signal_name)
