"""Constants that several models share."""

DISTINCT = 1e-3
"""Settings that differ by less, as a fraction of the range, are the same settings."""
NOMINAL = 0.004
"""Assumed standard deviation of a reading, as a fraction of the response, where the rows do not determine it."""
FREE = 1e-4
"""Directions of the settings that change the readings by less than this fraction of the strongest one are free."""
DIFFERENCE = 1e-4
"""Step of the finite differences of readings, as a fraction of the range."""
SEED = 0
"""Seed of the starts and sample paths of a proposal, so that equal rows give equal proposals."""
MOST_COMBINATIONS = 4096
"""Largest number of combinations of steps around some settings that are compared."""
