"""The commands that read runs: list, show, explain, check, watch, compare, replay, report, export, archive."""
