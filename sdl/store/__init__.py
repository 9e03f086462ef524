"""Files: records of runs, data sets, locks.

record       the append-only file of a run's events
tail         the events of a record that is being written
resolve      a run by its name
datasets     rows for a solver from records, logs and tables
tables       CSV, JSON and Parquet files as rows of cells
trial_files  photos and other files beside a trial
lock, lease  one process per record, one campaign per instrument
hosts        host names and addresses that mean the same instrument
plainfile    opening of regular files only
"""
