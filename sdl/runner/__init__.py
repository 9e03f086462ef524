"""The only place where campaign, solver, driver, record and clock meet.

start    run and resume: the two doors; one code path behind them
opening  what is known before anything is done: priors, versions, the first event
perform  does what is due, one event an action, written before anything follows from it
pursuit  off is pursued until a reply proves it
propose  settings for a trial, by the design or by the solver
gate     whether it may go on: pauses and aborts from outside
signals  Ctrl-C and SIGTERM
watching who is told of events, and the watch that holds an instrument against its twin
ends     outcomes, exit codes, and the interruption that can be resumed
"""

from sdl.runner.exit_codes import EXIT_CODES, INTERRUPTED, CampaignInterrupted, exit_code
from sdl.runner.gate import Abort, Gate, Pause, Proceed
from sdl.runner.observers import Watch
from sdl.runner.perform import Log, MemoryRecord, Runner
from sdl.runner.propose import Proposer
from sdl.runner.setup import clock_for, instrument_lease, user, versions
from sdl.runner.shutdown import MonotonicClock, Patience, SwitchOff, switch_off
from sdl.runner.signals import Signals
from sdl.runner.start import resume, run

__all__ = [
    "EXIT_CODES",
    "INTERRUPTED",
    "Abort",
    "CampaignInterrupted",
    "Gate",
    "Log",
    "MemoryRecord",
    "MonotonicClock",
    "Patience",
    "Pause",
    "Proceed",
    "Proposer",
    "Runner",
    "Signals",
    "SwitchOff",
    "Watch",
    "clock_for",
    "exit_code",
    "instrument_lease",
    "resume",
    "run",
    "switch_off",
    "user",
    "versions",
]
