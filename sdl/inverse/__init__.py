"""From a goal to settings, by name.

propose     fit a solver and ask it for the settings of a goal; all checks of the proposal
discrete    settings on the steps of the inputs
multiple    all settings that reach a goal
dataset     the same from a data set alone (`sdl.solve`), and cross-validation
knowledge   prior knowledge of an instrument
"""
