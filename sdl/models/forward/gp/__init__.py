"""The parts of `sdl.models.forward.gaussian_process`.

covariance     the prior covariance
channel        the rows of one channel, and the process given them
evidence       log posterior of the hyperparameters, and its maximum
fit            the fit of all channels: transforms, wrong rows, draws
censored       readings at an end of their channel
sample_paths   functions drawn from the posterior
"""
