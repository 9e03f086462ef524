"""Where to measure without a solver: `base` is the contract, then one file a family."""
