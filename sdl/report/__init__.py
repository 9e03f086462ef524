"""Figures, self-contained pages and comparisons of runs, from their records.

figures/     the figures of a report, one file each
page         the report as HTML; summary: its text
comparison   several runs compared, and the page of `sdl compare`
tables_page  pages of `sdl bench`, `sdl verify` and `sdl sweep`
model        the forward model of a run, fitted again for figures
table        the trials of a run as arrays
style, svg   the look of figures, and compact SVG
"""
