"""Figures, self-contained pages and comparisons of runs, from their records."""
