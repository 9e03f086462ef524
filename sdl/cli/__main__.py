"""`python -m sdl.cli`."""

from sdl.cli import main

main()
