"""The twin of an LED with a light sensor: physics (`model`), ambient light, states, fit, check, and servers."""
