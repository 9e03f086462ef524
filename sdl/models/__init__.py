"""The statistics: models of readings and settings, and what they say of a goal.

data              rows, goals and proposals as arrays
training_set      the usable rows, scaled to the bounds, with a linear model
forward/          readings from settings: linear, dynamic linear, quadratic, Gaussian process
inversion/        settings for a goal from a forward model
backward/         settings from readings by regression
noise             the variance of one reading
transforms        logarithms of readings
session_effects   differences between sessions
wrong_rows        rows that all others contradict
lack_of_fit       what a model misses beyond the noise
model_selection   the choice of the solver `auto`
reachability      whether any settings reach a goal
verdict           the verdict on a goal, and how many readings to average
constants         constants of several models
"""
