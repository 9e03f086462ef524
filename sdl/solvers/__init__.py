"""The solvers of a campaign file: a file for each `kind`, with its options and `fit`.

`base` is the contract. The mathematics is in `sdl.models`. A figure of a solver's own is a file in
`sdl.report.figures`, or an entry point `sdl.figures` of another package.
"""
