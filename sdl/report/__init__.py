"""Records made visible: figures, one self-contained page a run, comparisons. Reads records; drives nothing."""
