"""The twin of any instrument, fitted to its readings: state (its TOML file), fit, check, and serve."""
