"""What commands print: the live table, the table of trials, the outcome, progress bars."""
