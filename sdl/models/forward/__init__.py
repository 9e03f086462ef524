"""Forward models: readings from settings, with the uncertainty of the model and the noise of one reading.

forward_model      the interface, and the linear models behind it
linear_model       weighted least squares
dynamic_linear     linear, with drift and differences between sessions; bayesian_line fits it for the solver `bayes`
quadratic          a Bayesian quadratic surface
gaussian_process   a Gaussian process; its parts are in gp/
"""
