"""Designs of experiments: the contract in `base`, one file per family."""
