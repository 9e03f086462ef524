"""Simulated instruments.

led/         the LED and its light sensor: physics, ambient light, states, servers, fit and check
fitted/      the twin of any instrument, fitted to its readings
simulation   the interface of both for a driver
faults       the faults that a twin can simulate
comparison   a twin against readings: the statistics and the verdict
monitor      this comparison while a campaign runs
reference    the twin that an instrument is compared with
tomlfile     the TOML files of both
"""
