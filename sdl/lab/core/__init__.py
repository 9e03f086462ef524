"""The pure part of a lab: its state and what it does next.

events      the events of the journal
state       the state, folded from the events
scheduler   the events that are due: which start begins, waits or is missed
due_times   when a job is due, by cron, interval or date
agents      what an agent may submit, and whether its campaign may run
views       the state as plain values, for commands, API and page
"""
