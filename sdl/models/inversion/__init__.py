"""Settings for a goal, from a forward model or by steps from measured rows.

search           the bounded search that all of them use
forward          inversion of any forward model, with spread and uncertainty
objective        a channel to maximise or minimise
continuation     a path from measured readings to the goal
mcmc, modes      the posterior of the settings, and its modes
broyden          slopes from the latest steps
random_search    random settings, as a baseline
forward_models   the models that mcmc and continuation invert
"""
