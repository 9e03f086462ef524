"""The web page: instruments, runs, live views and controls, served on this machine only."""
