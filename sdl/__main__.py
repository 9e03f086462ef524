"""`python -m sdl`, and the command `sdl`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while modules are being loaded exits with 130, as at any other time."""
    try:
        from sdl.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
