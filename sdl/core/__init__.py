"""The pure part of a campaign: no files, clock or random numbers.

events      what happened, as written to the record; and the actions that follow
campaign    the state machine from events to actions
trials      a trial and its readings, averaged and compared with the goal; corrections of readings
history     all trials so far; each reading becomes a row for the solver here
goal        targets, limits and tolerances
objective   a channel to maximise or minimise: the best settings so far
stopping    the stopping rules, and the sentences of their reasons
prices      what trials and readings cost
"""
