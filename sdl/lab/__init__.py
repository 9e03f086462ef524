"""Unattended running: the lab file, when what is due, one process a campaign, and what is told of it.

See docs/how-to/lab.md for its use and docs/explanation/architecture.md for its shape.
"""
