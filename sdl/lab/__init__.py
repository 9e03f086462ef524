"""Unattended operation: the lab file, the schedule, one process per campaign, the API and the notifications.

See docs/how-to/lab.md for its use and docs/explanation/architecture.md for its design.
"""
