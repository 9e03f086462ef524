"""Backward models: settings as a function of the readings.

least_squares           linear readings, inverted by a search (the paper's section 3.2)
partial_least_squares   settings regressed on readings
gaussian_mixture        a joint distribution of settings and readings
flow_matching           a generative model of boosted trees
local_regression        inverse regression with local weights
"""
