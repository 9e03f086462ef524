"""The page: the instruments, the runs and what happens now, served on this machine alone."""
