"""Unattended operation: the lab file, the schedule, one process per campaign, the API and the notifications.

config/    the lab file
core/      pure: the state of a lab, when jobs are due, and what happens next
loop       writes the events that are due to the journal, and acts on them
watches    changes of the clock, and switching off the instruments that no campaign drives
workers/   one process per campaign
rules/     the notices (emails and messages) that a lab sends: their text, and their way to the outbox
http/      the API, and who may use it
serve      all of these together; `simulate` runs them on twins in virtual time

See docs/how-to/lab.md for its use and docs/explanation/architecture.md for its design.
"""
