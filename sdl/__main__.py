"""`python -m sdl`."""

from sdl.cli import main

main()
