"""Constants that several models share."""

DISTINCT = 1e-3
"""Settings that differ by less, as a fraction of the range, are the same settings."""
NOMINAL = 0.004
"""Assumed standard deviation of a reading, as a fraction of the response, where the rows do not determine it."""
