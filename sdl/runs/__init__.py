"""Runs on the disk as read-only results.

runs      a run opened for reading: the fold of its record
results   the result of a campaign
listing   all runs below a directory, one row each; query: filters and order
index     the rows of all runs, cached
pooled    the mean of all readings near the best settings
notes     note and tags of a run
"""
