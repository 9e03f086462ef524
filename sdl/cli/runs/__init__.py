"""The commands that read runs: list, show, explain, check, watch, compare, report, export, archive."""
