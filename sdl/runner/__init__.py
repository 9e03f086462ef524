"""The only place where campaign, solver, driver, record and clock meet.

start       run and resume, with one code path behind both
setup       before the first action: clock, lease, priors, versions, the first event
perform     perform the outstanding action, one event per action, written before it has any effect
shutdown    switch the instrument off, and repeat until a reply confirms it
propose     settings for a trial, from the design or the solver
gate        pauses and aborts requested from outside
signals     Ctrl-C and SIGTERM
guard       end a solver that ignores SIGTERM, with its process (guardian)
messages    messages to the people whom a campaign names
observers   receivers of events, and the comparison of an instrument with its twin
exit_codes  exit codes, and the interruption that can be resumed
preload     imports of the process that campaigns are copied from
"""

from sdl.runner.exit_codes import EXIT_CODES, INTERRUPTED, CampaignInterrupted, exit_code
from sdl.runner.gate import Abort, Gate, Pause, Proceed
from sdl.runner.observers import Watch
from sdl.runner.perform import Log, MemoryRecord, Runner
from sdl.runner.propose import Proposer
from sdl.runner.setup import clock_for, instrument_lease, user, versions
from sdl.runner.shutdown import MonotonicClock, SwitchOff, SwitchOffPolicy, switch_off
from sdl.runner.signals import Signals
from sdl.runner.start import left_on, resume, run

__all__ = [
    "EXIT_CODES",
    "INTERRUPTED",
    "Abort",
    "CampaignInterrupted",
    "Gate",
    "Log",
    "MemoryRecord",
    "MonotonicClock",
    "Pause",
    "Proceed",
    "Proposer",
    "Runner",
    "Signals",
    "SwitchOff",
    "SwitchOffPolicy",
    "Watch",
    "clock_for",
    "exit_code",
    "instrument_lease",
    "left_on",
    "resume",
    "run",
    "switch_off",
    "user",
    "versions",
]
