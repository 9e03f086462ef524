"""Simulated instruments.

led/         the LED and its light sensor: physics, ambient light, states, servers, fit and check
fitted/      the twin of any instrument, fitted to its readings
simulation   what a driver needs of either
faults       the faults that a twin can simulate
comparison   a twin against readings: the statistics and the verdict
monitor      the same while a campaign runs
reference    the twin that an instrument is compared with
tomlfile     their files
"""
